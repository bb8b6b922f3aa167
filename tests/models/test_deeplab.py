"""DeepLab v1 to v3+: their mathematics against plain loops and torchvision, their defaults, any backbone and stride."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from wsss.errors import InputError
from wsss.models import (
    DeepLabV1,
    DeepLabV2,
    DeepLabV3,
    DeepLabV3Plus,
    MultiScaleInputs,
    build_backbone,
    build_segmentation,
    fold_batch_norm,
)
from wsss.models.norms import LoneBatchNorm

NETWORKS = {"deeplab_v1": 16, "deeplab_v2": None, "deeplab_v3": 16, "deeplab_v3plus": 16}  # and a small width
TINY = {"name": "test_resnet", "weights": "none"}


def build(name: str, *, backbone: dict | None = None, **head: object) -> nn.Module:
    width = {"channels": NETWORKS[name]} if NETWORKS[name] else {}
    return build_segmentation(name, 5, backbone={**TINY, **(backbone or {})}, head={**width, **head})


@cache
def images(height: int = 64, width: int = 64) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("deeplab_v1", "vgg16"),
        ("deeplab_v2", "resnet18"),
        ("deeplab_v3", "test_convnext"),
        ("deeplab_v3plus", "tf_efficientnet_lite0"),
    ],
)
def test_every_pixel_gets_logits_on_any_backbone(name: str, backbone: str) -> None:
    network = build(name, backbone={"name": backbone, "output_stride": 16}).eval()
    with torch.no_grad():
        assert network(images(37, 50)[:1]).shape == (1, 5, 37, 50)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_logits_come_on_the_grid_of_the_stage_they_are_drawn_from(name: str, stride: int) -> None:
    network = build(name, backbone={"output_stride": stride}).eval()
    with torch.no_grad():
        cells = 64 // (network.backbone.strides["stage2"] if name == "deeplab_v3plus" else stride)
        assert network.logits(images()).shape == (2, 5, cells, cells)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("deeplab_v1", {8: [12], 16: [6], 32: [3]}),
        ("deeplab_v2", {8: [6, 12, 18, 24], 16: [3, 6, 9, 12]}),
        ("deeplab_v3", {8: [12, 24, 36], 16: [6, 12, 18], 32: [3, 6, 9]}),
        ("deeplab_v3plus", {8: [12, 24, 36], 16: [6, 12, 18], 32: [3, 6, 9]}),
    ],
)
def test_the_papers_rates_see_equally_far_at_every_stride(name: str, rates: dict[int, list[int]]) -> None:
    for stride, expected in rates.items():
        network = build(name, backbone={"output_stride": stride})
        assert network.options["atrous_rates"] == expected
        used = {
            m.dilation[0] for key, m in network.named_modules() if isinstance(m, nn.Conv2d) and "backbone" not in key
        }
        assert used - {1} == {*expected}
    assert build(name, atrous_rates=[5]).options["atrous_rates"] == [5]


def dilated_by_loops(x: Tensor, conv: nn.Conv2d, rate: int) -> Tensor:
    """A dilated 3×3 layer, cell by cell."""
    _, _, height, width = x.shape
    out = conv.bias.view(1, -1, 1, 1).expand(len(x), -1, height, width).clone()
    for i in range(height):
        for j in range(width):
            for a in (-1, 0, 1):
                for b in (-1, 0, 1):
                    row, column = i + a * rate, j + b * rate
                    if 0 <= row < height and 0 <= column < width:
                        out[:, :, i, j] += x[:, :, row, column] @ conv.weight[:, :, a + 1, b + 1].T
    return out


@torch.no_grad()
def test_v2_adds_the_logits_of_dilated_classifiers() -> None:
    network = build("deeplab_v2", backbone={"output_stride": 8}, atrous_rates=[1, 3]).eval()
    deepest = network.backbone(images(32, 40))[network.backbone.last_stage]
    expected = dilated_by_loops(deepest, network.head[0], 1) + dilated_by_loops(deepest, network.head[1], 3)
    torch.testing.assert_close(network.logits(images(32, 40)), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_v1_is_one_far_seeing_layer_and_two_of_one_cell() -> None:
    network = build("deeplab_v1", backbone={"output_stride": 8}).eval()
    deepest = network.backbone(images(32, 40))[network.backbone.last_stage]
    far, near, classifier = (m for m in network.head if isinstance(m, nn.Conv2d))
    hidden = dilated_by_loops(deepest, far, 12).relu()
    expected = classifier(near(hidden).relu())
    torch.testing.assert_close(network.logits(images(32, 40)), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_v3_is_torchvisions_head() -> None:
    network = build("deeplab_v3", channels=256, backbone={"output_stride": 16}).eval()
    deepest = network.backbone(images())[network.backbone.last_stage]
    theirs = DeepLabHead(deepest.shape[1], 5, [6, 12, 18]).eval()
    ours = network.head.state_dict()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.values(), strict=True)))
    torch.testing.assert_close(network.logits(images()), theirs(deepest))


@pytest.mark.parametrize("name", ["deeplab_v1", "deeplab_v2"])
def test_the_classifiers_of_v1_and_v2_start_small(name: str) -> None:
    network = build(name, channels=256) if name == "deeplab_v1" else build(name)
    last = [network.head[-1]] if name == "deeplab_v1" else list(network.head)
    for conv in last:
        assert not conv.bias.any()
        assert conv.weight.std().item() == pytest.approx(0.01, rel=0.15)
        assert abs(conv.weight.mean().item()) < 1e-3


@torch.no_grad()
def test_a_separable_layer_is_a_dense_one_of_rank_one_a_channel() -> None:
    network = build("deeplab_v3plus", separable=True).eval()
    alone, mixed = network.aspp.convs[1][0]
    dense = nn.Conv2d(
        alone.in_channels, mixed.out_channels, 3, padding=alone.padding, dilation=alone.dilation, bias=False
    )
    dense.weight.copy_(mixed.weight * alone.weight.transpose(0, 1))  # (out, in, 3, 3)
    x = torch.rand(1, alone.in_channels, 9, 9)
    torch.testing.assert_close(mixed(alone(x)), dense(x), rtol=1e-4, atol=1e-5)
    heads = [sum(p.numel() for p in build("deeplab_v3plus", separable=s).head_parameters) for s in (True, False)]
    assert heads[0] < heads[1] / 2


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("scales", [[], [0.5]])
def test_the_head_is_all_that_is_not_the_backbone(name: str, scales: list[float]) -> None:
    network = build(name, multi_scale_inputs=scales)
    head = {id(p) for p in network.head_parameters}
    rest = {id(p) for p in network.backbone.parameters()}
    assert head
    assert rest
    assert not head & rest
    assert head | rest == {id(p) for p in network.parameters()}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_may_be_alone_in_its_batch(name: str) -> None:
    network = build(name, backbone={"freeze_norm": True}).train()
    network(images(16, 16)[:1]).sum().backward()
    assert all(p.grad is not None for p in network.head_parameters)


def test_a_norm_of_one_value_uses_and_keeps_what_it_has_seen() -> None:
    lone, plain = LoneBatchNorm(3).train(), nn.BatchNorm2d(3).train()
    batch = torch.rand(4, 3, 2, 2)
    torch.testing.assert_close(lone(batch), plain(batch))
    before = {key: value.clone() for key, value in lone.state_dict().items()}
    value = torch.rand(1, 3, 1, 1)
    torch.testing.assert_close(lone(value), plain.eval()(value))
    assert all(torch.equal(before[key], value) for key, value in lone.state_dict().items())


@torch.no_grad()
def test_several_scales_are_joined_by_their_maximum() -> None:
    network = build("deeplab_v2", multi_scale_inputs=[0.5, 0.75]).eval()
    assert isinstance(network, MultiScaleInputs)
    single, x = network.network, images(48, 64)
    by_scale = [single.logits(x)]
    for size in ((24, 32), (36, 48)):
        logits = single.logits(F.interpolate(x, size, mode="bilinear", align_corners=False))
        by_scale.append(F.interpolate(logits, by_scale[0].shape[2:], mode="bilinear", align_corners=False))
    torch.testing.assert_close(network.logits(x), torch.stack(by_scale).amax(dim=0))
    torch.testing.assert_close(network.logits((x * 255).byte()), network.logits((x * 255).byte().float() / 255))


def test_training_has_logits_for_every_scale_and_for_their_maximum() -> None:
    network = build("deeplab_v2", multi_scale_inputs=[0.5, 0.75]).eval()
    most, first, half, three_quarters = network.training_logits(images(49, 63))
    assert {logits.shape for logits in (first, half, three_quarters, most)} == {(2, 5, 49, 63)}
    torch.testing.assert_close(first, network.network(images(49, 63)))
    torch.testing.assert_close(most, network(images(49, 63)))
    plain = build("deeplab_v2").eval()
    (only,) = plain.training_logits(images())
    torch.testing.assert_close(only, plain(images()))


@pytest.mark.parametrize("name", [*NETWORKS])
def test_folded_norms_change_nothing_at_several_scales_too(name: str) -> None:
    network = build(name, multi_scale_inputs=[0.5]).eval()
    folded = fold_batch_norm(network, torch.rand(1, 3, 64, 64))
    assert not [m for m in folded.modules() if type(m) in (nn.BatchNorm2d, LoneBatchNorm)]
    with torch.no_grad():
        torch.testing.assert_close(folded(images()), network(images()), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "head", "message"),
    [
        ("deeplab_v4", {}, r"segmenter\.name=deeplab_v4: expected one of deeplab_v1, .*, smp"),
        ("deeplab_v2", {"channels": 64}, r"segmenter\.channels=64: expected null, deeplab_v2 has no such option"),
        (
            "deeplab_v3",
            {"skip_stage": "stage2"},
            r"skip_stage=stage2: .* it has channels, atrous_rates, multi",
        ),
        ("deeplab_v3plus", {"encoder": "resnet34"}, r"segmenter\.encoder=resnet34: expected null"),
        ("deeplab_v1", {"atrous_rates": [6, 12]}, r"atrous_rates=\[6, 12\]: deeplab_v1 has a single one"),
        ("deeplab_v3plus", {"skip_stage": "stage9"}, r"skip_stage=stage9: this backbone has stage1, stage2"),
    ],
)
def test_options_a_network_does_not_have_are_refused_by_name(name: str, head: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build_segmentation(name, 5, backbone=TINY, head=head)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cls", "name", "head"),
    [
        (DeepLabV1, "deeplab_v1", {"channels": 16}),
        (DeepLabV2, "deeplab_v2", {"multi_scale_inputs": [0.5]}),
        (DeepLabV3, "deeplab_v3", {"channels": 16}),
        (DeepLabV3Plus, "deeplab_v3plus", {"channels": 16, "separable": True}),
    ],
)
def test_a_network_is_built_again_from_its_options(cls: type, name: str, head: dict) -> None:
    network = build_segmentation(name, 5, backbone=TINY, head=head)
    again = build_segmentation(name, 5, backbone=TINY, head=network.options)
    assert again.options == network.options
    assert network.options.items() >= head.items()
    again.load_state_dict(network.state_dict())
    inner = again.network if isinstance(again, MultiScaleInputs) else again
    assert isinstance(inner, cls)
    assert build_backbone(**TINY).state_dict().keys() == again.backbone.state_dict().keys()
