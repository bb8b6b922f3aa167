"""Where masks go wrong: counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsss.labels import VOID
from wsss.metrics import activation, agreement, confusion_matrix, error_split, robust_scores

TRUTH = np.array([[0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [2, 2, 2, 2, 255]], np.uint8)
MASK = np.array([[0, 1, 2, 2, 255], [1, 1, 2, 0, 255], [2, 1, 1, 0, 1]], np.uint8)


@pytest.fixture
def confusion() -> np.ndarray:
    return confusion_matrix(TRUTH, MASK, 4)


def test_errors_are_split_as_counted(confusion: np.ndarray) -> None:
    split = error_split(confusion)
    assert split == pytest.approx((3 / 14, 3 / 14, 3 / 14, 1 / 14))
    assert sum(split) == pytest.approx(10 / 14)  # four of fourteen are right


def test_too_much_and_too_little_of_a_label_as_counted(confusion: np.ndarray) -> None:
    over, under = activation(confusion)
    assert over == pytest.approx([2 / 5, 3 / 5, 3 / 4, np.nan], nan_ok=True)
    assert under == pytest.approx([4 / 5, 3 / 5, 3 / 4, np.nan], nan_ok=True)


labels = arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2, VOID]))


@given(labels, labels)
def test_right_and_wrong_are_all_there_is(truth: np.ndarray, mask: np.ndarray) -> None:
    split = error_split(confusion_matrix(truth, mask, 3))
    known = truth != VOID
    right = (truth == mask)[known].mean() if known.any() else 0.0
    assert sum(split) + right == pytest.approx(1.0 if known.any() else 0.0)


def test_void_has_no_say_in_agreement() -> None:
    assert agreement(TRUTH, TRUTH) == 1
    assert agreement(TRUTH, MASK) == pytest.approx(4 / 12)
    assert agreement(TRUTH, np.full_like(MASK, VOID)) == 0


def test_an_outlier_stands_out_and_equal_values_do_not() -> None:
    assert robust_scores(np.array([1.0, 1.1, 0.9, 1.05, 9.0]))[-1] > 50
    assert not robust_scores(np.ones(5)).any()
