"""Corrected masks, brought back to be trained on."""

import logging
from pathlib import Path

from wsss.data import save_mask
from wsss.errors import InputError
from wsss.exports import read_coco, read_pngs
from wsss.pipeline.export_masks import require_new, run_masks
from wsss.pipeline.run import Run
from wsss.writing import whole_folder

log = logging.getLogger(__name__)


def import_masks(run: Run, source: Path, folder: Path, *, complete: bool = False) -> None:
    """Write `<folder>/<id>.png` for every image that `source` holds, for `segmenter.masks`.

    Args:
        run: the run whose train images and classes they are of.
        source: a file of COCO instances, or a folder of PNGs.
        folder: where; new or empty.
        complete: also copy the run's own masks of the other train images.

    Raises:
        InputError: for whatever does not fit the run.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; name a COCO file or a folder of PNGs")
    require_new(folder)
    own = run_masks(run) if complete else ()
    read = read_pngs if source.is_dir() else read_coco
    corrected = set()
    with whole_folder(folder) as filled:
        for image_id, labels in read(source, run.data, run.train_ids):
            save_mask(filled / f"{image_id}.png", labels)
            corrected.add(image_id)
        for image_id, labels in own:
            if image_id not in corrected:
                save_mask(filled / f"{image_id}.png", labels)
    num_own = len(run.train_ids) - len(corrected) if complete else 0
    log.info("wrote %s: %d corrected masks, %d of the run's own", folder, len(corrected), num_own)
    log.info("next: python scripts/run_pipeline.py <the run's options> run=<new name> segmenter.masks=%s", folder)
