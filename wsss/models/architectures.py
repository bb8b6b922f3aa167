"""Segmentation networks by name."""

from collections.abc import Mapping
from typing import Any

from wsss.errors import InputError
from wsss.models.backbones import build_backbone
from wsss.models.deeplab import DeepLabV3Plus
from wsss.models.segmentation import SegmentationNetwork

_DEEPLABS = {"deeplab_v3plus": DeepLabV3Plus}


def build_segmentation(
    name: str, num_labels: int, *, backbone: Mapping[str, Any], head: Mapping[str, Any]
) -> SegmentationNetwork:
    """Build a segmentation network.

    Args:
        name: deeplab_v3plus.
        num_labels: classes with background, L.
        backbone: arguments of `build_backbone`.
        head: further arguments of the network.

    Raises:
        InputError: for an unknown name, or what `build_backbone` raises.
    """
    if name not in _DEEPLABS:
        raise InputError(f"segmenter.name={name}: expected one of {', '.join(_DEEPLABS)}")
    return _DEEPLABS[name](build_backbone(**backbone), num_labels, **head)
