"""Photographs as a person sees them, whatever they are stored as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss.errors import InputError
from wsss.photographs import image_size, read_image

ROW = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)  # red, blue


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(1, ROW), (2, ROW[:, ::-1]), (3, ROW[:, ::-1]), (6, ROW.transpose(1, 0, 2)), (8, ROW.transpose(1, 0, 2)[::-1])],
)
def test_exif_orientation_is_followed(tmp_path: Path, orientation: int, upright: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    Image.fromarray(ROW).save(path, exif=exif)
    image = read_image(path)
    assert np.array_equal(np.asarray(image), upright)
    assert image_size(path) == image.size
    assert not image.getexif().get(0x0112, 0) > 1  # whoever saves it again does not turn it twice


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", [*range(10), 99])
def test_the_size_is_that_of_the_image_as_read(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(ROW).save(path, exif=exif)
    assert image_size(path) == read_image(path).size == ((1, 2) if orientation in (5, 6, 7, 8) else (2, 1))


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    deep = Image.fromarray(np.array([[0, 257, 32768, 65535]], np.uint16))
    deep.save(path)
    assert np.asarray(read_image(path))[0, :, 0].tolist() == [0, 1, 128, 255]
    deep.save(path, transparency=257)
    assert np.asarray(read_image(path))[0, :, 0].tolist() == [0, 255, 128, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_shows_white(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGBA", (2, 1), (10, 10, 10, 255))
    picture.putpixel((1, 0), (10, 10, 10, 0))
    path = tmp_path / ("photo.tif" if mode == "LA" else "photo.png")
    (picture if mode == "RGBA" else picture.convert("LA") if mode == "LA" else picture.quantize()).save(path)
    assert np.asarray(read_image(path))[0].tolist() == [[10, 10, 10], [255, 255, 255]]


@pytest.mark.parametrize(
    ("mode", "suffix", "color", "seen"),
    [
        ("CMYK", "tif", (0, 255, 255, 0), (255, 0, 0)),
        ("CMYK", "jpg", (0, 255, 255, 0), (255, 0, 0)),
        ("L", "png", 90, (90, 90, 90)),
        ("1", "png", 0, (0, 0, 0)),
        ("1", "png", 1, (255, 255, 255)),
        ("P", "gif", 1, (10, 20, 30)),
    ],
)
def test_cmyk_grey_black_and_white_and_palette_images_are_read(
    tmp_path: Path, mode: str, suffix: str, color: object, seen: tuple[int, int, int]
) -> None:
    image = Image.new(mode, (8, 8), color)
    if mode == "P":
        image.putpalette([200, 100, 50, 10, 20, 30])
    image.save(tmp_path / f"photo.{suffix}")
    assert read_image(tmp_path / f"photo.{suffix}").getpixel((3, 3)) == seen


def test_floating_point_pixels_are_refused_with_a_remedy(tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "heights.tif")
    with pytest.raises(InputError, match=r"heights\.tif: not a readable image .*save it with 8 or 16 bits"):
        read_image(tmp_path / "heights.tif")


def test_sizes_of_missing_and_broken_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_text("no image")
    for name, message in (("none.jpg", "no such image"), ("broken.jpg", "not a readable image")):
        with pytest.raises(InputError, match=f"{name}: {message}"):
            image_size(tmp_path / name)
