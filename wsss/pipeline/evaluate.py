"""Score a run's trained segmenters anew."""

import logging

from wsss.errors import InputError
from wsss.pipeline.run import Run
from wsss.pipeline.train_segmenter import score_segmenter, segmenter_step

log = logging.getLogger(__name__)


def evaluate(run: Run) -> dict[str, float]:
    """Predict the val images with the run's segmenter (and its supervised twin) and score them.

    Raises:
        InputError: if there is no trained segmenter, or no true masks to score against.
    """
    if not run.has_val_truth:
        raise InputError(f"{run.data.root}: the {run.config.data.val} images have no masks to score against")
    figures: dict[str, float] = {}
    for supervised in (False, True):
        step = segmenter_step(run, supervised=supervised)
        if supervised and not step.folder.exists():
            continue
        score_segmenter(run, step, supervised=supervised)
        figures |= step.figures
    for key, value in figures.items():
        log.info("%s: %.2f on %d images of %s", key, value, len(run.val_ids), run.data.name)
    return figures
