"""Dense CRF and confident masks against the reference's label maps."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest

from wsss.errors import InputError
from wsss.masks import (
    CRFParams,
    confident_mask,
    crf_marginals,
    crf_mask,
    dense_crf,
    local_labels,
    require_pydensecrf,
    to_labels,
    unary_from_labels,
)

needs_pydensecrf = pytest.mark.skipif(importlib.util.find_spec("pydensecrf") is None, reason="pydensecrf is missing")


@pytest.fixture(scope="module")
def reference(golden):
    return golden("crf_ir_label")


def agreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return float((ours == theirs).mean())


def test_default_parameters_are_the_references(reference) -> None:
    params = CRFParams()
    assert params.iterations == reference["crf_t"]
    assert params.gt_prob == pytest.approx(float(reference["gt_prob"]))
    assert (params.gaussian_sxy, params.gaussian_compat) == (reference["gauss_sxy"], reference["gauss_compat"])
    assert (params.bilateral_sxy, params.bilateral_srgb) == (reference["bilat_sxy"], reference["bilat_srgb"])
    assert params.bilateral_compat == reference["bilat_compat"]


@pytest.mark.parametrize("num_labels", [2, 3])
def test_unary_energies_are_the_references(reference, num_labels: int) -> None:
    unary = unary_from_labels(np.array([[0, 1]], np.uint8), num_labels, gt_prob=0.7)
    own, other = reference["unary_label_energy"], reference[f"unary_other_energy_{num_labels}"]
    assert unary.dtype == np.float32
    assert unary[:2, 0, 0].tolist() == [own, other]
    assert unary[:2, 0, 1].tolist() == [other, own]
    assert (unary[2:] == other).all()


@needs_pydensecrf
@pytest.mark.parametrize(("suffix", "least"), [("", 0.999), ("_hard", 0.99)])
@pytest.mark.parametrize("side", ["fg", "bg"])
def test_labels_before_and_after_the_crf_are_the_references(reference, side: str, suffix: str, least: float) -> None:
    local = local_labels(reference[f"high_res{suffix}"], float(reference[f"conf_{side}"]))
    assert np.array_equal(local, reference[f"argmax_{side}{suffix}"])
    refined = dense_crf(reference[f"image{suffix}"], local, num_labels=3)
    assert agreement(refined, reference[f"crf_{side}{suffix}"]) >= least


@needs_pydensecrf
@pytest.mark.parametrize(("suffix", "least"), [("", 0.999), ("_hard", 0.99)])
def test_confident_mask_is_the_references(reference, suffix: str, least: float) -> None:
    mask = confident_mask(
        reference[f"image{suffix}"],
        reference[f"high_res{suffix}"],
        reference[f"keys{suffix}"],
        fg_threshold=float(reference["conf_fg"]),
        bg_threshold=float(reference["conf_bg"]),
    )
    assert mask.dtype == np.uint8
    assert agreement(mask, reference[f"ir_label{suffix}"]) >= least


@needs_pydensecrf
def test_confident_mask_of_one_class_is_the_references(reference) -> None:
    mask = confident_mask(
        reference["image"],
        reference["high_res"][:1],
        reference["keys"][:1],
        fg_threshold=float(reference["conf_fg"]),
        bg_threshold=float(reference["conf_bg"]),
    )
    assert agreement(mask, reference["ir_label_one_class"]) >= 0.999


@needs_pydensecrf
@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("marginals_fg", {}),
        ("marginals_fg_t1", {"iterations": 1}),
        ("marginals_fg_gauss_only", {"bilateral_compat": 0.0}),
    ],
)
def test_marginals_are_the_references(reference, key: str, change: dict[str, float]) -> None:
    params = dataclasses.replace(CRFParams(), **change)
    unary = unary_from_labels(reference["argmax_fg"], 3, gt_prob=float(reference["gt_prob"]))
    marginals = crf_marginals(reference["image"], unary, params)
    assert np.abs(marginals - reference[key]).mean() < 1e-4
    assert agreement(marginals.argmax(axis=0), reference[key].argmax(axis=0)) >= 0.999
    np.testing.assert_allclose(marginals.sum(axis=0), 1, atol=1e-5)


@needs_pydensecrf
def test_probabilities_and_their_labels_give_the_same_result(reference) -> None:
    local = reference["argmax_fg"]
    own = float(reference["gt_prob"])
    probabilities = np.where(local == np.arange(3)[:, None, None], own, (1 - own) / 2).astype(np.float32)
    from_labels = dense_crf(reference["image"], local, num_labels=3)
    assert agreement(dense_crf(reference["image"], probabilities), from_labels) >= 0.999


@needs_pydensecrf
def test_void_is_where_only_the_low_threshold_sees_a_class() -> None:
    image = np.zeros((4, 30, 3), np.uint8)
    image[:, 10:20], image[:, 20:] = 128, 255  # three flat stripes that no kernel joins
    maps = np.full((1, 4, 30), 0.1, np.float32)
    maps[:, :, 10:20], maps[:, :, 20:] = 0.5, 0.9
    params = CRFParams(gaussian_compat=0.0, bilateral_compat=1.0)
    mask = confident_mask(image, maps, [6], fg_threshold=0.7, bg_threshold=0.3, params=params)
    assert (mask[:, :10] == 0).all()
    assert (mask[:, 10:20] == 255).all()
    assert (mask[:, 20:] == 7).all()


def test_an_image_without_classes_is_all_background() -> None:
    image = np.zeros((3, 4, 3), np.uint8)
    mask = crf_mask(image, np.zeros((0, 3, 4), np.float32), [], threshold=0.3)
    assert mask.shape == (3, 4)
    assert (mask == 0).all()


@needs_pydensecrf
def test_a_read_only_image_is_accepted_and_untouched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    image.flags.writeable = False
    before = image.copy()
    dense_crf(image, np.eye(6, 5, dtype=np.uint8), num_labels=2)
    assert np.array_equal(image, before)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected an image \(4, 5, 3\) for scores \(4, 5\), got \(5, 4, 3\)"):
        dense_crf(np.zeros((5, 4, 3), np.uint8), np.zeros((4, 5), np.uint8), num_labels=2)


def test_missing_pydensecrf_is_one_line_with_two_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == "pydensecrf" else real(name, *args)
    )
    with pytest.raises(InputError, match=r"pip install pydensecrf2.*masks=threshold") as caught:
        require_pydensecrf()
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="pydensecrf"):
        dense_crf(np.zeros((2, 2, 3), np.uint8), np.eye(2, dtype=np.uint8))


def test_label_values_follow_the_classes() -> None:
    assert to_labels(np.array([[0, 1], [2, 0]], np.uint8), [6, 14]).tolist() == [[0, 7], [15, 0]]
