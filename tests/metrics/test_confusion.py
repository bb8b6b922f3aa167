"""Confusion counts and IoU."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss.metrics import confusion_matrix, iou

VOID = 255


def test_confusion_by_hand() -> None:
    truth = np.array([[0, 0, 1], [1, VOID, 2]], np.uint8)
    prediction = np.array([[0, 1, 1], [VOID, 2, 0]], np.uint8)
    assert confusion_matrix(truth, prediction, 3).tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0]]


def test_a_predicted_void_counts_as_wrong() -> None:
    truth = np.array([1, 1, 1, 1], np.uint8)
    half = confusion_matrix(truth, np.array([1, 1, VOID, VOID], np.uint8), 2)
    scores = iou(half)
    assert scores.per_label[1] == 0.5
    assert np.isnan(scores.per_label[0])  # void is not background
    assert scores.mean == 0.5


def test_void_truth_is_left_out_whatever_is_predicted() -> None:
    truth = np.full(3, VOID, np.uint8)
    assert confusion_matrix(truth, np.array([0, 1, VOID], np.uint8), 2).sum() == 0


def test_the_mean_skips_labels_that_occur_nowhere() -> None:
    scores = iou(np.array([[2, 0, 0], [0, 1, 0], [0, 0, 0]]))
    assert np.isnan(scores.per_label[2])
    assert scores.mean == 1.0


def test_a_label_that_is_only_predicted_counts_as_zero() -> None:
    scores = iou(np.array([[3, 0, 1], [0, 0, 0], [0, 0, 0]]))
    assert scores.per_label[0] == 0.75
    assert scores.per_label[2] == 0.0
    assert scores.mean == 0.375


@given(seed=st.integers(0, 2**16), num_labels=st.integers(1, 5))
def test_iou_equals_a_naive_loop(seed: int, num_labels: int) -> None:
    generator = np.random.default_rng(seed)
    values = np.array([*range(num_labels), VOID])
    truth, prediction = values[generator.integers(0, num_labels + 1, (2, 30))]
    scores = iou(confusion_matrix(truth, prediction, num_labels))
    known = truth != VOID
    for label in range(num_labels):
        is_true, is_predicted = truth[known] == label, prediction[known] == label
        union = (is_true | is_predicted).sum()
        expected = (is_true & is_predicted).sum() / union if union else np.nan
        np.testing.assert_allclose(scores.per_label[label], expected, rtol=1e-12)


@given(seed=st.integers(0, 2**16))
def test_counts_of_images_add_up(seed: int) -> None:
    truth, prediction = np.random.default_rng(seed).integers(0, 4, (2, 20))
    whole = confusion_matrix(truth, prediction, 4)
    parts = sum(confusion_matrix(truth[i : i + 5], prediction[i : i + 5], 4) for i in range(0, 20, 5))
    assert np.array_equal(whole, parts)


def test_sizes_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match=r"truth's shape \(2, 3\), got \(3, 2\)"):
        confusion_matrix(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


@pytest.mark.parametrize(("value", "dtype"), [(3, np.uint8), (254, np.uint8), (3, np.int64), (256, np.int64)])
@pytest.mark.parametrize("name", ["truth", "prediction"])
def test_labels_out_of_range_are_refused(name: str, value: int, dtype: type) -> None:
    maps = {"truth": np.array([0, 1], dtype), "prediction": np.array([0, 1], dtype)}
    maps[name][1] = value
    with pytest.raises(ValueError, match=rf"{name}: expected labels 0 to 2 or 255, got \d+ to {value}"):
        confusion_matrix(maps["truth"], maps["prediction"], 3)


def test_a_prediction_out_of_range_is_refused_where_the_truth_is_void_too() -> None:
    with pytest.raises(ValueError, match="prediction: expected labels 0 to 1 or 255, got 0 to 7"):
        confusion_matrix(np.array([0, VOID], np.uint8), np.array([0, 7], np.uint8), 2)


def test_as_many_labels_as_there_are_values_can_be_counted() -> None:
    labels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(confusion_matrix(labels, labels, VOID), np.eye(VOID, VOID + 1))
