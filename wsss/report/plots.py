"""Figures of a run, made with matplotlib's objects alone: no pyplot, no global state, no display."""

import html
import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from wsss.report.tables import kind_name

# Near-black and light grey on paper; `inline_svg` swaps them for the page's own colours, light or dark.
INK, LINE = "#1a1b1e", "#d3d5da"
SERIES = ("#3b7dd8", "#2ca089", "#b459b5", "#d1495b", "#8a8f3c", "#6b7aa1", "#a0785a", "#7a52cc", "#4f9fbf", "#c26a9c")
ORACLE = "#e08a1e"
DARK = "#1a1b1f"  # on cells, which keep their colour on a dark page: not INK, which `inline_svg` swaps


class Curve(NamedTuple):
    """mIoU in percent at ascending background thresholds."""

    thresholds: Sequence[float]
    miou: Sequence[float]


class Training(NamedTuple):
    """What a training logged: name -> (step, value); `losses` and the like of train, `scores` of val in percent."""

    losses: Mapping[str, Sequence[tuple[float, float]]]
    scores: Mapping[str, Sequence[tuple[float, float]]]


def training_curves(training: Training) -> Figure:
    """Draw a training's losses, and below them its figures on val, over the steps; a part of nothing is left out."""
    parts = [(what, curves) for what, curves in (("train", training.losses), ("val, %", training.scores)) if curves]
    figure = Figure(figsize=(5.0, 0.6 + 1.5 * max(len(parts), 1)), layout="constrained")
    color = iter(SERIES * 9)
    for place, (what, curves) in enumerate(parts):
        axes = figure.add_subplot(len(parts), 1, place + 1, sharex=figure.axes[0] if figure.axes else None)
        style_axes(axes)
        for name, points in curves.items():
            axes.plot(
                *zip(*points, strict=True),
                color=next(color),
                linewidth=1.6,
                label=name,
                marker="." if len(points) < 12 else "",
            )
        axes.set_ylabel(what)
        _from_zero(axes)
        if place < len(parts) - 1:
            axes.tick_params(labelbottom=False)
        else:
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_outside(figure, "outside lower left")
    return figure


def threshold_curves(
    curves: Mapping[str, Curve], *, chosen: float | None = None, oracle: float | None = None
) -> Figure:
    """Draw mIoU over the background threshold, the first curve heavier than the others.

    Args:
        curves: kind of map to its curve; the first is the one that `chosen` and `oracle` belong to.
        chosen: threshold that was chosen without the truth; default: not marked.
        oracle: threshold that is best on the truth; default: not marked.
    """
    figure, axes = plain_axes(5.0, 3.3)
    for number, (kind, curve) in enumerate(curves.items()):
        main = number == 0
        axes.plot(
            *(curve.thresholds, curve.miou),
            color=SERIES[number % len(SERIES)],
            linewidth=2.6 if main else 1.2,
            zorder=3 if main else 2,
            label=kind_name(kind),
            marker="." if len(curve.thresholds) < 12 else "",
        )
    if curves:
        _mark_points(axes, next(iter(curves.values())), chosen, oracle)
    axes.set_xlabel("background threshold")
    axes.set_ylabel("mIoU, %")
    _from_zero(axes)
    legend_outside(figure, "outside lower left")
    return figure


