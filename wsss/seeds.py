"""The seed store: one small, pickle-free file per image."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wsss.errors import InputError
from wsss.labels import VOID
from wsss.photographs import MOST_PIXELS
from wsss.writing import whole_file

FORMAT = 2  # 1 did not say which it is
MOST_BYTES = 1 << 29  # of one file's arrays, so that a few packed zeros cannot fill the memory
_ROUNDING = 1e-3  # of half precision, and to spare
T = TypeVar("T")
Array = Tensor | NDArray[np.floating]


class Seeds(NamedTuple):
    """Localisation maps of one image's present classes.

    `maps` is float32 (K, h, w) in [0, 1]; `classes` (K,) holds zero-based class ids without background; `size` is the
    image's (H, W).
    """

    maps: NDArray[np.float32]
    classes: NDArray[np.int64]
    size: tuple[int, int]


class StageMaps(NamedTuple):
    """Maps of one image's present classes before fusion.

    `maps` is scale -> stage -> float32 (1, K, h_i, w_i), (2, K, h_i, w_i) with the mirror image's, in [0, 1]; `classes`
    and `size` are those of `Seeds`.
    """

    maps: dict[float, dict[str, NDArray[np.float32]]]
    classes: NDArray[np.int64]
    size: tuple[int, int]


def save_seeds(path: str | Path, maps: Array, classes: Sequence[int], size: Sequence[int]) -> None:
    """Write one image's seeds as float16, whole or not at all.

    Args:
        path: the `.npz` to write.
        maps: (K, h, w), values in [0, 1].
        classes: K zero-based class ids.
        size: image height and width in pixels.

    Raises:
        ValueError: if `maps` and `classes` disagree.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     save_seeds(f"{folder}/photo.npz", torch.ones(2, 4, 4), classes=[0, 7], size=(16, 16))
        ...     load_seeds(f"{folder}/photo.npz").classes
        array([0, 7])
    """
    array = _numpy(maps)
    if array.ndim != 3 or len(array) != len(classes):
        raise ValueError(f"expected maps (K, h, w) for K = {len(classes)} classes, got {array.shape}")
    _write(path, {"maps": array.astype(np.float16)}, classes, size)


def load_seeds(path: str | Path) -> Seeds:
    """Read what `save_seeds` wrote.

    Raises:
        InputError: if the file is missing, not a whole seed file, or of a newer format than this version knows.
    """

    def parse(file: Mapping[str, NDArray[Any]]) -> Seeds:
        classes = _classes(file)
        return Seeds(_maps(file["maps"], (len(classes),)), classes, _size(file))

    return _read(path, parse)


def save_stage_maps(
    path: str | Path, maps: Mapping[float, Mapping[str, Array]], classes: Sequence[int], size: Sequence[int]
) -> None:
    """Write one image's maps before fusion, whole or not at all: a float16 array `<stage>_x<scale>` for each.

    Args:
        path: the `.npz` to write.
        maps: scale -> stage -> (1 or 2, K, h_i, w_i), values in [0, 1].
        classes: K zero-based class ids.
        size: image height and width in pixels.
    """
    arrays = {
        _name(stage, x): _numpy(m).astype(np.float16) for x, stages in maps.items() for stage, m in stages.items()
    }
    _write(path, arrays, classes, size)


def load_stage_maps(path: str | Path, scales: Sequence[float], stages: Sequence[str]) -> StageMaps:
    """Read some of what `save_stage_maps` wrote.

    Raises:
        InputError: if the file is missing, damaged, of a newer format, or has no maps of a scale and stage.
    """

    def parse(file: Mapping[str, NDArray[Any]]) -> StageMaps:
        classes = _classes(file)

        def maps(stage: str, scale: float) -> NDArray[np.float32]:
            array = file[_name(stage, scale)]
            return _maps(array, (*array.shape[:1], len(classes)))

        return StageMaps({x: {stage: maps(stage, x) for stage in stages} for x in scales}, classes, _size(file))

    return _read(path, parse)


def _maps(array: NDArray[Any], leading: tuple[int, ...]) -> NDArray[np.float32]:
    """Maps (*leading, h, w) in [0, 1]."""
    if array.dtype.kind != "f" or array.shape[:-2] != leading or 0 in array.shape[-2:]:
        raise ValueError(f"maps {array.dtype} {array.shape} for {leading[-1]} classes")
    maps = array.astype(np.float32)
    if maps.size and not (maps.min() >= -_ROUNDING and maps.max() <= 1 + _ROUNDING):  # NaN is neither
        raise ValueError(f"maps of {maps.min():g} to {maps.max():g}, expected 0 to 1")
    return maps


def _classes(file: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    classes = file["classes"]
    if classes.dtype.kind not in "iu" or classes.ndim != 1 or len(classes) > VOID:
        raise ValueError(f"classes {classes.dtype} {classes.shape}")
    numbers = {*classes.tolist()}
    if len(numbers) < len(classes) or not numbers <= {*range(VOID - 1)}:
        raise ValueError(f"classes {classes.tolist()}, expected different ones from 0 to {VOID - 2}")
    return classes.astype(np.int64)


def _size(file: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    height, width = file["size"].tolist()
    if not (type(height) is type(width) is int and min(height, width) > 0 and height * width <= MOST_PIXELS):
        raise ValueError(f"size {height} × {width}")
    return height, width


def _format(file: Mapping[str, NDArray[Any]]) -> int:
    number = file.get("format", np.asarray(1)).tolist()
    if type(number) is not int or number < 1:
        raise ValueError(f"format {number}")
    return number


def _name(stage: str, scale: float) -> str:
    return f"{stage}_x{float(scale)}"


def _numpy(maps: Array) -> NDArray[np.floating]:
    return maps.detach().float().cpu().numpy() if isinstance(maps, Tensor) else np.asarray(maps)


def _write(path: str | Path, arrays: Mapping[str, NDArray[Any]], classes: Sequence[int], size: Sequence[int]) -> None:
    numbers = {"classes": classes, "size": size, "format": FORMAT}
    plain = {**arrays, **{name: np.asarray(value, np.int64) for name, value in numbers.items()}}
    if (nbytes := sum(array.nbytes for array in plain.values())) > MOST_BYTES:
        most = f"expected {MOST_BYTES >> 20} at most, which is what reading takes"
        raise InputError(f"{path}: {nbytes >> 20} MB of maps, {most}; lower cam.resize_long or keep fewer classes")
    with whole_file(Path(path)) as file:
        np.savez_compressed(file, **plain)  # type: ignore[arg-type]  # numpy's own options come before the arrays


def _read(path: str | Path, parse: Callable[[Mapping[str, NDArray[Any]]], T]) -> T:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no seeds here; make them with `python scripts/make_seeds.py`")
    try:
        with np.load(path, allow_pickle=False) as file:
            members = file.zip.infolist()
            if len({member.filename for member in members}) < len(members):
                raise ValueError("an array is there twice")
            if sum(member.file_size for member in members) > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES >> 20} MB of arrays")
            if (number := _format(file)) <= FORMAT:
                return parse(file)
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise a dozen kinds
        remedy = "delete it and rerun `python scripts/make_seeds.py`, which makes what is missing"
        raise InputError(f"{path}: not a seed file ({error or type(error).__name__}); {remedy}") from error
    known = f"this version of wsss reads up to {FORMAT}"
    raise InputError(f"{path}: a seed file of format {number}, {known}; install a newer one")


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
