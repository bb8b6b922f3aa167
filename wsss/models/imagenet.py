"""Whole ImageNet classifiers of torchvision and timm, images in [0, 1] to logits, with their class names."""

from collections.abc import Sequence
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from wsss.errors import InputError
from wsss.models.weights import IMAGENET_MEAN, IMAGENET_STD, load_packaged, load_weights


class ImageClassifier(nn.Module):
    """A network behind its normalisation.

    Attributes:
        classes: names in the order of the logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, classes: Sequence[str], *, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.network = network
        self.classes = list(classes)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, N) of images (B, 3, H, W) in [0, 1]."""
        return self.network((images - self.mean) / self.std)  # type: ignore[no-any-return]


def imagenet_classifier(name: str, weights: str = "imagenet") -> ImageClassifier:
    """Build a classifier of 1000 ImageNet classes by name, torchvision's before timm's.

    Args:
        name: as torchvision.models or timm.list_models() has it.
        weights: `imagenet` (downloaded or packaged), `none`, or a file.

    Raises:
        InputError: for an unknown name or weights that cannot be had.
    """
    if name in torchvision.models.list_models(module=torchvision.models):
        network = torchvision.models.get_model(name, weights=None)
        mean, std = IMAGENET_MEAN, IMAGENET_STD
    elif timm.is_model(name):
        network = _timm(name)
        mean, std = network.default_cfg["mean"], network.default_cfg["std"]
    else:
        raise InputError(f"model={name}: neither torchvision nor timm has it, and it is no model.pt of a run")
    if not (weights == "imagenet" and load_packaged(network, name, option="weights")):
        load_weights(network, name, weights, option="weights", head=True)
    classes = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    return ImageClassifier(network.eval(), classes, mean=mean, std=std)


def _timm(name: str) -> Any:
    """A network of timm's; vision transformers take images of any size, in multiples of their patches."""
    try:
        return timm.create_model(name, dynamic_img_size=True)
    except TypeError:  # another network
        return timm.create_model(name)
