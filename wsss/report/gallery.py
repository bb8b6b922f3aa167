"""Rows of pictures: an image, its maps, masks and the truth side by side."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsss.data import VOID, DataDescription, read_image, read_labels, read_mask
from wsss.errors import InputError
from wsss.report.overlays import RGB, class_heatmap_overlay, label_overlay
from wsss.report.run_files import RunFiles
from wsss.seeds import Seeds, resize_maps

Labels = NDArray[np.uint8]
Predict = Callable[[RGB], Labels]

MAX_CANDIDATES = 1000  # images whose labels are looked at when a class is still missing from the choice
COLUMNS = ("image", "CAM", "ReCAM", "seed", "mask", "prediction", "truth")


class Tile(NamedTuple):
    """One picture of a row, and in words what it shows."""

    picture: RGB
    alt: str


class GalleryRow(NamedTuple):
    """One image: its id, its classes (zero-based), and its tiles by column."""

    image_id: str
    classes: list[int]
    tiles: dict[str, Tile]


def choose_images(
    ids: Sequence[str], classes_of: Callable[[str], Sequence[int]], *, num_classes: int, num_images: int
) -> list[str]:
    """Choose images evenly spaced in a list, exchanging some so that every class is seen.

    Args:
        ids: the list.
        classes_of: zero-based classes present in an image.
        num_classes: N.
        num_images: how many to choose; fewer if the list is shorter.

    Returns:
        The chosen ids, in the order of the list.
    """
    if not ids or num_images < 1:
        return []
    chosen = {ids[index]: set(classes_of(ids[index])) for index in _spread(len(ids), num_images)}
    missing = set(range(num_classes)).difference(*chosen.values())
    for index in _spread(len(ids), MAX_CANDIDATES):
        if not missing:
            break
        candidate = ids[index]
        found = set() if candidate in chosen else set(classes_of(candidate))
        spare = next((i for i in chosen if chosen[i] <= found.union(*(chosen[j] for j in chosen if j != i))), None)
        if found & missing and spare is not None:
            del chosen[spare]
            chosen[candidate] = found
            missing -= found
    return [image_id for image_id in ids if image_id in chosen]


def train_rows(
    files: RunFiles, description: DataDescription, ids: Sequence[str], predict: Predict | None, *, masks: str = "masks"
) -> list[GalleryRow]:
    """Rows over the whole chain: image, maps, seed, pseudo-mask from a folder, the segmenter's prediction, truth."""
    rows = []
    for image_id in ids:
        row = _Row(files, description, image_id)
        row.add_maps("CAM", files.seeds(image_id, "cam"))
        row.add_maps("ReCAM", files.seeds(image_id, "recam"))
        row.add_maps("seed", files.seeds(image_id))
        row.add_labels("mask", files.labels(masks, image_id))
        row.add_labels("prediction", predict(row.image) if predict is not None else None)
        row.add_truth()
        rows.append(row.finish())
    return rows


def val_rows(
    files: RunFiles, description: DataDescription, ids: Sequence[str], predict: Predict | None
) -> list[GalleryRow]:
    """Rows of image, prediction and truth; predicts where the run kept no prediction."""
    rows = []
    for image_id in ids:
        row = _Row(files, description, image_id)
        prediction = files.labels("segmenter/predictions", image_id)
        if prediction is None and predict is not None:
            prediction = predict(row.image)
        row.add_labels("prediction", prediction)
        row.add_truth()
        rows.append(row.finish())
    return rows


def present_classes(files: RunFiles, description: DataDescription, image_id: str) -> list[int]:
    """Zero-based classes of an image; none, and a note, where its labels cannot be read."""
    try:
        return read_labels(description, image_id)
    except InputError as error:
        files.note(str(error))
        return []


def columns_of(rows: Sequence[GalleryRow]) -> list[str]:
    """Columns that at least one row fills, in order."""
    return [column for column in COLUMNS if any(column in row.tiles for row in rows)]


class _Row:
    """A gallery row in the making."""

    def __init__(self, files: RunFiles, description: DataDescription, image_id: str) -> None:
        self.files, self.description, self.image_id = files, description, image_id
        self.image: RGB = np.asarray(read_image(description.image_path(image_id)))
        self.classes = present_classes(files, description, image_id)
        self.tiles = {"image": Tile(self.image, f"photograph {image_id}: {self._names(self.classes)}")}

    def add_maps(self, column: str, seeds: Seeds | None) -> None:
        if seeds is None:
            return
        height, width = self.image.shape[:2]
        maps = resize_maps(seeds.maps, (height, width)) if len(seeds.maps) else np.zeros((0, height, width), np.float32)
        names = self._names(seeds.classes.tolist())
        self.tiles[column] = Tile(
            class_heatmap_overlay(self.image, maps, seeds.classes), f"{column} of {self.image_id}: {names}"
        )

    def add_labels(self, column: str, labels: Labels | None) -> None:
        if labels is None:
            return
        if labels.shape != self.image.shape[:2]:
            self.files.note(f"{column} of {self.image_id}: {labels.shape} pixels, its image {self.image.shape[:2]}")
            return
        classes = [int(label) - 1 for label in np.unique(labels) if 0 < label < VOID]
        self.tiles[column] = Tile(
            label_overlay(self.image, labels), f"{column} of {self.image_id}: {self._names(classes)}"
        )

    def add_truth(self) -> None:
        path = self.description.mask_path(self.image_id)
        self.add_labels("truth", read_mask(path) if path.exists() else None)

    def finish(self) -> GalleryRow:
        return GalleryRow(self.image_id, self.classes, {c: self.tiles[c] for c in COLUMNS if c in self.tiles})

    def _names(self, classes: Sequence[int]) -> str:
        known = self.description.classes
        return ", ".join(known[i] if i < len(known) else f"label {i + 1}" for i in classes) or "no class"


def _spread(length: int, count: int) -> list[int]:
    """At most `count` evenly spaced indices of a list."""
    return [int(index) for index in np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int))]
