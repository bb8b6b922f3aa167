"""mIoU at many background thresholds in one pass over the pixels."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsss.labels import VOID
from wsss.metrics.confusion import check_labels, iou


class Sweep(NamedTuple):
    """Scores at each of T thresholds: confusion (T, L, L), IoU per label (T, L), mean IoU (T,)."""

    thresholds: NDArray[np.float64]
    confusion: NDArray[np.int64]
    iou: NDArray[np.float64]
    miou: NDArray[np.float64]

    @property
    def best(self) -> int:
        """Index of the best mean IoU: the oracle, chosen with the truth it is scored on."""
        return int(self.miou.argmax())


class ThresholdCounter:
    """Counts (true label, best class, score bucket); the confusion at every threshold is a cumulative sum.

    Args:
        thresholds: ascending background scores; like the maps they are compared as float32.
        num_labels: L, background counted.
    """

    def __init__(self, thresholds: Sequence[float] | NDArray[np.floating], num_labels: int) -> None:
        self.thresholds = np.asarray(thresholds, np.float64)
        if self.thresholds.ndim != 1 or not len(self.thresholds) or not (np.diff(self.thresholds) > 0).all():
            raise ValueError(f"expected ascending thresholds, got {thresholds}")
        self.num_labels = num_labels
        self.counts = np.zeros((num_labels, num_labels, len(self.thresholds) + 1), np.int64)

    def update(
        self, maps: NDArray[np.floating], classes: Sequence[int] | NDArray[np.integer], truth: NDArray[np.integer]
    ) -> None:
        """Add one image.

        Args:
            maps: (K, H, W) at the truth's size.
            classes: zero-based ids of the K maps.
            truth: (H, W) labels, 255 void.

        Raises:
            ValueError: if sizes disagree or a true label or a class is out of range.
        """
        if maps.shape[1:] != truth.shape or len(maps) != len(classes):
            raise ValueError(f"expected maps {(len(classes), *truth.shape)}, got {maps.shape}")
        known = truth != VOID
        labels = truth[known].astype(np.int64)
        check_labels("truth", labels, self.num_labels)
        if len(classes) and not 0 <= min(classes) <= max(classes) < self.num_labels - 1:
            raise ValueError(f"classes: expected 0 to {self.num_labels - 2}, got {min(classes)} to {max(classes)}")
        T = len(self.thresholds)
        if len(maps):
            best = maps.argmax(axis=0)  # first maximum wins
            scores = np.take_along_axis(maps, best[None], axis=0)[0][known]
            predicted = np.asarray(classes, np.int64)[best][known] + 1
            # Number of thresholds strictly below the score: a score equal to the threshold is background.
            bucket = np.searchsorted(self.thresholds.astype(np.float32), scores.astype(np.float32), side="left")
        else:
            predicted, bucket = np.zeros_like(labels), np.zeros_like(labels)
        flat = (labels * self.num_labels + predicted) * (T + 1) + bucket
        self.counts += np.bincount(flat, minlength=self.counts.size).reshape(self.counts.shape)

    def compute(self) -> Sweep:
        """Scores at every threshold over all images so far."""
        # Pixels whose score lies above threshold t are those in buckets t + 1 and higher.
        above = self.counts[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]  # (L, L, T)
        confusion = np.moveaxis(above, -1, 0).copy()  # (T, L, L)
        confusion[..., 0] = self.counts.sum(axis=(1, 2)) - confusion[..., 1:].sum(axis=-1)
        scores = iou(confusion)
        return Sweep(self.thresholds, confusion, scores.per_label, scores.mean)


def threshold_sweep(
    images: Iterable[tuple[NDArray[np.floating], Sequence[int] | NDArray[np.integer], NDArray[np.integer]]],
    num_labels: int,
    thresholds: Sequence[float] | NDArray[np.floating],
) -> Sweep:
    """Score seeds against the truth at every background threshold, pooled over the data set.

    Args:
        images: (maps (K, H, W), zero-based class ids, truth (H, W)) of each image.
        num_labels: L, background counted.
        thresholds: ascending background scores; a score equal to one is background.

    Example:
        >>> maps, truth = np.array([[[0.2, 0.6, 0.9]]]), np.array([[0, 0, 1]])
        >>> threshold_sweep([(maps, [0], truth)], num_labels=2, thresholds=[0.1, 0.6]).miou.round(2)
        array([0.17, 1.  ])
    """
    counter = ThresholdCounter(thresholds, num_labels)
    for maps, classes, truth in images:
        counter.update(maps, classes, truth)
    return counter.compute()
