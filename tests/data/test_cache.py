"""Copies of large photographs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wsss.data import DataDescription, ImageCache, ImageDataset, save_mask


@pytest.fixture
def data(tmp_path: Path) -> DataDescription:
    ramp = np.linspace(0, 255, 80 * 40).reshape(40, 80).astype(np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(ramp).save(tmp_path / "images" / "wide.png")
    Image.fromarray(ramp[:10, :10]).save(tmp_path / "images" / "small.png")
    mask = np.zeros((40, 80), np.uint8)
    mask[:, 40:] = 1
    save_mask(tmp_path / "masks" / "wide.png", mask)
    return DataDescription("ramps", tmp_path, ("right",), "table", "images", "masks")


def test_a_large_photograph_is_copied_once_and_masks_follow(data: DataDescription, tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "copies", 20)
    dataset = ImageDataset(data, ["wide"], torch.ones(1, 1), mask_folder=tmp_path / "masks", cache=cache)
    first, again = dataset[0], dataset[0]
    assert first.images.shape == (3, 10, 20)
    assert torch.equal(first.images, again.images)
    assert first.masks.tolist() == [[[0] * 10 + [1] * 10] * 10]
    expected = torch.tensor(np.array(Image.open(data.image_path("wide")).resize((20, 10)))).int()
    assert (first.images[0].int() - expected).abs().max() <= 6
    assert [path.name.partition("-")[0] for path in (tmp_path / "copies").iterdir()] == ["wide"]


def test_a_small_photograph_is_read_as_it_is(data: DataDescription, tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "copies", 20)
    assert cache.read(data.image_path("small"), "small").size == (10, 10)
    assert not (tmp_path / "copies").exists()


@pytest.mark.parametrize("seconds", [1, -1], ids=["newer", "older"])
def test_a_photograph_that_has_changed_is_copied_anew(data: DataDescription, tmp_path: Path, seconds: int) -> None:
    cache, path = ImageCache(tmp_path / "copies", 20), data.image_path("wide")
    cache.read(path, "wide")
    time = path.stat().st_mtime_ns + seconds * 10**9
    Image.new("L", (80, 40), 200).save(path)
    os.utime(path, ns=(time, time))
    assert np.asarray(cache.read(path, "wide")).mean() == pytest.approx(200, abs=1)
