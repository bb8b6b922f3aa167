"""Pictures of any classifier, in files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.conftest import REPOSITORY
from wsss.errors import InputError
from wsss.pipeline.config.scripts import ExplainConfig
from wsss.pipeline.explain import explain
from wsss.pipeline.run import Run

PHOTO = REPOSITORY / "data" / "mini_voc" / "JPEGImages" / "mini_000001.jpg"


def config(tmp_path: Path, **options: object) -> ExplainConfig:
    plain = {
        "image": str(PHOTO),
        "model": "resnet18",
        "weights": "none",
        "resize_long": 96,
        "out": str(tmp_path / "out"),
    }
    return ExplainConfig(**{**plain, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["layer_cam", "grad_cam_pp", "score_cam", "c_mwp"])
def test_a_photograph_gets_a_picture_and_arrays(tmp_path: Path, method: str) -> None:
    options = config(tmp_path, cam=method, classes=["tabby", "282"], layers=["layer3", "layer4"])
    (picture,) = explain(options)
    with Image.open(picture) as sheet:
        assert sheet.width > 4 * 220  # image, two layers, fused
        assert sheet.height > 2 * 220
    with np.load(picture.with_suffix(".npz"), allow_pickle=False) as arrays:
        assert arrays["classes"].tolist() == [281, 282]
        assert arrays["names"].tolist() == ["tabby", "tiger cat"]
        assert arrays["fused"].shape == (2, 96, 96)
        assert arrays["map_layer3"].shape == (2, 6, 6)
        assert 0 <= arrays["fused"].min() <= arrays["fused"].max() <= 1


def test_guided_grad_cam_is_drawn_and_kept(tmp_path: Path) -> None:
    plain = explain(config(tmp_path, cam="grad_cam", layers=["layer4"]))[0]
    with Image.open(plain) as sheet:
        width = sheet.width
    (picture,) = explain(config(tmp_path, cam="grad_cam", layers=["layer4"], guided=True))
    with Image.open(picture) as sheet:
        assert sheet.width > width + 200  # a column more
    with np.load(picture.with_suffix(".npz"), allow_pickle=False) as arrays:
        assert arrays["guided"].shape == (2, 3, 96, 96)
        assert (arrays["guided"][np.broadcast_to(arrays["fused"][:, None] == 0, (2, 3, 96, 96))] == 0).all()
        assert arrays["guided"].min() < 0 < arrays["guided"].max()


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam"])
def test_a_vision_transformer_is_explained_at_any_size(tmp_path: Path, method: str) -> None:
    photo = tmp_path / "wide.png"
    with Image.open(PHOTO) as image:
        image.resize((120, 70)).save(photo)
    options = config(tmp_path, image=str(photo), model="vit_tiny_patch16_224", cam=method, resize_long=None)
    (picture,) = explain(options)
    with np.load(picture.with_suffix(".npz"), allow_pickle=False) as arrays:
        assert arrays["map_network.blocks.11.norm1"].shape == (2, 4, 8)  # of 64 × 128 pixels
        assert arrays["fused"].shape == (2, 64, 128)
        top = arrays["fused"].max()
        assert top == 0 or 0.5 < top <= 1  # random weights, other ones with each torch, may support nothing


def test_a_folder_gets_a_picture_each_of_the_best_classes(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.png"):
        Image.open(PHOTO).save(folder / name)
    (folder / "notes.txt").write_text("not a photograph")
    pictures = explain(config(tmp_path, image=str(folder), model="tf_efficientnet_lite0", top=3))
    assert [p.name for p in pictures] == ["a.png", "b.png"]
    with np.load(pictures[0].with_suffix(".npz"), allow_pickle=False) as arrays:
        assert len(arrays["scores"]) == 3
        assert (np.diff(arrays["scores"]) <= 0).all()


def test_a_runs_own_classifier_is_explained(smoke_run: Run, tmp_path: Path) -> None:
    model = str(smoke_run.folder / "recam" / "model.pt")
    (picture,) = explain(config(tmp_path, model=model, layers=["stage4", "stage5"], classes=["fish"]))
    with np.load(picture.with_suffix(".npz"), allow_pickle=False) as arrays:
        assert arrays["names"].tolist() == ["fish"]
        assert {"map_stage4", "map_stage5"} <= set(arrays)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "nowhere.jpg"}, r"nowhere\.jpg: no such image or folder"),
        ({"classes": ["tabbi"]}, "no class 'tabbi'; near: tabby"),
        ({"classes": ["1000"]}, "no class '1000'"),
        ({"model": "resnet9000"}, "model=resnet9000: neither torchvision nor timm"),
        ({"layers": ["layer9"]}, "layer layer9"),
        ({"cam": "gradcam"}, "cam=gradcam: expected one of cam, grad_cam"),
        ({"fusion": "sum"}, "fusion=sum"),
        ({"model": "efficientnet_b0", "guided": True}, "guided backprop: Silu in .*SiLU.* is not a call of a ReLU"),
        ({"top": 0}, "top=0"),
        ({"weights": "missing.pth"}, r"missing\.pth: no such file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        explain(config(tmp_path, **options))
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image in this folder"):
        explain(config(tmp_path, image=str(tmp_path)))
