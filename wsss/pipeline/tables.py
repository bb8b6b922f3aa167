"""Scores of label maps that a run leaves beside its outputs, each with its protocol in a file of its own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.text import Text

from wsss.metrics import IoU, Scores
from wsss.pipeline.run import Run
from wsss.report import stamp
from wsss.report.html import write_png
from wsss.report.plots import confusion_heatmap
from wsss.report.tables import plain_table
from wsss.writing import write_csv, write_json

# How scores deal with void and with labels that do not occur; part of every protocol.
VOID_POLICIES = {"wrong": "left out of the truth, wrong in masks", "ignore": "left out of the truth and of masks"}
VOID_POLICY = VOID_POLICIES["wrong"]
ABSENT_POLICIES = {"skip": "labels left out of means", "zero": "labels count as 0 in means"}


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set of label maps.

    Attributes:
        labels: names of the L labels, background first.
        confusion: pooled counts (L, L + 1), see `confusion_matrix`.
        scores: what follows from them.
        boundary: boundary IoU.
        protocol: how all of it came about.
    """

    labels: Sequence[str]
    confusion: NDArray[np.int64]
    scores: Scores
    boundary: IoU
    protocol: Mapping[str, object]

    @property
    def per_label(self) -> dict[str, list[float | None]]:
        """Figures of each label in percent, None where there is nothing to count."""
        columns = {name: getattr(self.scores, name) for name in ("iou", "accuracy", "precision")}
        columns["boundary_iou"] = self.boundary.per_label
        return {name: [_percent(value) for value in values] for name, values in columns.items()}

    @property
    def means(self) -> dict[str, float | None]:
        """Mean over the labels of each of these figures, in percent."""
        scores = self.scores
        means = (scores.miou, scores.mean_accuracy, scores.mean_precision, float(self.boundary.mean))
        names = ("miou", "mean_accuracy", "mean_precision", "boundary_miou")
        return {name: _percent(value) for name, value in zip(names, means, strict=True)}

    @property
    def pixels(self) -> dict[str, float | None]:
        """Figures over all pixels, in percent."""
        names = ("pixel_accuracy", "frequency_weighted_iou", "coverage")
        return {name: _percent(getattr(self.scores, name)) for name in names}


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


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write `scores.json`, which holds everything, `per_class.csv`, `confusion.csv` and `confusion.png`."""
    labels, confusion, protocol = evaluation.labels, evaluation.confusion, evaluation.protocol
    columns = [*labels, "void"]
    content = {
        "protocol": protocol,
        "unit": "percent",
        "scores": evaluation.means | evaluation.pixels,
        "labels": list(labels),
        "per_label": evaluation.per_label,
        "confusion": {"rows": "truth", "columns": columns, "pixels": confusion.tolist()},
    }
    write_json(folder / "scores.json", content)
    counted = {"true_pixels": confusion.sum(axis=1).tolist(), "predicted_pixels": confusion.sum(axis=0).tolist()[:-1]}
    table = evaluation.per_label | counted
    rows = zip(labels, *table.values(), strict=True)
    write_scores(folder / "per_class.csv", ["label", *table], rows, protocol)
    of_truth = ([name, *counts] for name, counts in zip(labels, confusion.tolist(), strict=True))
    write_scores(folder / "confusion.csv", ["truth \\ prediction", *columns], of_truth, protocol)
    write_png(folder / "confusion.png", confusion_heatmap(confusion, labels, caption=_caption(protocol)))


def evaluation_table(evaluation: Evaluation) -> Group:
    """Scores for the terminal, in percent, under them how they came about."""
    per_label, means = evaluation.per_label, evaluation.means
    table = plain_table()
    table.add_column("label", overflow="fold")
    for name in ("IoU", "accuracy", "precision", "boundary IoU"):
        table.add_column(name, justify="right")
    for label, *figures in zip(evaluation.labels, *per_label.values(), strict=True):
        table.add_row(Text(label), *map(_shown, figures))
    table.add_row()
    table.add_row(Text("mean", style="bold"), *(Text(_shown(value), style="bold") for value in means.values()))
    accuracy, weighted, coverage = map(_shown, evaluation.pixels.values())
    pixels = f"pixel accuracy {accuracy} · frequency-weighted IoU {weighted} · coverage {coverage}"
    title = Text(str(evaluation.protocol["scored"]), style="bold cyan")
    return Group(title, table, Text(pixels), Text(_caption(evaluation.protocol), style="dim"))


def _caption(protocol: Mapping[str, object]) -> str:
    return f"{stamp(protocol)} · void {protocol['void']}"


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else round(100 * float(value), 4)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
