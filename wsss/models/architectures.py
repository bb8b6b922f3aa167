"""Segmentation networks by name."""

import inspect
from collections.abc import Mapping
from typing import Any

from wsss.errors import InputError
from wsss.models.backbones import build_backbone
from wsss.models.deeplab import DeepLabV1, DeepLabV2, DeepLabV3, DeepLabV3Plus
from wsss.models.segmentation import MultiScaleInputs, SegmentationNetwork
from wsss.models.smp import SMPNetwork, check_smp

_DEEPLABS = {
    "deeplab_v1": DeepLabV1,
    "deeplab_v2": DeepLabV2,
    "deeplab_v3": DeepLabV3,
    "deeplab_v3plus": DeepLabV3Plus,
}
NETWORKS = (*_DEEPLABS, "smp")


def build_segmentation(
    name: str, num_labels: int, *, backbone: Mapping[str, Any], head: Mapping[str, Any]
) -> SegmentationNetwork:
    """Build a segmentation network.

    Args:
        name: one of `NETWORKS`.
        num_labels: classes with background, L.
        backbone: arguments of `build_backbone`; of smp's networks their encoder, see `SMPNetwork`.
        head: further arguments of the network, which has a default for each; of all networks
            multi_scale_inputs: scales besides 1 at which each image is seen, see `MultiScaleInputs`.

    Raises:
        InputError: for what `check_segmentation` refuses, or what `build_backbone` raises.
    """
    check_segmentation(name, backbone=backbone, head=head)
    options = dict(head)
    scales = options.pop("multi_scale_inputs", ())
    network: SegmentationNetwork
    if name == "smp":
        network = SMPNetwork(dict(backbone), num_labels, **options)
    else:
        network = _DEEPLABS[name](build_backbone(**backbone), num_labels, **options)
    return MultiScaleInputs(network, scales) if scales else network


def check_segmentation(name: str, *, backbone: Mapping[str, Any], head: Mapping[str, Any]) -> None:
    """Refuse arguments of `build_segmentation`, as far as that needs no network to be built.

    Raises:
        InputError: for an unknown name, or an option that this network does not have.
    """
    if name not in NETWORKS:
        raise InputError(f"segmenter.name={name}: expected one of {', '.join(NETWORKS)}")
    known = [*_options(SMPNetwork if name == "smp" else _DEEPLABS[name]), "multi_scale_inputs"]
    for option, value in head.items():
        if option not in known:
            raise InputError(
                f"segmenter.{option}={value}: expected null, {name} has no such option; it has {', '.join(known)}"
            )
    if name == "smp":
        check_smp(head.get("arch", "Unet"), dict(backbone))


def _options(network: type[SegmentationNetwork]) -> list[str]:
    """Names of a network's keyword arguments."""
    parameters = inspect.signature(network).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
