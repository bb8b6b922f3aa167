"""Photographs of surface defects in the layout that this library reads, from two public sets.

Magnetic tiles (Huang et al., Saliency of magnetic tile surface defects, The Visual Computer, 2020), as its repository
abin24/Magnetic-tile-defect-datasets. has them:

    source/MT_{Blowhole,Break,Crack,Fray,Uneven,Free}/Imgs/exp<k>_num_<n>.jpg, and .png: white on the defect

DAGM 2007 (Weakly Supervised Learning for Industrial Optical Inspection), artificial textures whose masks are ellipses
drawn around the defects, so that a map that follows a defect closely cannot reach an IoU of 1:

    source/Class<k>/{Train,Test}/<n>.PNG  Label/Labels.txt  Label/<n>_label.PNG: white on the ellipse

Both become `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation`, `classes.txt` and `labels.csv`. A photograph
without a defect has no label, and a mask of background alone.
"""

import logging
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsss.data import (
    VOID,
    DataDescription,
    describe,
    image_size,
    read_labels,
    read_mask,
    read_split,
    save_mask,
    stratified_split,
)
from wsss.data.files import read_lines
from wsss.errors import InputError
from wsss.photographs import opened
from wsss.prepare.disk import copy_file, disk_errors
from wsss.prepare.samples import SPLITS, packaged_list
from wsss.prepare.tables import log_end, write_lines, write_list, write_table
from wsss.progress import follow

TILE_KINDS = ("blowhole", "break", "crack", "fray", "uneven")
FREE = "free"  # what tiles without a defect are called
VAL_SHARE = 0.2
# Shots of one tile under its six exposures, exp1 to exp6, follow one another: in the sample their numbers differ by
# less than this from shot to shot, those of different tiles by hundreds or thousands, with few exceptions.
NEAR = 250
NUMBER = re.compile(r".*_num_(\d+)")
DAGM_PARTS = {"train": "Train", "val": "Test"}
MERGED = "defect"
WHITE = 127  # masks are white above it

log = logging.getLogger(__name__)


class Photograph(NamedTuple):
    """A photograph to be taken over.

    Attributes:
        id: its name in the new folder.
        path: where it lies.
        kind: the defect it shows; None: it shows none.
        draw: gives its label map (H, W).
    """

    id: str
    path: Path
    kind: str | None
    draw: Callable[[], NDArray[np.uint8]]


@disk_errors()
def prepare_magnetic_tile(source: Path, out: Path, *, full: bool = False, seed: int = 0) -> int:
    """Bring magnetic tiles to `out`; what is there is kept.

    Args:
        source: folder of MT_Blowhole and the others.
        out: folder to write.
        full: take all photographs, split at random so that those of one tile stay together (see `by_tile`), in place of
            the sample of 208 whose lists come with the package.
        seed: random seed of that split.

    Returns:
        Number of files written.

    Raises:
        InputError: if a photograph or mask is missing or unreadable, or `out` holds other lists.
    """
    photographs = read_magnetic_tile(source)
    splits = _random_splits(by_tile(photographs), seed) if full else _sample_splits(photographs, source)
    return _take_over(out, TILE_KINDS, splits)


def read_magnetic_tile(source: Path) -> list[Photograph]:
    """All photographs, `<kind>_<original name>`.

    Raises:
        InputError: if a kind has none.
    """
    photographs = []
    for label, kind in enumerate((FREE, *TILE_KINDS)):
        folder = source / f"MT_{kind.capitalize()}" / "Imgs"
        paths = sorted(folder.glob("*.jpg"))
        if not paths:
            raise InputError(f"{folder}: no photographs there; name the folder of MT_Blowhole, MT_Break, … by --source")
        for path in paths:
            mask = path.with_suffix(".png") if label else None
            draw = partial(draw_mask, path, mask, label)
            photographs.append(Photograph(f"{kind}_{path.stem}", path, kind if label else None, draw))
    return photographs


def by_tile(photographs: Sequence[Photograph]) -> list[list[Photograph]]:
    """Photographs that may be of one tile: runs of numbers less than `NEAR` apart, whatever kind and exposure.

    Tiles that followed one another quickly share a run, and one that came again later has two: a guess that keeps most
    near-duplicates on one side of a split.

    Raises:
        InputError: for a name without a number.
    """
    numbers = {photograph.id: _number(photograph) for photograph in photographs}
    ordered = sorted(photographs, key=lambda photograph: numbers[photograph.id])
    tiles = [ordered[:1]]
    for before, photograph in pairwise(ordered):
        if numbers[photograph.id] - numbers[before.id] >= NEAR:
            tiles.append([])
        tiles[-1].append(photograph)
    return tiles


def _number(photograph: Photograph) -> int:
    match = NUMBER.fullmatch(photograph.path.stem)
    if match is None:
        raise InputError(f"{photograph.path}: expected a name as exp1_num_108719.jpg; take the file out")
    return int(match[1])


def _random_splits(tiles: Sequence[Sequence[Photograph]], seed: int) -> dict[str, list[Photograph]]:
    kinds = [{photograph.kind or FREE for photograph in tile} for tile in tiles]
    is_val = stratified_split(kinds, val_share=VAL_SHARE, seed=seed)
    return {
        split: sorted(photo for tile, val in zip(tiles, is_val, strict=True) if val == is_wanted for photo in tile)
        for split, is_wanted in (("train", False), ("val", True))
    }


