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
    require_backend,
    to_labels,
    unary_from_labels,
)

needs_pydensecrf = pytest.mark.skipif(importlib.util.find_spec("pydensecrf") is None, reason="pydensecrf is missing")
# Agreement with the stored labels that a back end owes; a second build of pydensecrf may round otherwise.
LEAST = {"torch": 0.9999, "pydensecrf": 0.998}


@pytest.fixture(params=["torch", pytest.param("pydensecrf", marks=needs_pydensecrf)])
def params(request: pytest.FixtureRequest) -> CRFParams:
    return CRFParams(backend=request.param)


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


@pytest.mark.parametrize("suffix", ["", "_hard"])
@pytest.mark.parametrize("side", ["fg", "bg"])
def test_labels_before_and_after_the_crf_are_the_references(
    reference, params: CRFParams, side: str, suffix: str
) -> None:
    local = local_labels(reference[f"high_res{suffix}"], float(reference[f"conf_{side}"]))
    assert np.array_equal(local, reference[f"argmax_{side}{suffix}"])
    refined = dense_crf(reference[f"image{suffix}"], local, num_labels=3, params=params)
    assert agreement(refined, reference[f"crf_{side}{suffix}"]) >= LEAST[params.backend]


@pytest.mark.parametrize("suffix", ["", "_hard"])
def test_confident_mask_is_the_references(reference, params: CRFParams, suffix: str) -> None:
    mask = confident_mask(
        reference[f"image{suffix}"],
        reference[f"high_res{suffix}"],
        reference[f"keys{suffix}"],
        fg_threshold=float(reference["conf_fg"]),
        bg_threshold=float(reference["conf_bg"]),
        params=params,
    )
    assert mask.dtype == np.uint8
    assert agreement(mask, reference[f"ir_label{suffix}"]) >= LEAST[params.backend]


def test_confident_mask_of_one_class_is_the_references(reference, params: CRFParams) -> None:
    mask = confident_mask(
        reference["image"],
        reference["high_res"][:1],
        reference["keys"][:1],
        fg_threshold=float(reference["conf_fg"]),
        bg_threshold=float(reference["conf_bg"]),
        params=params,
    )
    assert agreement(mask, reference["ir_label_one_class"]) >= LEAST[params.backend]


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("marginals_fg", {}),
        ("marginals_fg_t1", {"iterations": 1}),
        ("marginals_fg_gauss_only", {"bilateral_compat": 0.0}),
    ],
)
def test_marginals_are_the_references(reference, params: CRFParams, key: str, change: dict[str, float]) -> None:
    params = dataclasses.replace(params, **change)
    unary = unary_from_labels(reference["argmax_fg"], 3, gt_prob=float(reference["gt_prob"]))
    marginals = crf_marginals(reference["image"], unary, params)
    assert np.abs(marginals - reference[key]).max() < (1e-4 if params.backend == "torch" else 0.02)
    assert agreement(marginals.argmax(axis=0), reference[key].argmax(axis=0)) >= LEAST[params.backend]
    np.testing.assert_allclose(marginals.sum(axis=0), 1, atol=1e-5)


def test_probabilities_and_their_labels_give_the_same_result(reference, params: CRFParams) -> None:
    local = reference["argmax_fg"]
    own = float(reference["gt_prob"])
    probabilities = np.where(local == np.arange(3)[:, None, None], own, (1 - own) / 2).astype(np.float32)
    from_labels = dense_crf(reference["image"], local, num_labels=3, params=params)
    assert agreement(dense_crf(reference["image"], probabilities, params=params), from_labels) >= 0.999


def test_void_is_where_only_the_low_threshold_sees_a_class(params: CRFParams) -> None:
    image = np.zeros((4, 30, 3), np.uint8)
    image[:, 10:20], image[:, 20:] = 128, 255  # three flat stripes that no kernel joins
    maps = np.full((1, 4, 30), 0.1, np.float32)
    maps[:, :, 10:20], maps[:, :, 20:] = 0.5, 0.9
    params = dataclasses.replace(params, gaussian_compat=0.0, bilateral_compat=1.0)
    mask = confident_mask(image, maps, [6], fg_threshold=0.7, bg_threshold=0.3, params=params)
    assert (mask[:, :10] == 0).all()
    assert (mask[:, 10:20] == 255).all()
    assert (mask[:, 20:] == 7).all()


def test_an_image_without_classes_is_all_background() -> None:
    image = np.zeros((3, 4, 3), np.uint8)
    mask = crf_mask(image, np.zeros((0, 3, 4), np.float32), [], threshold=0.3)
    assert mask.shape == (3, 4)
    assert (mask == 0).all()


def test_one_label_alone_needs_no_crf() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    assert not dense_crf(image, np.ones((1, 4, 5))).any()
    assert not dense_crf(image, np.zeros((4, 5), np.int64), num_labels=1).any()


def test_a_read_only_image_is_accepted_and_untouched(params: CRFParams) -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    image.flags.writeable = False
    before = image.copy()
    dense_crf(image, np.eye(6, 5, dtype=np.uint8), num_labels=2, params=params)
    assert np.array_equal(image, before)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected an image \(4, 5, 3\) for scores \(4, 5\), got \(5, 4, 3\)"):
        dense_crf(np.zeros((5, 4, 3), np.uint8), np.zeros((4, 5), np.uint8), num_labels=2)


def test_missing_pydensecrf_is_one_line_with_two_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == "pydensecrf" else real(name, *args)
    )
    with pytest.raises(InputError, match=r"pip install pydensecrf2.*crf\.backend=torch") as caught:
        require_backend(CRFParams(backend="pydensecrf"))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="pydensecrf"):
        dense_crf(np.zeros((2, 2, 3), np.uint8), np.eye(2, dtype=np.uint8), params=CRFParams(backend="pydensecrf"))


def test_label_values_follow_the_classes() -> None:
    assert to_labels(np.array([[0, 1], [2, 0]], np.uint8), [6, 14]).tolist() == [[0, 7], [15, 0]]
