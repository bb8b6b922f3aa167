"""What steps `maps` and `seeds` share: which network draws which kinds of which images, and the loop over them."""

import logging
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wsss.cam import strided_size
from wsss.data import ImageDataset, eval_transform, image_size, size_loader
from wsss.errors import InputError
from wsss.models import Classifier, fold_batch_norm
from wsss.pipeline.config import CamConfig
from wsss.pipeline.maps import STAGE_KINDS, WEIGHT_KINDS, kept_kinds
from wsss.pipeline.networks import load_classifier
from wsss.pipeline.processes import on_first
from wsss.pipeline.run import Run
from wsss.pipeline.step import Step
from wsss.pipeline.training import num_workers, predict
from wsss.reading import read_figures
from wsss.tasks.seeds import SeedTask
from wsss.writing import write_json

RECAM_KINDS = tuple(kind for kind in WEIGHT_KINDS if kind.startswith("recam"))
Sizes = dict[str, tuple[int, int]]  # image id -> its own height and width
log = logging.getLogger(__name__)


class Drawing(NamedTuple):
    """How a step draws.

    Attributes:
        draw: network, images (B, 3, H, W), their present classes, kinds -> kind -> what is drawn of each image.
        save: path, what is drawn of an image, its classes, the size of the image.
        folders: kinds that a network draws -> kind that `draw` returns for them -> folder of its files `<id>.npz`.
    """

    draw: Callable[[Classifier, Tensor, Sequence[Sequence[int]], Sequence[str]], Mapping[str, Sequence[Any]]]
    save: Callable[[Path, Any, Sequence[int], Sequence[int]], None]
    folders: Callable[[Sequence[str]], Mapping[str, Path]]


def seed_ids(run: Run) -> list[str]:
    """Train images that get seeds: all, unless `cam.limit_images` says otherwise."""
    return run.train_ids[: run.config.cam.limit_images]


def val_map_ids(run: Run) -> list[str]:
    """Val images that get maps where a step asks for them: as many at most as get seeds of the train images."""
    return run.val_ids[: run.config.cam.limit_images]


def seed_kinds(run: Run) -> list[str]:
    """Kinds whose average is the seed; without a ReCAM network its kinds fall out, and CAM stands in."""
    kinds = [k for k in run.config.cam.seed if run.config.recam.enabled or k not in RECAM_KINDS]
    if len(kinds) < len(run.config.cam.seed) and "cam" not in kinds:
        kinds.insert(0, "cam")
    return kinds


def kinds_by_network(run: Run) -> dict[str, list[str]]:
    """Which network (step) draws which kinds."""
    config = run.config
    kinds = dict.fromkeys([*seed_kinds(run), *config.cam.extra])
    plan: dict[str, list[str]] = {"classifier": [k for k in kinds if k == "cam"]}
    if config.recam.enabled:
        plan["recam"] = [k for k in kinds if k in (*RECAM_KINDS, *STAGE_KINDS)]
        plan["control"] = ["control"] if config.recam.control else []
    else:
        plan["classifier"] += [k for k in kinds if k in STAGE_KINDS]
    return {network: drawn for network, drawn in plan.items() if drawn}


def drawn_kinds(run: Run) -> list[str]:
    """All kinds, whichever network draws them."""
    return [kind for kinds in kinds_by_network(run).values() for kind in kinds]


def draw_images(run: Run, step: Step, sizes: Sizes, drawing: Drawing) -> float | None:
    """Have every network draw the images it has no files of yet; seconds an image, None unless all are known.

    Those of a network that was ready before an interruption are kept in `seconds.json`.
    """
    path = step.folder / "seconds.json"
    networks = kinds_by_network(run)
    spent = on_first(lambda: _seconds(path))
    for network, kinds in networks.items():
        seconds = _draw(run, network, kinds, sizes, drawing)
        if seconds is not None:
            spent = {**spent, network: seconds}
            on_first(lambda: write_json(path, spent))  # noqa: B023  # called at once
    return sum(spent[network] for network in networks) if {*networks} <= {*spent} else None


def _seconds(path: Path) -> dict[str, float]:
    with suppress(InputError):  # none yet, or damaged
        return read_figures(path)
    return {}


def add_seconds(run: Run, step: Step, seconds: float | None) -> None:
    """Make seconds an image a figure, where they are known."""
    if seconds is not None:
        drawn = {"split": run.config.data.train, "images": len(seed_ids(run)), "crf": "none"}
        step.add_figure("seeds/seconds_per_image", seconds, **drawn)


