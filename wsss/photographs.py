"""Photographs as a person sees them, whatever they are stored as."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from wsss.errors import InputError

# What Pillow raises for damaged, foreign and outsize files.
UNREADABLE = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError)
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
def opened(path: Path, kind: str) -> Iterator[Image.Image]:
    """An image file; what Pillow cannot do with it in the block is the user's to mend."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise InputError(f"{path}: no such {kind}; add the file or remove its id from the list") from None
    except UNREADABLE as error:
        remedy = "replace it or take it out of its list or folder"
        raise InputError(f"{path}: not a readable {kind} ({error}); {remedy}") from None


def _is_turned(image: Image.Image) -> bool:
    return image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE


def as_seen(image: Image.Image) -> Image.Image:
    """A copy of an image as RGB and as a person sees it.

    It is turned as its EXIF orientation says; what is transparent shows white; 16 bits a channel become 8.

    Raises:
        ValueError: for floating-point pixels, whose range nobody knows.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        deep, transparent = np.asarray(image), image.info.get("transparency")
        grey = (deep.astype(np.float64) / 257).round().clip(0, 255).astype(np.uint8)
        image = Image.fromarray(np.where(deep == transparent, 255, grey) if isinstance(transparent, int) else grey)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
