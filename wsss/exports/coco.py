"""Label maps as COCO instances, and back."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

import wsss
from wsss.data import VOID, DataDescription, image_size
from wsss.data.polygons import drawing_steps, most_steps
from wsss.errors import InputError
from wsss.exports.maps import ImageFinder, LabelMaps
from wsss.exports.regions import Region, regions
from wsss.reading import read_json
from wsss.writing import write_text

VOID_NAME = "void"
T = TypeVar("T")


def write_coco(maps: LabelMaps, folder: Path, *, segmentation: str = "rle", void: bool = False) -> int:
    """Write `annotations.json`, one annotation for each connected part of a class.

    Args:
        maps: what is written.
        folder: where.
        segmentation: `rle` (needs pycocotools) or `polygons`, see `wsss.exports.outline`; both hold the mask exactly.
        void: keep void as crowds (always RLE) of the category `void`, whose id is the label value.

    Returns:
        How many void pixels are left out.

    Raises:
        InputError: without pycocotools, for a label map at fault, or if a class has the name of void.
    """
    if void and VOID_NAME in maps.data.classes:
        raise InputError(f"a class is called {VOID_NAME}: rename it in data.classes, or leave void out")
    if segmentation == "rle" or void:
        require_pycocotools()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    left_out = 0
    for number, (image_id, labels) in enumerate(maps, start=1):
        height, width = labels.shape
        images.append({"id": number, "file_name": maps.image_file(image_id), "width": width, "height": height})
        left_out += 0 if void else int((labels == VOID).sum())
        for region in regions(labels):
            if region.label != VOID or void:
                place = {"id": len(annotations) + 1, "image_id": number}
                annotations.append(place | _annotation(region, labels.shape, segmentation))
    content = {
        "info": {"description": maps.data.name, "version": "1.0", "contributor": f"wsss {wsss.__version__}"},
        "licenses": [],
        "images": images,
        "categories": _categories(maps.data, void=void),
        "annotations": annotations,
    }
    write_text(folder / "annotations.json", json.dumps(content, ensure_ascii=False))
    return left_out


def read_coco(path: Path, data: DataDescription, ids: Sequence[str]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Label maps of the images in a file of COCO instances; later annotations are drawn over earlier ones.

    Args:
        path: the file. Its categories are matched by name, `background` and `void` among them.
        data: the data set.
        ids: images that the file may hold, matched by name, see `ImageFinder`.

    Yields:
        Image ids, and labels (H, W); an image without annotations is all background.

    Raises:
        InputError: for whatever does not fit, naming it.
    """
    require_pycocotools()
    find, label_of = ImageFinder(ids, path), _labels_by_name(data)
    for name, size, objects in _read_images(path):
        image_id = find(name)
        width, height = image_size(data.image_path(image_id))
        if size not in ((None, None), (width, height)):
            raise InputError(
                f"{path}: {name} is {size[0]} × {size[1]} pixels there, the image {width} × {height}; "
                "export it again at the image's size"
            )
        labels = np.zeros((height, width), np.uint8)
        for number, category, segmentation in objects:
            if category not in label_of:
                known = ", ".join(label_of)
                raise InputError(f"{path}: category {category!r} is none of {known}; rename it or set data.classes")
            try:
                labels[decode(segmentation, labels.shape)] = label_of[category]
            except (ValueError, KeyError, TypeError, ArithmeticError) as error:
                raise InputError(f"{path}: annotation {number} of {name}: {error}; draw it again") from None
        yield image_id, labels


def require_pycocotools() -> Any:
    """The module that packs and unpacks RLE.

    Raises:
        InputError: if it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError:
        raise InputError("COCO's run lengths need `pip install pycocotools` (the extra coco)") from None
    return mask


def encode(region: Region, shape: tuple[int, ...]) -> dict[str, Any]:
    """Compressed RLE of a region in an image of `shape` (H, W)."""
    mask = np.zeros(shape, np.uint8, order="F")
    height, width = region.mask.shape
    mask[region.top : region.top + height, region.left : region.left + width] = region.mask
    rle = require_pycocotools().encode(mask)
    return {"size": list(shape), "counts": rle["counts"].decode("ascii")}


def decode(segmentation: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mask (H, W) of a segmentation: RLE, compressed or not, or polygons, which are united.

    Raises:
        ValueError: if it is broken or of another size.
    """
    if isinstance(segmentation, dict):
        return _decode_runs(segmentation, shape)
    polygons = [np.asarray(polygon, float) for polygon in segmentation]
    if not polygons or not all(_is_polygon(polygon, reach=2 * max(shape)) for polygon in polygons):
        raise ValueError("expected run lengths, or polygons of three points or more in the image")
    if sum(map(drawing_steps, polygons)) > most_steps(shape):
        raise ValueError("a polygon far too long for the image")
    api = require_pycocotools()
    return api.decode(api.merge(api.frPyObjects([polygon.tolist() for polygon in polygons], *shape))).astype(bool)


