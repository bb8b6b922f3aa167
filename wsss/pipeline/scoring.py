"""Label maps on disk, scored against true ones."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from wsss.data import VOID, read_mask
from wsss.errors import FaultyDataError, InputError
from wsss.masks import CRFParams
from wsss.metrics import boundary_counts, boundary_iou, confusion_matrix, scores
from wsss.models import Inference
from wsss.pipeline.config import EvaluationConfig
from wsss.pipeline.tables import ABSENT_POLICIES, VOID_POLICIES, Evaluation
from wsss.progress import follow

# Faulty files that are told one by one.
MAX_LINES = 30


class Pair(NamedTuple):
    """Files of a predicted and a true label map."""

    prediction: Path
    mask: Path


class Counts(NamedTuple):
    """What `confusion_matrix` and `boundary_counts` count."""

    confusion: NDArray[np.int64]
    boundary: NDArray[np.int64]


def score_predictions(
    pairs: Sequence[Pair],
    labels: Sequence[str] | None,
    config: EvaluationConfig,
    protocol: Mapping[str, object],
    *,
    progress: bool = False,
) -> Evaluation:
    """Count all pixels of all pairs, and score the sums.

    Args:
        pairs: the label maps.
        labels: names, background first; None: as many as the files hold, without names.
        config: policies.
        protocol: how the predictions came about; what is decided here is added to it.
        progress: tell how far it is.

    Raises:
        FaultyDataError: a line for each pair of which a file is damaged, differs in size, or holds another label.
        InputError: if there is no pixel to score.
    """
    counts = _pool(pairs, VOID if labels is None else len(labels), config, progress=progress)
    if labels is None:
        counts, labels = _cut(counts)
    is_scored = counts.confusion if config.void == "wrong" else counts.confusion[:, :-1]
    if not is_scored.any():
        where = pairs[0].mask.parent if config.void == "wrong" else pairs[0].prediction.parent
        raise InputError(f"{where}: every pixel that could be scored is void; look at the label maps")
    stamped = {
        **protocol,
        "images": len(pairs),
        "void": VOID_POLICIES[config.void],
        "absent": ABSENT_POLICIES[config.absent],
        "boundary": f"{100 * config.boundary:g} % of the diagonal, pooled",
    }
    found = scores(counts.confusion, void=config.void, absent=config.absent)
    return Evaluation(labels, counts.confusion, found, boundary_iou(counts.boundary, absent=config.absent), stamped)


def inference_protocol(inference: Inference, crf: CRFParams | None) -> dict[str, object]:
    """How photographs were looked at; nothing is left out because it is a default."""
    fields = asdict(crf) if crf is not None else {}
    for unused in ("gt_prob", "backend"):  # of labels, and the same arg max
        fields.pop(unused, None)
    return {
        "resize_long": inference.resize_long,
        "scales": list(inference.scales),
        "flip": inference.flip,
        "window": inference.window,
        "overlap": None if inference.window is None else round(inference.overlap, 4),
        "crf": fields or "none",
    }


def _pool(pairs: Sequence[Pair], num_labels: int, config: EvaluationConfig, *, progress: bool) -> Counts:
    # Threads: what takes time, decoding and filters, leaves the interpreter free, and processes would load torch first.
    parallel = Parallel(config.jobs, prefer="threads", return_as="generator")
    found = parallel(delayed(_count)(pair, num_labels, config.boundary, config.void) for pair in pairs)
    confusion, boundary = np.zeros((num_labels, num_labels + 1), np.int64), np.zeros((2, num_labels), np.int64)
    faults = []
    for counts in follow(found, "scoring", total=len(pairs), shown=progress):
        if isinstance(counts, Counts):
            confusion += counts.confusion
            boundary += counts.boundary
        else:
            faults.append(counts)
    if faults:
        more = len(faults) - MAX_LINES
        raise FaultyDataError([*faults[:MAX_LINES], *([f"and {more} files more"] if more > 0 else [])])
    return Counts(confusion, boundary)


def _count(pair: Pair, num_labels: int, width: float, void: str) -> Counts | str:
    """The counts of a pair, or what is wrong with it."""
    try:
        truth, prediction = _read(pair.mask, num_labels), _read(pair.prediction, num_labels)
    except InputError as error:
        return str(error)
    if truth.shape != prediction.shape:
        height, width_ = prediction.shape
        return (
            f"{pair.prediction}: {width_} × {height} pixels, its mask {pair.mask} {truth.shape[1]} × {truth.shape[0]}; "
            "write predictions at the size of their masks"
        )
    return Counts(
        confusion_matrix(truth, prediction, num_labels),
        boundary_counts(truth, prediction, num_labels, width=width, void=void),
    )


def _read(path: Path, num_labels: int) -> NDArray[np.uint8]:
    labels = read_mask(path)
    beyond = labels[(labels >= num_labels) & (labels != VOID)]
    if len(beyond):
        raise InputError(
            f"{path}: label value {beyond.max()} is beyond the classes (0 to {num_labels - 1}, or {VOID} for void); "
            "correct the file, or the list of classes"
        )
    return labels


def _cut(counts: Counts) -> tuple[Counts, list[str]]:
    """The labels up to the largest that occurs, and names for them."""
    true, predicted = counts.confusion.any(axis=1), counts.confusion[:, :-1].any(axis=0)
    num_labels = int(np.flatnonzero(true | predicted).max(initial=0)) + 1
    confusion = counts.confusion[:num_labels, [*range(num_labels), -1]]
    names = ["background", *(f"label {label}" for label in range(1, num_labels))]
    return Counts(confusion, counts.boundary[:, :num_labels]), names
