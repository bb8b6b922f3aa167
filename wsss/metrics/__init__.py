from wsss.metrics.boundary import BOUNDARY, boundary_counts, boundary_iou
from wsss.metrics.confusion import ABSENT, IoU, confusion_matrix, iou
from wsss.metrics.scores import VOID_POLICIES, Scores, scores
from wsss.metrics.sweep import Sweep, ThresholdCounter, threshold_sweep

__all__ = [
    "ABSENT",
    "BOUNDARY",
    "VOID_POLICIES",
    "IoU",
    "Scores",
    "Sweep",
    "ThresholdCounter",
    "boundary_counts",
    "boundary_iou",
    "confusion_matrix",
    "iou",
    "scores",
    "threshold_sweep",
]
