"""Boundary IoU: agreement along contours, where IoU of large regions sees little."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from wsss.labels import VOID
from wsss.metrics.confusion import IoU, check_labels, label_mean, ratio

# Width of the band along contours as a share of the image's diagonal, as published.
BOUNDARY = 0.02


def boundary_counts(
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    num_labels: int,
    *,
    width: float = BOUNDARY,
    void: str = "wrong",
) -> NDArray[np.int64]:
    """Pixels of each label in the bands of truth and prediction: (2, L), intersection and union.

    Boundary IoU of a label is |G_d ∩ P_d| / |G_d ∪ P_d|, from Cheng et al., CVPR 2021: of its true mask G and its
    predicted mask P only the pixels are kept that lie within d of the mask's contour; d is `width` times the image's
    diagonal. As in the authors' code (https://github.com/bowenc0221/boundary-iou-api) the band is the mask minus its
    erosion by d passes of a 3 × 3 square, and what is outside the image counts as outside the mask.

    Void in the truth belongs to no mask, neither true nor predicted, so that a prediction which is right wherever there
    is truth scores 1. Counts of images add up; the authors score objects one by one instead.

    Args:
        truth: labels (H, W), 255 void.
        prediction: labels (H, W), 255 void.
        num_labels: L, background counted.
        width: share of the diagonal.
        void: what a predicted void is, see `scores`.

    Raises:
        ValueError: if shapes differ or a label is out of range.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"expected a prediction of the truth's shape {truth.shape}, got {prediction.shape}")
    is_left_out = (truth == VOID) | (prediction == VOID) if void == "ignore" else truth == VOID
    truth, prediction = np.where(is_left_out, VOID, truth), np.where(is_left_out, VOID, prediction)
    distance = max(round(width * math.hypot(*truth.shape)), 1)
    true, predicted = in_band(truth, distance), in_band(prediction, distance)
    agreed = truth[true & predicted & (truth == prediction)]
    intersection = _count("truth", agreed, num_labels)
    union = _count("truth", truth[true], num_labels) + _count("prediction", prediction[predicted], num_labels)
    return np.stack([intersection, union - intersection])


def boundary_iou(counts: NDArray[np.integer], *, absent: str = "skip") -> IoU:
    """Boundary IoU per label from pooled counts (2, L), and its mean, see `label_mean`."""
    per_label = ratio(*counts)
    return IoU(per_label, label_mean(per_label, absent=absent))


def in_band(labels: NDArray[np.uint8], distance: int) -> NDArray[np.bool_]:
    """Pixels (H, W) within `distance` of the contour of the region they belong to, by steps to any of 8 neighbours.

    Erosion by so many passes of a 3 × 3 square keeps the pixels whose square of 2 · distance + 1 pixels lies wholly in
    the region. There all labels are one, smallest and largest alike: two filters serve the masks of all labels at once.
    """
    size = 2 * distance + 1
    smallest, largest = labels, labels
    for axis in (0, 1):
        smallest = minimum_filter1d(smallest, size, axis, mode="constant", cval=0)
        largest = maximum_filter1d(largest, size, axis, mode="constant", cval=VOID)
    # Outside the image is 0 for the one and 255 for the other, which never agree.
    return np.asarray(smallest != largest)


def _count(name: str, labels: NDArray[np.uint8], num_labels: int) -> NDArray[np.int64]:
    counts = np.bincount(labels, minlength=256)[:VOID]
    check_labels(name, np.flatnonzero(counts), num_labels)
    return counts[:num_labels]
