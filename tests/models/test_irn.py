"""IRN and AffinityNet: grids, what learns, what does not."""

from __future__ import annotations

import pytest
import torch

from wsss.errors import InputError
from wsss.models import IRN, AffinityNet, build_backbone

BACKBONES = [("resnet18", 16), ("resnet18", 32), ("vgg16", 16), ("convnext_femto", 32)]


@pytest.fixture(params=[IRN, AffinityNet])
def network(request: pytest.FixtureRequest) -> IRN | AffinityNet:
    return request.param(build_backbone("resnet18", weights="none"))


@pytest.mark.parametrize(("name", "stride"), BACKBONES)
def test_relations_lie_on_a_grid_of_stride_four(name: str, stride: int) -> None:
    irn = IRN(build_backbone(name, weights="none", output_stride=stride))
    found = irn(torch.rand(2, 3, 64, 96))
    assert found.edge.shape == (2, 16, 24)
    assert found.displacement.shape == (2, 2, 16, 24)
    torch.testing.assert_close(irn.edges(torch.zeros(1, 3, 64, 96)).shape, torch.Size([1, 16, 24]))


@pytest.mark.parametrize(("name", "stride"), [("resnet18", 16), ("vgg16", 16), ("convnext_femto", 32)])
def test_features_of_affinity_net_lie_on_a_grid_of_stride_eight(name: str, stride: int) -> None:
    psa = AffinityNet(build_backbone(name, weights="none", output_stride=stride))
    assert psa(torch.rand(2, 3, 64, 96)).shape == (2, 448, 8, 12)


def test_the_backbone_stays_as_it_is(network: IRN | AffinityNet) -> None:
    before = {name: tensor.clone() for name, tensor in network.backbone.state_dict().items()}
    network.train()
    assert network.training
    assert not network.backbone.training
    optimizer = torch.optim.SGD(network.head_parameters, lr=1.0)
    found = network(torch.rand(2, 3, 32, 32))
    sum(part.square().sum() for part in (found if isinstance(found, tuple) else [found])).backward()
    optimizer.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.backbone.state_dict().items())
    learning = {id(p) for p in network.head_parameters}
    assert all(p.grad is not None for p in network.head_parameters)
    assert learning.isdisjoint(id(p) for p in network.backbone.parameters())


def test_displacements_are_centred_outside_training_only() -> None:
    irn = IRN(build_backbone("resnet18", weights="none")).eval()
    images = torch.rand(1, 3, 32, 32)
    raw = irn(images).displacement
    irn.mean_displacement += raw.mean(dim=(0, 2, 3))
    torch.testing.assert_close(irn(images).displacement.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(irn.train()(images).displacement, raw)


def test_a_backbone_without_shallow_stages_is_refused() -> None:
    backbone = build_backbone("resnet18", weights="none")
    backbone.strides = dict.fromkeys(backbone.strides, 32)
    with pytest.raises(InputError, match="needs a backbone with a stage of stride 4, this one's are 32, 32"):
        IRN(backbone)
