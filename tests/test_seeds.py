"""The seed store: what is written is read, nothing else is believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from wsss.errors import InputError
from wsss.seeds import (
    Seeds,
    label_confidence,
    load_seeds,
    load_stage_maps,
    resize_maps,
    save_seeds,
    save_stage_maps,
)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "image.npz"
    save_seeds(path, torch.rand(2, 16, 20), [3, 7], (61, 77))
    return path


def test_what_is_saved_is_loaded_to_half_precision(tmp_path: Path) -> None:
    maps = torch.rand(3, 4, 5)
    save_seeds(tmp_path / "a.npz", maps, [0, 5, 19], (16, 20))
    seeds = load_seeds(tmp_path / "a.npz")
    np.testing.assert_allclose(seeds.maps, maps.numpy(), atol=5e-4)
    assert seeds.maps.dtype == np.float32
    assert seeds.classes.tolist() == [0, 5, 19]
    assert seeds.size == (16, 20)


def test_saving_what_was_loaded_changes_nothing(stored: Path) -> None:
    seeds = load_seeds(stored)
    save_seeds(stored, seeds.maps, list(seeds.classes), seeds.size)
    again = load_seeds(stored)
    assert np.array_equal(again.maps, seeds.maps)


def test_an_image_without_classes_is_stored_too(tmp_path: Path) -> None:
    save_seeds(tmp_path / "a.npz", np.zeros((0, 4, 5), np.float32), [], (16, 20))
    seeds = load_seeds(tmp_path / "a.npz")
    assert seeds.maps.shape == (0, 4, 5)
    assert len(seeds.classes) == 0
    assert resize_maps(seeds.maps, seeds.size).shape == (0, 16, 20)


def test_the_file_holds_plain_arrays(stored: Path) -> None:
    with np.load(stored, allow_pickle=False) as file:
        integers = {"classes": np.int64, "size": np.int64, "format": np.int64}
        assert {name: file[name].dtype for name in file} == {"maps": np.float16, **integers}


def test_saving_leaves_no_other_file(stored: Path) -> None:
    assert list(stored.parent.iterdir()) == [stored]


def test_a_failing_write_leaves_the_old_file_and_nothing_else(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored.read_bytes()

    def fail(file, **arrays) -> None:
        file.write(b"half a file")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="no space left"):
        save_seeds(stored, torch.ones(1, 2, 2), [0], (8, 8))
    assert stored.read_bytes() == before
    assert list(stored.parent.iterdir()) == [stored]


def test_maps_and_classes_must_agree(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected maps \(K, h, w\) for K = 1 classes, got \(2, 3, 3\)"):
        save_seeds(tmp_path / "a.npz", torch.ones(2, 3, 3), [0], (8, 8))
    assert not list(tmp_path.iterdir())


def refusal(path: Path) -> str:
    with pytest.raises(InputError, match=r"make_seeds\.py") as caught:
        load_seeds(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_maps_too_large_to_be_read_again_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsss.seeds.MOST_BYTES", 1 << 20)
    save_seeds(tmp_path / "small.npz", torch.rand(2, 500, 500), [3, 7], (500, 500))
    assert load_seeds(tmp_path / "small.npz").maps.shape == (2, 500, 500)
    with pytest.raises(InputError, match=r"large\.npz: 1 MB of maps, expected 1 at most.*lower cam\.resize_long"):
        save_seeds(tmp_path / "large.npz", torch.rand(3, 500, 500), [3, 7, 8], (500, 500))
    assert not (tmp_path / "large.npz").exists()


def test_a_missing_file_names_the_script_that_makes_it(tmp_path: Path) -> None:
    assert "no seeds here" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(stored: Path, share: float) -> None:
    content = stored.read_bytes()
    stored.write_bytes(content[: int(len(content) * share)])
    assert "not a seed file" in refusal(stored)


@pytest.mark.parametrize("seed", range(25))
def test_a_file_with_flipped_bytes_is_refused_or_read_whole(stored: Path, seed: int) -> None:
    content = bytearray(stored.read_bytes())
    for position in np.random.default_rng(seed).integers(0, len(content), 5):
        content[position] ^= 0xFF
    stored.write_bytes(bytes(content))
    message = ""
    try:
        seeds = load_seeds(stored)
    except InputError as error:
        message = str(error)
    else:  # the flips fell on bytes without meaning
        assert seeds.maps.shape == (2, 16, 20)
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"garbage", b"PK\x03\x04 not a zip", b""])
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    assert "not a seed file" in refusal(path)


def test_files_of_other_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    assert "not a seed file" in refusal(tmp_path / "other.npz")
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    assert "not a seed file" in refusal(tmp_path / "array.npz")


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, maps=np.array([{"a": 1}], dtype=object), classes=np.array([0]), size=np.array([4, 4]))
    assert "not a seed file" in refusal(path)


def test_maps_and_classes_that_disagree_in_a_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, maps=np.zeros((2, 3, 3)), classes=np.array([0]), size=np.array([4, 4]))
    assert "not a seed file" in refusal(path)


@pytest.fixture
def of_stages(tmp_path: Path) -> Path:
    path = tmp_path / "image.npz"
    grids = {"stage3": (8, 6), "stage5": (2, 2)}
    maps = {x: {stage: torch.rand(2, 3, *grid) for stage, grid in grids.items()} for x in (1, 1.5)}
    save_stage_maps(path, maps, [0, 5, 19], (61, 77))
    return path


def test_maps_of_stages_are_kept_at_their_own_sizes_to_half_precision(tmp_path: Path) -> None:
    maps = {0.5: {"stage3": torch.rand(1, 2, 5, 4), "stage5": torch.rand(1, 2, 2, 1)}}
    save_stage_maps(tmp_path / "a.npz", maps, [3, 7], (16, 20))
    stored = load_stage_maps(tmp_path / "a.npz", [0.5], ["stage5", "stage3"])
    assert [*stored.maps[0.5]] == ["stage5", "stage3"]
    for stage, array in stored.maps[0.5].items():
        np.testing.assert_allclose(array, maps[0.5][stage].numpy(), atol=5e-4)
        assert array.dtype == np.float32
    assert (stored.classes.tolist(), stored.size) == ([3, 7], (16, 20))


def test_maps_of_stages_are_plain_arrays_named_by_stage_and_scale(of_stages: Path) -> None:
    with np.load(of_stages, allow_pickle=False) as file:
        halves = {name for name in file if file[name].dtype == np.float16}
    assert halves == {"stage3_x1.0", "stage5_x1.0", "stage3_x1.5", "stage5_x1.5"}


def test_a_stage_or_file_that_is_not_there_is_told(of_stages: Path) -> None:
    assert [*load_stage_maps(of_stages, [1.0], ["stage3"]).maps] == [1.0]
    with pytest.raises(InputError, match=r"image\.npz: not a seed file \(.*stage4_x1\.5"):
        load_stage_maps(of_stages, [1.5], ["stage4"])
    with pytest.raises(InputError, match=r"b\.npz: no seeds here"):
        load_stage_maps(of_stages.with_name("b.npz"), [1.0], ["stage3"])
    of_stages.write_bytes(of_stages.read_bytes()[:200])
    with pytest.raises(InputError, match=r"image\.npz: not a seed file .*make_seeds\.py"):
        load_stage_maps(of_stages, [1.0], ["stage3"])


def test_resizing_keeps_half_pixel_centres() -> None:
    resized = resize_maps(np.array([[[0.0, 1.0]]], np.float32), (1, 4))
    np.testing.assert_allclose(resized, [[[0.0, 0.25, 0.75, 1.0]]])


def test_confidence_is_the_score_of_a_masks_label() -> None:
    maps = np.array([[[0.9, 0.2], [0.1, 0.4]], [[0.3, 0.1], [0.6, 0.8]]], np.float32)
    seeds = Seeds(maps, np.array([2, 6]), (2, 2))
    mask = np.array([[3, 0], [7, 255]], np.uint8)
    assert label_confidence(seeds, mask) == pytest.approx(np.array([[0.9, 0.8], [0.6, 0.0]]))
    assert label_confidence(seeds, np.full((2, 2), 5, np.uint8)).tolist() == [[0, 0], [0, 0]]  # a class it lacks


def test_an_image_without_classes_is_surely_background() -> None:
    seeds = Seeds(np.zeros((0, 1, 1), np.float32), np.zeros(0, np.int64), (2, 3))
    assert label_confidence(seeds, np.zeros((2, 3), np.uint8)).tolist() == [[1, 1, 1], [1, 1, 1]]
