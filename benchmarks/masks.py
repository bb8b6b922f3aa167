"""Masks of a run's seeds, with and without a CRF, as they are and refined: mIoU, time, memory.

    python benchmarks/masks.py outputs/demo [--agree 20]
    python benchmarks/masks.py outputs/demo --refined masks.walk.exp_times=5 [--rows "CRF, torch" "IRN, CRF"]

Masks of all train images are made at the threshold that the seeds themselves give, which sees no truth, by one process
of one thread: "seconds" are those an image, refinement included, "MiB" the peak of the whole process. They are scored
on the train truth; "oracle" is the best of five thresholds, from 0.1 below to 0.1 above. What is learnt first (IRN,
AffinityNet) is learnt anew, in a process of its own with `--threads` threads: "training" are its seconds, the making of
the labels that it learns from included, and its peak.

Agreement is that of the CRF's two back ends on the first images: the share of pixels with equal labels, and the largest
difference of marginals.
"""

import argparse
import dataclasses
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from measuring import peak_bytes, run_apart, store
from numpy.typing import NDArray
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from wsss.data import read_image, read_mask
from wsss.masks import crf_marginals, local_labels, unary_from_labels
from wsss.metrics import confusion_matrix, iou
from wsss.pipeline.config import Config
from wsss.pipeline.make_seeds import make_seeds, seed_threshold
from wsss.pipeline.mask_maker import mask_maker
from wsss.pipeline.refine_seeds import Refinement, seed_images, source_of_masks, train_relations
from wsss.pipeline.run import Run, open_run
from wsss.pipeline.train_classifier import train_classifiers
from wsss.pipeline.training import keep_freed_memory
from wsss.seeds import load_seeds, resize_maps, save_seeds

ROOT = Path(__file__).resolve().parents[1]
OFFSETS = (-0.1, -0.05, 0.05, 0.1)


class Variant(NamedTuple):
    """A row: the group of conf/masks that it starts from, the kind of masks, the CRF's back end."""

    group: str
    kind: str
    backend: str = "torch"

    @property
    def is_learnt(self) -> bool:
        """Whether a network is trained for it first."""
        return self.group in ("irn", "psa")


VARIANTS = {
    "threshold only": Variant("crf", "threshold"),
    "CRF, torch": Variant("crf", "crf"),
    "CRF, pydensecrf": Variant("crf", "crf", "pydensecrf"),
}
REFINED = {
    "threshold only": Variant("crf", "threshold"),
    "CRF, torch": Variant("crf", "crf"),
    "PAR": Variant("par", "threshold"),
    "PAR, CRF": Variant("par", "crf"),
    "PSA": Variant("psa", "threshold"),
    "PSA, CRF": Variant("psa", "crf"),
    "IRN": Variant("irn", "threshold"),
    "IRN, CRF": Variant("irn", "crf"),
}
ROWS = {**VARIANTS, **REFINED}
# Column -> digits.
COLUMNS = {"miou": 2, "oracle": 2, "seconds": 3, "mib": 0, "train_seconds": 0, "train_mib": 0}


def run_of(run: Run, variant: Variant, options: Sequence[str]) -> Run:
    """A run of its own with the same seeds, whose masks are made another way, on the CPU."""
    group = {"masks": OmegaConf.load(ROOT / "conf" / "masks" / f"{variant.group}.yaml")}
    own = {
        "run": f"bench/{run.folder.name}_{variant.group}",
        "masks": {"kind": variant.kind, "crf": {"backend": variant.backend}},
        "trainer": {"accelerator": "cpu"},
    }
    merged = OmegaConf.merge(OmegaConf.structured(run.config), group, OmegaConf.from_dotlist(list(options)), own)
    config = OmegaConf.to_object(merged)
    assert isinstance(config, Config)
    other = Run(config)
    train_classifiers(other)  # taken from the run, as its seeds are
    make_seeds(other)
    return Run(dataclasses.replace(config, reuse=False))