def iou_bars(tables: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw IoU per label as groups of bars, one bar a table.

    Args:
        tables: name to {label: IoU in percent}; a label that is absent from a table, or NaN there, has no bar.
    """
    labels = list(dict.fromkeys(label for table in tables.values() for label in table))
    count = max(len(tables), 1)
    figure, axes = plain_axes(5.0, 0.9 + len(labels) * (0.16 + 0.15 * count))
    thickness = 0.78 / count
    for number, (name, table) in enumerate(tables.items()):
        known = [(row, table[label]) for row, label in enumerate(labels) if not math.isnan(table.get(label, math.nan))]
        offsets = [row + (number - (count - 1) / 2) * thickness for row, _ in known]
        values = [value for _, value in known]
        bars = axes.barh(offsets, values, height=thickness * 0.88, color=SERIES[number % len(SERIES)], label=name)
        axes.bar_label(bars, fmt="%.0f", padding=2, color=INK, fontsize=7.5)
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    axes.set_ylim(max(len(labels), 1) - 0.5, -0.5)
    axes.set_xlim(0, 105)
    axes.set_xlabel("IoU, %")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    legend_outside(figure, "outside upper left")
    return figure


def chain_bars(results: Mapping[str, float]) -> Figure:
    """Draw mIoU along the chain seeds → pseudo-masks → segmenter, with what would be possible as ticks.

    Ticks are the oracle threshold of seeds and masks, and the segmenter trained on the truth. Steps without figures are
    left out.

    Args:
        results: the run's `results.json`.
    """
    chain = (
        ("seeds, train", "seeds/miou", "seeds/oracle_miou"),
        ("pseudo-masks, train", "masks/miou", "masks/oracle_miou"),
        ("segmenter, val", "segmenter/val_miou", "segmenter/supervised_val_miou"),
    )
    rows = [(name, results[key], results.get(limit)) for name, key, limit in chain if key in results]
    figure, axes = plain_axes(5.0, 0.9 + 0.5 * len(rows))
    values = [value for _, value, _ in rows]
    axes.barh(range(len(rows)), values, height=0.56, color=SERIES[: len(rows)])
    highest = max([*values, *(limit for _, _, limit in rows if limit is not None)], default=100)
    width = max(min(highest * 1.45, 145), 10)
    for row, (name, value, limit) in enumerate(rows):
        beside = []
        if value > 0.15 * width:
            inside: dict[str, Any] = {"xytext": (-5, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
            axes.annotate(f"{value:.1f}", (value, row), color="white", weight="bold", **inside)
        else:
            beside.append(f"{value:.1f}")
        if limit is not None:
            axes.plot([limit, limit], [row - 0.38, row + 0.38], color=ORACLE, linewidth=3, solid_capstyle="butt")
            beside.append(f"{'trained on truth' if name.startswith('segmenter') else 'oracle'} {limit:.1f}")
        if beside:
            end: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate(", ".join(beside), (max(value, limit or 0), row), color=INK, fontsize=8, **end)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.set_xlim(0, width)
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= 100])
    axes.set_xlabel("mIoU, %")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    return figure


def stage_spread(quartiles: Mapping[str, Sequence[float]]) -> Figure:
    """Draw how much gradients vary from cell to cell in each stage, see `wsss.metrics.relative_variance`.

    Args:
        quartiles: stage, shallow to deep -> lower quartile, median and upper quartile over channels.
    """
    figure, axes = plain_axes(4.2, 3.0)
    low, median, high = np.nan_to_num(np.array([*quartiles.values()], np.float64).reshape(-1, 3).T, posinf=1e9)
    places = np.arange(len(quartiles))
    axes.vlines(places, low, high, color=SERIES[0], linewidth=7, alpha=0.35)
    axes.plot(places, median, color=SERIES[0], marker="o", linewidth=1.2)
    axes.set_yscale("symlog", linthresh=0.1)  # in the last stage of a pooled network it is 0
    axes.set_ylim(bottom=0)
    axes.set_xticks(places, [*quartiles], parse_math=False)
    axes.set_ylabel("gradient: variance / mean²")
    return figure


def confusion_heatmap(confusion: NDArray[np.integer], labels: Sequence[str], *, caption: str = "") -> Figure:
    """Draw how the pixels of each true label are shared out among the predicted ones.

    Args:
        confusion: counts (L, L + 1): truth down, prediction across, predicted void last; its column is left out where
            nothing is void, and a label without true pixels has an empty row.
        labels: their L names.
        caption: how it came about, under the axes.
    """
    counts = confusion if confusion[:, -1].any() else confusion[:, :-1]
    total = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(100 * counts, total, out=np.full(counts.shape, np.nan), where=total > 0)  # rows: percent
    rows, columns = shares.shape
    cell, font = (0.36, 7.5) if rows <= 30 else (0.19, 5.0)  # inches, points
    margin = 0.6 + 0.075 * max(map(len, labels), default=0)  # for the names
    size = max(columns * cell + margin, 4.0), max(rows * cell + margin + 0.8, 2.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    colors = matplotlib.colormaps["Blues"].with_extremes(bad=LINE)
    # The root shows small shares, which are the ones to look for.
    axes.imshow(shares, cmap=colors, norm=PowerNorm(0.5, 0, 100), aspect="equal")
    for row, column in np.argwhere(np.nan_to_num(shares) >= 0.5):
        share = shares[row, column]
        axes.text(
            *(column, row, f"{share:.0f}"),
            ha="center",
            va="center",
            fontsize=font,
            color="white" if share > 40 else DARK,
        )
    axes.set_xticks(range(columns), [*labels, "void"][:columns], rotation=90, fontsize=max(font, 6), parse_math=False)
    axes.set_yticks(range(rows), labels, fontsize=max(font, 6), parse_math=False)
    axes.tick_params(colors=INK, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("prediction", color=INK, fontsize=9)
    axes.set_ylabel("truth", color=INK, fontsize=9)
    axes.set_title("% of the true label's pixels", loc="left", color=INK, fontsize=9)
    width = int(figure.get_figwidth() * 15)  # characters of 7 points
    figure.supxlabel(textwrap.fill(caption, width), x=0.01, ha="left", fontsize=7, color=INK, parse_math=False)
    return figure


def inline_svg(figure: Figure, *, name: str, alt: str) -> str:
    """Render a figure as SVG to be placed in a page: no prolog, no addresses, in the page's colours.

    Args:
        figure: a figure of this module.
        name: prefix of the ids in the SVG, unique in the page.
        alt: what the figure shows, for those who do not see it.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text, count=2)
    text = re.sub(r'^<svg ([^>]*?)\bwidth="[^"]*"', r"<svg \1", text).replace(
        "<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" ', 1
    )
    text = re.sub(r'^(<svg [^>]*?)\bheight="[^"]*" ?', r"\1", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(|xlink:href=")#', rf"\1#{name}-", text)
    return text.replace(INK, "currentColor").replace(LINE, "var(--line)")


def _mark_points(axes: Axes, curve: Curve, chosen: float | None, oracle: float | None) -> None:
    marks = (
        (oracle, "*", 13.0, ORACLE, "oracle"),
        (chosen, "o", 8.0, INK, "chosen without truth"),
    )
    for threshold, marker, size, color, what in marks:
        if threshold is None:
            continue
        miou = float(np.interp(threshold, curve.thresholds, curve.miou))
        axes.plot(
            *([threshold], [miou]),
            linestyle="none",
            marker=marker,
            markersize=size,
            color=color,
            zorder=5,
            label=f"{what}: {miou:.1f}",
        )
        axes.axvline(threshold, color=color, linewidth=0.8, linestyle=":", zorder=1)


def _from_zero(axes: Axes) -> None:
    """Let the y axis begin at 0, and end above what is drawn."""
    axes.margins(x=0.02)
    axes.set_ylim(0, 1.1 * float(max(axes.dataLim.y1, 1e-9)))


def plain_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure of so many inches with one plain axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, style_axes(figure.add_subplot())


def style_axes(axes: Axes) -> Axes:
    """Make axes plain: a grid in grey, no frame."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(9)
    return axes


def legend_outside(
    figure: Figure, location: Literal["outside upper left", "outside lower left"], *, title: str | None = None
) -> None:
    """Put the legend where it hides nothing."""
    handles: list[Artist] = []
    labels: list[str] = []
    for axes in figure.axes:
        drawn = axes.get_legend_handles_labels()
        handles, labels = handles + drawn[0], labels + drawn[1]
    if not handles:
        return
    legend = figure.legend(
        handles, labels, loc=location, ncols=3, frameon=False, columnspacing=1.2, fontsize=8, labelcolor=INK
    )
    if title:
        legend.set_title(title, prop=FontProperties(size=8))
        legend.set_alignment("left")
        legend.get_title().set_color(INK)
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)
