"""Reading masks as label values, and lists of names."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsss.errors import InputError
from wsss.photographs import opened
from wsss.reading import read_text

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# As cameras and people write them: .jpg, .JPG, .Jpg.
IMAGE_SUFFIXES = tuple(write(suffix) for write in (str.lower, str.upper, str.title) for suffix in _SUFFIXES)


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Label values (H, W) of a palette or grey PNG.

    Raises:
        InputError: if it is missing, cannot be decoded, or is a colour picture, or grey of fewer than 8 bits, which
            decoders spread over 0 … 255, so that nobody can tell labels.
    """
    with opened(path, "mask", formats=("PNG",)) as image:
        tiles = getattr(image, "tile", ())  # how the decoder will go about it: `L;4` for grey of 4 bits
        mode, is_spread = image.mode, image.mode == "L" and any(";" in str(tile[3]) for tile in tiles)
        mask = np.array(image)
    if mode not in ("P", "L") or is_spread:
        kind = "grey of fewer than 8 bits" if is_spread else mode
        raise InputError(f"{path}: a mask must hold label values, this one is {kind}; save it as palette or grey PNG")
    return mask


def read_lines(path: Path) -> list[str]:
    """Lines of a text file that are not empty, stripped; raises as `read_text` does."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]
