"""Pictures of a sweep show its means."""

import pytest

from tests.sweeps import STAGES, swept_runs
from wsss.report.comparison import compare
from wsss.report.plots import inline_svg, plain_axes
from wsss.report.sweep_plots import scale_values, sweep_pictures


def pictures(options, seeds=(0, 1, 2)):
    comparison = compare(swept_runs(options, seeds))
    return comparison, {picture.name: picture.figure for picture in sweep_pictures(comparison, "seeds/miou")}


def test_two_options_make_a_heat_map_of_the_means_and_lines() -> None:
    comparison, found = pictures({"recam.sce_weight": [0.1, 1, 2], "cam.stages": STAGES})
    assert list(found) == ["heat_map", "over_recam.sce_weight"]
    axes = found["heat_map"].axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "1", "2"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["5", "4–5", "3–5"]
    means = axes.images[0].get_array().T.ravel()
    assert means.tolist() == pytest.approx([setting.spread("seeds/miou").mean for setting in comparison.settings])
    texts = {tuple(text.get_position()): text for text in axes.texts}
    assert texts[2, 2].get_text() == "81.0\n± 1.0"
    assert [place for place, text in texts.items() if text.get_weight() == "bold"] == [(2, 2)]
    lines = found["over_recam.sce_weight"].axes[0]
    assert lines.get_xscale() == "log"
    assert [line.get_label() for line in lines.lines] == ["5", "4–5", "3–5"]
    assert lines.lines[0].get_ydata().tolist() == pytest.approx(means[::3].tolist())


def test_one_categorical_option_makes_dots_with_intervals() -> None:
    comparison, found = pictures({"cam.stages": STAGES})
    (figure,) = found.values()
    intervals = [line.get_xdata() for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    spreads = [setting.spread("seeds/miou") for setting in comparison.settings]
    assert [tuple(x) for x in intervals] == [(s.low, s.high) for s in spreads]


def test_many_values_or_options_make_points() -> None:
    _, found = pictures({"a": [n / 7 for n in range(40)]}, [0])
    assert len(found["over_a"].axes[0].lines[0].get_xdata()) == 40
    _, found = pictures({"a": [1, 2], "b": [1, 2], "kind": ["x", "y"]}, [0])
    assert list(found) == ["over_a", "over_b", "over_kind"]


@pytest.mark.parametrize(
    ("values", "scale"),
    [([0.1, 1.0], "log"), ([0.0, 0.1, 1.0], "symlog"), ([1.0, 2.0], "linear"), ([-1, 20], "linear")],
)
def test_values_over_a_decade_have_a_logarithmic_axis(values: list[float], scale: str) -> None:
    _, axes = plain_axes(3, 3)
    scale_values(axes, values)
    assert axes.get_xscale() == scale
    assert axes.get_xticks().tolist() == values


def test_one_setting_has_nothing_to_draw_and_gaps_stay_open() -> None:
    assert pictures({"a": [1]})[1] == {}
    comparison = compare(swept_runs({"a": [1, 2], "b": ["x", "y"]}, [0])[:3])
    heat_map, *_ = sweep_pictures(comparison, "seeds/miou")
    assert len(heat_map.figure.axes[0].texts) == 3
    assert "<svg" in inline_svg(heat_map.figure, name="h", alt="a")