def _sample_splits(photographs: Sequence[Photograph], source: Path) -> dict[str, list[Photograph]]:
    known = {photograph.id: photograph for photograph in photographs}
    lists = {split: packaged_list(f"magnetic_tile_{split}") for split in SPLITS}
    missing = [image_id for ids in lists.values() for image_id in ids if image_id not in known]
    if missing:
        raise InputError(
            f"{source}: no photograph for {missing[0]} ({len(missing)} of the sample's are missing); "
            "unpack the set again, or take what is there by --full"
        )
    return {split: [known[image_id] for image_id in ids] for split, ids in lists.items()}


@disk_errors()
def prepare_dagm(source: Path, out: Path) -> int:
    """Bring DAGM 2007 to `out`: each Class<k> is a kind of defect, its Train is train and its Test val.

    Args:
        source: folder of Class1, Class2, …, as many as there are.
        out: folder to write; what is there is kept.

    Returns:
        Number of files written.

    Raises:
        InputError: if a photograph, mask or table is missing or unreadable, or `out` holds other lists.
    """
    numbered = (path for path in source.glob("Class*") if path.name[5:].isdecimal())
    folders = sorted(numbered, key=lambda path: int(path.name[5:]))
    if not folders:
        raise InputError(f"{source}: no Class1, Class2, … in it; name their folder by --source")
    splits = {
        split: [photo for label, folder in enumerate(folders, start=1) for photo in _read_dagm(folder / part, label)]
        for split, part in DAGM_PARTS.items()
    }
    return _take_over(out, [folder.name for folder in folders], splits)


def _read_dagm(folder: Path, label: int) -> Iterator[Photograph]:
    """The photographs that Labels.txt names, `Class<k>_<part>_<n>`.

    After a line of a single number each has five cells: number, 0 or 1, file, 0 or 1, and file of the mask, or 0.
    """
    table = folder / "Label" / "Labels.txt"
    if not table.is_file():
        raise InputError(f"{table}: no such table; unpack {folder.parent.name} again, or take its folder away")
    for line in read_lines(table):
        cells = line.split()
        if len(cells) not in (1, 5):
            raise InputError(f"{table}: expected five cells a line, found {line!r}; unpack {folder.parent.name} again")
        if len(cells) == 5:
            path, mask = folder / cells[2], None if cells[4] == "0" else table.with_name(cells[4])
            kind = folder.parent.name
            draw = partial(draw_mask, path, mask, label)
            yield Photograph(f"{kind}_{folder.name}_{path.stem}", path, None if mask is None else kind, draw)


@disk_errors()
def merge_kinds(source: Path, out: Path) -> int:
    """Copy a data set with all of its classes as one, `defect`: defect against none.

    Args:
        source: a folder with masks and lists, see `wsss.data.describe`.
        out: folder to write; what is there is kept.

    Returns:
        Number of files written.

    Raises:
        InputError: as `describe` and `read_mask`, or if `out` holds other lists.
    """
    data = describe(source)

    def photograph(image_id: str) -> Photograph:
        kind = MERGED if read_labels(data, image_id) else None
        return Photograph(image_id, data.image_path(image_id), kind, partial(_merged_mask, data.mask_path(image_id)))

    return _take_over(out, [MERGED], {split: [photograph(i) for i in read_split(data, split)] for split in SPLITS})


def _merged_mask(path: Path) -> NDArray[np.uint8]:
    labels = read_mask(path)
    return np.where(labels == VOID, labels, labels > 0).astype(np.uint8)


def draw_mask(photograph: Path, mask: Path | None, label: int) -> NDArray[np.uint8]:
    """Label map (H, W) of a photograph: `label` where its mask is white, else background; no mask has no white.

    Raises:
        InputError: if one of the files is missing or unreadable, or they differ in size.
    """
    width, height = image_size(photograph)
    if mask is None:
        return np.zeros((height, width), np.uint8)
    with opened(mask, "mask") as image:
        white = np.array(image.convert("L")) > WHITE
    if white.shape != (height, width):
        found = f"{white.shape[1]} × {white.shape[0]}"
        raise InputError(f"{mask}: {found} pixels, its photograph {width} × {height}; unpack both again")
    return np.where(white, label, 0).astype(np.uint8)


def _take_over(out: Path, kinds: Sequence[str], splits: Mapping[str, Sequence[Photograph]]) -> int:
    photographs = [photograph for of_split in splits.values() for photograph in of_split]
    missing = [photograph.path for photograph in photographs if not photograph.path.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: no such photograph ({len(missing)} are missing); unpack the data set again")
    for folder in ("JPEGImages", "SegmentationClass"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    data = describe(out, classes=kinds, labels="masks")
    lists = {split: [photograph.id for photograph in of_split] for split, of_split in splits.items()}
    written = int(write_lines(out / "classes.txt", data.classes))  # first: other lists stop what would be mixed
    written += sum(write_list(data, split, ids) for split, ids in lists.items())
    written += write_list(data, "trainval", sorted(photograph.id for photograph in photographs))
    written += sum(_copy(photograph, data) for photograph in follow(photographs, "photographs"))
    written += write_table(out, {p.id: [] if p.kind is None else [p.kind] for p in photographs})
    log_end(out, lists, written)
    without = sum(photograph.kind is None for photograph in photographs)
    log.info("%d kinds of defect; %d photographs show none", len(kinds), without)
    log.info("next: python scripts/run_pipeline.py experiment=defects data.root=%s", shlex.quote(str(out)))
    return written


def _copy(photograph: Photograph, data: DataDescription) -> int:
    """Bring a photograph and its mask where they are not yet; the number of files written."""
    image = data.root / data.image_folder / f"{photograph.id}{photograph.path.suffix.lower()}"
    mask = data.mask_path(photograph.id)
    is_new = not image.exists(), not mask.exists()
    if is_new[0]:
        copy_file(photograph.path, image)
    if is_new[1]:
        save_mask(mask, photograph.draw())
    return sum(is_new)
