"""A run's label maps in other tools' formats."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from wsss.data import read_split
from wsss.errors import InputError
from wsss.exports import LabelMaps, write_coco, write_pngs, write_voc, write_yolo
from wsss.pipeline.run import Run
from wsss.pipeline.train_segmenter import mask_lesson, predict_val, require_masks, val_protocol
from wsss.writing import whole_folder

log = logging.getLogger(__name__)

KINDS = ("masks", "predictions")
FORMATS = ("coco", "yolo", "voc", "png")


def export_masks(
    run: Run,
    folder: Path,
    *,
    what: str,
    formats: Sequence[str],
    segmentation: str = "rle",
    void: bool = False,
    competition: str = "comp6",
) -> None:
    """Write each format to a folder of its own, `<folder>/<format>`.

    Args:
        run: a run with masks, or a trained segmenter.
        folder: where.
        what: `masks`, of the train images, or `predictions`, of the val images; those that are missing are made.
        formats: some of `FORMATS`.
        segmentation: see `write_coco`.
        void: see `write_coco`.
        competition: see `write_voc`.

    Raises:
        InputError: if a folder is not new or the label maps cannot be had or written so.
    """
    for name in formats:
        require_new(folder / name)
    maps = run_masks(run) if what == "masks" else run_predictions(run)
    split = run.config.data.train if what == "masks" else run.config.data.val
    writers: dict[str, Callable[[LabelMaps, Path], int]] = {
        "coco": partial(write_coco, segmentation=segmentation, void=void),
        "yolo": write_yolo,
        "voc": partial(write_voc, split_ids=read_split(run.data, split), competition=competition),
        "png": write_pngs,
    }
    for name in formats:
        with whole_folder(folder / name) as filled:
            left_out = writers[name](maps, filled)
        log.info("wrote %s: %d images, %d void pixels left out", folder / name, len(maps.ids), left_out)


def run_masks(run: Run) -> LabelMaps:
    """The pseudo-masks."""
    folder = run.folder / "masks"
    require_masks(run, folder)
    return LabelMaps(run.data, run.train_ids, folder)


def run_predictions(run: Run) -> LabelMaps:
    """The segmenter's label maps of the val images."""
    folder = run.folder / "segmenter" / "predictions"
    if not all((folder / f"{image_id}.png").exists() for image_id in run.val_ids):
        predict_val(run, folder.parent / "model.pt", folder.parent, val_protocol(run, mask_lesson(run).trained_on))
    return LabelMaps(run.data, run.val_ids, folder)


def require_new(folder: Path) -> None:
    """Refuse a folder that holds anything, which would mix with what is written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: there is something already; empty it or choose another --out")
