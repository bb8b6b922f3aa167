"""Guided backpropagation against golden arrays, by hand, and however a network calls its ReLUs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from tests.cam.test_extractor import Tiny, num_hooks, reference, tiny  # noqa: F401  (fixtures)
from wsss.cam import guided_backprop, guided_cam


def test_guided_gradients_are_pytorch_grad_cams(reference: dict[str, Tensor], tiny: Tiny) -> None:  # noqa: F811
    gradients = guided_backprop(tiny, reference["x"], [[int(target)] for target in reference["targets"]])
    expected = reference["pgc_guided_backprop"]
    torch.testing.assert_close(torch.cat(gradients), expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    assert not torch.allclose(torch.cat(gradients), reference["input_grad"], rtol=0.1)


class ByHand(nn.Module):
    """y = ReLU(x₀) + ReLU(x₁) - ReLU(2·x₂), class 1 its negative; `relu` is how ReLUs are called."""

    def __init__(self, relu: Any) -> None:
        super().__init__()
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1) * torch.tensor([1.0, 1.0, 2.0])
        x = self.relu(self.relu(x) * 1.0)  # called twice, and the second time to no effect
        y = (x * torch.tensor([1.0, 1.0, -1.0])).sum(dim=1)
        return torch.stack([y, -y], dim=1)


@pytest.mark.parametrize(
    "relu",
    [nn.ReLU(), nn.ReLU(inplace=True), F.relu, torch.relu_, lambda x: x.relu(), nn.ReLU6(), nn.Hardtanh(0.0, 1e3)],
)
def test_only_positive_gradients_of_positive_inputs_pass_however_a_relu_is_called(relu: Any) -> None:
    image = torch.tensor([3.0, -1.0, 2.0]).view(1, 3, 1, 1)
    # x₁ is below zero; x₂ lowers the first class, and x₀ the second
    (gradients,) = guided_backprop(ByHand(relu), image, [[0, 1]])
    assert gradients.flatten(1).tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]


def test_images_get_their_own_classes_and_the_network_stays_as_it_was(tiny: Tiny) -> None:  # noqa: F811
    images = torch.randn(3, 3, 32, 24)
    before = images.clone()
    together = guided_backprop(tiny, images, [[0, 3], [], [4]])
    assert [g.shape for g in together] == [(2, 3, 32, 24), (0, 3, 32, 24), (1, 3, 32, 24)]
    torch.testing.assert_close(guided_backprop(tiny, images[2:], [[4]])[0], together[2])
    torch.testing.assert_close(guided_backprop(tiny, images[:1], [[3]])[0], together[0][1:])
    assert torch.equal(images, before)
    assert num_hooks(tiny) == 0
    plain = images[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(tiny(plain)[0, 3], plain)
    assert not torch.allclose(gradient, together[0][1:], rtol=0.1)  # ReLUs are themselves again


class Between(nn.Module):
    """An activation between two convolutions, and a ReLU at the end."""

    def __init__(self, act: Any) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Conv2d(3, 2, 2), act, nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.act(self.first(x)))).mean(dim=(2, 3))


OTHERS = (
    *(nn.GELU, nn.SiLU, nn.LeakyReLU, nn.ELU, nn.Tanh),
    *(nn.Sigmoid, nn.Softplus, nn.Hardswish, nn.LogSigmoid),
)


@pytest.mark.parametrize(
    ("act", "named"),
    [
        *((act(), rf"\w+ in act \({act.__name__}\)") for act in OTHERS),
        (nn.Hardtanh(), r"Hardtanh in act \(Hardtanh\)"),
        (nn.Softsign(), "Abs in the network"),
        (lambda x: x * x.sigmoid(), "Sigmoid in Between"),
        # ReLUs by their values, which are not called as such
        (nn.Threshold(0.0, 0.0), r"Threshold in act \(Threshold\)"),
        (lambda x: x.clamp(min=0), "Clamp in Between"),
        (lambda x: x.clamp_min(0), "ClampMin in Between"),
        (lambda x: torch.maximum(x, torch.zeros_like(x)), "Maximum in Between"),
        (lambda x: torch.where(x > 0, x, 0.0), "Where in Between"),
    ],
)
def test_other_activations_are_refused_by_the_name_of_their_module(act: Any, named: str) -> None:
    with pytest.raises(ValueError, match=rf"guided backprop: {named} is not a call of a ReLU; .*resnet50"):
        guided_backprop(Between(act), torch.rand(1, 3, 4, 4))


def test_a_network_without_relus_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the network runs no ReLU; .*resnet50"):
        guided_backprop(nn.Sequential(nn.Conv2d(3, 2, 2), nn.Flatten()), torch.rand(1, 3, 2, 2))


@pytest.mark.parametrize(
    "name", ["resnet18", "vgg16", "densenet121", "googlenet", "shufflenet_v2_x0_5", "mobilenet_v2"]
)
def test_networks_of_relus_are_taken(name: str) -> None:
    options = {"init_weights": False} if name == "googlenet" else {}
    network = getattr(torchvision.models, name)(weights=None, num_classes=3, **options)
    (gradients,) = guided_backprop(network, torch.rand(1, 3, 64, 64), score=lambda scores: scores.softmax(dim=1))
    assert gradients.abs().max() > 0
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_guided_grad_cam_by_hand() -> None:
    maps = torch.tensor([[[0.5]], [[2.0]]])
    gradients = torch.tensor([1.0, -2.0, 0.0]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    product = guided_cam(maps, gradients)
    assert product[0, :, 1, 2].tolist() == [0.5, -1.0, 0.0]
    assert product[1, :, 3, 0].tolist() == [2.0, -4.0, 0.0]
