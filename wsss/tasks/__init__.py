from wsss.tasks.averaging import MovingAverage
from wsss.tasks.classification import ClassifierTask, ReCAMTask
from wsss.tasks.losses import balanced_weights, mask_loss
from wsss.tasks.optim import make_optimizer, poly
from wsss.tasks.relations import RelationTask, affinity_loss, displacement_loss, pair_labels
from wsss.tasks.segmentation import SegmenterTask

__all__ = [
    "ClassifierTask",
    "MovingAverage",
    "ReCAMTask",
    "RelationTask",
    "SegmenterTask",
    "affinity_loss",
    "balanced_weights",
    "displacement_loss",
    "make_optimizer",
    "mask_loss",
    "pair_labels",
    "poly",
]
