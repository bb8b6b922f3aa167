from wsss.models.backbones import Backbone, build_backbone
from wsss.models.classifier import Classifier
from wsss.models.folding import fold_batch_norm
from wsss.models.recam import ReCAMClassifier, map_weight, recam_loss, reweight
from wsss.models.segmenter import DeepLabV3Plus, Segmenter, load_segmenter

__all__ = [
    "Backbone",
    "Classifier",
    "DeepLabV3Plus",
    "ReCAMClassifier",
    "Segmenter",
    "build_backbone",
    "fold_batch_norm",
    "load_segmenter",
    "map_weight",
    "recam_loss",
    "reweight",
]
