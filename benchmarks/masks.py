"""Masks of a run's seeds with and without a CRF, by both back ends: mIoU, time, memory, and whether the two agree.

    python benchmarks/masks.py outputs/demo [--agree 20]

Masks of all train images are made at the run's threshold, which sees no truth (`masks.area` and others apply as in the
run), by one process of one thread: "seconds" are those an image, "MiB" the peak of the whole process. They are scored
on the train truth; "oracle" is the best of nine thresholds, from 0.2 below to 0.2 above. Agreement is that of the two
back ends on the first images: the share of pixels with equal labels, and the largest difference of marginals.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch
from measuring import peak_bytes, run_apart, store
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from wsss.data import read_image, read_mask
from wsss.masks import crf_marginals, local_labels, unary_from_labels
from wsss.metrics import confusion_matrix, iou
from wsss.pipeline.make_masks import annotated_ids, choose_threshold
from wsss.pipeline.mask_maker import MaskMaker, engine, mask_maker
from wsss.pipeline.run import Run, open_run
from wsss.pipeline.training import keep_freed_memory
from wsss.seeds import load_seeds, resize_maps

ROOT = Path(__file__).resolve().parents[1]
OFFSETS = tuple(round(0.05 * i, 2) for i in range(-4, 5))
# Row -> kind of masks, back end.
VARIANTS = {
    "threshold only": ("threshold", "torch"),
    "CRF, torch": ("crf", "torch"),
    "CRF, pydensecrf": ("crf", "pydensecrf"),
}
# Column -> digits.
COLUMNS = {"miou": 2, "oracle": 2, "seconds": 3, "mib": 0}


def maker_of(run: Run, variant: str) -> MaskMaker:
    """The run's masks, made another way, on the CPU."""
    kind, backend = VARIANTS[variant]
    maker = mask_maker(run)
    return dataclasses.replace(
        maker, kind=kind, params=dataclasses.replace(maker.params, backend=backend), device="cpu"
    )


def measure(run: Run, variant: str, threshold: float) -> dict[str, float]:
    """Scores at the threshold and at the best near it; seconds an image and peak memory for the former."""
    maker, num_labels = maker_of(run, variant), run.data.num_classes + 1

    def count(image_id: str, masks: list[NDArray[np.uint8]]) -> NDArray[np.int64]:
        truth = read_mask(run.data.mask_path(image_id))
        return np.stack([confusion_matrix(truth, mask, num_labels) for mask in masks])  # (T, L, L + 1)

    seconds, at_threshold = 0.0, []
    for image_id in run.score_ids:
        start = time.perf_counter()
        (masks,) = maker([image_id], [threshold])
        seconds += time.perf_counter() - start
        at_threshold.append(count(image_id, list(masks)))
    peak = peak_bytes()
    cuts = sorted({min(max(threshold + offset, 0.0), 0.99) for offset in OFFSETS})
    nearby = np.sum([count(image_id, list(maker([image_id], cuts)[0])) for image_id in run.score_ids], axis=0)
    return {
        "miou": 100 * float(iou(np.sum(at_threshold, axis=0)[0]).mean),
        "oracle": 100 * float(iou(nearby).mean.max()),
        "seconds": seconds / len(run.score_ids),
        "mib": peak / 2**20,
    }


def agreement(run: Run, threshold: float, count: int) -> dict[str, float]:
    """Of the two back ends, on the first images."""
    params = run.config.masks.crf
    equal = pixels = 0
    apart = 0.0
    for image_id in run.score_ids[:count]:
        seeds = load_seeds(run.folder / "seeds" / f"{image_id}.npz")
        num_labels = len(seeds.classes) + 1
        labels = local_labels(resize_maps(seeds.maps, seeds.size), threshold)
        unary = unary_from_labels(labels, num_labels, gt_prob=params.gt_prob)
        image = np.array(read_image(run.data.image_path(image_id)))
        ours, reference = (
            crf_marginals(image, unary, dataclasses.replace(params, backend=backend))
            for backend in ("torch", "pydensecrf")
        )
        equal += int((ours.argmax(axis=0) == reference.argmax(axis=0)).sum())
        pixels += labels.size
        apart = max(apart, float(np.abs(ours - reference).max()))
    return {"images": count, "pixels": pixels, "equal": equal, "marginals_apart": apart}


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="Masks with and without a CRF, by both back ends.")
    parser.add_argument("run", type=Path, help="folder of a run with seeds and train truth")
    parser.add_argument("--agree", type=int, default=20, help="images that the back ends are compared on")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "masks.json")
    parser.add_argument("--measure", nargs=2, metavar=("VARIANT", "THRESHOLD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    run = open_run(options.run)
    if options.measure:
        variant, cut = options.measure
        print(json.dumps(measure(run, variant, float(cut))))
        return
    with engine(run.config.masks):
        threshold, source = choose_threshold(run, mask_maker(run), annotated_ids(run))
    results = {variant: run_apart(__file__, [options.run, "--measure", variant, threshold]) for variant in VARIANTS}
    table = Table("masks", "mIoU", "oracle", "seconds", "MiB", title=f"threshold {threshold:.3f} ({source})")
    for variant, row in results.items():
        table.add_row(variant, *(f"{row[key]:.{digits}f}" for key, digits in COLUMNS.items()))
    Console(width=100).print(table)
    results["agreement"] = seen = agreement(run, threshold, options.agree)
    print(
        f"{seen['images']} images: {100 * seen['equal'] / seen['pixels']:.4f} % of the pixels have equal labels, "
        f"marginals differ by {seen['marginals_apart']:.1e} at most"
    )
    store(options.out, threads=1, cases=results)


if __name__ == "__main__":
    main()
