"""Label maps as a folder of palette PNGs, and back."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsss.data import VOID, DataDescription, check_mask, image_size, palette, save_mask
from wsss.errors import InputError
from wsss.exports.maps import ImageFinder, LabelMaps
from wsss.writing import write_text


def write_pngs(maps: LabelMaps, folder: Path) -> int:
    """Write `<id>.png` and `classes.txt`, a line a label: value, name, colour, with tabs between.

    Returns:
        0: nothing is left out.
    """
    for image_id, labels in maps:
        save_mask(folder / f"{image_id}.png", labels)
    names = {0: "background", **dict(enumerate(maps.data.classes, start=1)), VOID: "void"}
    colors = palette().tolist()
    lines = [f"{label}\t{name}\t{','.join(map(str, colors[label]))}\n" for label, name in names.items()]
    write_text(folder / "classes.txt", "".join(lines))
    return 0


def read_pngs(folder: Path, data: DataDescription, ids: Sequence[str]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Label maps of a folder's PNGs, palette or grey, in its subfolders too.

    Args:
        folder: where they lie.
        data: the data set.
        ids: images that there may be files for, matched by name, see `ImageFinder`.

    Yields:
        Image ids, and labels (H, W).

    Raises:
        InputError: for no PNG at all, or one that fits no image by name, size or label values.
    """
    paths = sorted(folder.rglob("*.png"))
    if not paths:
        raise InputError(f"{folder}: no PNG in there; expected <id>.png, or name a COCO file")
    find = ImageFinder(ids, folder)
    for path in paths:
        image_id = find(path.relative_to(folder).as_posix())
        yield image_id, check_mask(data, path, image_size(data.image_path(image_id)))
