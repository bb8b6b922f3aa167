"""Figures of a confusion matrix against a plain loop, torchmetrics, the reference's numbers, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchmetrics.functional import accuracy, jaccard_index, precision

from wsss.metrics import Scores, confusion_matrix, iou, scores, threshold_sweep

VOID = 255
NUM_LABELS = 6
Pairs = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def random_pairs(seed: int, count: int, *, void: bool = True, size: tuple[int, int] = (12, 16)) -> Pairs:
    """Truths and predictions that agree in about half of the pixels; each image lacks some labels."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        values = rng.choice(NUM_LABELS, 4, replace=False).astype(np.uint8)
        values = np.append(values, np.uint8(VOID)) if void else values
        truth, other = rng.choice(values, (2, *size))
        pairs.append((truth, np.where(rng.random(size) < 0.5, truth, other)))
    return pairs


def pooled(pairs: Pairs) -> NDArray[np.int64]:
    return np.sum([confusion_matrix(truth, prediction, NUM_LABELS) for truth, prediction in pairs], axis=0)


def plain_loop(pairs: Pairs, *, void: str, absent: str) -> dict[str, NDArray[np.float64] | float]:
    """The definitions, label by label over all pixels one behind another."""
    truth = np.concatenate([t.ravel() for t, _ in pairs])
    prediction = np.concatenate([p.ravel() for _, p in pairs])
    known = truth != VOID
    coverage = (prediction[known] != VOID).mean()
    if void == "ignore":
        known &= prediction != VOID
    truth, prediction = truth[known], prediction[known]
    per_label: dict[str, list[float]] = {"iou": [], "accuracy": [], "precision": []}
    weighted = 0.0
    for label in range(NUM_LABELS):
        both = int(((truth == label) & (prediction == label)).sum())
        true, predicted = int((truth == label).sum()), int((prediction == label).sum())
        union = int(((truth == label) | (prediction == label)).sum())
        for name, whole in (("iou", union), ("accuracy", true), ("precision", predicted)):
            per_label[name].append(both / whole if whole else np.nan)
        weighted += true * (both / union if union else 0.0) / len(truth)
    means = {}
    for name, of_labels in (("miou", "iou"), ("mean_accuracy", "accuracy"), ("mean_precision", "precision")):
        values = np.array(per_label[of_labels])
        means[name] = np.nanmean(values) if absent == "skip" else np.nan_to_num(values).mean()
    arrays = {name: np.array(values) for name, values in per_label.items()}
    right = float((truth == prediction).mean())
    return arrays | means | {"pixel_accuracy": right, "frequency_weighted_iou": weighted, "coverage": coverage}


def assert_equal(found: Scores, expected: dict[str, NDArray[np.float64] | float]) -> None:
    assert found._asdict().keys() == expected.keys()
    for name, value in found._asdict().items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("void", ["wrong", "ignore"])
@pytest.mark.parametrize("absent", ["skip", "zero"])
def test_500_random_predictions_score_as_a_plain_loop_says(void: str, absent: str) -> None:
    pairs = random_pairs(0, 500)
    assert_equal(scores(pooled(pairs), void=void, absent=absent), plain_loop(pairs, void=void, absent=absent))


@given(seed=st.integers(0, 2**16), void=st.sampled_from(["wrong", "ignore"]), absent=st.sampled_from(["skip", "zero"]))
def test_single_images_that_lack_labels_score_as_a_plain_loop_says(seed: int, void: str, absent: str) -> None:
    pairs = random_pairs(seed, 1)
    assert_equal(scores(pooled(pairs), void=void, absent=absent), plain_loop(pairs, void=void, absent=absent))


@pytest.mark.parametrize("count", [1, 500])  # one image lacks labels
def test_torchmetrics_agrees(count: int) -> None:
    pairs = random_pairs(1, count)
    # It knows void in the truth (`ignore_index`), not in predictions, and drops it where it is told to.
    truth, prediction = (torch.from_numpy(np.stack(maps)).long() for maps in zip(*pairs, strict=True))
    truth[prediction == VOID] = VOID
    prediction[prediction == VOID] = 0
    options = {"task": "multiclass", "num_classes": NUM_LABELS, "ignore_index": VOID}
    found = scores(pooled(pairs), void="ignore")
    assert found.miou == pytest.approx(float(jaccard_index(prediction, truth, **options)), abs=1e-6)
    weighted = jaccard_index(prediction, truth, average="weighted", **options)
    assert found.frequency_weighted_iou == pytest.approx(float(weighted), abs=1e-6)
    assert found.pixel_accuracy == pytest.approx(
        float(accuracy(prediction, truth, average="micro", **options)), abs=1e-6
    )
    for name, metric in (("iou", jaccard_index), ("accuracy", accuracy), ("precision", precision)):
        expected = metric(prediction, truth, average="none", **options)  # 0 for 0 / 0
        np.testing.assert_allclose(np.nan_to_num(getattr(found, name)), expected, atol=1e-6)
    zero = scores(pooled(pairs), void="ignore", absent="zero")
    everywhere = accuracy(prediction, truth, average="none", **options).mean()
    assert zero.mean_accuracy == pytest.approx(float(everywhere), abs=1e-6)


