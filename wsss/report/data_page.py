"""What a data set holds, as numbers and as a page of its own."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wsss import __version__
from wsss.data import DataDescription, Survey
from wsss.report.html import environment

MAX_TOGETHER = 40  # classes of the co-occurrence table on the page
MAX_SIZES = 20


def class_counts(description: DataDescription, survey: Survey) -> NDArray[np.int64]:
    """Images of each class in each split, (N, splits)."""
    return np.stack([_multi_hot(description, survey, ids).sum(axis=0) for ids in survey.splits.values()], axis=1)


def cooccurrence(description: DataDescription, survey: Survey) -> NDArray[np.int64]:
    """Images that show two classes together, (N, N); the diagonal counts the images of each class."""
    labels = _multi_hot(description, survey, list(survey.images))
    together: NDArray[np.int64] = labels.T @ labels
    return together


def size_counts(survey: Survey) -> list[tuple[str, int]]:
    """Sizes, the most common first; the rest counted together."""
    counts = Counter(facts.size for facts in survey.images.values() if facts.size is not None).most_common()
    shown = [(f"{width} × {height}", count) for (width, height), count in counts[:MAX_SIZES]]
    rest = counts[MAX_SIZES:]
    return [*shown, (f"{len(rest)} others", sum(count for _, count in rest))] if rest else shown


def _multi_hot(description: DataDescription, survey: Survey, ids: Sequence[str]) -> NDArray[np.int64]:
    labels = np.zeros((len(ids), description.num_classes), np.int64)
    for row, image_id in zip(labels, ids, strict=True):
        row[list(survey.images[image_id].labels or ())] = 1
    return labels


def data_page(description: DataDescription, survey: Survey) -> str:
    """The page, which needs nothing else."""
    counts, together = class_counts(description, survey), cooccurrence(description, survey)
    most = max(int(counts.sum(axis=1).max()), 1)
    classes = [
        {"name": name, "counts": row.tolist(), "percent": round(100 * int(row.sum()) / most, 1)}
        for name, row in zip(description.classes, counts, strict=True)
    ]
    common = np.sort(np.argsort(-together.diagonal(), kind="stable")[:MAX_TOGETHER])
    rows = [
        {
            "name": description.classes[i],
            "cells": [
                {"count": int(together[i, j]), "share": round(float(together[i, j]) / max(int(together[i, i]), 1), 3)}
                for j in common
            ],
        }
        for i in common
    ]
    return (
        environment()
        .get_template("data.html.j2")
        .render(
            name=description.name,
            root=str(description.root),
            labels=description.labels,
            num_images=len(survey.images),
            splits=[f"{split} ({len(ids)})" for split, ids in survey.splits.items()],
            findings=survey.findings,
            classes=classes,
            together=rows,
            omitted=description.num_classes > MAX_TOGETHER,
            sizes=size_counts(survey),
            version=__version__,
        )
    )
