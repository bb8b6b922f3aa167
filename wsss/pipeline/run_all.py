"""The whole pipeline: every step in order, finished ones skipped."""

from collections.abc import Callable, Sequence

from wsss.pipeline.make_masks import make_masks
from wsss.pipeline.make_seeds import make_seeds
from wsss.pipeline.processes import on_first
from wsss.pipeline.refine_seeds import require_crf
from wsss.pipeline.report import make_report
from wsss.pipeline.run import Run
from wsss.pipeline.self_training import train_segmenters
from wsss.pipeline.train_classifier import require_rivals, train_classifier, train_second_heads

STEPS: dict[str, Callable[[Run], object]] = {
    "classifier": train_classifier,
    "recam": train_second_heads,
    "seeds": make_seeds,
    "masks": make_masks,
    "segmenter": train_segmenters,
    "report": lambda run: on_first(lambda: make_report(run)),
}


def run_pipeline(run: Run) -> dict[str, float]:
    """Labels to val mIoU; returns the figures of results.json."""
    return run_steps(run, list(STEPS)[: list(STEPS).index(run.config.until) + 1])


def run_steps(run: Run, names: Sequence[str]) -> dict[str, float]:
    """Some of `STEPS`, in order; returns the figures of results.json."""
    # Now, rather than after an hour of training.
    if "recam" in names:
        require_rivals(run)
    if "masks" in names:
        require_crf(run.config.masks)
    for name in names:
        STEPS[name](run)
    return on_first(run.write_results)
