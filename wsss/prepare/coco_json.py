"""The JSON of COCO's instances, read and checked before anything is made of it."""

import logging
import math
import reprlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wsss.data import VOID
from wsss.data.polygons import drawing_steps, most_steps
from wsss.errors import InputError, is_plain
from wsss.reading import read_json

ADDRESS = "http://images.cocodataset.org"
ANNOTATIONS_ADDRESS = f"{ADDRESS}/annotations/annotations_trainval2014.zip"

log = logging.getLogger(__name__)


class Annotation(NamedTuple):
    """One instance or crowd region.

    `region` holds polygons, arrays of x, y, x, y …, or one dictionary of COCO's run lengths: `size` (H, W), and
    `counts` of pixels column by column, outside and inside in turn. `num_skipped` polygons were left out of it.
    """

    id: int
    image_id: int
    category_id: int
    area: float
    is_crowd: bool
    region: list[Any]
    num_skipped: int


class CocoImage(NamedTuple):
    """A photograph with what is annotated in it; `size` is (H, W)."""

    id: str
    path: Path
    size: tuple[int, int]
    annotations: list[Annotation]

    @property
    def size_text(self) -> str:
        """For messages."""
        return f"{self.size[0]} × {self.size[1]}"


class Instances(NamedTuple):
    """A JSON's images by ascending id, and its categories' names by ascending category id."""

    images: list[CocoImage]
    categories: dict[int, str]


def read_instances(path: Path, photographs: Path) -> Instances:
    """Images with their annotations, from a JSON of COCO's instances.

    Args:
        path: the JSON.
        photographs: folder of its images, whose name begins their ids.

    Raises:
        InputError: if it is no such file; the message names the entry at fault.
    """
    remedy = f"unpack it again from {ANNOTATIONS_ADDRESS}"
    content = read_json(path, remedy=remedy, object_hook=_compact)
    try:
        instances = _link(content, photographs)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}; {remedy}") from None
    skipped = [a for image in instances.images for a in image.annotations if a.num_skipped]
    if skipped:
        num_polygons = sum(a.num_skipped for a in skipped)
        log.warning(
            "%s: skipped %d polygons of fewer than 3 points, first in annotation %d", path, num_polygons, skipped[0].id
        )
    return instances


def _compact(entry: dict[str, Any]) -> Any:
    """Shrink an annotation while the rest is being read: a file of 330 MB would become 1.4 GB of Python's numbers."""
    if "segmentation" not in entry:
        return entry
    try:
        return _annotation(entry)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"annotation {entry.get('id')}: {error}") from None


def _annotation(entry: dict[str, Any]) -> Annotation:
    names = ("id", "image_id", "category_id", "area", "iscrowd", "segmentation")
    number, image_id, category_id, area, is_crowd, region = _fields(entry, *names)
    if not math.isfinite(area):
        raise ValueError(f"area {area}")
    if isinstance(region, dict):
        size, counts = _fields(region, "size", "counts")
        drawable = region = [{"size": size, "counts": np.array(counts, np.uint32)}]
    else:
        region = [np.array(points, np.float64) for points in region]
        if any(points.ndim != 1 or len(points) % 2 for points in region):
            raise ValueError("expected polygons as lists of x, y, x, y …")
        drawable = [points for points in region if len(points) >= 6]
    num_skipped = len(region) - len(drawable)
    return Annotation(number, image_id, category_id, float(area), bool(is_crowd), drawable, num_skipped)


def _fields(entry: Any, *names: str) -> list[Any]:
    try:
        return [entry[name] for name in names]
    except (KeyError, TypeError):
        raise ValueError(f"expected {', '.join(names)} in {reprlib.repr(entry)}") from None


def _link(content: Any, photographs: Path) -> Instances:
    """Hang the annotations on their images."""
    listed, annotations, category_entries = _fields(content, "images", "annotations", "categories")
    categories = dict(sorted(_fields(entry, "id", "name") for entry in category_entries))
    if not len({*categories.values()}) == len(categories) == len(category_entries):
        raise ValueError("two categories have one id or one name")
    if not categories or not all(type(category) is int and 0 < category < VOID for category in categories):
        raise ValueError(f"expected category ids from 1 to {VOID - 1}, got {reprlib.repr(list(categories))}")
    unfit = [name for name in categories.values() if not _is_class_name(name)]
    if unfit:
        raise ValueError(f"category name {reprlib.repr(unfit[0])}: expected a line of text without ;")
    images = {}
    for entry in listed:
        number, name, height, width = _fields(entry, "id", "file_name", "height", "width")
        if not isinstance(name, str) or name != Path(name).name or not is_plain(name):
            raise ValueError(f"image {reprlib.repr(number)}: file_name {reprlib.repr(name)} is not a file's name")
        if not all(type(side) is int and side > 0 for side in (height, width)):
            raise ValueError(f"image {reprlib.repr(number)}: {reprlib.repr(width)} × {reprlib.repr(height)} pixels")
        image_id = f"{photographs.name}/{Path(name).stem}"
        images[number] = CocoImage(image_id, photographs / name, (height, width), [])
    if len({image.id for image in images.values()}) < len(listed):
        raise ValueError("two images have one id or one file name")
    for annotation in annotations:
        if not isinstance(annotation, Annotation):
            raise ValueError(f"expected an annotation with a segmentation, got {reprlib.repr(annotation)}")
        if annotation.category_id not in categories:
            raise ValueError(f"annotation {annotation.id}: category {annotation.category_id} is not in the file")
        if annotation.image_id not in images:
            raise ValueError(f"annotation {annotation.id}: image {annotation.image_id} is not in the file")
        image = images[annotation.image_id]
        _check_region(annotation, image)
        image.annotations.append(annotation)
    return Instances(sorted(images.values(), key=lambda image: image.id), categories)


def _is_class_name(name: object) -> bool:
    return isinstance(name, str) and name == name.strip() != "" and ";" not in name and is_plain(name)


def _check_region(annotation: Annotation, image: CocoImage) -> None:
    """Refuse what pycocotools would crash on: run lengths that do not fill the image, corners far outside it or NaN.

    So too a polygon that goes to and fro so often that drawing it would take all memory.
    """
    for region in annotation.region:
        if isinstance(region, dict):
            size, counts = region.values()
            is_sound = tuple(size) == image.size and counts.sum() == math.prod(image.size)
            fault = "its run lengths do not fill"
        else:
            is_sound = bool((abs(region) <= 2 * max(image.size)).all())
            fault = "its polygon has corners far outside"
            if is_sound and not drawing_steps(region) <= most_steps(image.size):
                is_sound, fault = False, "its polygon is far too long for"
        if not is_sound:
            raise ValueError(f"annotation {annotation.id}: {fault} {image.id}, {image.size_text} pixels")
