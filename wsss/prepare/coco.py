"""MS COCO 2014 in the layout this library reads, made from the JSON of its instances.

    root/{train2014,val2014}/COCO_train2014_000000000009.jpg, or the same under root/images
    root/annotations/instances_{train,val}2014.json

give `classes.txt`, `labels.csv`, `ImageSets/Segmentation/{train,val}.txt` and `SegmentationClass/<id>.png`, where an id
is `train2014/COCO_train2014_000000000009`. Class i, by ascending category id, has label value i + 1.

**Masks.** COCO publishes instances, which overlap, and no semantic masks. Instances are drawn by descending `area`, so
that smaller ones lie on top; among equals the first listed does. This is the rule of coco2voc
(https://github.com/alicranck/coco2voc/blob/1b0c91e9d7615503538c513ccf3130abea87f70e/coco2voc_aux.py), to which the
field's repositories refer, ToCo for one
(https://github.com/rulixiang/ToCo/blob/0e58ac69e20d7b1398e9f1b9f36e62f4a76d0451/README.md). Crowd regions (`iscrowd`)
are drawn in the same order, as their class like there, or as void. Polygons of fewer than 3 points enclose nothing:
they are skipped and counted.

**Labels and lists.** An image's labels are those of all its annotations, crowds too, even where masks leave crowds
void: a crowd of people shows people. The lists hold every image of the JSON, 82,783 and 40,504. Papers that give 82,081
and 40,137 leave out those without annotations.

**Masks people already have** hold label values (`contiguous`, 1 to 80) or category ids (`category`, 1 to 90 with gaps).
All files are looked at: a value above 80 tells category ids, one that is no category id (12, 26, 29 …) contiguous
values. Masks that show both or neither are refused; `values` settles the latter.
"""

import json
import logging
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from wsss.data import VOID, read_mask, save_mask
from wsss.defaults import COCO_CROWDS, COCO_VALUES
from wsss.errors import InputError
from wsss.photographs import opened
from wsss.prepare.coco_json import ADDRESS, ANNOTATIONS_ADDRESS, CocoImage, Instances, read_instances
from wsss.progress import follow
from wsss.reading import read_json
from wsss.writing import write_csv, write_text

ORIGIN = "origin.json"  # beside the masks: how they were made
log = logging.getLogger(__name__)


class Split(NamedTuple):
    """A list of images, the folder that holds them, and how many the official release has."""

    name: str
    folder: str
    num_images: int

    @property
    def address(self) -> str:
        """Where its photographs come from."""
        return f"{ADDRESS}/zips/{self.folder}.zip"


SPLITS = (Split("train", "train2014", 82_783), Split("val", "val2014", 40_504))


MaskMaker = Callable[[CocoImage], NDArray[np.uint8]]
# For each of COCO_VALUES, the label value of each value a mask may hold.
Conventions = Mapping[str, Mapping[int, int]]


class MaskSource(NamedTuple):
    """How masks are made, and what is noted of that beside them."""

    make: MaskMaker
    origin: dict[str, str]


def prepare_coco(
    root: Path,
    *,
    masks: bool = True,
    given: Path | None = None,
    values: str | None = None,
    crowd: str = "class",
    jobs: int = -1,
) -> None:
    """Write classes, labels, lists and masks into `root`; masks that exist are kept.

    Args:
        root: folder with COCO's photographs and JSON.
        masks: whether to write masks.
        given: folder of masks to take instead of drawing them: `COCO_train2014_000000000009.png` or `000000000009.png`,
            under `train2014` and `val2014` or flat. Images without annotations may lack theirs.
        values: what those hold, `contiguous` or `category`; default: told from the files.
        crowd: what crowd regions are drawn as, `class` or `void`.
        jobs: worker processes; -1: one a core.

    Raises:
        InputError: if something is missing or damaged, or there are masks that were made in another way.
    """
    target = root / "SegmentationClass"
    if crowd not in COCO_CROWDS or values not in (None, *COCO_VALUES):
        raise ValueError(
            f"expected crowd of {COCO_CROWDS} and values of {COCO_VALUES} or None, got {crowd!r} and {values!r}"
        )
    _check_options(target, draws=masks and given is None, given=given, jobs=jobs)
    parts = _read_parts(root)
    _write_tables(root, parts)
    if masks:
        images = [image for part in parts for image in part.images]
        label_values = {category: label for label, category in enumerate(parts[0].categories, start=1)}
        if given is None:
            make = partial(draw_mask, label_values=label_values, crowd=crowd)
            source = MaskSource(make, {"masks": "drawn from the instances", "crowd": crowd})
        else:
            conventions = _conventions(label_values)
            if values is not None:
                conventions = {values: conventions[values]}
            source = _given_masks(images, given, conventions, _noted_values(target, given), jobs=jobs)
        _claim(target, source.origin)
        _write_masks(target, images, source.make, jobs=jobs)
    log.info("wrote %s", root)


