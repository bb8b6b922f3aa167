"""Pixel-adaptive refinement, against its definition written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsss.masks import par


def plain_par(image: np.ndarray, maps: np.ndarray, dilations: tuple[int, ...], iterations: int) -> np.ndarray:
    """As the paper defines it, loop by loop; the weights' sum is made 1."""
    _, height, width = image.shape
    jumps = [(d * a, d * b) for d in dilations for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
    distance = np.array([np.hypot(*jump) for jump in jumps])

    def softmax(scores: np.ndarray) -> np.ndarray:
        return np.exp(scores) / np.exp(scores).sum()

    by_place = softmax(-((distance / (0.3 * distance.std(ddof=1))) ** 2))
    for _ in range(iterations):
        refined = np.zeros_like(maps)
        for y in range(height):
            for x in range(width):
                around = [(min(max(y + a, 0), height - 1), min(max(x + b, 0), width - 1)) for a, b in jumps]
                colors = np.array([image[:, i, j] for i, j in around])
                far = (colors - image[:, y, x]) / (0.3 * (colors.std(axis=0, ddof=1) + 1e-8))
                weights = (softmax(-(far**2).mean(axis=1)) + 0.01 * by_place) / 1.01
                refined[:, y, x] = sum(w * maps[:, i, j] for w, (i, j) in zip(weights, around, strict=True))
        maps = refined
    return maps


def test_scores_follow_the_definition() -> None:
    rng = np.random.default_rng(0)
    image, maps = rng.random((3, 6, 9)), rng.random((2, 6, 9))
    found = par(torch.from_numpy(image), torch.from_numpy(maps), dilations=(1, 2, 12), iterations=2)
    np.testing.assert_allclose(found.numpy(), plain_par(image, maps, (1, 2, 12), 2), atol=1e-5)


def test_scores_are_drawn_to_the_colours_and_not_beyond_them() -> None:
    image = torch.zeros(3, 40, 60)
    image[:, :, 30:] = 1.0
    maps = torch.zeros(2, 40, 60)
    maps[1, :, 24:] = 1.0  # six columns too many
    maps[0] = 1 - maps[1]
    refined = par(image, maps, dilations=(1, 2, 4, 8), iterations=15)
    assert refined[1, :, 31:].min() > 0.9
    assert refined[1, :, :24].mean() < refined[1, :, 24:30].mean() < refined[1, :, 30:].mean()
    torch.testing.assert_close(refined.sum(dim=0), torch.ones(40, 60), atol=1e-5, rtol=0)


def test_a_photograph_of_one_colour_smooths_and_nothing_else() -> None:
    maps = torch.rand(2, 10, 10, generator=torch.Generator().manual_seed(0))
    refined = par(torch.ones(3, 10, 10), maps)
    assert refined.isfinite().all()
    assert refined.std() < maps.std()
    assert maps.min() <= refined.min() <= refined.max() <= maps.max()


def test_the_photograph_may_be_larger_than_the_maps() -> None:
    assert par(torch.rand(3, 40, 30) * 255, torch.rand(4, 10, 8)).shape == (4, 10, 8)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a photograph \(3, H, W\) and maps \(L, H, W\), got \[40, 30, 3\]"):
        par(torch.rand(40, 30, 3), torch.rand(4, 10, 8))
