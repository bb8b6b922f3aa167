"""Tables a run leaves beside its outputs."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsss.pipeline.run import Run
from wsss.writing import write_csv


def write_iou(path: Path, run: Run, per_label: NDArray[np.float64]) -> None:
    """Write IoU per label in percent; empty for a label that occurs neither in truth nor prediction."""
    names = ["background", *run.data.classes]
    rows = [(name, "" if np.isnan(v) else round(100 * float(v), 2)) for name, v in zip(names, per_label, strict=True)]
    write_csv(path, ["label", "iou"], rows)