def _decode_runs(rle: dict[str, Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """By our own means: pycocotools writes beyond its memory where run lengths go beyond the image."""
    size, counts = rle["size"], rle["counts"]
    if list(size) != list(shape):
        raise ValueError(f"run lengths of size {size}, expected {list(shape)}")
    runs = _unpacked(counts) if isinstance(counts, str) else counts
    if not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != math.prod(shape):
        raise ValueError("the run lengths do not cover the image")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape, order="F")


def _unpacked(counts: str) -> list[int]:
    """Run lengths of COCO's compressed form.

    A number is a row of letters from `0` on, each of five bits, low ones first, and a sixth where more follow; the last
    one's fifth is the sign. From the fourth number on, each is the difference to the last but one.
    """
    runs: list[int] = []
    number = shift = 0
    for code in (ord(letter) - ord("0") for letter in counts):
        if not 0 <= code < 64 or shift > 60:
            raise ValueError("broken run lengths")
        number |= (code & 31) << shift
        shift += 5
        if not code & 32:
            number -= (1 << shift) if code & 16 else 0
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = shift = 0
    if shift:
        raise ValueError("run lengths that break off")
    return runs


def _is_polygon(numbers: NDArray[np.float64], *, reach: int) -> bool:
    """Whether these are x, y of three corners or more, none so far away (or NaN) that drawing them would crash."""
    return numbers.ndim == 1 and numbers.size >= 6 and numbers.size % 2 == 0 and bool((abs(numbers) <= reach).all())


class _Object(NamedTuple):
    """An annotation: its number and what is needed to draw it."""

    number: object
    category: str
    segmentation: Any


class _Image(NamedTuple):
    """An image of the file: its name, width and height if it has them, objects in order."""

    name: str
    size: tuple[int | None, int | None]
    objects: list[_Object]


def _read_images(path: Path) -> list[_Image]:
    content = read_json(path, remedy="export it again")
    try:
        categories = _by_id(content, "categories", lambda entry: str(entry["name"]))
        images = _by_id(
            content,
            "images",
            lambda entry: _Image(str(entry["file_name"]), (entry.get("width"), entry.get("height")), []),
        )
        for entry in content["annotations"]:
            for kind, known in (("category", categories), ("image", images)):
                if (number := entry[f"{kind}_id"]) not in known:
                    raise ValueError(
                        f"annotation {entry.get('id')} is of {kind} {number}, which the file does not list"
                    )
            category = categories[entry["category_id"]]
            images[entry["image_id"]].objects.append(_Object(entry.get("id"), category, entry["segmentation"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not COCO instances with segmentations ({reason}); export it again") from None
    return list(images.values())


def _by_id(content: dict[str, Any], kind: str, read: Callable[[dict[str, Any]], T]) -> dict[Any, T]:
    found = {entry["id"]: read(entry) for entry in content[kind]}
    if len(found) < len(content[kind]):
        raise ValueError(f"two {kind} have one id")
    return found


def _labels_by_name(data: DataDescription) -> dict[str, int]:
    return {"background": 0, VOID_NAME: VOID} | {name: label for label, name in enumerate(data.classes, start=1)}


def _categories(data: DataDescription, *, void: bool) -> list[dict[str, object]]:
    names = dict(enumerate(data.classes, start=1)) | ({VOID: VOID_NAME} if void else {})
    return [{"id": label, "name": name, "supercategory": ""} for label, name in names.items()]


def _annotation(region: Region, shape: tuple[int, ...], segmentation: str) -> dict[str, Any]:
    height, width = region.mask.shape
    is_void = region.label == VOID
    with_polygons = segmentation == "polygons" and not is_void
    return {
        "category_id": region.label,
        "bbox": [region.left, region.top, width, height],
        "area": int(region.mask.sum()),
        "iscrowd": int(is_void),
        "segmentation": [region.outline().ravel().tolist()] if with_polygons else encode(region, shape),
    }
