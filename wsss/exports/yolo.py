"""Label maps as polygons for YOLO's segmentation training."""

import json
import shutil
from pathlib import Path

from wsss.data import VOID
from wsss.exports.maps import LabelMaps
from wsss.exports.regions import regions
from wsss.writing import write_text


def write_yolo(maps: LabelMaps, folder: Path) -> int:
    """Write `labels/<id>.txt`, copies of the photographs `images/<id>.<suffix>`, `images.txt` and `data.yaml`.

    A line is a zero-based class and the corners of `wsss.exports.outline`, x over width and y over height.

    Returns:
        How many void pixels are left out.
    """
    left_out = 0
    for image_id, labels in maps:
        height, width = labels.shape
        left_out += int((labels == VOID).sum())
        lines = []
        for region in (region for region in regions(labels) if region.label != VOID):
            numbers = (region.outline() / (width, height)).ravel()
            lines.append(" ".join([str(region.label - 1), *(f"{number:.6f}" for number in numbers)]) + "\n")
        write_text(folder / "labels" / f"{image_id}.txt", "".join(lines))
        photograph = folder / "images" / maps.image_file(image_id)
        photograph.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(maps.data.image_path(image_id), photograph)  # no link: trainers mend JPEGs in place
    write_text(folder / "images.txt", "".join(f"./images/{maps.image_file(image_id)}\n" for image_id in maps.ids))
    names = "".join(
        f"  {number}: {json.dumps(name, ensure_ascii=False)}\n" for number, name in enumerate(maps.data.classes)
    )
    write_text(folder / "data.yaml", f"train: images.txt\nval: images.txt\nnames:\n{names}")
    return left_out
