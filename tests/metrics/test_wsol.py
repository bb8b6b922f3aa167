"""Boxes from maps and localisation, against stored arrays, a labelling of every threshold, and counts by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from wsss.metrics import LocalizationCounter, PixelCounter, box_from_map, box_iou, components_from_map


@pytest.mark.parametrize("connectivity", [4, 8])
def test_boxes_and_components_are_the_stored_ones(golden: Callable[..., dict], connectivity: int) -> None:
    stored = golden("wsol")
    fraction = float(stored["frac"])
    for number, map in enumerate(stored["maps"]):
        name = stored["names"][number]
        (found,) = components_from_map(map, [fraction], connectivity=connectivity)
        assert len(found.areas) == stored[f"n_components_conn{connectivity}"][number], name
        assert found.areas.max(initial=0) == stored[f"largest_area_conn{connectivity}"][number], name
        box = box_from_map(map, fraction, connectivity=connectivity)
        assert (box or (-1,) * 4) == tuple(stored[f"boxes_conn{connectivity}"][number]), name


def test_iou_of_boxes_is_the_stored_one(golden: Callable[..., dict]) -> None:
    stored = golden("wsol")
    assert box_iou(stored["iou_box_a"], stored["iou_box_b"]) == pytest.approx(stored["iou_exclusive"], abs=1e-12)
    assert box_iou(np.zeros(4, np.int64), np.zeros(4, np.int64)) == 0


def naive_components(map: np.ndarray, fraction: float, connectivity: int) -> list[tuple[int, ...]]:
    """Area and box of each component, the largest first, of equal ones the first in scan order."""
    mask = map > np.float32(fraction) * map.max()
    parts, count = ndimage.label(mask, np.ones((3, 3)) if connectivity == 8 else None)
    areas = ndimage.sum_labels(mask, parts, range(1, count + 1))
    boxes = [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(parts)]
    order = np.argsort(-np.asarray(areas), kind="stable")
    return [(int(areas[i]), *boxes[i]) for i in order]


levels = arrays(
    np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
)


@given(levels, st.sampled_from([4, 8]))
def test_one_pass_finds_what_a_labelling_of_each_threshold_finds(map: np.ndarray, connectivity: int) -> None:
    fractions = [0.0, 0.1, 0.25, 0.5, 0.6, 0.9]
    if map.max() <= 0:
        return
    for fraction, found in zip(fractions, components_from_map(map, fractions, connectivity=connectivity), strict=True):
        expected = naive_components(map, fraction, connectivity)
        assert [(area, *box) for area, box in zip(found.areas, found.boxes.tolist(), strict=True)] == expected


def test_a_map_without_a_positive_maximum_has_no_box() -> None:
    assert box_from_map(np.zeros((3, 3))) is None
    assert box_from_map(np.full((3, 3), -1.0)) is None
    assert box_from_map(np.ones((3, 3)), 1.0) is None  # nothing is above the maximum


@pytest.mark.parametrize(
    ("map", "fractions", "connectivity", "message"),
    [
        (np.ones((1, 3, 3)), [0.2], 8, "map"),
        (np.ones((3, 3)), [0.2, 0.1], 8, "ascending"),
        (np.ones((3, 3)), [0.2], 6, "connectivity 4 or 8"),
    ],
)
def test_what_is_no_map_or_option_is_refused(
    map: np.ndarray, fractions: list[float], connectivity: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        components_from_map(map, fractions, connectivity=connectivity)


@pytest.fixture
def map_of_two() -> np.ndarray:
    """A large component of 0.6 in the upper left, a small one of 1 in the lower right."""
    map = np.zeros((20, 20))
    map[:10, :10] = 0.6
    map[14:18, 14:18] = 1.0
    return map


def test_box_accuracy_is_the_counted_one(map_of_two: np.ndarray) -> None:
    counter = LocalizationCounter([0.2, 0.8])
    counter.update(map_of_two, np.array([[0, 0, 10, 6]]))  # IoU 0.6 at 0.2; nothing at 0.8
    counter.update(map_of_two, np.array([[14, 14, 18, 18]]))  # the small one: the largest only at 0.8
    found = counter.compute()
    assert found.num_maps == 2
    assert found.box_acc.tolist() == [[0.5, 0.5, 0.0], [0.5, 0.5, 0.5]]
    assert found.box_acc_v2.tolist() == [[1.0, 1.0, 0.5], [0.5, 0.5, 0.5]]
    assert found.max_box_acc.tolist() == [0.5, 0.5, 0.5]
    assert found.best_fractions.tolist() == [0.2, 0.2, 0.8]
    assert found.max_box_acc_v2 == pytest.approx((1 + 1 + 0.5) / 3)
    assert found.top == {}
    assert found.at(0.8) == 1
    with pytest.raises(ValueError, match="one of the fractions"):
        found.at(0.5)


def test_the_best_of_several_true_boxes_counts(map_of_two: np.ndarray) -> None:
    counter = LocalizationCounter([0.2])
    counter.update(map_of_two, np.array([[14, 14, 18, 18], [0, 0, 10, 10]]))
    assert counter.compute().box_acc.tolist() == [[1.0, 1.0, 1.0]]
    with pytest.raises(ValueError, match="true boxes"):
        counter.update(map_of_two, np.zeros((0, 4), np.int64))


def test_loc1_and_loc5_need_the_box_and_the_rank(map_of_two: np.ndarray) -> None:
    counter = LocalizationCounter([0.2])
    right, wrong = np.array([[0, 0, 10, 10]]), np.array([[14, 14, 18, 18]])
    for truth, rank in ((right, 0), (right, 4), (right, 5), (wrong, 0)):
        counter.update(map_of_two, truth, rank=rank)
    found = counter.compute()
    assert found.top[1][0].tolist() == [0.25] * 3
    assert found.top[5][0].tolist() == [0.5] * 3
    assert found.box_acc[0].tolist() == [0.75] * 3


def test_pixel_precision_is_the_counted_one() -> None:
    counter = PixelCounter(bins=10)
    scores = np.array([[1.0, 0.8, 0.8, 0.2, 0.9]])
    truth = np.array([[True, True, False, True, True]])
    void = np.array([[False, False, False, False, True]])
    counter.update(scores, truth, void)
    # At 1.0: 1 of 1, a third of the truth; at 0.8: 2 of 3, another third; at 0.2: 3 of 4, the last.
    assert counter.compute() == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    counter.update(np.ones((2, 2)), np.zeros((2, 2), bool), np.zeros((2, 2), bool))  # another image: pooled
    assert counter.compute() == pytest.approx((1 / 5 + 2 / 7 + 3 / 8) / 3)
    assert np.isnan(PixelCounter().compute())


def test_a_perfect_map_has_a_precision_of_one() -> None:
    truth = np.arange(12).reshape(3, 4) > 6
    counter = PixelCounter()
    counter.update(truth * 0.7, truth, np.zeros_like(truth))
    assert counter.compute() == 1
