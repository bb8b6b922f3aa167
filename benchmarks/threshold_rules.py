"""Rules that choose a background threshold without ground truth, judged on the masks they lead to.

    python benchmarks/threshold_rules.py outputs/demo [--kinds seed recam layer_cam] [--every 3]

For the run's seeds and for each kind of map: CRF masks at thresholds 0.1, 0.15 … 0.8 and their mIoU on the train truth
(the best is the oracle), and what each rule loses to it. Rules see maps and images alone; `area` is told the share of
foreground in the truth, and stands for knowing it.

- otsu: mean over images of Otsu's threshold, the default
- pooled otsu: Otsu's threshold of all images' scores together
- mixture: two Gaussians fitted to the scores of all images; where the upper one becomes the likelier
- agreement: where the CRF changes the foreground least
- area: where the masks' foreground has the true share (`masks.area`)
- annotated: the best of 20 images, scored on the others (`masks.annotated`), mean of 5 draws
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from measuring import store
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from wsss.data import VOID, read_mask
from wsss.masks import otsu_threshold
from wsss.metrics import confusion_matrix, iou
from wsss.pipeline.make_masks import GRID
from wsss.pipeline.mask_maker import MaskMaker, mask_maker
from wsss.pipeline.run import open_run
from wsss.seeds import load_seeds, resize_maps

ROOT = Path(__file__).resolve().parents[1]
BINS = 256
CENTRES = (np.arange(BINS) + 0.5) / BINS


def look_at(maker: MaskMaker, image_id: str) -> dict[str, NDArray[np.float64]]:
    """Of one image: Otsu's threshold, the scores' histogram, and at each threshold confusion, overlap and area."""
    truth, num_labels = read_mask(maker.data.mask_path(image_id)), maker.data.num_classes + 1
    seeds = load_seeds(maker.seeds / f"{image_id}.npz")
    refined = maker([image_id], GRID)[0]
    plain = dataclasses.replace(maker, kind="threshold")([image_id], GRID)[0]
    scores = resize_maps(seeds.maps, seeds.size).max(axis=0) if len(seeds.classes) else np.zeros(seeds.size)
    both, either = (plain > 0) & (refined > 0), (plain > 0) | (refined > 0)
    return {
        "confusion": np.stack([confusion_matrix(truth, mask, num_labels) for mask in refined]),
        "otsu": np.array(otsu_threshold(seeds.maps.max(axis=0)) if len(seeds.classes) else np.nan),
        "histogram": np.histogram(scores, BINS, (0, 1))[0] / scores.size,
        "overlap": np.stack([both.mean(axis=(1, 2)), either.mean(axis=(1, 2))]),
        "area": (refined > 0).mean(axis=(1, 2)),
        "true area": np.array(((truth > 0) & (truth != VOID)).mean()),
    }


def mixture(histogram: NDArray[np.float64]) -> float:
    """Where the upper of two Gaussians becomes the likelier; EM on a histogram."""
    share, mean, deviation = np.array([0.7, 0.3]), np.array([0.1, 0.7]), np.array([0.1, 0.2])
    for _ in range(200):
        density = _densities(share, mean, deviation)
        weight = density / density.sum(axis=0) * histogram
        total = weight.sum(axis=1) + 1e-12
        mean = (weight * CENTRES).sum(axis=1) / total
        deviation = np.sqrt((weight * (CENTRES - mean[:, None]) ** 2).sum(axis=1) / total) + 0.02
        share = total / total.sum()
    low, high = _densities(share, mean, deviation)[mean.argsort()]
    above = (high > low) & (mean.min() < CENTRES)
    return float(CENTRES[above.argmax()])


def _densities(
    share: NDArray[np.float64], mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    distance = (CENTRES - mean[:, None]) / deviation[:, None]
    densities: NDArray[np.float64] = share[:, None] / deviation[:, None] * np.exp(-0.5 * distance**2) + 1e-12
    return densities


def pooled_otsu(histogram: NDArray[np.float64]) -> float:
    """Otsu's threshold of a histogram."""
    return otsu_threshold(np.repeat(CENTRES, np.round(histogram / histogram.sum() * 100_000).astype(int)))


def judge(images: list[dict[str, NDArray[np.float64]]]) -> dict[str, dict[str, float]]:
    """Threshold, mIoU and loss to the oracle of each rule."""
    seen = {key: np.stack([image[key] for image in images]) for key in images[0]}
    curve = 100 * iou(seen["confusion"].sum(axis=0)).mean
    overlap, area = seen["overlap"].sum(axis=0), seen["area"].mean(axis=0)
    chosen = {
        "otsu": float(np.nanmean(seen["otsu"])),
        "pooled otsu": pooled_otsu(seen["histogram"].mean(axis=0)),
        "mixture": mixture(seen["histogram"].mean(axis=0)),
        "agreement": GRID[int((overlap[0] / np.maximum(overlap[1], 1e-9)).argmax())],
        "area": float(np.interp(-seen["true area"].mean(), -area, GRID)),
    }
    results = {"oracle": {"threshold": GRID[int(curve.argmax())], "miou": float(curve.max()), "loss": 0.0}}
    for rule, threshold in chosen.items():
        miou = float(np.interp(threshold, GRID, curve))
        results[rule] = {"threshold": threshold, "miou": miou, "loss": float(curve.max()) - miou}
    draws = []
    for draw in range(5):
        order = np.random.default_rng(draw).permutation(len(images))
        best = int(iou(seen["confusion"][order[:20]].sum(axis=0)).mean.argmax())
        rest = 100 * iou(seen["confusion"][order[20:]].sum(axis=0)).mean
        draws.append((GRID[best], rest[best], rest.max() - rest[best]))
    results["annotated"] = dict(zip(("threshold", "miou", "loss"), np.mean(draws, axis=0).tolist(), strict=True))
    return results


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="Rules for a background threshold without ground truth.")
    parser.add_argument("run", type=Path, help="folder of a run with seeds and train truth")
    parser.add_argument("--kinds", nargs="+", default=["seed"], help="seed, or folders of seeds/maps")
    parser.add_argument("--every", type=int, default=1, help="look at each so many-th image")
    parser.add_argument("--jobs", type=int, default=-1, help="processes")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "threshold_rules.json")
    options = parser.parse_args()
    run = open_run(options.run)
    results = {}
    table = Table("seeds", "rule", "threshold", "mask mIoU", "loses")
    for kind in options.kinds:
        folder = run.folder / "seeds" if kind == "seed" else run.folder / "seeds" / "maps" / kind
        maker = dataclasses.replace(mask_maker(run), seeds=folder, kind="crf", device="cpu")
        tasks = (delayed(look_at)(maker, image_id) for image_id in run.score_ids[:: options.every])
        results[kind] = judge(list(Parallel(n_jobs=options.jobs)(tasks)))
        for rule, row in results[kind].items():
            cells = (f"{row['threshold']:.3f}", f"{row['miou']:.1f}", f"{row['loss']:.1f}")
            table.add_row(kind if rule == "oracle" else "", rule, *cells)
        table.add_section()
    Console(width=100).print(table)
    store(options.out, threads=1, cases=results)


if __name__ == "__main__":
    main()
