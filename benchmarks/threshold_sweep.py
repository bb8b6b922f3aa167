"""Time of a sweep of 60 background thresholds against evaluations at one threshold by the obvious loop.

    python benchmarks/threshold_sweep.py [--images 1464]

Images are random: three smooth maps of 375 × 500 pixels and a truth with void; making them is not timed. The loop takes
an image at a time: arg max of a background plane and the maps, labels, confusion counts. Both give the same mIoU, which
is checked.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.ndimage
from measuring import Comparison, store
from numpy.typing import NDArray
from rich.console import Console

from wsss.masks import local_labels, to_labels
from wsss.metrics import ThresholdCounter, confusion_matrix, iou

ROOT = Path(__file__).resolve().parents[1]
THRESHOLDS = np.arange(60) / 60
NUM_LABELS = 21
MOST = 2  # single evaluations that the sweep was meant to cost at most
Image = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.uint8]]


def random_images(count: int) -> Iterator[Image]:
    """Maps (3, H, W), their classes, the truth; a handful of them, turned and mirrored."""
    rng = np.random.default_rng(0)
    pool = []
    for _ in range(8):
        maps = scipy.ndimage.gaussian_filter(rng.standard_normal((3, 375, 500)), (0, 20, 20)).clip(0)
        maps = (maps / maps.max(axis=(1, 2), keepdims=True)).astype(np.float32)
        classes = np.sort(rng.choice(NUM_LABELS - 1, 3, replace=False))
        truth = to_labels(local_labels(np.roll(maps, 15, axis=1), 0.3), classes)
        truth[:, :10] = 255
        pool.append((maps, classes, truth))
    for number in range(count):
        maps, classes, truth = pool[number % len(pool)]
        step = -1 if number // len(pool) % 2 else 1
        yield np.ascontiguousarray(maps[:, ::step]), classes, np.ascontiguousarray(truth[::step])


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="A sweep of 60 thresholds against single evaluations.")
    parser.add_argument("--images", type=int, default=1464, help="VOC's train split has 1,464")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "threshold_sweep.json")
    options = parser.parse_args()
    counter = ThresholdCounter(THRESHOLDS, NUM_LABELS)
    confusion = np.zeros((NUM_LABELS, NUM_LABELS + 1), np.int64)
    threshold, sweep_seconds, single_seconds = float(THRESHOLDS[18]), 0.0, 0.0
    for maps, classes, truth in random_images(options.images):
        start = time.perf_counter()
        counter.update(maps, classes, truth)
        middle = time.perf_counter()
        confusion += confusion_matrix(truth, to_labels(local_labels(maps, threshold), classes), NUM_LABELS)
        sweep_seconds += middle - start
        single_seconds += time.perf_counter() - middle
    swept, single = 100 * float(counter.compute().miou[18]), 100 * float(iou(confusion).mean)
    if abs(swept - single) > 1e-9:
        sys.exit(f"the sweep gives mIoU {swept} at {threshold}, the loop {single}")
    ratio = sweep_seconds / single_seconds
    Console(width=120).print(
        f"{options.images} images: {len(THRESHOLDS)} thresholds {sweep_seconds:.1f} s, one {single_seconds:.1f} s; "
        f"the sweep costs {ratio:.2f} single evaluations"
    )
    count = len(THRESHOLDS)
    compared = Comparison(
        what=f"mIoU at {count} thresholds, {options.images} images",
        peer=f"{count} single evaluations",
        seconds=sweep_seconds,
        peer_seconds=count * single_seconds,
        faster=count / ratio,
        target=count / MOST,
    )
    cases = {"sweep": sweep_seconds, "single": single_seconds, "ratio": ratio}
    store(options.out, threads=1, cases=cases, compared=[compared])


if __name__ == "__main__":
    main()
