"""Published figures on VOC 2012, and whether one of a run may stand beside them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wsss.data import VOC_CLASSES


class Published(NamedTuple):
    """A published mIoU: of which figure of a run, what was measured on which split, in percent, by whom."""

    key: str
    what: str
    split: str
    miou: str
    source: str


_IRN = "Ahn et al., CVPR 2019"
_RECAM = "Chen et al., CVPR 2022"
PUBLISHED = (
    Published("seeds/miou", "CAM, ResNet-50", "train", "48.3", _IRN),
    Published("masks/miou", "IRN", "train", "66.5", _IRN),
    Published("masks/miou", "ReCAM with IRN", "train", "about 70", f"{_RECAM}; users report 69.9 and 70.8"),
    Published("segmenter/val_miou", "ReCAM, DeepLab-v2 ResNet-101", "val", "68.5", f"{_RECAM}; 68.4 on test"),
    Published("segmenter/val_miou", "the same repeated", "val", "67.8 – 68.3", "five runs of a user"),
    Published(
        "segmenter/supervised_val_miou",
        "DeepLab-v2 ResNet-101 trained on true masks",
        "val",
        "76.7",
        "kazuto1011/deeplab-pytorch; 77.9 with a CRF",
    ),
)
SPLITS = {"train": 1464, "val": 1449}  # images of VOC 2012's segmentation task


def is_comparable(published: Published, classes: Sequence[str], protocol: Mapping[str, object]) -> bool:
    """Whether a figure of a run was measured on the very images of a published one: VOC 2012's whole split."""
    return (
        tuple(classes) == VOC_CLASSES
        and protocol.get("split") == published.split
        and protocol.get("images") == SPLITS[published.split]
    )
