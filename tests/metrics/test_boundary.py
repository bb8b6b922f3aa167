"""Boundary IoU against its definition, mask by mask and pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter

from wsss.metrics import boundary_counts, boundary_iou
from wsss.metrics.boundary import in_band

VOID = 255


def regions(rng: np.random.Generator, num_labels: int, size: tuple[int, int] = (24, 32)) -> NDArray[np.uint8]:
    """A label map of smooth regions with a corner of void."""
    noise = gaussian_filter(rng.standard_normal((num_labels, *size)), (0, 3, 3))
    labels = noise.argmax(axis=0).astype(np.uint8)
    labels[: rng.integers(0, 6), : rng.integers(0, 20)] = VOID
    return labels


def published(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], num_labels: int, d: int) -> NDArray[np.int64]:
    """Label by label: masks without void truth, each minus its erosion by d passes of a 3 × 3 square."""
    counts = np.zeros((2, num_labels), np.int64)
    for label in range(num_labels):
        masks = [(labels == label) & (truth != VOID) for labels in (truth, prediction)]
        true, predicted = (mask & ~binary_erosion(mask, np.ones((3, 3)), d, border_value=0) for mask in masks)
        counts[:, label] = (true & predicted).sum(), (true | predicted).sum()
    return counts


@given(seed=st.integers(0, 2**16), width=st.sampled_from([0.001, 0.02, 0.06, 0.2]))
def test_counts_are_those_of_the_published_definition(seed: int, width: float) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = regions(rng, 4), regions(rng, 4)
    distance = max(round(width * 40), 1)  # the diagonal of 24 × 32
    expected = published(truth, prediction, 4, distance)
    assert np.array_equal(boundary_counts(truth, prediction, 4, width=width), expected)


@given(seed=st.integers(0, 2**16), distance=st.integers(1, 4))
def test_the_band_is_what_lies_within_the_distance_of_another_label_or_of_the_border(seed: int, distance: int) -> None:
    labels = regions(np.random.default_rng(seed), 3, (9, 11))
    expected = np.zeros(labels.shape, bool)
    for y, x in np.ndindex(*labels.shape):
        for other_y in range(y - distance, y + distance + 1):
            for other_x in range(x - distance, x + distance + 1):
                is_inside = 0 <= other_y < labels.shape[0] and 0 <= other_x < labels.shape[1]
                expected[y, x] |= not is_inside or labels[other_y, other_x] != labels[y, x]
    assert np.array_equal(in_band(labels, distance), expected)


def test_a_square_moved_by_a_pixel_by_hand() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[5:10, 5:10] = 1
    counts = boundary_counts(truth, np.roll(truth, 1, axis=1), 2)  # d = 1: rings of 16 pixels
    # Of the rings, top and bottom share 4 pixels each; the true ring's columns 5 and 9, the other's 6 and 10.
    assert counts[:, 1].tolist() == [8, 24]
    assert boundary_iou(counts).per_label[1] == pytest.approx(1 / 3)


def test_a_shift_costs_large_regions_more_than_iou_tells() -> None:
    truth = np.zeros((100, 100), np.uint8)
    truth[10:90, 10:90] = 1
    shifted = np.roll(truth, 2, axis=1)
    both, either = ((truth == 1) & (shifted == 1)).sum(), ((truth == 1) | (shifted == 1)).sum()
    assert both / either > 0.95
    assert boundary_iou(boundary_counts(truth, shifted, 2)).per_label[1] < 0.6


@given(seed=st.integers(0, 2**16))
def test_what_is_right_wherever_there_is_truth_scores_1(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = regions(rng, 3)
    prediction = np.where(truth == VOID, rng.integers(0, 3, truth.shape), truth).astype(np.uint8)
    found = boundary_iou(boundary_counts(truth, prediction, 3))
    assert found.mean == 1


def test_a_predicted_void_is_wrong_or_left_out() -> None:
    truth = np.ones((20, 20), np.uint8)
    prediction = truth.copy()
    prediction[:, 10:] = VOID
    wrong, ignored = (boundary_counts(truth, prediction, 2, void=void) for void in ("wrong", "ignore"))
    ring, half = 20 * 20 - 18 * 18, 20 * 10 - 18 * 8
    in_both = half - 18  # the half's band along the void, but for its ends, is no band of the truth's
    assert wrong[:, 1].tolist() == [in_both, ring + 18]
    assert ignored[:, 1].tolist() == [half, half]


def test_absent_labels_are_left_out_of_the_mean_or_count_as_zero() -> None:
    truth = np.zeros((8, 8), np.uint8)
    counts = boundary_counts(truth, truth, 2)
    assert np.isnan(boundary_iou(counts).per_label[1])
    assert boundary_iou(counts).mean == 1
    assert boundary_iou(counts, absent="zero").mean == 0.5


def test_counts_of_images_add_up_to_a_pooled_figure() -> None:
    truth = np.zeros((2, 8, 8), np.uint8)
    wrong = np.ones((8, 8), np.uint8)
    counts = boundary_counts(truth[0], truth[0], 2) + boundary_counts(truth[1], wrong, 2)
    ring = 8 * 8 - 6 * 6
    assert counts.tolist() == [[ring, 0], [2 * ring, ring]]


def test_sizes_and_labels_that_do_not_fit_are_refused() -> None:
    truth = np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"truth's shape \(2, 3\), got \(3, 2\)"):
        boundary_counts(truth, truth.T, 2)
    with pytest.raises(ValueError, match="prediction: expected labels 0 to 1 or 255, got 3 to 3"):
        boundary_counts(truth, np.full_like(truth, 3), 2)
