"""A run's label maps in other tools' formats."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from wsss.data import read_split
from wsss.errors import InputError
from wsss.exports import LabelMaps, write_coco, write_pngs, write_voc, write_yolo
from wsss.pipeline.run import Run
from wsss.pipeline.train_segmenter import predict_images, require_masks
from wsss.writing import whole_folder

log = logging.getLogger(__name__)


def export_masks(
    run: Run,
    folder: Path,
    *,
    what: str,
    split: str | None = None,
    formats: Sequence[str],
    segmentation: str = "rle",
    void: bool = False,
    competition: str = "comp6",
) -> None:
    """Write each format to a folder of its own, `<folder>/<format>`.

    Args:
        run: a run with masks, or a trained segmenter.
        folder: where.
        what: `masks`, of the train images, or `predictions`; those that are missing are made.
        split: whose images are predicted, which need neither labels nor masks; default: the run's val.
        formats: some of `EXPORT_FORMATS`.
        segmentation: see `write_coco`.
        void: see `write_coco`.
        competition: see `write_voc`.

    Raises:
        InputError: if a folder is not new or the label maps cannot be had or written so.
    """
    formats = list(dict.fromkeys(formats))
    for name in formats:
        require_new(folder / name)
    data = run.config.data
    if what == "masks" and split not in (None, data.train):
        raise InputError(f"--split {split}: a run has masks of {data.train} alone; export predictions, or leave it out")
    split = split or (data.train if what == "masks" else data.val)
    maps = run_masks(run) if what == "masks" else run_predictions(run, split)
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


def run_predictions(run: Run, split: str) -> LabelMaps:
    """The segmenter's label maps of a split's images."""
    ids = run.val_ids if split == run.config.data.val else read_split(run.data, split)
    folder = run.folder / "segmenter" / "predictions"
    missing = [image_id for image_id in ids if not (folder / f"{image_id}.png").exists()]
    if missing:
        log.info("predicting %d images of %s", len(missing), split)
        deque(predict_images(run, folder.parent / "model.pt", missing, folder), maxlen=0)
    return LabelMaps(run.data, ids, folder)


def require_new(folder: Path) -> None:
    """Refuse a folder that holds anything, which would mix with what is written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: there is something already; empty it or choose another --out")
