"""Mean-field inference in torch: the reference's probabilities, whatever is computed together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsss.masks import CRFParams, MeanField, crf_marginals

PARAMS = CRFParams(bilateral_sxy=10.0, bilateral_srgb=20.0)


def scene(seed: int, labels: int, *, images: int = 1, passes: int = 1, size: tuple[int, int] = (20, 26)) -> tuple:
    """Smooth random images (B, H, W, 3) uint8 and energies (B, P, L, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(images, 3, 4, 5, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear") + 20 * torch.rand(
        images, 3, *size, generator=generator
    )
    unary = torch.rand(images, passes, labels, *size, generator=generator) * 3
    return smooth.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous(), unary


@pytest.mark.parametrize("labels", [2, 3, 21])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"iterations": 1},
        {"gaussian_sxy": 1.5},
        {"bilateral_srgb": 5.0, "bilateral_sxy": 50.0},
        {"gaussian_compat": 0},
    ],
)
def test_probabilities_are_pydensecrfs(labels: int, change: dict[str, float]) -> None:
    pytest.importorskip("pydensecrf")
    params = dataclasses.replace(PARAMS, **change)
    images, unary = scene(3, labels, size=(60, 80))
    ours = MeanField(images, params).marginals(unary)[0, 0].numpy()
    theirs = crf_marginals(images[0].numpy(), unary[0, 0].numpy(), dataclasses.replace(params, backend="pydensecrf"))
    assert np.abs(ours - theirs).max() < 2e-4  # of noise, where sums are near ties; golden images: test_crf.py
    assert (ours.argmax(axis=0) == theirs.argmax(axis=0)).mean() >= 0.9999


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), labels=st.integers(2, 5), passes=st.integers(1, 3))
def test_images_and_passes_together_give_what_they_give_alone(seed: int, labels: int, passes: int) -> None:
    images, unary = scene(seed, labels, images=2, passes=passes)
    together = MeanField(images, PARAMS).marginals(unary)
    for b in range(2):
        for p in range(passes):
            alone = MeanField(images[b : b + 1], PARAMS).marginals(unary[b : b + 1, p : p + 1])[0, 0]
            torch.testing.assert_close(together[b, p], alone, rtol=1e-3, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), labels=st.integers(2, 6))
def test_probabilities_sum_to_one(seed: int, labels: int) -> None:
    images, unary = scene(seed, labels)
    marginals = MeanField(images, PARAMS).marginals(unary)
    assert marginals.min() >= -1e-6
    torch.testing.assert_close(marginals.sum(dim=2), torch.ones_like(marginals[:, :, 0]))


def test_order_of_labels_does_not_matter() -> None:
    images, unary = scene(5, 4)
    crf, order = MeanField(images, PARAMS), [2, 0, 3, 1]
    torch.testing.assert_close(
        crf.marginals(unary[:, :, order]), crf.marginals(unary)[:, :, order], rtol=1e-3, atol=1e-4
    )


def test_without_kernels_the_unary_alone_decides() -> None:
    images, unary = scene(6, 3)
    crf = MeanField(images, dataclasses.replace(PARAMS, gaussian_compat=0.0, bilateral_compat=0.0))
    torch.testing.assert_close(crf.marginals(unary), (-unary).softmax(dim=2))


def test_one_flat_image_smooths_a_stray_pixel_away() -> None:
    unary = torch.full((1, 1, 2, 15, 15), 0.3)
    unary[:, :, 1] = 1.2
    unary[:, :, :, 7, 7] = unary[:, :, [1, 0], 7, 7]
    marginals: Tensor = MeanField(torch.full((1, 15, 15, 3), 90, dtype=torch.uint8), PARAMS).marginals(unary)
    assert (marginals.argmax(dim=2) == 0).all()


def test_labels_far_more_probable_than_the_last_are_told_apart() -> None:
    image, _ = scene(0, 3)
    unary = torch.tensor([0.0, 30.0, 100.0]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 20, 26)
    marginals = MeanField(image, dataclasses.replace(PARAMS, bilateral_compat=1.0, gaussian_compat=1.0)).marginals(
        unary
    )
    assert marginals[0, 0, 0].min() > 0.999
    assert torch.isfinite(marginals).all()
    # Strong kernels push scores beyond what a float32 can hold the exponential of.
    strong = MeanField(image, dataclasses.replace(PARAMS, bilateral_compat=200.0)).marginals(unary)
    assert torch.isfinite(strong).all()
    assert strong[0, 0, 0].min() > 0.999


def test_a_label_the_image_has_not_does_not_change_the_rest() -> None:
    image, unary = scene(3, 2)
    crf = MeanField(image, dataclasses.replace(PARAMS, bilateral_compat=60.0))
    absent = torch.full_like(unary[:, :, :1], 30.0)
    torch.testing.assert_close(
        crf.marginals(torch.cat([unary, absent, absent], dim=2))[:, :, :2], crf.marginals(unary), rtol=1e-4, atol=1e-4
    )
