"""Backbones: what they promise about stages, strides, gradients and frozen parts."""

from __future__ import annotations

from functools import cache

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from wsss.errors import InputError
from wsss.models.backbones import Backbone, UncutBackbone, build_backbone

CHAINS = ("resnet18", "resnet50", "vgg16", "tf_efficientnet_lite0")
UNCUT = "mobilenetv3_small_050"  # its deepest feature lies inside a block
TINY = "test_resnet"


@cache
def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("name", [*CHAINS, UNCUT, "test_convnext"])
def test_stages_are_what_the_backbone_says(name: str, output_stride: int) -> None:
    backbone = build_backbone(name, weights="none", output_stride=output_stride).eval()
    assert isinstance(backbone, UncutBackbone) == (name == UNCUT)
    with torch.no_grad():
        features = backbone(images()[:1])
    assert list(features) == list(backbone.channels) == list(backbone.strides)
    assert list(features) == [f"stage{i + 1}" for i in range(len(features))]
    assert backbone.last_stage == list(features)[-1]
    assert backbone.strides[backbone.last_stage] == output_stride
    for stage, maps in features.items():
        cells = 64 // backbone.strides[stage]
        assert maps.shape == (1, backbone.channels[stage], cells, cells)


@pytest.mark.parametrize("name", ["densenet121", "hrnet_w18_small"])
def test_networks_that_cannot_dilate_serve_stride_32_only(name: str) -> None:
    assert build_backbone(name, weights="none", output_stride=32).strides["stage5"] == 32
    with pytest.raises(InputError, match=rf"'{name}': timm offers no stages at output stride 16 .*; choose another"):
        build_backbone(name, weights="none", output_stride=16)


def test_networks_without_a_stride_of_32_say_which_they_have() -> None:
    with pytest.raises(InputError, match=r"no stages at output stride 32, only at 16"):
        build_backbone("test_vit", weights="none", output_stride=32)


@pytest.mark.parametrize("output_stride", [8, 32])
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", TINY, UNCUT, "test_byobnet"])
def test_cutting_a_timm_network_changes_no_feature(name: str, output_stride: int) -> None:
    options = {} if output_stride == 32 else {"output_stride": output_stride}
    torch.manual_seed(1)
    backbone = build_backbone(name, weights="none", output_stride=output_stride).eval()
    torch.manual_seed(1)
    network = timm.create_model(name, pretrained=False, features_only=True, **options).eval()
    with torch.no_grad():
        ours = backbone(images())
        theirs = network(backbone.normalize_images(images()))
    for (stage, mine), expected in zip(ours.items(), theirs, strict=True):
        if stage == "stage5" and name == "tf_efficientnet_lite0":
            continue  # goes on to what the classifier pools, see below
        torch.testing.assert_close(mine, expected)


def test_efficientnets_end_in_the_non_negative_map_their_classifier_pools(tmp_path) -> None:
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    backbone = build_backbone("tf_efficientnet_lite0", weights=str(tmp_path / "w.pth"), output_stride=32).eval()
    with torch.no_grad():
        deepest = backbone(images())["stage5"]
        torch.testing.assert_close(deepest, network.forward_features(backbone.normalize_images(images())))
    assert deepest.shape[1] == backbone.channels["stage5"] == 1280
    assert (deepest >= 0).all()


@pytest.mark.parametrize(("output_stride", "replaced"), [(8, [False, True, True]), (16, [False, False, True])])
def test_dilated_resnet50_is_torchvisions(tmp_path, output_stride: int, replaced: list[bool]) -> None:
    network = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=replaced).eval()
    torch.save(network.state_dict(), tmp_path / "resnet50.pth")
    weights = str(tmp_path / "resnet50.pth")
    backbone = build_backbone("resnet50", weights=weights, output_stride=output_stride).eval()
    with torch.no_grad():
        x = network.maxpool(network.relu(network.bn1(network.conv1(backbone.normalize_images(images())))))
        expected = network.layer4(network.layer3(network.layer2(network.layer1(x))))
        torch.testing.assert_close(backbone(images())["stage5"], expected)


