"""Score a run's trained segmenters on any split."""

from wsss.errors import InputError
from wsss.pipeline.run import Run
from wsss.pipeline.train_segmenter import mask_lesson, predict_val, true_lesson, val_protocol
from wsss.report.tables import Protocol


def evaluate(run: Run) -> tuple[dict[str, float], dict[str, Protocol]]:
    """Predict the images of `data.val` with the run's segmenter (and its supervised twin) and score them.

    Predictions and IoU per class go to `<segmenter>/evaluation/<data set>_<split>`; the run's own figures stay as they
    are.

    Returns:
        Figures, mIoU in percent, and their protocols.

    Raises:
        InputError: if there is no trained segmenter, or no true masks to score against.
    """
    split = run.config.data.val
    if not run.has_val_truth:
        raise InputError(f"{run.data.root}: the {split} images have no masks to score against")
    figures: dict[str, float] = {}
    protocols: dict[str, Protocol] = {}
    for lesson in (mask_lesson(run), true_lesson(run)):
        name = lesson.step
        model = run.folder / name / "model.pt"
        if name != "segmenter" and not model.exists():
            continue
        protocol = val_protocol(run, lesson.trained_on)
        scored = predict_val(run, model, model.parent / "evaluation" / f"{run.data.name}_{split}", protocol)
        key = f"{name}/{split}_miou"
        assert scored is not None  # there is truth, see above
        figures[key] = scored
        protocols[key] = run.stamp(**protocol)
    return figures, protocols
