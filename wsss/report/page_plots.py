"""The plots of a run's page, as far as the run has what they show."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wsss.report.plots import (
    Curve,
    chain_bars,
    confusion_heatmap,
    inline_svg,
    iou_bars,
    threshold_curves,
    training_curves,
)
from wsss.report.run_files import RunFiles
from wsss.report.tables import name_figure, void_note

Protocols = Mapping[str, Mapping[str, object]]
CHAIN = ("seeds/miou", "masks/miou", "segmenter/val_miou")
CURVES = {
    "seeds/miou": "Seeds over the background threshold",
    "masks/miou": "Pseudo-masks over the background threshold",
}

TRAININGS = {"recam": "ReCAM", "segmenter_supervised": "segmenter, trained on truth"}


class Plot(NamedTuple):
    """A plot as inline SVG."""

    title: str
    svg: Markup
    remark: str = ""


def figure_plots(files: RunFiles, results: Mapping[str, float], protocols: Protocols) -> list[Plot]:
    """The chain, threshold curves, and IoU per class."""
    plots = []
    if any(key in results for key in CHAIN):
        steps = ", ".join(f"{name_figure(key)[1]} {results[key]:.1f}" for key in CHAIN if key in results)
        remark = "Ticks: what the best threshold, or training on the truth, would give."
        plots.append(
            _plot("Along the chain", chain_bars(results), "chain", f"Bar chart of mIoU in percent: {steps}", remark)
        )
    mask_curve = files.mask_curve()
    for key, curves in (
        ("seeds/miou", files.seed_curves()),
        ("masks/miou", {"mask": mask_curve} if mask_curve else {}),
    ):
        if curves:
            chosen, oracle = chosen_threshold(protocols, key), best_threshold(curves)
            alt = f"Line chart of mIoU over the background threshold; best threshold {oracle:.2f}"
            alt += "" if chosen is None else f", chosen without truth {chosen:.2f}"
            figure = threshold_curves(curves, chosen=chosen, oracle=oracle)
            plots.append(_plot(CURVES[key], figure, key.partition("/")[0], alt))
    tables = files.iou_tables()
    if tables:
        alt = f"Bar chart of IoU per class for {'; '.join(tables)}"
        plots.append(_plot("IoU per class", iou_bars(tables), "iou", alt))
    return plots


def training_plots(files: RunFiles) -> list[Plot]:
    """Losses and val figures of each training."""
    plots = []
    for step, training in files.trainings().items():
        last = {name: points[-1][1] for name, points in training.scores.items()}
        told = "".join(f", {name} at the end {value:.1f} %" for name, value in last.items())
        name = TRAININGS.get(step, step.replace("_", ", ").replace("round", "round "))
        alt = f"Line charts of the training of {name}: {', '.join(training.losses) or 'no losses logged'}{told}"
        plots.append(_plot(name[0].upper() + name[1:], training_curves(training), f"training-{step}", alt))
    return plots


def confusion_plots(
    confusions: Mapping[str, NDArray[np.int64]], labels: Sequence[str], protocols: Protocols
) -> list[Plot]:
    """Where the pixels of each true label went.

    Args:
        confusions: title -> counts (L, L + 1); those of no pixel are left out.
        labels: their L names.
        protocols: of the run's figures, for how void was counted.
    """
    plots = []
    for place, (title, confusion) in enumerate(confusions.items()):
        if not confusion.any():
            continue
        correct = 100 * np.trace(confusion) / confusion.sum()
        alt = f"Confusion matrix, {title}: {correct:.1f} % of the pixels have their true label"
        figure = confusion_heatmap(confusion, labels)
        plots.append(_plot(title, figure, f"confusion{place}", alt, void_note(protocols)))
    return plots


def sweep_figures(files: RunFiles) -> Iterator[tuple[str, str]]:
    """Pictures of the sweep that the run is of: what each shows, and its data address."""
    for path in files.sweep_pictures():
        yield _sweep_alt(path), "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def chosen_threshold(protocols: Protocols, key: str) -> float | None:
    """The threshold of a figure, if its protocol has one."""
    value = protocols.get(key, {}).get("threshold")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def best_threshold(curves: Mapping[str, Curve]) -> float:
    """The threshold where the first of some curves is highest."""
    curve = next(iter(curves.values()))
    return max(zip(curve.miou, curve.thresholds, strict=True), key=lambda point: point[0])[1]


def _plot(title: str, figure: Figure, name: str, alt: str, remark: str = "") -> Plot:
    return Plot(title, Markup(inline_svg(figure, name=name, alt=alt)), remark)


def _sweep_alt(path: Path) -> str:
    what = path.stem.replace("_", " ", 1)
    return (
        f"Heat map of the sweep {path.parent.name}" if path.stem == "heat_map" else f"Sweep {path.parent.name}, {what}"
    )
