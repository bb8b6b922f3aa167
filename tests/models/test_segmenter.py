"""A trained segmenter as a function of any photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import wsss
from tests.segmenters import CLASSES, PROTOCOL, small_network
from wsss.errors import InputError
from wsss.labels import palette
from wsss.models import Inference, Segmenter
from wsss.models.files import FORMAT, read_model, save_model


@pytest.fixture(scope="module")
def segmenter(checkpoint: Path) -> Segmenter:
    return wsss.load_segmenter(checkpoint)


@pytest.fixture
def pixels() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((75, 50)))


def test_the_file_says_what_the_network_is_and_how_it_was_trained(checkpoint: Path, segmenter: Segmenter) -> None:
    assert segmenter.classes == CLASSES
    assert np.array_equal(segmenter.palette, palette()[:4])
    assert segmenter.protocol == PROTOCOL
    normalization = read_model(checkpoint, kinds=("segmenter",)).normalization
    assert normalization == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def test_a_file_of_the_first_format_is_still_read(checkpoint: Path, tmp_path: Path, pixels: np.ndarray) -> None:
    content = torch.load(checkpoint, weights_only=True)
    for name in ("palette", "normalization", "protocol"):
        del content[name]
    del content["network"]["name"]
    torch.save(content | {"format": 1}, tmp_path / "old.pt")
    old = wsss.load_segmenter(tmp_path / "old.pt")
    assert old.protocol == {}
    assert np.array_equal(old.palette, palette()[:4])
    assert read_model(tmp_path / "old.pt", kinds=("segmenter",)).normalization["mean"] == [0.485, 0.456, 0.406]
    assert np.array_equal(old(pixels), wsss.load_segmenter(checkpoint)(pixels))


def test_a_file_of_a_newer_format_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    torch.save({"format": FORMAT + 1, "what": "nobody knows yet"}, tmp_path / "new.pt")
    with pytest.raises(InputError, match=rf"new\.pt: a model file of format {FORMAT + 1}, .* install a newer one"):
        wsss.load_segmenter(tmp_path / "new.pt")


def test_a_network_that_does_not_fit_its_tensors_is_refused(tmp_path: Path) -> None:
    network, settings = small_network()
    save_model(tmp_path / "m.pt", network, kind="segmenter", network={**settings, "channels": 16}, classes=CLASSES)
    with pytest.raises(InputError, match=r"m\.pt: its network cannot be built") as caught:
        wsss.load_segmenter(tmp_path / "m.pt")
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there_is_named(checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"device=cuda:99: torch cannot use it here \(.+\); pass 'cpu'"):
        wsss.load_segmenter(checkpoint, device="cuda:99")


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "executed"),)  # type: ignore[return-value]

    torch.save({"format": FORMAT, "kind": "segmenter", "network": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match="not a whole model file"):
        wsss.load_segmenter(tmp_path / "evil.pt")
    assert not (tmp_path / "executed").exists()


def test_labels_are_those_of_the_network(checkpoint: Path, segmenter: Segmenter, pixels: np.ndarray) -> None:
    network, _ = small_network()
    network.load_state_dict(read_model(checkpoint, kinds=("segmenter",)).state_dict)
    with torch.no_grad():
        expected = network(torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]).argmax(dim=1)[0].numpy()
    labels = segmenter(pixels)
    assert labels.dtype == np.uint8
    assert labels.shape == pixels.shape[:2]
    assert (labels == expected).mean() > 0.999  # norms folded into convolutions round differently
    assert len(np.unique(labels)) > 1


def test_path_picture_and_array_are_one_photograph(segmenter: Segmenter, pixels: np.ndarray, tmp_path: Path) -> None:
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "photo.png")
    for photo in (picture, tmp_path / "photo.png", str(tmp_path / "photo.png")):
        assert np.array_equal(segmenter(photo), segmenter(pixels))


def test_files_and_pictures_are_read_as_a_person_sees_them(
    segmenter: Segmenter, pixels: np.ndarray, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(pixels)))
    lying.save(tmp_path / "lying.png", exif=exif)
    assert np.array_equal(segmenter(tmp_path / "lying.png"), segmenter(pixels))
    with Image.open(tmp_path / "lying.png") as opened:
        assert np.array_equal(segmenter(opened), segmenter(pixels))
        assert opened.size == lying.size  # left as it was
    opaque = Image.fromarray(pixels).convert("RGBA")
    assert np.array_equal(segmenter(opaque), segmenter(pixels))
    grey = Image.fromarray(pixels).convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert np.array_equal(segmenter(deep), segmenter(grey))


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((3, 4, 4), np.uint8)])
def test_arrays_of_another_kind_are_refused(segmenter: Segmenter, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected an RGB array \(H, W, 3\) uint8"):
        segmenter(array)


def test_a_missing_photograph_is_named(segmenter: Segmenter) -> None:
    with pytest.raises(InputError, match=r"nowhere\.jpg: no such image"):
        segmenter("nowhere.jpg")


def test_photographs_of_one_size_go_together(segmenter: Segmenter, pixels: np.ndarray) -> None:
    other = pixels[:, ::-1]
    together = segmenter.label_maps([pixels, other])
    for labels, photo in zip(together, (pixels, other), strict=True):
        assert (labels == segmenter(photo)).mean() > 0.999


def test_probabilities_have_the_labels_as_arg_max_and_any_size(segmenter: Segmenter, pixels: np.ndarray) -> None:
    probabilities = segmenter.probabilities(pixels)
    assert probabilities.shape == (4, 50, 75)
    assert np.allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    assert (probabilities.argmax(axis=0) == segmenter(pixels)).mean() > 0.999
    assert segmenter.probabilities(pixels, size=(20, 30)).shape == (4, 20, 30)


def test_another_way_of_looking_leaves_the_segmenter_as_it_is(segmenter: Segmenter, pixels: np.ndarray) -> None:
    before = segmenter(pixels)
    other = segmenter.with_inference(Inference(scales=(0.5, 1.5), flip=True))
    assert other.model is segmenter.model
    assert other.protocol == segmenter.protocol
    assert not np.array_equal(other(pixels), before)
    assert np.array_equal(segmenter(pixels), before)
