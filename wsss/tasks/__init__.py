from wsss.tasks.averaging import MovingAverage
from wsss.tasks.classification import ClassifierTask, ReCAMTask
from wsss.tasks.losses import balanced_weights, mask_loss
from wsss.tasks.optim import make_optimizer, poly
from wsss.tasks.segmentation import SegmenterTask

__all__ = [
    "ClassifierTask",
    "MovingAverage",
    "ReCAMTask",
    "SegmenterTask",
    "balanced_weights",
    "make_optimizer",
    "mask_loss",
    "poly",
]
