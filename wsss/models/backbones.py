"""Backbones as ordered, named stages.

Whatever the network (torchvision's ResNets and VGG-16, anything timm lists), a backbone maps images to a dict
`stage1 … stage5`, shallow to deep, and tells each stage's channels and stride. LayerCAM stages, dilation, segmentation
skip connections and the configs all speak of these names.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import timm
import torch
import torchvision
from timm.models.efficientnet import EfficientNetFeatures
from torch import Tensor, nn

from wsss.errors import InputError, first_line
from wsss.models.weights import IMAGENET_MEAN, IMAGENET_STD, load_packaged, load_weights

OUTPUT_STRIDES = (8, 16, 32)


class Backbone(nn.Module):
    """A stack of stages, run in order.

    Args:
        stages: modules from shallow to deep; each takes the one before's output.
        channels: output channels of each stage.
        strides: input pixels per cell of each stage's output.
        mean: subtracted from images in [0, 1], per channel; kept as a buffer so that it travels with the weights.
        std: divides them.
        frozen_stages: stages whose weights never change.
        freeze_norm: use the running statistics of batch normalisation in training too (the affine part still learns).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        stages: Sequence[nn.Module],
        *,
        channels: Sequence[int],
        strides: Sequence[int],
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        frozen_stages: Sequence[str] = (),
        freeze_norm: bool = False,
    ) -> None:
        super().__init__()
        names = [f"stage{i + 1}" for i in range(len(stages))]
        self.stages = nn.ModuleDict(dict(zip(names, stages, strict=True)))
        self.channels = OrderedDict(zip(names, channels, strict=True))
        self.strides = OrderedDict(zip(names, strides, strict=True))
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))
        self.freeze_norm = freeze_norm
        self.is_frozen = False
        self.frozen_stages = tuple(frozen_stages)
        for name in self.frozen_stages:
            if name not in self.stages:
                raise InputError(f"backbone.frozen_stages: no stage {name!r}; this backbone has {', '.join(names)}")
            self.stages[name].requires_grad_(False)
        self.train()  # applies what is frozen now: trainers that keep the modes they find never call it

    @property
    def last_stage(self) -> str:
        """Name of the deepest stage."""
        return next(reversed(self.channels))

    def forward(self, images: Tensor, *, grad_from: str | None = None) -> dict[str, Tensor]:
        """Features of every stage.

        Args:
            images: RGB (B, 3, H, W), uint8 or float in [0, 1].
            grad_from: a stage name; its output becomes the leaf from which gradients are recorded, so that a backward
                pass ends there. For maps; not for training.

        Returns:
            Stage name -> (B, C, h, w), shallow to deep.
        """
        x = self.normalize_images(images)
        features: dict[str, Tensor] = {}
        for name, stage in self.stages.items():
            x = stage(x)
            if name == grad_from:
                x = x.detach().requires_grad_()
            features[name] = x
        return features

    def normalize_images(self, images: Tensor) -> Tensor:
        """Images to network input: to [0, 1] if they are uint8, minus mean, by std; channels last in memory."""
        return normalized(images, self.mean, self.std)

    def freeze(self) -> None:
        """Keep all weights and running statistics as they are, in training too."""
        self.requires_grad_(False)
        self.is_frozen = True
        self.eval()

    def train(self, mode: bool = True) -> "Backbone":
        """Training mode, with what is frozen kept in evaluation mode."""
        super().train(mode and not self.is_frozen)
        frozen = [self.stages[name] for name in self.frozen_stages]
        if self.freeze_norm:
            frozen += [m for m in self.modules() if isinstance(m, (nn.BatchNorm2d, nn.SyncBatchNorm))]
        for module in frozen:
            module.eval()
        return self