def atrous(name: str, output_stride: int) -> tuple[Tensor, Tensor]:
    """Last stage of one network, at stride 32 and dilated; nothing but strides and dilations differs."""
    coarse = build_backbone(name, weights="none", output_stride=32).eval()
    dense = build_backbone(name, weights="none", output_stride=output_stride).eval()
    state = {key: value.double() for key, value in coarse.state_dict().items()}
    dense.load_state_dict(state)
    with torch.no_grad():
        x = images()[:1].double()
        return coarse.double()(x)["stage5"], dense.double()(x)["stage5"]


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_resnet18_computes_the_strided_features_and_those_between(output_stride: int) -> None:
    coarse, dense = atrous("resnet18", output_stride)
    torch.testing.assert_close(dense[..., :: 32 // output_stride, :: 32 // output_stride], coarse)


def test_vgg16_stages_are_torchvisions_features() -> None:
    torch.manual_seed(1)
    backbone = build_backbone("vgg16", weights="none", output_stride=32).eval()
    torch.manual_seed(1)
    network = torchvision.models.vgg16(weights=None).eval()
    with torch.no_grad():
        expected = network.features(backbone.normalize_images(images()[:1]))
        torch.testing.assert_close(backbone(images()[:1])["stage5"], expected)


def score(features: dict[str, Tensor], backbone: Backbone) -> Tensor:
    return (features[backbone.last_stage].mean(dim=(2, 3)) ** 2).sum()


@pytest.mark.parametrize("name", ["resnet18", TINY, "test_efficientnet", "test_convnext"])
def test_gradients_recorded_from_a_stage_are_those_of_the_whole_network(name: str) -> None:
    backbone = build_backbone(name, weights="none", output_stride=16).eval()
    whole = backbone(images())
    stages = list(whole)
    expected = torch.autograd.grad(score(whole, backbone), list(whole.values()))
    for index, stage in enumerate(stages[:-1]):
        features = backbone(images(), grad_from=stage)
        assert features[stage].is_leaf
        gradients = torch.autograd.grad(score(features, backbone), [features[s] for s in stages[index:]])
        for ours, theirs in zip(gradients, expected[index:], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-8)


def test_uncut_network_gives_the_same_gradients_at_every_stage() -> None:
    backbone = build_backbone(UNCUT, weights="none", output_stride=16).eval()
    whole, features = backbone(images()), backbone(images(), grad_from="stage3")
    expected = torch.autograd.grad(score(whole, backbone), list(whole.values()))
    gradients = torch.autograd.grad(score(features, backbone), list(features.values()))
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_backward_pass_ends_at_the_stage_it_is_recorded_from() -> None:
    backbone = build_backbone(TINY, weights="none").eval()
    score(backbone(images(), grad_from="stage4"), backbone).backward()
    reached = {name.split(".")[1] for name, p in backbone.named_parameters() if p.grad is not None}
    assert reached == {"stage5"}


def test_without_trainable_parameters_gradients_still_reach_the_stage() -> None:
    backbone = build_backbone(TINY, weights="none").eval().requires_grad_(False)
    features = backbone(images(), grad_from="stage3")
    (gradient,) = torch.autograd.grad(score(features, backbone), [features["stage3"]])
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("name", [TINY, UNCUT])
def test_bytes_and_floats_give_the_same_features(name: str) -> None:
    backbone = build_backbone(name, weights="none").eval()
    pixels = (images() * 255).byte()
    with torch.no_grad():
        from_bytes, from_floats = backbone(pixels), backbone(pixels.float() / 255)
    for stage, features in from_bytes.items():
        torch.testing.assert_close(features, from_floats[stage])


def test_the_mean_colour_becomes_zero() -> None:
    backbone = build_backbone("resnet18", weights="none")
    normalized = backbone.normalize_images(backbone.mean.expand(1, 3, 2, 2) + backbone.std)
    torch.testing.assert_close(normalized, torch.ones(1, 3, 2, 2))


def test_normalisation_travels_with_the_weights() -> None:
    state = build_backbone(TINY, weights="none").state_dict()
    assert {"mean", "std"} <= set(state)


def statistics(module: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers() if "running" in name}


@pytest.mark.parametrize("call_train", [False, True])
@pytest.mark.parametrize("name", [TINY, UNCUT])
def test_frozen_normalisation_keeps_its_statistics_and_still_learns(name: str, call_train: bool) -> None:
    backbone = build_backbone(name, weights="none", freeze_norm=True)
    if call_train:
        backbone.eval().train()
    before = statistics(backbone)
    score(backbone(images()), backbone).backward()
    assert before
    assert all(torch.equal(before[key], value) for key, value in statistics(backbone).items())
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.weight.requires_grad for norm in norms)
    assert backbone.training


def test_free_normalisation_follows_the_images() -> None:
    backbone = build_backbone(TINY, weights="none")
    before = statistics(backbone)
    backbone(images())
    assert not all(torch.equal(before[key], value) for key, value in statistics(backbone).items())


@pytest.mark.parametrize("name", [TINY, UNCUT])
def test_a_frozen_backbone_stays_as_it_is_in_training_too(name: str) -> None:
    backbone = build_backbone(name, weights="none", output_stride=32)
    backbone.freeze()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone.train()
    assert not backbone(images())[backbone.last_stage].requires_grad
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize("call_train", [False, True])
def test_frozen_stages_never_change(call_train: bool) -> None:
    backbone = build_backbone(TINY, weights="none", frozen_stages=["stage1", "stage2"])
    if call_train:
        backbone.eval().train()
    before = statistics(backbone)
    score(backbone(images()), backbone).backward()
    for name, parameter in backbone.named_parameters():
        is_frozen = name.startswith(("stages.stage1.", "stages.stage2."))
        assert parameter.requires_grad != is_frozen
        assert (parameter.grad is None) == is_frozen
    changed = {key.split(".")[1] for key, value in statistics(backbone).items() if not torch.equal(before[key], value)}
    assert changed == {"stage3", "stage4", "stage5"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"output_stride": 4}, r"backbone\.output_stride=4: expected one of \(8, 16, 32\)"),
        ("resnet1", {}, r"backbone\.name='resnet1': expected one of resnet18.* or a name timm lists"),
        (TINY, {"frozen_stages": ["stage9"]}, r"no stage 'stage9'; this backbone has stage1, stage2"),
        (UNCUT, {"frozen_stages": ["stage1"]}, r"no separable stages; leave the list empty"),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build_backbone(name, weights="none", **options)
    assert "\n" not in str(caught.value)
