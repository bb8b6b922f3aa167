"""Confusion counts and what follows from them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsss.labels import VOID

# What a label that a figure has nothing to count of does to the mean, see `label_mean`.
ABSENT = ("skip", "zero")


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

    Example:
        >>> confusion_matrix(np.array([0, 1, 1, 255]), np.array([0, 1, 0, 1]), num_labels=2)
        array([[1, 0, 0],
               [1, 1, 0]])
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"expected a prediction of the truth's shape {truth.shape}, got {prediction.shape}")
    # All of uint8 is counted: labels are told from what is none afterwards, in the counts.
    counts = pair_histogram(_as_bytes("truth", truth, num_labels), _as_bytes("prediction", prediction, num_labels))
    check_labels("truth", np.flatnonzero(counts[:VOID].any(axis=1)), num_labels)
    check_labels("prediction", np.flatnonzero(counts[:, :VOID].any(axis=0)), num_labels)
    return counts[:num_labels, [*range(num_labels), VOID]]


def pair_histogram(rows: NDArray[np.uint8], columns: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count places by (value in `rows`, value in `columns`), (256, 256)."""
    pairs = rows.astype(np.uint16) << 8 | columns
    return np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)


def _as_bytes(name: str, labels: NDArray[np.integer], num_labels: int) -> NDArray[np.uint8]:
    if labels.dtype != np.uint8:
        check_labels(name, labels[labels != VOID], num_labels)
    return labels.astype(np.uint8, copy=False)


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

    Example:
        >>> iou(np.array([[1, 0], [1, 1]])).per_label
        array([0.5, 0.5])
    """
    agreed, true, predicted = marginals(confusion)
    per_label = ratio(agreed, true + predicted - agreed)
    return IoU(per_label, label_mean(per_label))


def marginals(
    confusion: NDArray[np.integer],
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]:
    """Pixels of each label where truth and prediction agree, in the truth, and in the prediction; each (…, L)."""
    num_labels = confusion.shape[-2]
    return np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1), confusion.sum(-2)[..., :num_labels]


def ratio(part: NDArray[np.integer], whole: NDArray[np.integer]) -> NDArray[np.float64]:
    """Element by element, NaN for 0 / 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def label_mean(per_label: NDArray[np.float64], *, absent: str = "skip") -> NDArray[np.float64]:
    """Mean over the labels (…, L) of a figure that is NaN where there is nothing to count.

    Args:
        per_label: one figure a label.
        absent: `skip` leaves NaN out of the mean, `zero` counts it as 0.

    Raises:
        ValueError: for another `absent`.
    """
    if absent not in ABSENT:
        raise ValueError(f"expected absent to be one of {', '.join(ABSENT)}, got {absent}")
    is_counted = ~np.isnan(per_label) | (absent == "zero")
    return np.nan_to_num(per_label).sum(-1) / np.maximum(is_counted.sum(-1), 1)