def learn(run: Run) -> dict[str, float]:
    """Train what refines the seeds; its seconds and its process's peak."""
    shutil.rmtree(run.folder / "relations", ignore_errors=True)
    start = time.perf_counter()
    train_relations(run)
    return {"train_seconds": time.perf_counter() - start, "train_mib": peak_bytes() / 2**20}


def refine(run: Run) -> float:
    """Write `refined/<id>.npz`; seconds an image."""
    if source_of_masks(run) == "seeds":
        return 0.0
    folder = run.folder / "refined"
    refinement, seconds = Refinement(run), 0.0
    with torch.inference_mode():
        for image_id, image in seed_images(run, run.train_ids):
            seeds = load_seeds(run.folder / "seeds" / f"{image_id}.npz")
            start = time.perf_counter()
            maps = torch.from_numpy(seeds.maps)
            refined = refinement(image, maps) if len(maps) else maps
            save_seeds(folder / f"{image_id}.npz", refined, seeds.classes.tolist(), seeds.size)
            seconds += time.perf_counter() - start
    return seconds / len(run.train_ids)


def measure(run: Run) -> dict[str, float]:
    """Scores at the threshold and at the best near it; seconds an image and peak memory for the former."""
    refining = refine(run)
    maker, num_labels = mask_maker(run, source_of_masks(run)), run.data.num_classes + 1
    threshold = seed_threshold(run, maker.seeds)

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
    chosen = 100 * float(iou(np.sum(at_threshold, axis=0)[0]).mean)
    return {
        "threshold": threshold,
        "miou": chosen,
        "oracle": max(chosen, 100 * float(iou(nearby).mean.max())),
        "seconds": refining + seconds / len(run.score_ids),
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run with seeds and train truth")
    parser.add_argument("options", nargs="*", help="options of the refined masks' runs, as masks.walk.exp_times=5")
    parser.add_argument("--refined", action="store_true", help="beside the CRF alone: PAR, AffinityNet, IRN")
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help="these alone")
    parser.add_argument("--agree", type=int, default=20, help="images that the back ends are compared on")
    parser.add_argument("--threads", type=int, default=2, help="of training")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "masks.json")
    for step in ("learn", "measure"):
        parser.add_argument(f"--{step}", metavar="ROW", help=argparse.SUPPRESS)
    options = parser.parse_intermixed_args()
    keep_freed_memory()
    run = open_run(options.run)
    row = options.learn or options.measure
    if row is not None:
        torch.set_num_threads(options.threads if options.learn else 1)
        print(json.dumps((learn if options.learn else measure)(run_of(run, ROWS[row], options.options))))
        return
    rows = options.rows or list(REFINED if options.refined else VARIANTS)
    common = [options.run, *options.options, "--threads", options.threads]
    learnt: dict[str, dict[str, float]] = {}
    results: dict[str, dict[str, float]] = {}
    for name in rows:
        group = ROWS[name].group
        if ROWS[name].is_learnt and group not in learnt:
            learnt[group] = run_apart(__file__, [*common, "--learn", name])
        results[name] = run_apart(__file__, [*common, "--measure", name]) | learnt.get(group, {})
    table = Table("masks", "threshold", "mIoU", "oracle", "seconds", "MiB", "training s", "MiB")
    for name, figures in results.items():
        shown = (f"{figures[key]:.{digits}f}" if key in figures else "" for key, digits in COLUMNS.items())
        table.add_row(name, f"{figures['threshold']:.3f}", *shown)
    Console(width=100).print(table)
    if {"CRF, torch", "CRF, pydensecrf"} <= {*rows}:
        results["agreement"] = seen = agreement(run, results["CRF, torch"]["threshold"], options.agree)
        print(
            f"{seen['images']} images: {100 * seen['equal'] / seen['pixels']:.4f} % of the pixels have equal labels, "
            f"marginals differ by {seen['marginals_apart']:.1e} at most"
        )
    store(options.out, threads=1, cases=results)


if __name__ == "__main__":
    main()