def normalized(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images (B, 3, H, W), uint8 or float in [0, 1], minus mean, by std; channels last in memory."""
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


class UncutBackbone(Backbone):
    """Backbone over a timm feature network with branches across stages; `grad_from` records from the image on."""

    def __init__(self, network: nn.Module, **options: Any) -> None:
        if options["frozen_stages"]:
            raise InputError("backbone.frozen_stages: this timm network has no separable stages; leave the list empty")
        super().__init__([nn.Identity() for _ in options["channels"]], **options)
        self.network = network
        self.train()

    def forward(self, images: Tensor, *, grad_from: str | None = None) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        x = self.normalize_images(images)
        if grad_from is not None:
            x = x.detach().requires_grad_()
        return dict(zip(self.stages, self.network(x), strict=True))


def build_backbone(
    name: str,
    *,
    weights: str = "imagenet",
    output_stride: int = 16,
    frozen_stages: Sequence[str] = (),
    freeze_norm: bool = False,
) -> Backbone:
    """Build a backbone by name.

    Args:
        name: `resnet18|34|50|101`, `vgg16` (torchvision), or any network name timm lists.
        weights: `imagenet` (downloaded or packaged), `none` (random), or the path of a state dict of that network.
        output_stride: input pixels per cell of the last stage, 8, 16 or 32; smaller ones dilate the deep stages.
        frozen_stages: see `Backbone`.
        freeze_norm: see `Backbone`.

    Raises:
        InputError: for an unknown name, stride or weights; the message says what to do.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise InputError(f"backbone.output_stride={output_stride}: expected one of {OUTPUT_STRIDES}")
    options: Options = {"frozen_stages": frozen_stages, "freeze_norm": freeze_norm}
    builder = _TORCHVISION.get(name, _timm)
    return builder(name, weights, output_stride, options)


Options = dict[str, Any]


def _resnet(name: str, weights: str, output_stride: int, options: Options) -> Backbone:
    # torchvision dilates bottleneck blocks only; for 18/34 `_dilate` does the same to its basic blocks.
    network = getattr(torchvision.models, name)(weights=None)
    load_weights(network, name, weights)
    if output_stride < 32:
        _dilate(network.layer4, 2 if output_stride == 16 else 4)
    if output_stride < 16:
        _dilate(network.layer3, 2)
    stem = nn.Sequential(OrderedDict(conv1=network.conv1, bn1=network.bn1, relu=network.relu))
    layer1 = nn.Sequential(OrderedDict(maxpool=network.maxpool, layer1=network.layer1))
    stages = [stem, layer1, network.layer2, network.layer3, network.layer4]
    deep = network.fc.in_features
    channels = [64, deep // 8, deep // 4, deep // 2, deep]
    return Backbone(stages, channels=channels, strides=_capped_strides(output_stride), **options)


def _vgg16(name: str, weights: str, output_stride: int, options: Options) -> Backbone:
    """VGG-16: a stage ends before the next pooling; at output stride 32 the last pooling closes stage5."""
    network = torchvision.models.vgg16(weights=None)
    load_weights(network, name, weights)
    layers = list(network.features)
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    bounds = [0, *pools[:4], len(layers) if output_stride == 32 else pools[4]]
    stages = [nn.Sequential(*layers[start:end]) for start, end in pairwise(bounds)]
    strides = [1, 2, 4, 8, max(output_stride, 8)]
    if output_stride == 8:
        stages[4][0] = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)
        _dilate(stages[4], 2)
    return Backbone(stages, channels=[64, 128, 256, 512, 512], strides=strides, **options)


def _timm(name: str, weights: str, output_stride: int, options: Options) -> Backbone:
    if not timm.is_model(name):
        raise InputError(f"backbone.name={name!r}: expected one of {', '.join(_TORCHVISION)} or a name timm lists")
    # Some networks know no such argument, but all that do have 32 as its default.
    dilation = {} if output_stride == 32 else {"output_stride": output_stride}
    refusal = f"backbone.name={name!r}: timm offers no stages at output stride {output_stride}"
    try:
        features = timm.create_model(name, pretrained=False, features_only=True, **dilation)
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, AssertionError) as error:
        raise InputError(f"{refusal} ({first_line(error)}); choose another network or stride") from error
    info = features.feature_info
    if info.reduction()[-1] != output_stride:
        raise InputError(f"{refusal}, only at {info.reduction()[-1]}; choose another network or stride")
    full = fill_features(features, name, weights)
    channels = info.channels()
    options = {**options, "mean": features.pretrained_cfg["mean"], "std": features.pretrained_cfg["std"]}
    chain = _timm_chain(features, info.module_name())
    if chain is None:
        return UncutBackbone(features, channels=channels, strides=info.reduction(), **options)
    if isinstance(features, EfficientNetFeatures) and hasattr(full, "conv_head"):
        # EfficientNets end in a linear bottleneck; what their classifier pools is the wide, non-negative map after it.
        chain[-1].extend([full.conv_head, full.bn2])
        channels = [*channels[:-1], full.conv_head.out_channels]
    return Backbone(chain, channels=channels, strides=info.reduction(), **options)


def fill_features(features: nn.Module, name: str, weights: str, *, option: str = "backbone.weights") -> Any:
    """Fill a timm feature network with `weights` of the whole classifier, as files hold them; returns the latter."""
    full = timm.create_model(name, pretrained=False)
    if weights != "none":
        if not (weights == "imagenet" and load_packaged(full, name)):
            load_weights(full, name, weights, option=option)
        features.load_state_dict(_matching(full, features))
    return full


def _timm_chain(features: nn.Module, ends: Sequence[str]) -> list[nn.Sequential] | None:
    """Cut a timm feature network into stages that end at the modules `ends`; None where it is not a plain chain."""
    if isinstance(features, timm.models.FeatureDictNet):  # its items run one after another
        modules = list(features.items())
    elif [name for name, _ in features.named_children()] == ["conv_stem", "bn1", "blocks"]:  # EfficientNet and kin
        blocks = cast(nn.Sequential, features.blocks)
        stem = [("conv_stem", cast(nn.Module, features.conv_stem)), ("bn1", cast(nn.Module, features.bn1))]
        modules = stem + [(f"blocks.{i}", block) for i, block in enumerate(blocks)]
    else:
        return None
    stages: list[nn.Sequential] = [nn.Sequential()]
    for name, module in modules:
        stages[-1].append(module)
        if name.replace("_", ".") in {end.replace("_", ".") for end in ends}:
            stages.append(nn.Sequential())
    return stages[:-1] if len(stages) == len(ends) + 1 else None


def _matching(full: nn.Module, features: nn.Module) -> dict[str, Tensor]:
    """Weights of the full network under the names of its feature network (which may flatten `a.b` to `a_b`)."""
    available = {key.replace("_", "."): value for key, value in full.state_dict().items()}
    return {key: available[key.replace("_", ".")] for key in features.state_dict()}


def _dilate(stage: nn.Module, dilation: int) -> None:
    """Trade a stage's strides for dilation, as DeepLab does; the first convolution that strode keeps half of it."""
    strided = False
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            first = module.stride != (1, 1) and not strided
            strided = strided or module.stride != (1, 1)
            module.stride = (1, 1)
            if module.kernel_size != (1, 1):
                step = max(dilation // 2, 1) if first else dilation
                module.dilation = (step, step)
                module.padding = (step, step)


def _capped_strides(output_stride: int) -> list[int]:
    return [min(stride, output_stride) for stride in (2, 4, 8, 16, 32)]


_TORCHVISION: dict[str, Callable[[str, str, int, Options], Backbone]] = {
    "resnet18": _resnet,
    "resnet34": _resnet,
    "resnet50": _resnet,
    "resnet101": _resnet,
    "vgg16": _vgg16,
}
