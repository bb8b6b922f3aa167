"""Parts of a label map, and polygons that hold them exactly."""

import numpy as np
import pytest
from hypothesis import given
from scipy import ndimage

from tests.exports.conftest import RING, label_maps
from wsss.exports import outline, regions
from wsss.exports.coco import decode


def test_the_outline_of_a_pixel_is_its_four_corners() -> None:
    assert outline(np.ones((1, 1), bool)).tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]


def test_pixels_in_a_row_have_no_corners_between_them() -> None:
    assert outline(np.ones((2, 9), bool)).tolist() == [[0, 0], [9, 0], [9, 2], [0, 2]]


def test_pixels_that_touch_at_a_corner_have_one_outline_through_it() -> None:
    assert outline(np.eye(2, dtype=bool)).tolist() == [
        *([0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [1, 2], [1, 1], [0, 1])
    ]


def test_a_hole_is_joined_by_a_cut_walked_both_ways() -> None:
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    walk = [[0, 0], [1, 0], [1, 2], [2, 2], [2, 1], [1, 1], [1, 0], [3, 0], [3, 3], [0, 3]]
    assert outline(ring).tolist() == walk


def test_parts_are_connected_by_corners_too_and_come_label_by_label() -> None:
    found = [(part.label, part.left, part.top, int(part.mask.sum())) for part in regions(RING)]
    assert found == [(1, 1, 0, 8), (2, 3, 3, 2), (3, 0, 4, 1), (255, 1, 4, 2)]


@given(label_maps)
def test_parts_make_up_the_label_map_and_outlines_hold_them_exactly(labels: np.ndarray) -> None:
    pytest.importorskip("pycocotools")
    drawn = np.zeros_like(labels)
    for part in regions(labels):
        mask = decode([part.outline().ravel().tolist()], labels.shape)
        rows, columns = ndimage.find_objects(mask.astype(int))[0]
        assert (columns.start, rows.start) == (part.left, part.top)
        np.testing.assert_array_equal(mask[rows, columns], part.mask)
        assert not drawn[mask].any()
        drawn[mask] = part.label
    np.testing.assert_array_equal(drawn, labels)


@given(label_maps)
def test_outlines_surround_the_area_of_their_part(labels: np.ndarray) -> None:
    for part in regions(labels):
        x, y = part.outline().T
        assert (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() == 2 * part.mask.sum()  # the shoelace formula


@pytest.mark.parametrize(("columns", "num_parts"), [([], 0), ([0, 2], 2)])
def test_a_mask_that_has_no_one_outline_is_refused(columns: list[int], num_parts: int) -> None:
    mask = np.zeros((2, 3), bool)
    mask[:, columns] = True
    with pytest.raises(ValueError, match=f"one part, got {num_parts}"):
        outline(mask)


def test_a_tall_comb_of_holes_is_walked_without_recursion() -> None:
    comb = np.ones((3001, 3), bool)
    comb[1::2, 1] = False
    assert len(outline(comb)) > 3000