def test_torchmetrics_agrees_on_a_predicted_void_that_counts_as_wrong() -> None:
    pairs = random_pairs(2, 50)
    truth, prediction = (torch.from_numpy(np.stack(maps)).long() for maps in zip(*pairs, strict=True))
    prediction[prediction == VOID] = NUM_LABELS  # a label of its own that is never true
    options = {"task": "multiclass", "num_classes": NUM_LABELS + 1, "ignore_index": VOID, "average": "none"}
    found = scores(pooled(pairs))
    for name, metric in (("iou", jaccard_index), ("accuracy", accuracy), ("precision", precision)):
        np.testing.assert_allclose(getattr(found, name), metric(prediction, truth, **options)[:-1], atol=1e-6)


def test_scores_are_the_references(golden) -> None:
    reference = golden("eval")
    images = zip(reference["cams"], reference["keys"], reference["n_keys"], reference["gt"], strict=True)
    sweep = threshold_sweep([(m[:n], k[:n], t) for m, k, n, t in images], 21, reference["thresholds"])
    for confusion, per_label, miou in zip(sweep.confusion, reference["iou"], reference["miou"], strict=True):
        found = scores(np.pad(confusion, ((0, 0), (0, 1))))
        np.testing.assert_allclose(found.iou, per_label, rtol=0, atol=1e-12)
        assert found.miou == pytest.approx(miou, abs=1e-12)
        assert found.coverage == 1


def test_the_policies_by_hand() -> None:
    # Label 1 is half void in the prediction, 2 is predicted only, 3 is nowhere.
    confusion = np.array([[4, 0, 2, 0, 0], [0, 2, 0, 0, 2], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    found = scores(confusion)
    np.testing.assert_allclose(found.iou, [4 / 6, 0.5, 0, np.nan])
    np.testing.assert_allclose(found.accuracy, [4 / 6, 0.5, np.nan, np.nan])
    np.testing.assert_allclose(found.precision, [1, 1, 0, np.nan])
    assert found.miou == pytest.approx((4 / 6 + 0.5) / 3)
    assert found.mean_accuracy == pytest.approx((4 / 6 + 0.5) / 2)
    assert found.pixel_accuracy == pytest.approx(0.6)
    assert found.coverage == pytest.approx(0.8)
    ignoring = scores(confusion, void="ignore")
    assert ignoring.iou[1] == ignoring.accuracy[1] == 1
    assert ignoring.pixel_accuracy == pytest.approx(6 / 8)
    assert ignoring.coverage == found.coverage
    assert scores(confusion, absent="zero").miou == pytest.approx((4 / 6 + 0.5) / 4)


@given(seed=st.integers(0, 2**16))
def test_a_truth_scores_1_against_itself(seed: int) -> None:
    found = scores(pooled([(truth, truth) for truth, _ in random_pairs(seed, 2)]))
    assert {found.miou, found.mean_accuracy, found.pixel_accuracy, found.coverage} == {1.0}
    assert found.frequency_weighted_iou == pytest.approx(1)


@given(seed=st.integers(0, 2**16))
def test_other_names_for_the_labels_change_no_mean(seed: int) -> None:
    confusion = pooled(random_pairs(seed, 3))
    order = np.random.default_rng(seed).permutation(NUM_LABELS)
    one, other = scores(confusion), scores(confusion[order][:, [*order, NUM_LABELS]])
    np.testing.assert_allclose(one.iou[order], other.iou)
    np.testing.assert_allclose(one[3:], other[3:])


def test_miou_is_that_of_iou() -> None:
    confusion = pooled(random_pairs(3, 2))
    assert scores(confusion).miou == iou(confusion).mean


@pytest.mark.parametrize(
    ("confusion", "options", "message"),
    [
        (np.ones((2, 2)), {}, r"expected counts \(L, L \+ 1\), got \(2, 2\)"),
        (np.ones((2, 3)), {"void": "skip"}, "expected void to be one of wrong, ignore, got skip"),
        (np.ones((2, 3)), {"absent": "wrong"}, "expected absent to be one of skip, zero, got wrong"),
        (np.zeros((2, 3)), {}, "found none that is not void"),
        (np.array([[0, 0, 3], [0, 0, 1]]), {"void": "ignore"}, "found none that is not void"),
    ],
)
def test_what_cannot_be_scored_is_refused(confusion: NDArray[np.int64], options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores(confusion, **options)
