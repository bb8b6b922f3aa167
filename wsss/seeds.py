"""The seed store: one small, pickle-free file per image."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wsss.errors import InputError
from wsss.writing import whole_file


class Seeds(NamedTuple):
    """Localisation maps of one image's present classes.

    `maps` is float32 (K, h, w) in [0, 1]; `classes` (K,) holds zero-based class ids without background; `size` is the
    image's (H, W).
    """

    maps: NDArray[np.float32]
    classes: NDArray[np.int64]
    size: tuple[int, int]


def save_seeds(
    path: str | Path, maps: Tensor | NDArray[np.floating], classes: Sequence[int], size: Sequence[int]
) -> None:
    """Write one image's seeds as float16, whole or not at all.

    Args:
        path: the `.npz` to write.
        maps: (K, h, w), values in [0, 1].
        classes: K zero-based class ids.
        size: image height and width in pixels.

    Raises:
        ValueError: if `maps` and `classes` disagree.
    """
    array = maps.detach().float().cpu().numpy() if isinstance(maps, Tensor) else np.asarray(maps)
    if array.ndim != 3 or len(array) != len(classes):
        raise ValueError(f"expected maps (K, h, w) for K = {len(classes)} classes, got {array.shape}")
    with whole_file(Path(path)) as file:
        np.savez_compressed(
            file, maps=array.astype(np.float16), classes=np.asarray(classes, np.int64), size=np.asarray(size, np.int64)
        )


def load_seeds(path: str | Path) -> Seeds:
    """Read what `save_seeds` wrote.

    Raises:
        InputError: if the file is missing or not a whole seed file.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no seeds here; make them with `python scripts/make_seeds.py`")
    try:
        with np.load(path, allow_pickle=False) as file:
            height, width = (int(n) for n in file["size"])
            seeds = Seeds(file["maps"].astype(np.float32), file["classes"], (height, width))
        if seeds.maps.ndim != 3 or len(seeds.maps) != len(seeds.classes):
            raise ValueError(f"maps {seeds.maps.shape} for {len(seeds.classes)} classes")
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise a dozen kinds
        remedy = "delete it and rerun `python scripts/make_seeds.py`, which makes what is missing"
        raise InputError(f"{path}: not a seed file ({error or type(error).__name__}); {remedy}") from error
    return seeds


def label_confidence(seeds: Seeds, mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How far seeds agree with a mask, (H, W) in [0, 1]: their score for its label, for background 1 - the best one's.

    Args:
        seeds: of the mask's image.
        mask: labels 0 … N and 255, (H, W); void, and classes that the seeds do not hold, have confidence 0.
    """
    maps = resize_maps(seeds.maps, mask.shape) if len(seeds.classes) else np.zeros((0, *mask.shape), np.float32)
    confidence = np.where(mask == 0, 1 - maps.max(axis=0, initial=0), 0).astype(np.float32)
    for label, of_class in zip(seeds.classes + 1, maps, strict=True):
        confidence[mask == label] = of_class[mask == label]
    return confidence.clip(0, 1)


def resize_maps(maps: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bring maps (K, h, w) to the image's size, bilinear with half-pixel centres -> (K, H, W)."""
    resized = F.interpolate(torch.from_numpy(maps)[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    return np.asarray(resized.numpy())
