"""The whole pipeline: every step in order, finished ones skipped."""

from wsss.masks import require_pydensecrf
from wsss.pipeline.make_masks import make_masks
from wsss.pipeline.make_seeds import make_seeds
from wsss.pipeline.report import make_report
from wsss.pipeline.run import Run
from wsss.pipeline.train_classifier import train_classifiers
from wsss.pipeline.train_segmenter import train_segmenters


def run_pipeline(run: Run) -> dict[str, float]:
    """Labels to val mIoU; returns the figures of results.json."""
    config = run.config
    if config.masks.kind != "threshold":
        require_pydensecrf()  # now, rather than after an hour of training
    train_classifiers(run)
    make_seeds(run)
    make_masks(run)
    train_segmenters(run)
    results = run.write_results()
    make_report(run)
    return results
