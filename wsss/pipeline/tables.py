"""Scores of label maps that a run leaves beside its outputs, each with its protocol in a file of its own."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsss.pipeline.run import Run, write_json
from wsss.writing import write_csv

# How mIoU deals with void; part of every protocol of it.
VOID_POLICY = "left out of the truth, wrong in masks"


def write_scores(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], protocol: Mapping[str, object]
) -> None:
    """Write a table `<name>.csv`, and how its scores came about as `<name>.protocol.json`."""
    write_csv(path, header, rows)
    write_json(path.with_suffix(".protocol.json"), protocol)


def write_iou(path: Path, run: Run, per_label: NDArray[np.float64], protocol: Mapping[str, object]) -> None:
    """Write IoU per label in percent; empty for a label that occurs neither in truth nor prediction."""
    scores = ["" if np.isnan(value) else round(100 * float(value), 2) for value in per_label]
    rows = list(zip(run.labels, scores, strict=True))
    write_scores(path, ["label", "iou"], rows, protocol)
