from wsss.tasks.classification import ClassifierTask, ReCAMTask
from wsss.tasks.optim import make_optimizer, poly
from wsss.tasks.segmentation import SegmenterTask

__all__ = ["ClassifierTask", "ReCAMTask", "SegmenterTask", "make_optimizer", "poly"]
