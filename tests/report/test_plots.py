import io
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from wsss.report.plots import (
    Curve,
    Training,
    chain_bars,
    confusion_heatmap,
    inline_svg,
    iou_bars,
    stage_spread,
    threshold_curves,
    training_curves,
)

CURVES = {"seed": Curve([0.2, 0.4, 0.6], [40.0, 50.0, 30.0]), "layer_cam": Curve([0.2, 0.4], [30.0, 35.0])}


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_chosen_and_oracle_thresholds_are_marked_on_the_first_curve() -> None:
    figure = threshold_curves(CURVES, chosen=0.3, oracle=0.4)
    assert legend_of(figure) == ["default seed", "LayerCAM", "oracle: 50.0", "chosen without truth: 45.0"]


def test_unknown_thresholds_are_not_marked() -> None:
    assert legend_of(threshold_curves(CURVES)) == ["default seed", "LayerCAM"]


def test_what_is_drawn_lies_within_the_axes() -> None:
    for top in (0.4, 68.0):
        axes = threshold_curves({"mask": Curve([0.4, 0.43], [0.9 * top, top])}, oracle=0.43).axes[0]
        assert axes.get_ylim() == (0, pytest.approx(1.1 * top))


def test_losses_and_figures_of_a_training_have_axes_of_their_own() -> None:
    figure = training_curves(Training({"bce": [(0, 0.7), (9, 0.1)]}, {"val/map": [(4, 50.0), (9, 75.0)]}))
    losses, scores = figure.axes
    assert [line.get_ydata().tolist() for line in losses.lines] == [[0.7, 0.1]]
    assert [line.get_xdata().tolist() for line in scores.lines] == [[4, 9]]
    assert losses.get_xlim() == scores.get_xlim()
    assert legend_of(figure) == ["bce", "val/map"]
    assert len(training_curves(Training({}, {"val/miou": [(4, 50.0)]})).axes) == 1


@pytest.mark.parametrize("lost", [math.nan, math.inf])
def test_a_training_that_diverged_is_drawn_too(lost: float) -> None:
    for points in ([(0, 0.7), (9, lost)], [(9, lost)]):
        figure = training_curves(Training({"bce": points}, {}))
        FigureCanvasAgg(figure).draw()
        assert math.isfinite(figure.axes[0].get_ylim()[1])


def test_absent_labels_have_no_bar() -> None:
    figure = iou_bars({"seeds": {"bird": 50.0, "cow": math.nan}, "masks": {"bird": 60.0, "cow": 40.0}})
    widths = [[bar.get_width() for bar in bars] for bars in figure.axes[0].containers if isinstance(bars, BarContainer)]
    assert widths == [[50.0], [60.0, 40.0]]


def test_stages_whose_gradients_do_not_vary_or_have_no_mean_are_drawn_too() -> None:
    figure = stage_spread({"stage1": (10.0, 100.0, math.inf), "stage5": (0.0, 0.0, 0.0)})
    assert figure.axes[0].lines[0].get_ydata().tolist() == [100.0, 0.0]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["stage1", "stage5"]
    FigureCanvasAgg(figure).draw()


def test_the_chain_shows_the_steps_it_has() -> None:
    figure = chain_bars({"seeds/miou": 50.0, "seeds/oracle_miou": 52.0, "segmenter/val_miou": 60.0})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["seeds, train", "segmenter, val"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["50.0", "oracle 52.0", "60.0"]
    small = chain_bars({"seeds/miou": 50.0, "segmenter/val_miou": 0.8, "segmenter/supervised_val_miou": 60.0})
    assert [text.get_text() for text in small.axes[0].texts] == ["50.0", "0.8, trained on truth 60.0"]


def test_rows_of_a_confusion_are_shares_of_the_true_pixels() -> None:
    figure = confusion_heatmap(np.array([[3, 1, 0], [0, 0, 0]]), ["background", "$bird$"], caption="mini_voc val")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["75", "25"]  # nothing of a label that is never true
    assert [label.get_text() for label in axes.get_xticklabels()] == ["background", "$bird$"]  # nothing is void
    assert figure.get_supxlabel() == "mini_voc val"


def test_a_confusion_shows_predicted_void_where_there_is_some() -> None:
    axes = confusion_heatmap(np.array([[1, 1, 2], [0, 5, 0]]), ["background", "bird"]).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["background", "bird", "void"]


def test_cells_of_many_labels_are_large_enough_for_their_figures() -> None:
    for count in (2, 81):
        figure = confusion_heatmap(np.eye(count, count + 1), [f"a longer name {n}" for n in range(count)])
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()  # lays it out
        axes = figure.axes[0]
        cell = axes.get_window_extent().width / count
        assert all(text.get_window_extent().width < cell for text in axes.texts)


@pytest.mark.parametrize(
    "figure", [threshold_curves({}), iou_bars({}), chain_bars({}), training_curves(Training({}, {}))]
)
def test_figures_of_nothing_can_be_saved(figure: Figure) -> None:
    figure.savefig(io.BytesIO(), format="png")


def test_inline_svg_is_self_contained_and_escaped() -> None:
    svg = inline_svg(iou_bars({"a & b": {"<b>": 1.0, "$x$ and $y": 2.0}}), name="iou", alt='"IoU" of <b>')
    root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    assert root.get("aria-label") == '"IoU" of <b>'
    assert root.get("width") is None
    assert root.get("viewBox")
    assert "http" not in svg
    assert {"<b>", "$x$ and $y", "a & b"} <= {element.text for element in root.iter("text")}
    ids = {element.get("id") for element in root.iter() if element.get("id")}
    assert all(str(name).startswith("iou-") for name in ids)
    assert {str(element.get("href"))[1:] for element in root.iter("use")} <= ids
    assert "currentColor" in svg


def test_equal_figures_give_equal_svg() -> None:
    first, second = (inline_svg(threshold_curves(CURVES, chosen=0.3), name="a", alt="") for _ in range(2))
    assert first == second
