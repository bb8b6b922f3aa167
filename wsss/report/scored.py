"""How well each image of a gallery is labelled, and how labels are mistaken for one another."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from wsss.data import DataDescription, read_mask
from wsss.errors import InputError
from wsss.metrics import confusion_matrix, iou
from wsss.report.run_files import RunFiles


class ScoredImages(NamedTuple):
    """Label maps against the truth.

    Attributes:
        miou: image -> percent, the mean over the labels of truth and label map.
        confusion: pooled counts (L, L + 1), see `wsss.metrics.confusion_matrix`.
    """

    miou: dict[str, float]
    confusion: NDArray[np.int64]


def score_images(files: RunFiles, description: DataDescription, folder: str, ids: Sequence[str]) -> ScoredImages:
    """Score the label maps `<folder>/<id>.png`; images without one, or without truth, are passed over."""
    num_labels = description.num_classes + 1

    def count(image_id: str) -> NDArray[np.int64] | None:
        path = description.mask_path(image_id)
        labels = files.labels(folder, image_id) if path.is_file() else None
        if labels is None:
            return None
        try:
            return confusion_matrix(read_mask(path), labels, num_labels)
        except (InputError, ValueError) as error:
            files.note(f"score of {folder}/{image_id}.png ({error})")
            return None

    # Threads: decoding and counting leave the interpreter free. Counts of many classes are large: none is kept.
    parallel = Parallel(-1, prefer="threads", return_as="generator")
    miou: dict[str, float] = {}
    pooled = np.zeros((num_labels, num_labels + 1), np.int64)
    for image_id, counts in zip(ids, parallel(delayed(count)(image_id) for image_id in ids), strict=True):
        if counts is not None and counts.any():
            pooled += counts
            miou[image_id] = 100 * float(iou(counts).mean)
    return ScoredImages(miou, pooled)
