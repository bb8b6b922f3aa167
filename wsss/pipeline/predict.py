"""Label maps, overlays and areas of any photographs, by a trained segmenter."""

import glob
import hashlib
import json
import logging
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import wsss
from wsss.data import DataDescription, read_mask, save_mask
from wsss.data.files import IMAGE_SUFFIXES
from wsss.data.table import image_id_of
from wsss.defaults import SEGMENTATIONS
from wsss.errors import InputError, is_plain
from wsss.exports import LabelMaps, write_coco
from wsss.exports.coco import require_pycocotools
from wsss.memory import by_halves, is_out_of_memory
from wsss.models import Segmenter, load_segmenter
from wsss.photographs import image_size, read_image
from wsss.pipeline.config import Config
from wsss.pipeline.config.scripts import PredictConfig
from wsss.pipeline.predictions import predict_batch, with_inference
from wsss.pipeline.ranges import CHOICES, require
from wsss.pipeline.training import autocast, device_of, prepare
from wsss.progress import follow
from wsss.reading import read_json
from wsss.report.overlays import class_legend, label_overlay, with_legend
from wsss.writing import whole_file, write_csv, write_json

log = logging.getLogger(__name__)
T = TypeVar("T")

SUFFIXES = sorted({suffix.lower() for suffix in IMAGE_SUFFIXES})
LISTING = "predictions.json"
OUTPUTS = ("labels", "overlays", "areas.csv", "annotations.json")
OVERLAY_LONG = 1600  # longer side of an overlay at most, pixels: it is to be looked at


class Photograph(NamedTuple):
    """A photograph, and its path in the folder of them, without suffix where that suffices to name it."""

    name: str
    path: Path


class Predicted(NamedTuple):
    """Photographs that have their label maps now, and a line for each unreadable one."""

    photographs: list[Photograph]
    faults: list[str]


def predict_images(config: PredictConfig) -> Predicted:
    """Predict photographs.

    Under `out`: `labels/<name>.png` (palette PNG of the photograph's size), `overlays/<name>.jpg`, `areas.csv`,
    `predictions.json` (of what, by which model, how), and COCO's `annotations.json` if asked for.

    Raises:
        InputError: for anything wrong with the options, the model or the output folder, before the first prediction.
    """
    _check(config)
    start, out, options = time.monotonic(), Path(config.out), Config(trainer=config.trainer)
    root, photographs = find_photographs(config.images, out)
    prepare(options)
    segmenter = with_inference(load_segmenter(config.checkpoint, device=str(device_of(options))), config.inference)
    listing = {
        "settings": _settings(config, segmenter, root),
        "checkpoint": str(Path(config.checkpoint).resolve()),
        "protocol": segmenter.protocol,
        "labels": ["background", *segmenter.classes],
        "palette": segmenter.palette.tolist(),
        "wsss": wsss.__version__,
    }
    _claim(out, listing["settings"], overwrite=config.overwrite)
    earlier = _earlier(out, root, photographs)
    write_json(out / LISTING, listing | {"photographs": _files(earlier, root)})
    outputs = _Outputs(out, segmenter.classes, config.overlays)
    todo = [photo for photo in photographs if config.overwrite or not outputs.has(photo)]
    with autocast(options):
        faults = _predict_all(todo, segmenter, config, outputs)
    predicted = [photo for photo in photographs if photo not in faults]
    listed = sorted([*earlier, *predicted], key=lambda photo: photo.name)
    outputs.write_areas(listed)
    if config.coco is not None:
        outputs.write_coco(listed, root, config.coco)
    write_json(out / LISTING, listing | {"photographs": _files(listed, root), "unreadable": list(faults.values())})
    made, kept = len(todo) - len(faults), len(photographs) - len(todo)
    seconds = time.monotonic() - start
    log.info("%d photographs predicted, %d kept, %d unreadable in %.0f s: %s", made, kept, len(faults), seconds, out)
    return Predicted(predicted, list(faults.values()))


def find_photographs(images: str, out: Path) -> tuple[Path, list[Photograph]]:
    """The folder that photographs are named in, and those that `images` means; never outputs under `out`.

    Raises:
        InputError: if there is none, or two would go by one name.
    """
    root, paths = _matching(images)
    outputs = {(out / name).resolve() for name in OUTPUTS}
    paths = [path for path in paths if outputs.isdisjoint(path.resolve().parents)]
    if not paths:
        raise InputError(f"images={images}: no photograph there that is not an output; expected {', '.join(SUFFIXES)}")
    relative = [path.relative_to(root) for path in paths]
    odd = next((path for path in relative if not is_plain(str(path))), None)
    if odd is not None:
        raise InputError(f"{root / odd}: a file name with control characters; rename the file")
    times = Counter(path.with_suffix("") for path in relative)
    names = [(path.with_suffix("") if times[path.with_suffix("")] == 1 else path).as_posix() for path in relative]
    shared = next((name for name, number in Counter(names).items() if number > 1), None)
    if shared is not None:
        raise InputError(f"{root / shared}: two photographs would go by this name; rename one of them")
    return root, [Photograph(name, path) for name, path in zip(names, paths, strict=True)]


