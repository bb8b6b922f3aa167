"""The HTML page of a run."""

import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wsss.errors import InputError
from wsss.models import load_segmenter
from wsss.pipeline.manifest import changed_files, damaged, read_manifest
from wsss.pipeline.run import Run, kept_config
from wsss.pipeline.training import device_of
from wsss.report import write_report

log = logging.getLogger(__name__)

FREE = ("report.", "data.root=", "trainer.accelerator=")  # options that may be others than the run's


def make_report(run: Run) -> Path:
    """Write `report/index.html` from whatever the run's folder holds."""
    if not any(run.folder.glob("*/manifest.json")):
        raise InputError(f"{run.folder}: no such run; check run=<name>, or start one with scripts/run_pipeline.py")
    for path in run.folder.glob("*/manifest.json"):
        if read_manifest(path)["state"] == "done":  # else its tables are perhaps being written
            for table in filter(Path.exists, changed_files(path.parent, ".csv")):
                raise damaged(table)
    run.write_results()
    model = run.folder / "segmenter" / "model.pt"
    path = write_report(
        run.folder,
        description=run.data,
        train_ids=run.train_ids,
        val_ids=run.val_ids,
        score_ids=run.score_ids if run.has_train_truth else (),
        predict=load_segmenter(model, device=str(device_of(run.config))) if model.exists() else None,
        num_images=run.config.report.num_images,
        side=run.config.report.side,
    )
    log.info("report: %s", path)
    return path


def report_of(folder: Path, overrides: Sequence[str] = ()) -> Path:
    """Write the page of a run as its folder keeps it.

    Args:
        folder: `outputs/<run>`.
        overrides: options of the page, `report.num_images=40`; also `data.root` and `trainer.accelerator`.

    Raises:
        InputError: if there is no run, or an override is none of these.
    """
    other = next((option for option in overrides if not option.startswith(FREE)), None)
    if other is not None:
        raise InputError(f"{other}: the run keeps its options; beside its folder give report.<option>=… alone")
    config = kept_config(folder)
    options = OmegaConf.structured(config)
    try:
        options = OmegaConf.merge(options, OmegaConf.from_dotlist([*overrides]))
    except OmegaConfBaseException as error:
        raise InputError(f"{' '.join(overrides)}: {str(error).splitlines()[0]}") from None
    return make_report(Run(OmegaConf.to_object(options)))  # type: ignore[arg-type]  # a Config, as it was