def _draw(run: Run, network_name: str, kinds: Sequence[str], sizes: Sizes, drawing: Drawing) -> float | None:
    """Draw the maps of one network for the images that do not have them yet; seconds an image, None if all had."""
    config = run.config
    folders = drawing.folders(kinds)
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    missing = on_first(lambda: _missing(sizes, folders.values()))
    if not missing:
        return None
    labels = torch.stack([*labels_of(run, sizes).values()])
    dataset = ImageDataset(run.data, [*sizes], labels, transform=eval_transform(config.cam.resize_long))
    network = load_classifier(run.folder / network_name / "model.pt").eval().requires_grad_(False)
    _check_stages(network, config.cam)
    network.backbone = fold_batch_norm(network.backbone, torch.rand(1, 3, 64, 64))
    wanted, workers = {*missing}, num_workers(config)
    loader = partial(size_loader, dataset, batch_size=config.cam.batch_size, num_workers=workers, wanted=wanted)

    def draw(images: Tensor, present: Sequence[Sequence[int]]) -> Mapping[str, Sequence[Any]]:
        return drawing.draw(network, images, present, kinds)

    def write(kind: str, image_id: str, maps: Any, classes: Sequence[int]) -> None:
        path = folders[kind] / f"{image_id}.npz"
        if not path.exists():  # of a batch drawn again for the others in it
            drawing.save(path, maps, classes, sizes[image_id])

    start = time.monotonic()
    predict(config, SeedTask(network, draw, write), loader)
    return (time.monotonic() - start) / len(missing)


def _missing(ids: Iterable[str], folders: Collection[Path]) -> list[str]:
    return [i for i in ids if not all((folder / f"{i}.npz").exists() for folder in folders)]


def _check_stages(network: Classifier, config: CamConfig) -> None:
    known = list(network.backbone.channels)
    for option in ("stages", "tanh_stages", "drawn_stages"):
        unknown = sorted({*(getattr(config, option) or [])} - {*known})
        if unknown:
            raise InputError(f"cam.{option}: this backbone has no {unknown[0]}; expected some of {', '.join(known)}")


def check_disk(step: Step, what: str, needed: float, num_images: int) -> None:
    """Say how many bytes will be written at most (the files are compressed), and refuse where the disk has less."""
    free = shutil.disk_usage(step.folder).free
    log.info("%s: up to %.1f MB for %d images", what, needed / 1e6, num_images)
    if needed > free:
        raise InputError(
            f"{step.folder}: {needed / 1e6:.3f} MB needed, {free / 1e6:.3f} MB free; leave out kinds of cam.extra"
        )


def seed_bytes(run: Run, sizes: Sizes) -> float:
    """What the files of the step `seeds` take, uncompressed."""
    num_kinds = len(kept_kinds(drawn_kinds(run), run.config.cam)) + 1  # and their average
    longest = run.config.cam.resize_long
    cells = {i: prod(strided_size(resized(size, longest))) for i, size in sizes.items()}
    present = num_present(run, sizes)
    return 2 * num_kinds * sum(present[i] * cells[i] for i in sizes)  # float16


def num_present(run: Run, ids: Iterable[str]) -> dict[str, int]:
    """How many classes each image has."""
    return {image_id: int(labels.sum()) for image_id, labels in labels_of(run, ids).items()}


def labels_of(run: Run, ids: Iterable[str]) -> dict[str, Tensor]:
    """Image-level labels (N,) of train or val images."""
    ids = list(ids)
    rows = dict(zip(run.train_ids, run.train_labels, strict=True))
    if not {*ids} <= {*rows}:
        rows |= dict(zip(run.val_ids, run.val_labels, strict=True))
    return {image_id: rows[image_id] for image_id in ids}


def resized(size: tuple[int, int], longest: int | None) -> tuple[int, int]:
    """Height and width of an image whose longer side is brought to `longest` pixels."""
    factor = 1.0 if longest is None else longest / max(size)
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def original_sizes(run: Run, ids: Iterable[str]) -> Sizes:
    """Height and width of images, from their headers."""
    sizes = {}
    for image_id in ids:
        width, height = image_size(run.data.image_path(image_id))
        sizes[image_id] = (height, width)
    return sizes
