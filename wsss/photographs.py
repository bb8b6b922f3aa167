"""Photographs as a person sees them, whatever they are stored as."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from wsss.errors import InputError

# Pillow knows more, EPS among them, which it hands to Ghostscript to be run as the program that it is.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MOST_PIXELS = 100_000_000  # decoding takes up to 15 bytes a pixel, however little the file holds
_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 0x0100, 0x0101  # EXIF tags
_ON_ITS_SIDE = (5, 6, 7, 8)  # orientations for which width and height change places


def read_image(path: Path) -> Image.Image:
    """Decode a photograph wholly, see `as_seen`.

    Raises:
        InputError: if it is missing or cannot be decoded.
    """
    with opened(path, "image") as image:
        return as_seen(image)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of a photograph as a person sees it, from its header.

    Raises:
        InputError: if it is missing or not an image.
    """
    with opened(path, "image") as image:
        # Of a TIFF, Pillow gives the size before or after turning, by its version.
        width, height = (
            (image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT]) if isinstance(image, TiffImageFile) else image.size
        )
        return (height, width) if _is_turned(image) else (width, height)


def is_on_its_side(path: Path) -> bool:
    """Whether the EXIF orientation of a photograph makes rows of columns; raises as `image_size` does."""
    with opened(path, "image") as image:
        return _is_turned(image)


@contextmanager
def opened(path: Path, kind: str, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """An image file of a format, of `MOST_PIXELS` at most; what fails with it in the block is the user's to mend."""
    remedy = "replace it or take it out of its list or folder"
    try:
        if not path.exists():
            raise InputError(f"{path}: no such {kind}; add the file or remove its id from the list")
        if not path.is_file():  # reading from a device would never end
            raise ValueError("not a plain file")
        with Image.open(path, formats=formats) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} × {image.height}, more than {MOST_PIXELS // 10**6} million pixels")
            yield image
    except InputError:
        raise
    except Exception as error:  # damaged files make Pillow's decoders raise a dozen kinds
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: not a readable {kind} ({reason}); {remedy}") from None


def _is_turned(image: Image.Image) -> bool:
    return image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE


def as_seen(image: Image.Image) -> Image.Image:
    """A copy of an image as RGB and as a person sees it.

    It is turned as its EXIF orientation says; what is transparent shows white; 16 bits a channel become 8.

    Raises:
        ValueError: for floating-point pixels, whose range nobody knows.
    """
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)  # a copy, which a large photograph better does without
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        deep, transparent = np.asarray(image), image.info.get("transparency")
        grey = _eight_bits(deep)
        if isinstance(transparent, int):
            grey[deep == transparent] = 255
        image = Image.fromarray(grey)
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        seen = Image.new("RGB", image.size, "white")
        seen.paste(image, mask=image.getchannel("A"))
        return seen
    return image.convert("RGB")


def _eight_bits(deep: NDArray[np.integer]) -> NDArray[np.uint8]:
    """A 257th of each value, rounded; in whole numbers, for floats would take several times the memory."""
    values = deep.clip(0, 65_535).astype(np.uint32)
    values += 128
    values //= 257
    return values.astype(np.uint8)
