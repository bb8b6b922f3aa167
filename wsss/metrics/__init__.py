from wsss.metrics.audit import Activation, ErrorSplit, activation, agreement, error_split, robust_scores
from wsss.metrics.boundary import BOUNDARY, boundary_counts, boundary_iou
from wsss.metrics.confusion import ABSENT, IoU, confusion_matrix, iou
from wsss.metrics.scores import VOID_POLICIES, Scores, scores
from wsss.metrics.sweep import Sweep, ThresholdCounter, threshold_sweep

__all__ = [
    "ABSENT",
    "BOUNDARY",
    "VOID_POLICIES",
    "Activation",
    "ErrorSplit",
    "IoU",
    "Scores",
    "Sweep",
    "ThresholdCounter",
    "activation",
    "agreement",
    "boundary_counts",
    "boundary_iou",
    "confusion_matrix",
    "error_split",
    "iou",
    "robust_scores",
    "scores",
    "threshold_sweep",
]
