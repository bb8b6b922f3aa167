"""Lists of images, the table of their labels, and what must agree with them."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from wsss.data import DataDescription, read_labels
from wsss.data.files import read_lines
from wsss.errors import InputError
from wsss.writing import csv_text, write_text

log = logging.getLogger(__name__)

LISTS = "ImageSets/Segmentation"


def write_list(data: DataDescription, split: str, ids: Sequence[str]) -> bool:
    """Write the list of a split, as `write_lines` does."""
    return write_lines(data.root / LISTS / f"{split}.txt", ids)


def write_lines(path: Path, lines: Sequence[str]) -> bool:
    """Write a list, unless it is there.

    Returns:
        Whether it was written.

    Raises:
        InputError: if another list is there.
    """
    if path.exists():
        if read_lines(path) != list(lines):
            raise InputError(f"{path}: another list is there already; move it away or choose another folder")
        return False
    write_text(path, "".join(f"{line}\n" for line in lines))
    return True


def write_labels(data: DataDescription, ids: Sequence[str]) -> bool:
    """Write `labels.csv` under the root with the labels that `data` reads, as `write_table` does."""
    return write_table(data.root, {i: [data.classes[label] for label in read_labels(data, i)] for i in ids})


def write_table(root: Path, names: Mapping[str, Sequence[str]]) -> bool:
    """Write `labels.csv`: `image,labels`, a line an image, its class names joined by `;`.

    Returns:
        Whether it was written: not, if it holds the same.
    """
    text = csv_text(("image", "labels"), ((image_id, ";".join(names[image_id])) for image_id in sorted(names)))
    path = root / "labels.csv"
    if path.exists() and path.read_bytes() == text.encode():
        return False
    write_text(path, text)
    return True


def check_count(split: str, ids: Sequence[str], counts: Mapping[str, int], *, origin: str) -> None:
    """Refuse a list of another length than the published one; a split that `counts` lacks may have any."""
    expected = counts.get(split, len(ids))
    if len(ids) != expected:
        remedy = "restore the official files, or pass --any-count if you know why"
        raise InputError(f"{split}: expected {expected:,} images, found {len(ids):,} ({origin}); {remedy}")


def check_files(data: DataDescription, split: str, ids: Sequence[str], *, truth: bool = True) -> None:
    """Refuse a split whose images, or, with `truth`, masks and annotations are not all there."""
    places = [data.image_path]
    if truth:
        places += [data.mask_path, *([data.annotation_path] if data.labels == "xml" else [])]
    missing = [path for image_id in ids for place in places if not (path := place(image_id)).exists()]
    if missing:
        remedy = f"delete {data.root / LISTS}, and the same command brings what is missing"
        raise InputError(f"{missing[0]}: no such file ({len(missing):,} missing in {split}); {remedy}")


def log_end(root: Path, splits: Mapping[str, Sequence[str]], written: int) -> None:
    """Tell what lies there now, and how many files are new."""
    sizes = ", ".join(f"{split} {len(ids):,}" for split, ids in splits.items())
    log.info("%s: %s; %s", root, sizes, f"files written: {written:,}" if written else "all there already, nothing done")
