"""Pictures of a sweep: a figure over the options that differ."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from numpy.typing import NDArray

from wsss.metrics.statistics import Spread
from wsss.report.comparison import Comparison, is_numeric, option_text, same, swept_options
from wsss.report.plots import DARK, INK, LINE, ORACLE, SERIES, legend_outside, plain_axes
from wsss.report.tables import format_value, title_of

MAX_VALUES = 12  # of an option, for a heat map, lines or dots; more are a cloud of points
OPTION_NAMES = {"recam.sce_weight": "λ (recam.sce_weight)", "cam.stages": "stages (cam.stages)"}


class SweepPicture(NamedTuple):
    """A picture of one figure, its name in files, its title, and in words what it shows."""

    name: str
    title: str
    remark: str
    figure: Figure


class Row(NamedTuple):
    """One line of `dots`: values of the random seeds, and their spread."""

    label: str
    values: Sequence[float]
    spread: Spread | None


def sweep_pictures(comparison: Comparison, key: str) -> list[SweepPicture]:
    """Draw a figure over the options that differ.

    Two options of few values make a heat map, and lines over the numeric ones; one option makes a line or dots; more
    options, or many values, make points, one picture an option.
    """
    options = swept_options(comparison)
    if max(map(len, options.values()), default=MAX_VALUES + 1) > MAX_VALUES or len(options) > 2:
        return [_points(comparison, key, name, values) for name, values in options.items()]
    if len(options) == 1:
        ((name, values),) = options.items()
        return [_lines(comparison, key, name) if is_numeric(values) else _dots(comparison, key, name, values)]
    numeric = [name for name, values in options.items() if is_numeric(values)]
    return [_heat_map(comparison, key, options), *(_lines(comparison, key, name) for name in numeric)]


def heat_map(
    means: NDArray[np.floating],
    texts: Sequence[Sequence[str]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    names: tuple[str, str],
) -> Figure:
    """Draw a table of means as colours.

    Args:
        means: (rows, columns); NaN where there is none.
        texts: what stands in the cells.
        rows: names of the rows.
        columns: names of the columns.
        names: what rows and columns are.
    """
    height, width = means.shape
    figure = Figure(figsize=(max(2.2 + 0.95 * width, 4.2), 1.1 + 0.56 * height), layout="constrained")
    axes = figure.add_subplot()
    colors = matplotlib.colormaps["Blues"].with_extremes(bad=LINE)
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    margin = max(high - low, 1e-9)
    # From a light blue on: the lowest cell is a figure too.
    axes.imshow(means, cmap=colors, vmin=low - 0.25 * margin, vmax=high + 0.1 * margin, aspect="auto")
    best = np.unravel_index(np.nanargmax(means), means.shape)
    for row, column in np.argwhere(np.isfinite(means)):
        is_best = (row, column) == best
        axes.text(
            *(column, row, texts[row][column]),
            ha="center",
            va="center",
            fontsize=8.5,
            weight="bold" if is_best else "normal",
            color="white" if means[row, column] > low + 0.68 * margin else DARK,
        )
    axes.set_xticks(range(width), columns, parse_math=False)
    axes.set_yticks(range(height), rows, parse_math=False)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    axes.set_ylabel(names[0], color=INK, fontsize=9, parse_math=False)
    axes.set_xlabel(names[1], color=INK, fontsize=9, parse_math=False)
    return figure


def lines_with_bands(
    lines: Mapping[str, Mapping[float, Spread]], *, name: str, figure_name: str, line_name: str = ""
) -> Figure:
    """Draw means over a numeric option, a band of one standard deviation around them.

    Args:
        lines: label to {value of the option: spread}; one line of label "" has no legend.
        name: of the option.
        figure_name: what is drawn.
        line_name: what sets the lines apart.
    """
    figure, axes = plain_axes(5.0, 3.3)
    for number, (label, points) in enumerate(lines.items()):
        color = SERIES[number % len(SERIES)]
        places = sorted(points)
        means = np.array([points[x].mean for x in places])
        stds = np.array([points[x].std or 0.0 for x in places])
        axes.plot(places, means, color=color, linewidth=2, marker="o", markersize=4.5, label=label or None)
        axes.fill_between(places, means - stds, means + stds, color=color, alpha=0.16, linewidth=0)
    scale_values(axes, sorted({x for points in lines.values() for x in points}))
    axes.set_xlabel(name, parse_math=False)
    axes.set_ylabel(figure_name, parse_math=False)
    legend_outside(figure, "outside lower left", title=line_name)
    return figure


def dots(rows: Sequence[Row], *, name: str, figure_name: str) -> Figure:
    """Draw one line a value of an option: its random seeds as small dots, their mean, and the interval of the mean."""
    figure, axes = plain_axes(5.0, 0.9 + 0.42 * len(rows))
    for place, row in enumerate(rows):
        axes.plot(row.values, [place] * len(row.values), "o", color=SERIES[0], markersize=4, alpha=0.5)
        if row.spread is None:
            continue
        if row.spread.low is not None and row.spread.high is not None:
            axes.plot([row.spread.low, row.spread.high], [place, place], color=INK, linewidth=1.3, zorder=1)
        axes.plot([row.spread.mean], [place], "D", color=SERIES[0], markersize=7)
    values = [value for row in rows for value in row.values]
    margin = 0.35 * (max(values) - min(values)) or 1.0
    axes.set_xlim(min(values) - margin, max(values) + margin)  # of two seeds an interval may be ten times as wide
    axes.set_yticks(range(len(rows)), [row.label for row in rows], parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_ylabel(name, parse_math=False)
    axes.set_xlabel(figure_name, parse_math=False)
    return figure


def points(places: Sequence[float], means: Sequence[float], *, name: str, figure_name: str) -> Figure:
    """Draw settings as points over a numeric option, the best one marked."""
    figure, axes = plain_axes(5.0, 3.3)
    axes.plot(places, means, "o", color=SERIES[0], markersize=5, alpha=0.6)
    best = int(np.argmax(means))
    axes.plot([places[best]], [means[best]], "*", color=ORACLE, markersize=14, label=f"best: {places[best]:.4g}")
    scale_values(axes, sorted({*places}))
    axes.set_xlabel(name, parse_math=False)
    axes.set_ylabel(figure_name, parse_math=False)
    legend_outside(figure, "outside lower left")
    return figure


def scale_values(axes: Axes, values: Sequence[float]) -> None:
    """Make the x axis logarithmic where positive values are spread over a decade or more; mark few values themselves.

    Args:
        axes: to draw on.
        values: ascending.
    """
    positive = [value for value in values if value > 0]
    is_spread = len(positive) > 1 and positive[-1] >= 10 * positive[0] and values[0] >= 0
    if is_spread and values[0] == 0:
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.5)  # 0 has a place half a decade before the next
    elif is_spread:
        axes.set_xscale("log")
    if len(values) <= MAX_VALUES:
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(list(values), [option_text(value) for value in values])


def option_name(name: str) -> str:
    """An option as pictures call it."""
    return OPTION_NAMES.get(name, name)


def _heat_map(comparison: Comparison, key: str, options: Mapping[str, Sequence[Any]]) -> SweepPicture:
    across, down = options  # the first option varies slowest in the command, and is what one asks for
    if is_numeric(options[down]) and not is_numeric(options[across]):
        across, down = down, across
    means = np.full((len(options[down]), len(options[across])), math.nan)
    texts = [[""] * len(options[across]) for _ in options[down]]
    for setting in comparison.settings:
        if (found := setting.spread(key)) is None:
            continue
        row = next(i for i, value in enumerate(options[down]) if same(value, setting.options[down]))
        column = next(i for i, value in enumerate(options[across]) if same(value, setting.options[across]))
        means[row, column] = found.mean
        texts[row][column] = format_value(key, found.mean)
        if found.std is not None:
            texts[row][column] += f"\n± {format_value(key, found.std)}"
    figure = heat_map(
        means,
        texts,
        rows=[option_text(value) for value in options[down]],
        columns=[option_text(value) for value in options[across]],
        names=(option_name(down), option_name(across)),
    )
    title = f"{option_name(across)} × {option_name(down)}"
    return SweepPicture("heat_map", title, "Mean ± standard deviation over the random seeds.", figure)


def _lines(comparison: Comparison, key: str, name: str) -> SweepPicture:
    other = next((other for other in swept_options(comparison) if other != name), None)
    lines: dict[str, dict[float, Spread]] = {}
    for setting in comparison.settings:
        if found := setting.spread(key):
            label = "" if other is None else option_text(setting.options[other])
            lines.setdefault(label, {})[float(setting.options[name])] = found
    figure = lines_with_bands(
        lines, name=option_name(name), figure_name=title_of(key), line_name=option_name(other) if other else ""
    )
    remark = "Bands: one standard deviation over the random seeds to either side; the table has the intervals."
    return SweepPicture(f"over_{name}", f"Over {option_name(name)}", remark, figure)


def _dots(comparison: Comparison, key: str, name: str, values: Sequence[Any]) -> SweepPicture:
    """Settings by one option: of each value its random seeds, or where other options differ too, its settings."""
    rows = []
    alone = len(swept_options(comparison)) == 1
    for value in values:
        of_value = [setting for setting in comparison.settings if same(setting.options[name], value)]
        if alone:
            found = list(of_value[0].values(key).values())
            rows.append(Row(option_text(value), found, of_value[0].spread(key)))
        else:
            rows.append(Row(option_text(value), [s.mean for o in of_value if (s := o.spread(key))], None))
    figure = dots([row for row in rows if row.values], name=option_name(name), figure_name=title_of(key))
    remark = "Diamonds: means; lines: 95 % intervals, cut at the frame; small dots: random seeds."
    return SweepPicture(f"over_{name}", f"Over {option_name(name)}", remark if alone else "One dot a setting.", figure)


def _points(comparison: Comparison, key: str, name: str, values: Sequence[Any]) -> SweepPicture:
    if not is_numeric(values):
        return _dots(comparison, key, name, values)
    found = [(float(s.options[name]), found.mean) for s in comparison.settings if (found := s.spread(key))]
    figure = points([x for x, _ in found], [y for _, y in found], name=option_name(name), figure_name=title_of(key))
    return SweepPicture(f"over_{name}", f"Over {option_name(name)}", "One point a setting.", figure)
