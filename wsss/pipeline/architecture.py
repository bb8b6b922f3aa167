"""The segmentation network that a run's options describe."""

from dataclasses import asdict
from typing import Any, NamedTuple

from wsss.errors import InputError
from wsss.models import check_segmentation
from wsss.pipeline.config import Config

_OPTIONS = (
    *("channels", "atrous_rates", "skip_stage", "skip_channels", "separable", "multi_scale_inputs"),
    *("arch", "encoder", "encoder_weights"),  # of smp
)


class Architecture(NamedTuple):
    """Arguments of `wsss.models.build_segmentation`; options left null are left to the network."""

    name: str
    backbone: dict[str, Any]
    head: dict[str, Any]


def architecture(config: Config) -> Architecture:
    """The segmenter's network as the options say."""
    options = config.segmenter
    head = _given({name: getattr(options, name) for name in _OPTIONS})
    if options.name == "smp":
        backbone = {"name": head.pop("encoder", "resnet34"), "weights": head.pop("encoder_weights", "imagenet")}
    else:
        backbone = {**asdict(config.backbone), **_given(asdict(options.backbone))}
        if options.init == "classifier":
            backbone["weights"] = "none"
    if options.output_stride is not None:
        backbone["output_stride"] = options.output_stride
    return Architecture(options.name, backbone, head)


def check_architecture(config: Config) -> None:
    """Refuse options of the network that cannot work, before any step.

    Raises:
        InputError: naming the option.
    """
    options = config.segmenter
    is_smp = options.name == "smp"
    own = _given(asdict(options.backbone))
    if is_smp and own:
        option, value = next(iter(own.items()))
        raise InputError(f"segmenter.backbone.{option}={value}: expected null, smp's networks have an encoder instead")
    name, backbone, head = architecture(config)
    check_segmentation(name, backbone=backbone, head=head)
    if options.init == "classifier" and (is_smp or backbone["name"] != config.backbone.name):
        option = "segmenter.encoder" if is_smp else "segmenter.backbone.name"
        raise InputError(
            f"segmenter.init=classifier: expected imagenet, since {option}={backbone['name']} cannot start from the "
            f"classifier's {config.backbone.name}"
        )


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Those that are not left null."""
    return {name: value for name, value in options.items() if value is not None}
