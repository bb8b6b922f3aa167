"""VOC's colours, and masks written with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss.data import palette, read_mask, save_mask


@pytest.mark.parametrize(
    ("label", "color"),
    [
        (0, (0, 0, 0)),
        (1, (128, 0, 0)),
        (2, (0, 128, 0)),
        (7, (128, 128, 128)),
        (8, (64, 0, 0)),
        (15, (192, 128, 128)),
        (20, (0, 64, 128)),
        (255, (224, 224, 192)),
    ],
)
def test_colours_are_vocs(label: int, color: tuple[int, int, int]) -> None:
    assert tuple(palette()[label]) == color


def test_all_colours_differ() -> None:
    assert len(np.unique(palette(), axis=0)) == 256


def test_what_is_saved_is_read_and_shown_in_colour(tmp_path: Path) -> None:
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    save_mask(tmp_path / "a.png", mask)
    assert np.array_equal(read_mask(tmp_path / "a.png"), mask)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image.convert("RGB")), palette()[mask])


@pytest.mark.parametrize("mask", [np.zeros((2, 2), np.int64), np.zeros((1, 2, 2), np.uint8)])
def test_other_arrays_are_refused_and_nothing_is_written(tmp_path: Path, mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected a uint8 label map \(H, W\)"):
        save_mask(tmp_path / "a.png", mask)
    assert not list(tmp_path.iterdir())


def test_a_failing_write_leaves_the_old_mask_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    save_mask(path, np.ones((2, 2), np.uint8))

    def fail(self, file, **options) -> None:
        file.write(b"half a file")
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        save_mask(path, np.zeros((2, 2), np.uint8))
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [path]
    assert (read_mask(path) == 1).all()
