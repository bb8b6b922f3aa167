"""Boundary IoU: agreement along contours, where IoU of large regions sees little."""

import math

import numpy as np
from numpy.typing import NDArray

from wsss.defaults import BOUNDARY
from wsss.labels import VOID
from wsss.metrics.confusion import IoU, check_labels, label_mean, pair_histogram, ratio


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
    if void == "ignore":
        truth = np.where(prediction == VOID, VOID, truth)
    prediction = np.where(truth == VOID, VOID, prediction)
    distance = max(round(width * math.hypot(*truth.shape)), 1)
    bands = (np.where(in_band(labels, distance), labels, VOID) for labels in (truth, prediction))
    pairs = pair_histogram(*bands)
    true, predicted = pairs.sum(axis=1)[:VOID], pairs.sum(axis=0)[:VOID]
    check_labels("truth", np.flatnonzero(true), num_labels)
    check_labels("prediction", np.flatnonzero(predicted), num_labels)
    intersection = pairs.diagonal()[:num_labels]
    return np.stack([intersection, true[:num_labels] + predicted[:num_labels] - intersection])


def boundary_iou(counts: NDArray[np.integer], *, absent: str = "skip") -> IoU:
    """Boundary IoU per label from pooled counts (2, L), and its mean, see `label_mean`."""
    per_label = ratio(*counts)
    return IoU(per_label, label_mean(per_label, absent=absent))


def in_band(labels: NDArray[np.uint8], distance: int) -> NDArray[np.bool_]:
    """Pixels (H, W) within `distance` of the contour of the region they belong to, by steps to any of 8 neighbours.

    Erosion by so many passes of a 3 × 3 square keeps the pixels whose square of 2 · distance + 1 pixels lies wholly in
    the region. There no two neighbours differ, whatever the label: one pass serves the masks of all labels.
    """
    span = 2 * distance
    padded = np.pad(labels, distance, mode="edge")  # (H + span, W + span), without a difference that is not inside too
    across = _any_in_window(padded[:, 1:] != padded[:, :-1], span, axis=1)  # (H + span, W)
    down = _any_in_window(padded[1:] != padded[:-1], span + 1, axis=1)  # (H + span - 1, W)
    band = _any_in_window(across[1:] | across[:-1] | down, span, axis=0)  # (H, W)
    for border in (band, band.T):
        border[:distance] = border[-distance:] = True
    return band


def _any_in_window(flags: NDArray[np.bool_], length: int, *, axis: int) -> NDArray[np.bool_]:
    """Whether any of `length` neighbours along `axis` is set, for each place of the window; windows double in turn."""
    flags = np.moveaxis(flags, axis, 0)
    reach = 1
    while reach < length:
        step = min(reach, length - reach)
        flags = flags[step:] | flags[:-step]
        reach += step
    return np.moveaxis(flags, 0, axis)
