from wsss.metrics.confusion import IoU, confusion_matrix, iou
from wsss.metrics.sweep import Sweep, ThresholdCounter, threshold_sweep

__all__ = ["IoU", "Sweep", "ThresholdCounter", "confusion_matrix", "iou", "threshold_sweep"]
