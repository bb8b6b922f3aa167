"""Labels from thresholds, and thresholds from score histograms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss.masks import dataset_threshold, local_labels, otsu_threshold, to_labels


def between_class_variance(scores: np.ndarray, threshold: float) -> float:
    below, above = scores[scores < threshold], scores[scores >= threshold]
    if not len(below) or not len(above):
        return 0.0
    return len(below) * len(above) * (below.mean() - above.mean()) ** 2


def test_local_labels_by_hand() -> None:
    maps = np.array([[[0.1, 0.6], [0.3, 0.5]], [[0.2, 0.4], [0.3, 0.5]]], np.float32)
    # background at 0.25; the last pixel is a tie of two classes, which the first wins
    assert local_labels(maps, 0.25).tolist() == [[0, 1], [1, 1]]


def test_a_score_equal_to_the_threshold_is_background() -> None:
    assert local_labels(np.array([[[0.5, 0.5000001]]], np.float32), 0.5).tolist() == [[0, 1]]


def test_labels_without_maps_are_background() -> None:
    assert local_labels(np.zeros((0, 2, 3), np.float32), 0.3).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert to_labels(np.zeros((1, 2), np.uint8), []).tolist() == [[0, 0]]


@given(
    classes=st.lists(st.integers(0, 253), unique=True, max_size=6).map(sorted),
    threshold=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_labels_name_the_class_of_the_best_map_above_the_threshold(
    classes: list[int], threshold: float, seed: int
) -> None:
    maps = np.random.default_rng(seed).random((len(classes), 3, 4), dtype=np.float32)
    labels = to_labels(local_labels(maps, threshold), classes)
    for y, x in np.ndindex(3, 4):
        best = int(maps[:, y, x].argmax()) if classes else None
        is_foreground = best is not None and maps[best, y, x] > np.float32(threshold)
        assert labels[y, x] == (classes[best] + 1 if is_foreground else 0)


def test_otsu_splits_two_groups_in_the_middle_of_the_gap() -> None:
    assert otsu_threshold(np.array([0.1, 0.1, 0.1, 0.9])) == pytest.approx(0.5, abs=1 / 256)


def test_otsu_by_hand() -> None:
    # splits: {0}|{.5,.5,1} 3*(2/3)^2 = 4/3; {0,.5,.5}|{1} the same by symmetry; the plateaus' middle is 0.5
    assert otsu_threshold(np.array([0.0, 0.0, 0.2, 1.0])) == pytest.approx(0.6, abs=1 / 128)


@pytest.mark.parametrize("bins", [16, 256])
@pytest.mark.parametrize("seed", range(5))
def test_otsu_is_as_good_as_the_best_of_all_thresholds(seed: int, bins: int) -> None:
    generator = np.random.default_rng(seed)
    scores = np.concatenate([generator.beta(2, 8, 400), generator.beta(6, 3, 150)])
    centers = (np.floor(scores * bins) + 0.5) / bins  # what the histogram knows
    edges = np.arange(1, bins) / bins
    variances = [between_class_variance(centers, edge) for edge in edges]
    ours = between_class_variance(centers, otsu_threshold(scores, bins=bins) - 1e-9)
    assert ours == pytest.approx(max(variances), rel=1e-9)


def test_otsu_of_a_constant_is_that_constant() -> None:
    assert otsu_threshold(np.full((3, 3), 0.3)) == pytest.approx(0.3, abs=1 / 256)


def test_dataset_threshold_is_the_mean_over_images() -> None:
    images = [np.array([0.0, 0.4]), np.array([0.2, 1.0])]
    assert dataset_threshold(iter(images)) == pytest.approx((otsu_threshold(images[0]) + otsu_threshold(images[1])) / 2)


def test_dataset_threshold_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image with a present class"):
        dataset_threshold([])