def _matching(images: str) -> tuple[Path, list[Path]]:
    given = Path(images)
    if given.is_file():
        return given.parent, [given]
    if given.is_dir():
        return given, _photographs_in(given, "**/*")
    plain = [*takewhile(lambda part: not glob.has_magic(part), given.parts)]
    root, pattern = Path(*plain), "/".join(given.parts[len(plain) :])
    if not root.is_dir():
        raise InputError(f"images={images}: no such photograph or folder")
    return root, _photographs_in(root, pattern)


def _photographs_in(root: Path, pattern: str) -> list[Path]:
    found = (path for path in sorted(root.glob(pattern)) if path.suffix.lower() in SUFFIXES and not path.is_dir())
    return [path for path in found if not _is_hidden(path.relative_to(root))]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _check(config: PredictConfig) -> None:
    require(config, "batch_size", lambda size: size >= 1, "at least 1")
    require(config, "coco", lambda name: name in SEGMENTATIONS, f"one of {', '.join(SEGMENTATIONS)}")
    require(config, "trainer.threads", lambda number: number >= 1, "at least 1")
    precisions = CHOICES["trainer.precision"]
    require(config, "trainer.precision", lambda name: name in precisions, f"one of {', '.join(precisions)}")
    if config.coco == "rle":
        require_pycocotools()


def _settings(config: PredictConfig, segmenter: Segmenter, root: Path) -> dict[str, Any]:
    """All that the label maps of one folder have in common."""
    model = Path(config.checkpoint).read_bytes()
    inference = {f"inference.{name}": value for name, value in asdict(config.inference).items()}
    settings = {"checkpoint": hashlib.sha256(model).hexdigest()[:16], "images in": str(root.resolve()), **inference}
    return json.loads(json.dumps(settings))  # as it will be read back