def _check_options(target: Path, *, draws: bool, given: Path | None, jobs: int) -> None:
    if draws and find_spec("pycocotools") is None:
        raise InputError("drawing masks needs `pip install pycocotools`; or pass --masks FOLDER, or --no-masks")
    if given is not None and not given.is_dir():
        raise InputError(f"{given}: no such folder; pass the folder of your masks by --masks")
    if given is not None and given.resolve() == target.resolve():
        raise InputError(f"{given}: the masks are to be written there; move yours and pass the new folder by --masks")
    if jobs == 0:
        raise InputError("--jobs 0: expected a number of processes, or -1 for one a core")


def _read_parts(root: Path) -> list[Instances]:
    """Both JSON files, after a look at whether everything is there."""
    files = [root / "annotations" / f"instances_{split.folder}.json" for split in SPLITS]
    base = root / "images" if any((root / "images" / split.folder).is_dir() for split in SPLITS) else root
    for split, file in zip(SPLITS, files, strict=True):
        if not (base / split.folder).is_dir():
            raise InputError(f"{base / split.folder}: no such folder; unpack {split.address} in {base}")
        if not file.is_file():
            raise InputError(f"{file}: no such file; unpack {ANNOTATIONS_ADDRESS} in {root}")
    parts = [read_instances(file, base / split.folder) for split, file in zip(SPLITS, files, strict=True)]
    if parts[0].categories != parts[1].categories:
        raise InputError(f"{files[1]}: other categories than {files[0].name}; unpack both from {ANNOTATIONS_ADDRESS}")
    for split, part in zip(SPLITS, parts, strict=True):
        _check_images(base, split, part.images)
    return parts


def _check_images(base: Path, split: Split, images: Sequence[CocoImage]) -> None:
    present = {path.name for path in (base / split.folder).iterdir()}
    missing = [image.path for image in images if image.path.name not in present]
    if missing:
        raise InputError(
            f"{missing[0]}: no such photograph, {len(missing)} of {len(images)} are missing; "
            f"unpack {split.address} in {base}"
        )
    log.info("%s: %d images, %d of them annotated", split.name, len(images), sum(bool(i.annotations) for i in images))
    if len(images) != split.num_images:
        log.warning("%s: the official release has %d images", split.name, split.num_images)


def _write_tables(root: Path, parts: Sequence[Instances]) -> None:
    names = parts[0].categories
    log.info("%d classes, %s", len(names), reprlib.repr(list(names.values())))
    write_text(root / "classes.txt", _lines(names.values()))
    for split, part in zip(SPLITS, parts, strict=True):
        path = root / "ImageSets" / "Segmentation" / f"{split.name}.txt"
        write_text(path, _lines(image.id for image in part.images))
    images = (image for part in parts for image in part.images)
    write_csv(root / "labels.csv", ("image", "labels"), ((image.id, _present(image, names)) for image in images))


def _present(image: CocoImage, names: Mapping[int, str]) -> str:
    categories = {annotation.category_id for annotation in image.annotations}
    return ";".join(names[category] for category in sorted(categories))


def _lines(words: Iterable[str]) -> str:
    return "".join(f"{word}\n" for word in words)


def _claim(target: Path, origin: dict[str, str]) -> None:
    """Note beside the masks how they come about; refuse to mix two ways, since masks that exist are kept."""
    if not target.exists():
        write_text(target / ORIGIN, json.dumps(origin))
    elif _noted(target) != origin:
        raise InputError(
            f"{target}: its masks were made otherwise ({_noted(target) or 'not by this script'}), not from {origin}; "
            "repeat those options, or move the folder away"
        )


def _noted(target: Path) -> dict[str, str]:
    note = target / ORIGIN
    return read_json(note, remedy="move the folder of masks away") if note.exists() else {}


def _noted_values(target: Path, given: Path) -> str:
    """What an earlier call has told of the same masks, or nothing."""
    noted = _noted(target)
    return str(noted.get("values", "")) if noted.get("masks") == str(given.resolve()) else ""


def _write_masks(target: Path, images: Sequence[CocoImage], make: MaskMaker, *, jobs: int) -> None:
    for split in SPLITS:
        (target / split.folder).mkdir(exist_ok=True)
    paths = [target / f"{image.id}.png" for image in images]
    pending = [(path, image) for path, image in zip(paths, images, strict=True) if not path.exists()]
    tasks = [delayed(_write_mask)(path, image, make) for path, image in pending]
    _run(tasks, "masks", jobs=jobs)
    log.info("masks: %d written, %d were there", len(pending), len(images) - len(pending))


def _run(tasks: Sequence[Any], title: str, *, jobs: int) -> list[Any]:
    results = Parallel(n_jobs=jobs, return_as="generator")(tasks)
    return list(follow(results, title, total=len(tasks)))


