"""Reading masks as label values, and lists."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsss.errors import InputError
from wsss.photographs import opened

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# As cameras and people write them: .jpg, .JPG, .Jpg.
IMAGE_SUFFIXES = tuple(write(suffix) for write in (str.lower, str.upper, str.title) for suffix in _SUFFIXES)


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Label values (H, W) of a palette or grey PNG.

    Raises:
        InputError: if it is missing, cannot be decoded, or is a colour picture.
    """
    with opened(path, "mask") as image:
        mode, mask = image.mode, np.array(image)
    if mode not in ("P", "L"):
        raise InputError(f"{path}: a mask must hold label values, this one is {mode}; save it as palette or grey PNG")
    return mask


def read_text(path: Path) -> str:
    """Content of a text file.

    Raises:
        InputError: if it is missing or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # Windows editors begin with a mark
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not a readable text file ({error}); save it as UTF-8") from None


def read_lines(path: Path) -> list[str]:
    """Lines of a text file that are not empty, stripped; raises as `read_text` does."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]