def _claim(out: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    """Make sure that what lies in the folder of the outputs was made the same way, or may be made anew.

    Raises:
        InputError: if it was not, or is not this script's.
    """
    before = _listing(out)["settings"]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out={out}: not a folder of predictions ({error}); choose another") from None
    if before is None:
        taken = [name for name in OUTPUTS if (out / name).exists()]
        if taken:
            raise InputError(f"{out / taken[0]}: there already, and not made by this script; choose another out")
    elif before != settings:
        changed = next(name for name in {**before, **settings} if before.get(name) != settings.get(name))
        if not overwrite:
            how = f"{changed} {before.get(changed)} → {settings.get(changed)}"
            raise InputError(f"out={out}: holds predictions made otherwise ({how}); pass overwrite=true or another out")
        for name in ("labels", "overlays"):
            shutil.rmtree(out / name, ignore_errors=True)


def _listing(out: Path) -> dict[str, Any]:
    """Settings (None where there are none) and photographs of an earlier call.

    Raises:
        InputError: if the file that keeps them is damaged, or names what lies elsewhere.
    """
    path, remedy = out / LISTING, "choose another out"
    if not path.exists():
        return {"settings": None, "photographs": []}
    found = {"photographs": [], **read_json(path, remedy=remedy)}
    files = found["photographs"]
    if not isinstance(found.get("settings"), dict) or not isinstance(files, list):
        raise InputError(f"{path}: out={out} is not a folder of predictions; {remedy}")
    for file in files:
        names = [file.get(kind) for kind in ("image", "labels")] if isinstance(file, dict) else [None]
        for name in names:
            if not isinstance(name, str):
                raise InputError(f"{path}: expected an image and its labels, found {file!r}; {remedy}")
            image_id_of(name, str(path))
    return found


def _files(photographs: Sequence[Photograph], root: Path) -> list[dict[str, str]]:
    return [{"image": p.path.relative_to(root).as_posix(), "labels": f"labels/{p.name}.png"} for p in photographs]


def _earlier(out: Path, root: Path, photographs: Sequence[Photograph]) -> list[Photograph]:
    """Other photographs of the same folder that an earlier call has predicted."""
    files = _listing(out)["photographs"]
    now = {photo.path for photo in photographs} | {photo.name for photo in photographs}
    listed = [Photograph(f["labels"].removeprefix("labels/").removesuffix(".png"), root / f["image"]) for f in files]
    is_there = [photo for photo in listed if photo.path.exists() and (out / "labels" / f"{photo.name}.png").exists()]
    return [photo for photo in is_there if photo.path not in now and photo.name not in now]


def _predict_all(
    photographs: Sequence[Photograph], segmenter: Segmenter, config: PredictConfig, outputs: "_Outputs"
) -> dict[Photograph, str]:
    """Predict and write; the unreadable ones, with a line for each."""
    faults: dict[Photograph, str] = {}

    def attempt(read: Callable[[Path], T], photo: Photograph) -> T | None:
        try:
            return read(photo.path)
        except InputError as error:
            log.warning("left out: %s", error)
            faults[photo] = str(error)
            return None

    with ThreadPoolExecutor() as pool:
        sizes = zip(photographs, pool.map(partial(attempt, image_size), photographs), strict=True)
        batches = _batches([(photo, size) for photo, size in sizes if size is not None], config.batch_size)
        for batch in follow(batches, "predicting", shown=config.trainer.progress):
            read = zip(batch, pool.map(partial(attempt, read_image), batch), strict=True)
            images = {photo: image for photo, image in read if image is not None}
            if images:
                label_maps = _predict_batch(segmenter, list(images.values()), config)
                list(pool.map(outputs.write, images.keys(), images.values(), label_maps))  # raises what they raise
    return faults


def _predict_batch(
    segmenter: Segmenter, images: Sequence[Image.Image], config: PredictConfig
) -> list[NDArray[np.uint8]]:
    try:
        return by_halves(lambda part: predict_batch(segmenter, part, config.inference), images)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    size = f"{images[0].width} × {images[0].height}"
    raise InputError(f"out of memory for one photograph of {size} pixels; pass inference.window=512")


def _batches(sized: Sequence[tuple[Photograph, tuple[int, int]]], batch_size: int) -> list[list[Photograph]]:
    by_size = defaultdict(list)
    for photo, size in sized:
        by_size[size].append(photo)
    return [group[i : i + batch_size] for group in by_size.values() for i in range(0, len(group), batch_size)]


@dataclass(frozen=True)
class _Outputs:
    """Files under one folder."""

    folder: Path
    classes: list[str]
    overlays: bool

    def labels(self, photo: Photograph) -> Path:
        return self.folder / "labels" / f"{photo.name}.png"

    def overlay(self, photo: Photograph) -> Path:
        return self.folder / "overlays" / f"{photo.name}.jpg"

    def has(self, photo: Photograph) -> bool:
        """Whether the photograph, as it is now, has its files."""
        labels = self.labels(photo)
        is_made = labels.exists() and labels.stat().st_mtime_ns == photo.path.stat().st_mtime_ns
        return is_made and (self.overlay(photo).exists() or not self.overlays)

    def write(self, photo: Photograph, image: Image.Image, labels: NDArray[np.uint8]) -> None:
        """Overlay and label map; the latter last, and with the photograph's time, by which it is known again."""
        if self.overlays:
            with whole_file(self.overlay(photo)) as file:
                draw_overlay(image, labels, self.classes).save(file, "JPEG", quality=90)
        save_mask(self.labels(photo), labels)
        modified = photo.path.stat().st_mtime_ns
        os.utime(self.labels(photo), ns=(modified, modified))

    def write_areas(self, photographs: Sequence[Photograph]) -> None:
        """`areas.csv`: pixels, and their share of the photograph, of each label that occurs."""
        names = ["background", *self.classes]
        rows = []
        for photo in photographs:
            pixels = np.bincount(read_mask(self.labels(photo)).ravel())
            rows += [
                (photo.name, label, names[label], pixels[label], round(pixels[label] / pixels.sum(), 6))
                for label in np.flatnonzero(pixels)
            ]
        write_csv(self.folder / "areas.csv", ["image", "label", "class", "pixels", "share"], rows)

    def write_coco(self, photographs: Sequence[Photograph], root: Path, segmentation: str) -> None:
        """`annotations.json`."""
        data = DataDescription(root.resolve().name, root, tuple(self.classes), image_folder=".")
        files = {photo.name: photo.path.relative_to(root).as_posix() for photo in photographs}
        write_coco(_Maps(data, list(files), self.folder / "labels", files), self.folder, segmentation=segmentation)


@dataclass(frozen=True)
class _Maps(LabelMaps):
    """Label maps of photographs whose names may or may not have a suffix."""

    files: Mapping[str, str]

    def image_file(self, image_id: str) -> str:
        return self.files[image_id]


def draw_overlay(image: Image.Image, labels: NDArray[np.uint8], classes: Sequence[str]) -> Image.Image:
    """The labels over a photograph, its longer side at most `OVERLAY_LONG`, with the colours' names below."""
    shrunk = max(max(image.size) / OVERLAY_LONG, 1.0)
    size = (max(round(image.width / shrunk), 1), max(round(image.height / shrunk), 1))
    small = np.asarray(image.resize(size, Image.Resampling.BOX))
    small_labels = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    entries = class_legend(classes)
    return with_legend(label_overlay(small, small_labels), [entries[i - 1] for i in np.unique(labels[labels > 0])])
