from wsss.metrics.audit import Activation, ErrorSplit, activation, agreement, error_split, robust_scores
from wsss.metrics.boundary import BOUNDARY, boundary_counts, boundary_iou
from wsss.metrics.confusion import ABSENT, IoU, confusion_matrix, iou
from wsss.metrics.scores import VOID_POLICIES, Scores, scores
from wsss.metrics.sweep import Sweep, ThresholdCounter, threshold_sweep
from wsss.metrics.wsol import (
    FRACTION,
    IOUS,
    Components,
    Localization,
    LocalizationCounter,
    PixelCounter,
    box_from_map,
    box_iou,
    components_from_map,
)

__all__ = [
    "ABSENT",
    "BOUNDARY",
    "FRACTION",
    "IOUS",
    "VOID_POLICIES",
    "Activation",
    "Components",
    "ErrorSplit",
    "IoU",
    "Localization",
    "LocalizationCounter",
    "PixelCounter",
    "Scores",
    "Sweep",
    "ThresholdCounter",
    "activation",
    "agreement",
    "boundary_counts",
    "boundary_iou",
    "box_from_map",
    "box_iou",
    "components_from_map",
    "confusion_matrix",
    "error_split",
    "iou",
    "robust_scores",
    "scores",
    "threshold_sweep",
]