def _write_mask(path: Path, image: CocoImage, make: MaskMaker) -> None:
    with opened(image.path, "image") as photograph:
        width, height = photograph.size
    if (height, width) != image.size:
        raise InputError(f"{image.path}: {height} × {width} pixels, {image.size_text} in the JSON; unpack both again")
    save_mask(path, make(image))


def draw_mask(image: CocoImage, *, label_values: Mapping[int, int], crowd: str) -> NDArray[np.uint8]:
    """Label map (H, W) of an image's instances; the module's docstring says which lies on top.

    Args:
        image: with its annotations.
        label_values: label value of each category id.
        crowd: what crowd regions are drawn as, `class` or `void`.
    """
    from pycocotools import mask as run_lengths  # an extra

    mask = np.zeros(image.size, np.uint8)
    by_area = sorted(image.annotations, key=lambda annotation: annotation.area)
    for annotation in reversed(by_area):  # `reverse=True` would leave the last of equals on top
        if annotation.region:  # else all its polygons were skipped
            encoded = run_lengths.merge(run_lengths.frPyObjects(annotation.region, *image.size))
            is_void = annotation.is_crowd and crowd == "void"
            mask[run_lengths.decode(encoded) > 0] = VOID if is_void else label_values[annotation.category_id]
    return mask


def _given_masks(
    images: Sequence[CocoImage], folder: Path, conventions: Conventions, noted: str, *, jobs: int
) -> MaskSource:
    paths = [find_mask(image, folder) for image in images]
    missing = [image for image, path in zip(images, paths, strict=True) if path is None and image.annotations]
    if missing:
        raise InputError(
            f"{folder / missing[0].id}.png: no such mask, nor in the other layouts; "
            f"{len(missing)} annotated images lack theirs; add them, or draw all by leaving --masks out"
        )
    present = [path for path in paths if path is not None]
    values = noted if noted in conventions else tell_values(present, conventions, jobs=jobs)
    log.info("masks of %s: %s values", folder, values)
    make = partial(convert_mask, folder=folder, labels=conventions[values])
    return MaskSource(make, {"masks": str(folder.resolve()), "values": values})


def find_mask(image: CocoImage, folder: Path) -> Path | None:
    """The mask people have of an image, by its whole name or its number, under the image's folder or flat."""
    number = image.path.stem.rpartition("_")[2]
    places = (folder / image.path.parent.name, folder)
    candidates = (place / f"{name}.png" for place in places for name in (image.path.stem, number))
    return next((path for path in candidates if path.exists()), None)


def _conventions(label_values: Mapping[int, int]) -> Conventions:
    own = {0: 0, VOID: VOID}
    return dict(zip(COCO_VALUES, [{v: v for v in label_values.values()} | own, {**label_values} | own], strict=True))


def tell_values(paths: Sequence[Path], conventions: Conventions, *, jobs: int = 1) -> str:
    """Which convention all values of all masks fit.

    Raises:
        InputError: if none does, or several.
    """
    seen: dict[int, Path] = {}
    found = _run([delayed(_values_in)(path) for path in paths], "values", jobs=jobs)
    for path, values in zip(paths, found, strict=True):
        for value in values:
            seen.setdefault(value, path)
    foreign = {kind: sorted(seen.keys() - labels.keys()) for kind, labels in conventions.items()}
    fitting = [kind for kind, values in foreign.items() if not values]
    if len(fitting) > 1:
        raise InputError(
            f"the values of the {len(paths)} masks fit labels and category ids alike; "
            "pass --values contiguous or --values category"
        )
    if not fitting:
        faults = "; ".join(f"{values[0]} in {seen[values[0]]} is not {kind}" for kind, values in foreign.items())
        raise InputError(f"masks of mixed or foreign values: {faults}; convert them, or draw masks without --masks")
    return fitting[0]


def _values_in(path: Path) -> list[int]:
    return np.unique(read_mask(path)).tolist()


def convert_mask(image: CocoImage, *, folder: Path, labels: Mapping[int, int]) -> NDArray[np.uint8]:
    """Label map (H, W) from a mask people have; all background if there is none.

    Args:
        image: whose mask.
        folder: where masks lie, see `find_mask`.
        labels: label value of each value the mask may hold.

    Raises:
        InputError: if the mask is of another size than its image, or holds another value.
    """
    path = find_mask(image, folder)
    if path is None:
        return np.zeros(image.size, np.uint8)
    mask = read_mask(path)
    if mask.shape != image.size:
        raise InputError(
            f"{path}: {mask.shape[0]} × {mask.shape[1]} pixels, its image {image.size_text}; "
            "export it at the image's size"
        )
    table = np.full(256, -1, np.int16)
    table[list(labels)] = list(labels.values())
    converted = table[mask]
    if converted.min() < 0:
        raise InputError(f"{path}: value {mask[converted < 0][0]} does not fit the other masks; correct it")
    return converted.astype(np.uint8)
