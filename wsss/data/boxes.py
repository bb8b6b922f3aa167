"""True boxes of objects, from annotations or from masks: x0, y0, x1, y1 in pixels, the ends exclusive."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsss.data.image_labels import objects_in_xml
from wsss.errors import InputError
from wsss.labels import VOID

Boxes = dict[int, NDArray[np.int64]]  # zero-based class -> (M, 4)
FARTHEST = 1 << 31  # pixels from the corner
SIDES = ("xmin", "ymin", "xmax", "ymax")


def boxes_in_xml(path: Path, classes: Sequence[str], *, first_pixel: int = 1) -> Boxes:
    """Boxes of a VOC annotation; difficult and truncated objects count, objects of other classes do not.

    ImageNet's annotations have the same form: one folder a synset, whose id is the object's name.

    Args:
        path: the XML file.
        classes: names, which the objects' must equal.
        first_pixel: how the file counts pixels, the last of a box belonging to it: from 1 as VOC, or 0 as ImageNet.

    Raises:
        InputError: if the file is missing or broken, or an object's box is.
    """
    index = {name: number for number, name in enumerate(classes)}
    found: dict[int, list[list[int]]] = defaultdict(list)
    for name, obj in objects_in_xml(path):
        if name in index:
            x0, y0, x1, y1 = _corners(path, name, obj)
            found[index[name]].append([x0 - first_pixel, y0 - first_pixel, x1 + 1 - first_pixel, y1 + 1 - first_pixel])
    return {number: np.array(boxes, np.int64) for number, boxes in sorted(found.items())}


def _corners(path: Path, name: str, obj: ElementTree.Element) -> list[int]:
    texts = [obj.findtext(f"bndbox/{side}", "") for side in SIDES]
    try:
        x0, y0, x1, y1 = (round(float(text)) for text in texts)  # some tools write fractions
    except (ValueError, OverflowError):
        raise InputError(f"{path}: object {name}: expected a bndbox of {', '.join(SIDES)}; repair the file") from None
    if not (x0 <= x1 and y0 <= y1) or max(map(abs, (x0, y0, x1, y1))) > FARTHEST:
        raise InputError(f"{path}: object {name}: its box {x0}, {y0}, {x1}, {y1} is none; repair the file")
    return [x0, y0, x1, y1]


def boxes_in_mask(mask: NDArray[np.uint8]) -> Boxes:
    """Boxes of the 8-connected parts of each class in a label map (H, W).

    Objects that touch are one part, one that is hidden in the middle is several.
    """
    found: Boxes = {}
    for label in np.unique(mask[(mask > 0) & (mask != VOID)]).tolist():
        parts, _ = ndimage.label(mask == label, structure=np.ones((3, 3)))
        boxes = [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(parts)]
        found[label - 1] = np.array(boxes, np.int64)
    return found
