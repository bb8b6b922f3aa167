"""Excitation backprop by hand, its probabilities as such, and what it does not know."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tests.cam.test_extractor import num_hooks
from wsss.cam import excitation_backprop


def with_weight(module: nn.Conv2d | nn.Linear, weight: list[list[float]]) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weight).view(module.weight.shape))
    return module


class Pooled(nn.Module):
    """The mean over cells."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


@pytest.fixture
def two_layers() -> tuple[nn.Module, Tensor]:
    """Two cells of two channels, (1, 2) and (3, 0); two units, x₀ - x₁ and 2x₀ + x₁; two classes of their means."""
    network = nn.Sequential(
        nn.Identity(),
        with_weight(nn.Conv2d(2, 2, 1), [[1.0, -1.0], [2.0, 1.0]]),
        nn.ReLU(inplace=True),
        Pooled(),
        with_weight(nn.Linear(2, 2), [[1.0, 1.0], [1.0, -1.0]]),
    )
    for layer in (network[1], network[4]):
        nn.init.zeros_(layer.bias)
    return network, torch.tensor([[[1.0, 3.0]], [[2.0, 0.0]]])[None]


def test_two_layers_by_hand(two_layers: tuple[nn.Module, Tensor]) -> None:
    # Units after ReLU: (0, 3) and (4, 6); means 1.5 and 5. Class 0: P = 3/13 and 10/13, in the cells (0, 3/13) and
    # (4/13, 6/13); a unit's cell draws on the same cell of the image. Class 1 has no positive weight but the first.
    network, image = two_layers
    (units,) = excitation_backprop(network, image, [[0, 1]], "1", contrastive=False)
    torch.testing.assert_close(units, torch.tensor([[[4 / 13, 9 / 13]], [[0.0, 1.0]]]))
    (cells,) = excitation_backprop(network, image, [[0, 1]], "0", contrastive=False)
    torch.testing.assert_close(cells, torch.tensor([[[4 / 13, 9 / 13]], [[0.0, 1.0]]]))


def test_contrastive_by_hand(two_layers: tuple[nn.Module, Tensor]) -> None:
    # Nothing excites the dual of class 0. That of class 1 wins by the second unit, whose cells have (0.4, 0.6).
    network, image = two_layers
    (maps,) = excitation_backprop(network, image, [[0, 1]], "0")
    torch.testing.assert_close(maps, torch.tensor([[[4 / 13, 9 / 13]], [[0.0, 0.4]]]))


def test_channels_share_by_activation_times_weight(two_layers: tuple[nn.Module, Tensor]) -> None:
    # x₀ = 1 in the first cell and x₁ = 2 in the last: units (1, 0, 0, 0) and (2, 0, 0, 2), so P = 1/5 and 4/5.
    network = two_layers[0]
    apart = torch.zeros(1, 2, 1, 4)
    apart[0, 0, 0, 0], apart[0, 1, 0, 3] = 1.0, 2.0
    (maps,) = excitation_backprop(network, apart, [[0]], "0", contrastive=False)
    torch.testing.assert_close(maps, torch.tensor([[[3 / 5, 0.0, 0.0, 2 / 5]]]))


class Residual(nn.Module):
    """Adds to each cell its right neighbour, in place or not."""

    def __init__(self, add: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.input, self.add = nn.Identity(), add
        self.neighbour = with_weight(nn.Conv2d(1, 1, (1, 3), padding=(0, 1), bias=False), [[0.0, 0.0, 1.0]])
        self.fc = with_weight(nn.Linear(1, 1), [[1.0]])

    def forward(self, x: Tensor) -> Tensor:
        x = self.input(x)
        return self.fc(self.add(self.neighbour(x), x).relu().mean(dim=(2, 3)))


def in_place(x: Tensor, y: Tensor) -> Tensor:
    x += y
    return x


@pytest.mark.parametrize("add", [torch.add, in_place, lambda x, y: x + y])
def test_a_residual_sum_is_shared_by_the_branches_activation(add: Callable[[Tensor, Tensor], Tensor]) -> None:
    # Cells (2, 6), their neighbours (6, 0), sums (8, 6): P = 8/14, of which 6/8 goes to the neighbour, and 6/14.
    (maps,) = excitation_backprop(Residual(add), torch.tensor([[[[2.0, 6.0]]]]), [[0]], "input", contrastive=False)
    torch.testing.assert_close(maps, torch.tensor([[[2 / 14, 12 / 14]]]))


def test_a_batch_norm_is_part_of_the_convolution_before_it() -> None:
    conv, norm = nn.Conv2d(3, 8, 3).eval(), nn.BatchNorm2d(8).eval()
    nn.init.normal_(norm.weight)  # some below zero, where positive weights turn negative
    nn.init.normal_(norm.bias)
    norm.running_mean.normal_()  # type: ignore[operator, union-attr]
    rest = (nn.ReLU(), nn.MaxPool2d(2), Pooled(), nn.Linear(8, 4))
    folded = nn.Sequential(nn.Identity(), fuse_conv_bn_eval(conv, norm), *rest)
    plain = nn.Sequential(nn.Identity(), conv, norm, *rest)
    images = torch.rand(2, 3, 8, 8)
    for contrastive in (False, True):
        expected = excitation_backprop(folded, images, [[0, 1], [2]], "0", contrastive=contrastive)
        maps = excitation_backprop(plain, images, [[0, 1], [2]], "0", contrastive=contrastive)
        torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6)


