"""Confusion counts and what follows from them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsss.labels import VOID


def confusion_matrix(truth: NDArray[np.integer], prediction: NDArray[np.integer], num_labels: int) -> NDArray[np.int64]:
    """Count pixels by (true label, predicted label).

    Args:
        truth: labels 0 … L-1, or 255 where there is no opinion (left out).
        prediction: labels 0 … L-1, or 255 for void, which never agrees with the truth.
        num_labels: L, background counted.

    Returns:
        (L, L + 1): rows truth, columns prediction, the last column predicted void.

    Raises:
        ValueError: if shapes differ or a label is out of range.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"expected a prediction of the truth's shape {truth.shape}, got {prediction.shape}")
    known = truth != VOID
    rows, columns = truth[known].astype(np.int64), prediction[known].astype(np.int64)
    void = columns == VOID
    check_labels("truth", rows, num_labels)
    check_labels("prediction", columns[~void], num_labels)
    columns[void] = num_labels
    counts = np.bincount(rows * (num_labels + 1) + columns, minlength=num_labels * (num_labels + 1))
    return counts.reshape(num_labels, num_labels + 1)


def check_labels(name: str, labels: NDArray[np.integer], num_labels: int) -> None:
    """Refuse labels that are neither in 0 … L-1 nor void, which the caller has left out."""
    if labels.size and not 0 <= labels.min() <= labels.max() < num_labels:
        raise ValueError(
            f"{name}: expected labels 0 to {num_labels - 1} or {VOID}, got {labels.min()} to {labels.max()}; "
            "correct the label maps or the list of classes"
        )


class IoU(NamedTuple):
    """Intersection over union per label (…, L), NaN where it occurs in neither truth nor prediction; their mean."""

    per_label: NDArray[np.float64]
    mean: NDArray[np.float64]


def iou(confusion: NDArray[np.integer]) -> IoU:
    """IoU from pooled confusion counts (…, L, L) or (…, L, L + 1).

    The mean skips labels that occur in neither truth nor prediction, as chainercv and the field's tables do.
    """
    num_labels = confusion.shape[-2]
    diagonal = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)  # (…, L)
    union = confusion.sum(-1) + confusion.sum(-2)[..., :num_labels] - diagonal
    per_label = np.divide(diagonal, union, out=np.full_like(diagonal, np.nan), where=union > 0)
    present = ~np.isnan(per_label)
    total = np.where(present, per_label, 0).sum(-1)
    return IoU(per_label, total / np.maximum(present.sum(-1), 1))
