"""Stages found in networks that do not name them."""

import pytest
import timm
import torch
from torch import nn

from wsss import _torchvision  # noqa: F401  (lets torchvision load)
from wsss.cam import CAMExtractor
from wsss.cam.layers import stage_layers

IMAGES = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))


def build(name: str) -> nn.Module:
    import torchvision

    if name in torchvision.models.list_models(module=torchvision.models):
        return torchvision.models.get_model(name, weights=None)
    return timm.create_model(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", ["layer1", "layer2", "layer3", "layer4"]),
        ("vgg16", ["features.15", "features.22", "features.29", "features"]),
        ("convnext_tiny", ["features.1", "features.3", "features.5", "features"]),
        ("tf_efficientnet_lite0", ["blocks.1", "blocks.2", "blocks.4", "bn2"]),
    ],
)
def test_the_outermost_last_module_of_each_resolution_is_found(name: str, expected: list[str]) -> None:
    torch.manual_seed(0)
    network = build(name)
    layers = stage_layers(network, IMAGES)
    assert layers == expected
    assert not any(module._forward_hooks for module in network.modules())
    assert network.training
    maps = CAMExtractor(network, layers)(IMAGES, [[0, 1]])
    assert [m[0].shape[0] for m in maps.values()] == [2] * len(layers)


def test_finer_and_pooled_maps_are_left_out() -> None:
    network = build("resnet18")
    assert stage_layers(network, IMAGES, min_stride=2)[0] == "relu"
    assert stage_layers(network, IMAGES, min_cells=4) == ["layer1", "layer2", "layer3"]
