"""Time of scoring label maps against the obvious loops over labels, and torchmetrics.

    python benchmarks/evaluation.py [--images 500]

Label maps are random: smooth regions of 375 × 500 pixels with a band of void in the truth, 21 labels, predictions that
differ from the truth along borders and in spots; making them is not timed. Image by image both ways are timed in turn,
so that whatever else the machine does slows both alike, and their figures must be equal.

- scores: IoU, accuracy and precision per label. The loop compares both maps with each label.
- boundary IoU: the loop erodes the mask of each label that occurs (`scipy.ndimage.binary_erosion`).
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import wsss  # noqa: F401  isort: skip  (makes torchvision importable, which torchmetrics does)
import numpy as np
import torch
from measuring import Comparison, store
from numpy.typing import NDArray
from rich.console import Console
from scipy.ndimage import binary_erosion, gaussian_filter
from torchmetrics.functional.classification import multiclass_confusion_matrix

from wsss.metrics import BOUNDARY, boundary_counts, confusion_matrix

ROOT = Path(__file__).resolve().parents[1]
TARGET = 5
NUM_LABELS, VOID = 21, 255
LabelMap = NDArray[np.uint8]


def random_pairs(count: int) -> Iterator[tuple[LabelMap, LabelMap]]:
    """Truths and predictions (H, W); a handful of them, turned and mirrored."""
    rng = np.random.default_rng(0)
    pool = []
    for _ in range(8):
        values = np.array([0, *rng.choice(np.arange(1, NUM_LABELS), 3, replace=False)], np.uint8)
        noise = gaussian_filter(rng.standard_normal((4, 375, 500)), (0, 25, 25))
        truth = values[noise.argmax(axis=0)]
        truth[:6] = VOID
        noise += 0.5 * noise.std() * gaussian_filter(rng.standard_normal(noise.shape), (0, 2, 2)) / 0.14
        pool.append((truth, values[noise.argmax(axis=0)]))
    for number in range(count):
        truth, prediction = pool[number % len(pool)]
        turn = slice(None, None, -1 if number // len(pool) % 2 else 1)
        yield np.ascontiguousarray(truth[turn]), np.ascontiguousarray(prediction[turn])


def loop_scores(truth: LabelMap, prediction: LabelMap) -> NDArray[np.int64]:
    """Pixels in both, in the truth and in the prediction, (3, L)."""
    known = truth != VOID
    counts = np.zeros((3, NUM_LABELS), np.int64)
    for label in range(NUM_LABELS):
        true, predicted = (truth == label) & known, (prediction == label) & known
        counts[:, label] = (true & predicted).sum(), true.sum(), predicted.sum()
    return counts


def own_scores(truth: LabelMap, prediction: LabelMap) -> NDArray[np.int64]:
    """As `loop_scores`."""
    confusion = confusion_matrix(truth, prediction, NUM_LABELS)
    return np.stack([confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)[:-1]])


def peer_scores(truth: LabelMap, prediction: LabelMap) -> NDArray[np.int64]:
    """As `loop_scores`, by torchmetrics without its checks."""
    maps = (torch.from_numpy(labels).long() for labels in (prediction, truth))
    confusion = multiclass_confusion_matrix(*maps, NUM_LABELS, ignore_index=VOID, validate_args=False).numpy()
    return np.stack([confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)])


def loop_boundary(truth: LabelMap, prediction: LabelMap) -> NDArray[np.int64]:
    """Pixels of intersection and union of the bands, (2, L)."""
    distance = round(BOUNDARY * math.hypot(*truth.shape))
    counts = np.zeros((2, NUM_LABELS), np.int64)
    for label in np.unique(np.stack([truth, prediction])):
        if label == VOID:
            continue
        masks = ((labels == label) & (truth != VOID) for labels in (truth, prediction))
        true, predicted = (mask & ~binary_erosion(mask, np.ones((3, 3)), distance) for mask in masks)
        counts[:, label] = (true & predicted).sum(), (true | predicted).sum()
    return counts


def own_boundary(truth: LabelMap, prediction: LabelMap) -> NDArray[np.int64]:
    """As `loop_boundary`."""
    return boundary_counts(truth, prediction, NUM_LABELS)


CASES: dict[str, dict[str, Callable[[LabelMap, LabelMap], NDArray[np.int64]]]] = {
    "scores": {"wsss": own_scores, "plain loop": loop_scores, "torchmetrics": peer_scores},
    "boundary IoU": {"wsss": own_boundary, "plain loop": loop_boundary},
}


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="Scores of label maps against plain loops.")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "evaluation.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    measured = {case: time_in_turn(ways, options.images) for case, ways in CASES.items()}
    for case, seconds in measured.items():
        own = seconds["wsss"]
        others = ", ".join(f"{way} {s:.2f} s ({s / own:.1f} ×)" for way, s in seconds.items() if way != "wsss")
        Console(width=120).print(f"{case}, {options.images} images: wsss {own:.2f} s, {others}")
    compared = [
        Comparison(
            what=f"{case}, {options.images} images of 375 × 500",
            peer=way,
            seconds=seconds["wsss"],
            peer_seconds=s,
            faster=s / seconds["wsss"],
            target=TARGET if (case, way) == ("scores", "plain loop") else None,
        )
        for case, seconds in measured.items()
        for way, s in seconds.items()
        if way != "wsss"
    ]
    store(options.out, threads=1, cases=measured, compared=compared)


def time_in_turn(ways: dict[str, Callable[[LabelMap, LabelMap], NDArray[np.int64]]], count: int) -> dict[str, float]:
    """Seconds of each way for all images."""
    seconds = dict.fromkeys(ways, 0.0)
    for truth, prediction in random_pairs(count):
        found = {}
        for way, call in ways.items():
            start = time.perf_counter()
            found[way] = call(truth, prediction)
            seconds[way] += time.perf_counter() - start
        for way, counts in found.items():
            if not np.array_equal(counts, found["wsss"]):
                sys.exit(f"{way} counts otherwise")
    return seconds


if __name__ == "__main__":
    main()
