from wsss.models.architectures import NETWORKS, build_segmentation, check_segmentation
from wsss.models.backbones import Backbone, build_backbone
from wsss.models.classifier import Classifier
from wsss.models.deeplab import DeepLabV1, DeepLabV2, DeepLabV3, DeepLabV3Plus
from wsss.models.folding import fold_batch_norm
from wsss.models.inference import Inference, coarse_logits, full_logits, grown_labels, predict_labels
from wsss.models.irn import IRN, AffinityNet, Relations
from wsss.models.recam import ReCAMClassifier, ReCAMVariant, map_weight, recam_loss, reweight
from wsss.models.segmentation import MultiScaleInputs, SegmentationNetwork
from wsss.models.segmenter import Segmenter, load_segmenter

__all__ = [
    "IRN",
    "NETWORKS",
    "AffinityNet",
    "Backbone",
    "Classifier",
    "DeepLabV1",
    "DeepLabV2",
    "DeepLabV3",
    "DeepLabV3Plus",
    "Inference",
    "MultiScaleInputs",
    "ReCAMClassifier",
    "ReCAMVariant",
    "Relations",
    "SegmentationNetwork",
    "Segmenter",
    "build_backbone",
    "build_segmentation",
    "check_segmentation",
    "coarse_logits",
    "fold_batch_norm",
    "full_logits",
    "grown_labels",
    "load_segmenter",
    "map_weight",
    "predict_labels",
    "recam_loss",
    "reweight",
]
