"""Defaults and names that options and scripts share with what they choose, which is not loaded to read them."""

from dataclasses import dataclass

BACKENDS = ("torch", "pydensecrf")  # of the dense CRF
BOUNDARY = 0.02  # width of the band along contours as a share of the image's diagonal, as published
STEPS = ("classifier", "recam", "seeds", "masks", "segmenter", "report")  # of the pipeline, where it may end
PERCENTILES = (10, 30, 50, 70, 90)  # of the pixels that ROAD removes
LABEL_MAPS = ("masks", "predictions")  # what a run has to export
EXPORT_FORMATS = ("coco", "yolo", "voc", "png")
SEGMENTATIONS = ("rle", "polygons")  # of COCO's annotations
COMPETITIONS = ("comp5", "comp6")  # of VOC's server
COCO_CROWDS = ("class", "void")  # what crowd regions are drawn as
COCO_VALUES = ("contiguous", "category")  # what the values of masks of COCO are
VOC_SAMPLES = ("voc300",)  # of each, prepare/lists/ has <name>_train.txt and <name>_val.txt


@dataclass
class CRFParams:
    """Parameters of the dense CRF; defaults are IRN's and ReCAM's.

    Attributes:
        iterations: mean-field steps.
        gt_prob: confidence in the labels the CRF starts from, in (0.5, 1).
        gaussian_sxy: standard deviation of the smoothness kernel, pixels.
        gaussian_compat: its weight.
        bilateral_sxy: spatial standard deviation of the appearance kernel, pixels.
        bilateral_srgb: its colour standard deviation, grey levels 0 … 255.
        bilateral_compat: its weight.
        backend: torch (own, CPUs and GPUs) or pydensecrf (the C++ reference, an extra); their arg max is the same.
    """

    iterations: int = 10
    gt_prob: float = 0.7
    gaussian_sxy: float = 3.0
    gaussian_compat: float = 3.0
    bilateral_sxy: float = 50.0
    bilateral_srgb: float = 5.0
    bilateral_compat: float = 10.0
    backend: str = "torch"
