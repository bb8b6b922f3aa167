"""Every class is divided in the same proportion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss.data import stratified_split

LABELS = st.lists(st.sets(st.sampled_from("abcde"), max_size=3), min_size=1, max_size=80)


@settings(max_examples=50, deadline=None)
@given(labels=LABELS, share=st.floats(0.1, 0.9), seed=st.integers(0, 99))
def test_shares_are_kept_within_what_whole_images_allow(labels: list[set[str]], share: float, seed: int) -> None:
    is_val = stratified_split(labels, val_share=share, seed=seed)
    assert is_val.shape == (len(labels),)
    assert np.array_equal(is_val, stratified_split(labels, val_share=share, seed=seed))
    names = {name for of_image in labels for name in of_image}
    rarest = min(names, key=lambda n: (sum(n in of for of in labels), n), default=None)
    if rarest is not None:
        of_rarest = np.array([rarest in of_image for of_image in labels])
        assert abs(is_val[of_rarest].sum() - share * of_rarest.sum()) <= 1


@pytest.mark.parametrize("seed", [0, 1])
def test_single_labels_are_divided_exactly(seed: int) -> None:
    labels = [{"a"}] * 50 + [{"b"}] * 30 + [set()] * 20
    is_val = stratified_split(labels, val_share=0.2, seed=seed)
    assert [int(part.sum()) for part in np.split(is_val, [50, 80])] == [10, 6, 4]


@pytest.mark.parametrize(("classes", "each"), [(12, 2), (100, 2), (50, 7), (20, 4), (3, 10)])
def test_of_many_rare_classes_the_share_of_all_is_kept(classes: int, each: int) -> None:
    labels = [{f"class {i}"} for i in range(classes) for _ in range(each)]
    is_val = stratified_split(labels, val_share=0.2, seed=0)
    assert abs(is_val.sum() - 0.2 * len(labels)) <= 1
    of_classes = is_val.reshape(classes, each).sum(axis=1)
    assert abs(of_classes - 0.2 * each).max() < 1


@settings(max_examples=50, deadline=None)
@given(labels=LABELS, share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_neither_side_is_empty_and_no_class_leaves_training(labels: list[set[str]], share: float, seed: int) -> None:
    is_val = stratified_split(labels, val_share=share, seed=seed)
    trained = {name for names, val in zip(labels, is_val, strict=True) if not val for name in names}
    assert trained == {name for names in labels for name in names} or is_val.sum() == 1
    if len(labels) > 1:
        assert 0 < is_val.sum() < len(labels)


def test_classes_of_one_image_are_trained_on_all_but_one() -> None:
    assert stratified_split([{str(i)} for i in range(200)], val_share=0.2, seed=0).sum() == 1


def test_another_seed_divides_otherwise_and_a_lone_image_is_trained_on() -> None:
    labels = [{"a"}] * 40 + [{"rare"}]
    first, second = (stratified_split(labels, val_share=0.2, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first, second)
    assert not first[-1]
    assert not second[-1]
