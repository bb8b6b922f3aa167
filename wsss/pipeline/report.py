"""The HTML page of a run."""

import logging
from pathlib import Path

from wsss.errors import InputError
from wsss.models import load_segmenter
from wsss.pipeline.run import Run
from wsss.pipeline.training import device_of
from wsss.report import write_report

log = logging.getLogger(__name__)


def make_report(run: Run) -> Path:
    """Write `report/index.html` from whatever the run's folder holds."""
    if not any(run.folder.glob("*/manifest.json")):
        raise InputError(f"{run.folder}: no such run; check run=<name>, or start one with scripts/run_pipeline.py")
    run.write_results()
    model = run.folder / "segmenter" / "model.pt"
    path = write_report(
        run.folder,
        description=run.data,
        train_ids=run.train_ids,
        val_ids=run.val_ids,
        predict=load_segmenter(model, device=str(device_of(run.config))) if model.exists() else None,
        num_images=run.config.report.num_images,
    )
    log.info("report: %s", path)
    return path
