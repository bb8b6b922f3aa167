"""The images of a gallery, and of each the photograph, its maps, masks and the truth as layers that lie over it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsss.data import VOID, DataDescription, read_image, read_labels, read_mask
from wsss.errors import InputError
from wsss.report.overlays import RGB, RGBA, class_heatmap_layer, label_layer
from wsss.report.run_files import RunFiles
from wsss.report.tables import kind_name
from wsss.seeds import Seeds

Labels = NDArray[np.uint8]
Predict = Callable[[RGB], Labels]

REFINED = {"irn": "IRN walk", "psa": "AffinityNet walk", "par": "PAR"}
MAX_CANDIDATES = 1000  # images whose labels are looked at when a class is still missing from the choice


class Layer(NamedTuple):
    """Colours over a photograph.

    Attributes:
        picture: (h, w, 4) uint8, opacity last; resized to the photograph where it is drawn.
        classes: what it shows, zero-based.
        is_map: whether it is a soft map; else regions with edges.
    """

    picture: RGBA
    classes: list[int]
    is_map: bool


class GalleryRow(NamedTuple):
    """One image: its id, its classes (zero-based), the photograph, its layers by column."""

    image_id: str
    classes: list[int]
    photograph: RGB
    layers: dict[str, Layer]


def choose_images(
    ids: Sequence[str],
    classes_of: Callable[[str], Sequence[int]],
    *,
    num_classes: int,
    num_images: int,
    scores: Mapping[str, float] | None = None,
) -> list[str]:
    """Choose the worst, the best, and images evenly spaced in a list, so that every class is seen.

    Args:
        ids: the list.
        classes_of: zero-based classes present in an image.
        num_classes: N.
        num_images: how many to choose; fewer if the list is shorter. A third of them are the worst, a third the best.
        scores: of images; default: none, all of the choice is evenly spaced.

    Returns:
        The chosen ids, in the order of the list.
    """
    if num_images >= len(ids):
        return list(ids)
    ranked = sorted((i for i in ids if i in (scores or {})), key=(scores or {}).__getitem__)
    third = num_images // 3
    extremes = {*ranked[:third], *ranked[len(ranked) - third :]} if len(ranked) >= 2 * third > 0 else set()
    rest = [image_id for image_id in ids if image_id not in extremes]
    spread = _spaced(rest, classes_of, num_classes=num_classes, num_images=num_images - len(extremes))
    return [image_id for image_id in ids if image_id in extremes.union(spread)]


def _spaced(
    ids: Sequence[str], classes_of: Callable[[str], Sequence[int]], *, num_classes: int, num_images: int
) -> list[str]:
    """Images evenly spaced in a list, some exchanged so that every class is seen."""
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
    return list(chosen)


class Column(NamedTuple):
    """A column of the gallery: maps from a folder of `.npz`, or label maps from a folder of `.png`."""

    title: str
    folder: str
    is_map: bool = False


def train_columns(files: RunFiles, made: Mapping[str, object], *, masks: str = "masks") -> list[Column]:
    """What the run has of train images, along the chain: kinds of map, stage by stage, seeds, walk, masks, rounds.

    Args:
        files: the run.
        made: protocol of its masks; may be empty.
        masks: folder of the masks.
    """
    kinds = sorted(files.folders("seeds/maps"), key=_rank)
    refined = str(made.get("refined", "")).partition(",")[0]
    method = {"crf": "CRF"}.get(str(made.get("method")), made.get("method"))
    rounds = [name for name in files.folders(".") if name.startswith("relabel_round")]
    return [
        *(Column(kind_name(kind), f"seeds/maps/{kind}", True) for kind in kinds),
        Column("seed", "seeds", True),
        Column(REFINED.get(refined, "refined seed"), "refined", True),
        Column(f"mask, {method}" if method and masks == "masks" else "mask", masks),
        *(Column(name.replace("relabel_round", "relabelled, round "), name) for name in rounds),
    ]


def val_columns(files: RunFiles) -> list[Column]:
    """Predictions on val: the segmenter's, those of its rounds of self-training, and its twin's."""
    columns = [Column("prediction", "segmenter/predictions")]
    for name in files.folders("."):
        if name.startswith("segmenter_"):
            title = "trained on truth" if name == "segmenter_supervised" else name.replace("segmenter_round", "round ")
            columns.append(Column(title, f"{name}/predictions"))
    return columns


def gallery_rows(
    files: RunFiles,
    description: DataDescription,
    ids: Sequence[str],
    columns: Sequence[Column],
    *,
    predict: Predict | None = None,
    side: int = 320,
) -> Iterator[GalleryRow]:
    """Rows of images: their columns, the segmenter's prediction where there is none on disk, and the truth.

    Args:
        files: the run.
        description: its data set.
        ids: the images.
        columns: what lies over the photographs.
        predict: the segmenter; default: what was not predicted is not shown.
        side: the longer side of photographs and label maps, pixels; smaller ones stay as they are.
    """
    for image_id in ids:
        row = _Row(files, description, image_id, side)
        for column in columns:
            if column.is_map:
                row.add_maps(column.title, files.seeds(column.folder, image_id))
            else:
                row.add_labels(column.title, files.labels(column.folder, image_id))
        if predict is not None and "prediction" not in row.layers:
            row.add_labels("prediction", predict(row.full))
        row.add_truth()
        yield GalleryRow(image_id, row.classes, row.photograph, row.layers)


def present_classes(files: RunFiles, description: DataDescription, image_id: str) -> list[int]:
    """Zero-based classes of an image; none, and a note, where its labels cannot be read."""
    try:
        return read_labels(description, image_id)
    except InputError as error:
        files.note(str(error))
        return []


class _Row:
    """A gallery row in the making."""

    def __init__(self, files: RunFiles, description: DataDescription, image_id: str, side: int) -> None:
        self.files, self.description, self.image_id = files, description, image_id
        image = read_image(description.image_path(image_id))
        self.full: RGB = np.asarray(image)
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        self.photograph: RGB = np.asarray(small)
        self.classes = present_classes(files, description, image_id)
        self.layers: dict[str, Layer] = {}

    def add_maps(self, column: str, seeds: Seeds | None) -> None:
        if seeds is None:
            return
        classes = seeds.classes.tolist()
        self.layers[column] = Layer(class_heatmap_layer(np.asarray(seeds.maps, np.float32), classes), classes, True)

    def add_labels(self, column: str, labels: Labels | None) -> None:
        if labels is None:
            return
        if labels.shape != self.full.shape[:2]:
            self.files.note(f"{column} of {self.image_id}: {labels.shape} pixels, its image {self.full.shape[:2]}")
            return
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=VOID + 1))
        classes = [int(label) - 1 for label in present if 0 < label < VOID]
        size = self.photograph.shape[1::-1]
        small = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
        self.layers[column] = Layer(label_layer(small), classes, False)

    def add_truth(self) -> None:
        path = self.description.mask_path(self.image_id)
        if not path.exists():
            return
        try:
            self.add_labels("truth", read_mask(path))
        except InputError as error:
            self.files.note(str(error))


def _rank(kind: str) -> tuple[int, str, str]:
    """CAM, the kinds that are drawn from stages, each after its stages, then those of ReCAM's weights."""
    name, _, stage = kind.partition("_stage")
    first = ("cam", "control")
    place = first.index(name) if name in first else 3 if name.startswith("recam") else 2
    return place, name, stage or "fused"  # "fused" comes after all numbers


def _spread(length: int, count: int) -> list[int]:
    """At most `count` evenly spaced indices of a list."""
    return [int(index) for index in np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int))]