@given(seed=st.integers(0, 2**16), pool=st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(3)]))
def test_probabilities_sum_to_one(seed: int, pool: nn.Module) -> None:
    torch.manual_seed(seed)
    convolutions = nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.Conv2d(5, 6, 3, bias=False, stride=2)
    network = nn.Sequential(
        nn.Identity(), convolutions[0], nn.ReLU(), pool, convolutions[1], nn.ReLU(), Pooled(), nn.Linear(6, 4)
    )
    images = torch.rand(2, 3, 10, 12)
    for layer in ("0", "1", "3"):
        for maps in excitation_backprop(network, images, [[0, 1], [3]], layer, contrastive=False):
            assert (maps >= 0).all()
            total = maps.sum(dim=(1, 2))
            # Unless nothing at all excites the class.
            torch.testing.assert_close(torch.where(total == 0, 1.0, total), torch.ones(len(maps)), rtol=1e-4, atol=0)


def networks() -> dict[str, tuple[nn.Module, str]]:
    from torchvision.models import resnet18
    from torchvision.models.vgg import VGG, make_layers

    from wsss.models import Classifier, build_backbone

    vgg = VGG(make_layers([8, "M", 16, "M", 16, 16, "M"]), init_weights=False)
    vgg.classifier = nn.Sequential(nn.Linear(16 * 49, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, 4))
    return {
        "torchvision's ResNet": (resnet18(weights=None, num_classes=4), "layer2"),
        "torchvision's VGG": (vgg, "features.3"),
        "ResNet classifier": (Classifier(build_backbone("resnet18", weights="none"), 4), "stage3"),
        "EfficientNet-lite classifier": (
            Classifier(build_backbone("tf_efficientnet_lite0", weights="none", output_stride=32), 4),
            "stage5",
        ),
    }


def test_real_networks_pass_their_probability_down_and_stay_as_they_were() -> None:
    images = torch.rand(2, 3, 64, 64)
    for name, (network, layer) in networks().items():
        network.train()
        maps = excitation_backprop(network, images, [[0, 3], [1]], layer, contrastive=False)
        assert [m.shape[0] for m in maps] == [2, 1], name
        torch.testing.assert_close(torch.cat(maps).sum(dim=(1, 2)), torch.ones(3), rtol=1e-3, atol=0)
        contrast = excitation_backprop(network, images, [[0, 3], [1]], layer)
        assert all(
            (a >= 0).all() and a.max() > 0 and (a <= b + 1e-6).all() for a, b in zip(contrast, maps, strict=True)
        )
        assert num_hooks(network) == 0
        assert all(module.training for module in network.modules())
        assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())


def test_images_get_their_own_classes(two_layers: tuple[nn.Module, Tensor]) -> None:
    network, image = two_layers
    images = torch.cat([image, image.flip(-1), image])
    together = excitation_backprop(network, images, [[1, 0], [], [0]], "0")
    assert [maps.shape for maps in together] == [(2, 1, 2), (0, 1, 2), (1, 1, 2)]
    torch.testing.assert_close(together[0][1:], together[2])
    best = excitation_backprop(network, images, None, "0")  # the first class has the higher score
    torch.testing.assert_close(best[0], together[2])


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.GELU(), r"no rule for gelu in 1 \(GELU\)"),
        (nn.Hardtanh(), r"no rule for hardtanh from -1 in 1 \(Hardtanh\)"),
        (nn.BatchNorm2d(3), r"no rule for a batch norm that follows no convolution in 1 \(BatchNorm2d\)"),
        (nn.Sequential(nn.Sigmoid()), r"no rule for sigmoid in 1.0 \(Sigmoid\)"),
    ],
)
def test_what_has_no_rule_is_named_in_one_line(module: nn.Module, message: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), module, nn.Conv2d(3, 3, 1), Pooled())
    if isinstance(module, nn.BatchNorm2d):
        network[0] = nn.Identity()
    with pytest.raises(ValueError, match=f"excitation backprop: {message}") as caught:
        excitation_backprop(network, torch.rand(1, 3, 4, 4), [[0]], "0")
    assert "\n" not in str(caught.value)
    assert num_hooks(network) == 0


def test_a_layer_that_no_weights_follow_is_told() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), Pooled())
    with pytest.raises(ValueError, match="no convolution or linear layer follows the layer; take an earlier one"):
        excitation_backprop(network, torch.rand(1, 3, 4, 4), [[0]], "1")
    assert excitation_backprop(network, torch.rand(1, 3, 4, 4), [[0]], "1", contrastive=False)[0].shape == (1, 4, 4)
