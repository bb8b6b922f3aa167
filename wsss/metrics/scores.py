"""What a pooled confusion matrix says about a segmenter."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsss.metrics.confusion import iou, label_mean, marginals, ratio

# What becomes of pixels that are void in the prediction, see `scores`.
VOID_POLICIES = ("wrong", "ignore")


class Scores(NamedTuple):
    """Figures in [0, 1]; those of labels are (L,) and NaN for 0 / 0.

    With n_ij the pixels of true label i and predicted label j, t_i the pixels of true label i and p_j those predicted
    as j (Long et al., CVPR 2015, but for precision and coverage):

    Attributes:
        iou: n_ii / (t_i + p_i − n_ii).
        accuracy: n_ii / t_i, the recall.
        precision: n_ii / p_i.
        miou: mean of `iou` over the labels.
        mean_accuracy: mean of `accuracy`.
        mean_precision: mean of `precision`.
        pixel_accuracy: Σ n_ii / Σ t_i.
        frequency_weighted_iou: Σ t_i IoU_i / Σ t_i.
        coverage: share of the pixels with a true label whose prediction is not void.
    """

    iou: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    precision: NDArray[np.float64]
    miou: float
    mean_accuracy: float
    mean_precision: float
    pixel_accuracy: float
    frequency_weighted_iou: float
    coverage: float


def scores(confusion: NDArray[np.integer], *, void: str = "wrong", absent: str = "skip") -> Scores:
    """Every figure from one confusion matrix, pooled over the data set.

    Args:
        confusion: counts (L, L + 1) as `confusion_matrix` gives them, predicted void last.
        void: what a predicted void is: `wrong`, a miss of the true label that is no prediction of another, or `ignore`,
            left out like void in the truth.
        absent: see `label_mean`. A label in the prediction alone has IoU 0 either way.

    Raises:
        ValueError: for another shape or policy, or counts of no pixel at all.
    """
    num_labels = len(confusion)
    if confusion.shape != (num_labels, num_labels + 1):
        raise ValueError(f"expected counts (L, L + 1), got {confusion.shape}")
    if void not in VOID_POLICIES:
        raise ValueError(f"expected void to be one of {', '.join(VOID_POLICIES)}, got {void}")
    covered = confusion[:, :num_labels]
    if not confusion.any() or (void == "ignore" and not covered.any()):
        raise ValueError("expected pixels with a label, found none that is not void")
    counted = confusion if void == "wrong" else covered
    agreed, true, predicted = marginals(counted)
    per_label, accuracy, precision = iou(counted).per_label, ratio(agreed, true), ratio(agreed, predicted)
    return Scores(
        iou=per_label,
        accuracy=accuracy,
        precision=precision,
        miou=float(label_mean(per_label, absent=absent)),
        mean_accuracy=float(label_mean(accuracy, absent=absent)),
        mean_precision=float(label_mean(precision, absent=absent)),
        pixel_accuracy=float(agreed.sum() / true.sum()),
        frequency_weighted_iou=float(true @ np.nan_to_num(per_label) / true.sum()),
        coverage=float(covered.sum() / confusion.sum()),
    )
