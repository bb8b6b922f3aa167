"""Folding keeps every stage's output, on every kind of backbone."""

import pytest
import torch
from torch import Tensor, nn

from wsss.models import DeepLabV3Plus, build_backbone, fold_batch_norm

IMAGES = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))


def train_norms(network: nn.Module) -> None:
    """Give batch norms statistics and weights that matter."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)


def num_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_a_folded_backbone_gives_the_same_stages(name: str) -> None:
    backbone = build_backbone(name, weights="none")
    train_norms(backbone)
    folded = fold_batch_norm(backbone, IMAGES)
    assert num_norms(folded) == 0 < num_norms(backbone)
    assert backbone.training
    backbone.eval()
    with torch.no_grad():
        for before, after in zip(backbone(IMAGES).values(), folded(IMAGES).values(), strict=True):
            torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4 * float(before.abs().max()))


def test_a_segmenter_folds_with_its_head() -> None:
    model = DeepLabV3Plus(build_backbone("resnet18", weights="none"), 4)
    train_norms(model)
    assert num_norms(fold_batch_norm(model, IMAGES)) == 0


class Twice(nn.Module):
    """A convolution whose output goes to a norm and past it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + self.norm(y)  # type: ignore[no-any-return]


class NormFirst(nn.Module):
    """A norm before its convolution, and one of its output shared by two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv, self.shared = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(self.conv(self.norm(x))) + self.shared(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("network", [Twice(), NormFirst()])
def test_norms_that_cannot_be_folded_stay(network: nn.Module) -> None:
    train_norms(network)
    folded = fold_batch_norm(network, IMAGES)
    torch.testing.assert_close(folded(IMAGES), network.eval()(IMAGES))
    assert num_norms(folded) == num_norms(network)
