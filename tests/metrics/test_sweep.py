"""mIoU at many thresholds against the reference's numbers and a naive loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss.masks import local_labels, to_labels
from wsss.metrics import ThresholdCounter, confusion_matrix, iou, threshold_sweep


@pytest.fixture(scope="module")
def reference(golden):
    return golden("eval")


def images_of(reference):
    for maps, keys, count, truth in zip(
        reference["cams"], reference["keys"], reference["n_keys"], reference["gt"], strict=True
    ):
        yield maps[:count], keys[:count], truth


def test_sweep_is_the_references(reference) -> None:
    sweep = threshold_sweep(images_of(reference), 21, reference["thresholds"])
    assert np.array_equal(sweep.confusion, reference["confusion"])
    np.testing.assert_allclose(sweep.iou, reference["iou"], rtol=0, atol=1e-12)  # NaN where a label never occurs
    np.testing.assert_allclose(sweep.miou, reference["miou"], rtol=0, atol=1e-12)
    assert sweep.thresholds[sweep.best] == pytest.approx(0.39)
    assert sweep.miou[sweep.best] == pytest.approx(0.72763, abs=5e-6)


def test_share_of_background_among_predicted_foreground_follows_from_the_confusion(reference) -> None:
    confusion = threshold_sweep(images_of(reference), 21, reference["thresholds"]).confusion
    foreground = confusion[..., 1:]  # (T, L, N)
    share = foreground[:, 0].sum(axis=-1) / foreground.sum(axis=(1, 2))
    np.testing.assert_allclose(share, reference["among_predfg_bg"], rtol=0, atol=1e-12)


def test_a_score_equal_to_the_threshold_is_background() -> None:
    maps, truth = np.array([[[0.25, 0.5]]], np.float32), np.array([[1, 1]], np.uint8)
    sweep = threshold_sweep([(maps, [0], truth)], 2, [0.2, 0.25, 0.3, 0.5])
    assert sweep.confusion[:, 1, 1].tolist() == [2, 1, 1, 0]


@given(
    seed=st.integers(0, 2**16),
    steps=st.integers(1, 6),
    data=st.data(),
)
def test_sweep_equals_thresholding_image_by_image(seed: int, steps: int, data: st.DataObject) -> None:
    generator = np.random.default_rng(seed)
    num_labels, thresholds = 5, np.arange(steps) / 8
    images = []
    for _ in range(2):
        classes = data.draw(st.lists(st.integers(0, num_labels - 2), unique=True, max_size=3).map(sorted))
        maps = (generator.integers(0, 9, (len(classes), 3, 4)) / 8).astype(np.float32)  # ties with the thresholds
        images.append((maps, classes, np.array([0, 1, 2, 3, 4, 255])[generator.integers(0, 6, (3, 4))]))
    sweep = threshold_sweep(images, num_labels, thresholds)
    for t, threshold in enumerate(thresholds):
        expected = sum(
            confusion_matrix(truth, to_labels(local_labels(maps, float(threshold)), classes), num_labels)
            for maps, classes, truth in images
        )
        assert np.array_equal(sweep.confusion[t], expected[:, :num_labels])
        scores = iou(expected)
        np.testing.assert_allclose(sweep.iou[t], scores.per_label, rtol=1e-12)
        np.testing.assert_allclose(sweep.miou[t], scores.mean, rtol=1e-12)


def test_an_image_without_classes_counts_as_background() -> None:
    sweep = threshold_sweep([(np.zeros((0, 1, 2), np.float32), [], np.array([[0, 1]]))], 2, [0.3])
    assert sweep.confusion.tolist() == [[[1, 0], [1, 0]]]


def test_images_may_differ_in_size() -> None:
    counter = ThresholdCounter([0.5], 2)
    for width in (2, 3):
        counter.update(np.ones((1, 1, width), np.float32), [0], np.ones((1, width), np.uint8))
    assert counter.compute().confusion.tolist() == [[[0, 0], [0, 5]]]


@pytest.mark.parametrize("thresholds", [[], [0.3, 0.3], [0.4, 0.2], [[0.1]]])
def test_thresholds_that_do_not_ascend_are_refused(thresholds: list[float]) -> None:
    with pytest.raises(ValueError, match="expected ascending thresholds"):
        ThresholdCounter(thresholds, 2)


def test_maps_that_do_not_fit_are_refused() -> None:
    counter = ThresholdCounter([0.5], 3)
    truth = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"expected maps \(1, 2, 2\), got \(1, 2, 3\)"):
        counter.update(np.zeros((1, 2, 3), np.float32), [0], truth)
    with pytest.raises(ValueError, match=r"expected maps \(2, 2, 2\), got \(1, 2, 2\)"):
        counter.update(np.zeros((1, 2, 2), np.float32), [0, 1], truth)


@pytest.mark.parametrize("classes", [[2], [-1]])
def test_classes_out_of_range_are_refused(classes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"classes: expected 0 to 1, got -?\d"):
        ThresholdCounter([0.5], 3).update(np.zeros((1, 2, 2), np.float32), classes, np.zeros((2, 2), np.uint8))


def test_true_labels_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"truth: expected labels 0 to 2 or 255, got 0 to 3"):
        ThresholdCounter([0.5], 3).update(np.zeros((1, 1, 2), np.float32), [0], np.array([[0, 3]], np.uint8))
