"""Label maps as palette PNGs, coloured as VOC colours them."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsss.labels import palette
from wsss.writing import whole_file


def encode_mask(mask: NDArray[np.uint8]) -> bytes:
    """A label map (H, W) as the bytes of a palette PNG."""
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise ValueError(f"expected a uint8 label map (H, W), got {mask.dtype} {mask.shape}")
    image = Image.fromarray(mask, mode="P")
    image.putpalette(palette().tobytes())
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def save_mask(path: Path, mask: NDArray[np.uint8]) -> None:
    """Write a label map (H, W) as palette PNG, whole or not at all."""
    content = encode_mask(mask)
    with whole_file(path) as file:
        file.write(content)
