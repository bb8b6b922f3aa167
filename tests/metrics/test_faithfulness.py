"""Faithfulness of maps, on models whose answers are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from wsss.metrics import (
    auc,
    confidence,
    deletion_insertion,
    impute,
    occlude,
    relative_variance,
    road,
)

SIDE = 10
OBJECT = (slice(2, 7), slice(1, 5))  # 20 of 100 pixels


def object_mean(images: Tensor) -> Tensor:
    """Two classes: the mean of the object's pixels, and what is left to 1."""
    score = images[:, :, OBJECT[0], OBJECT[1]].mean(dim=(1, 2, 3))
    return torch.stack([score, 1 - score], dim=1)


@pytest.fixture
def images() -> Tensor:
    return torch.ones(2, 3, SIDE, SIDE)


@pytest.fixture
def maps() -> Tensor:
    """The object, and all but it."""
    right = torch.zeros(SIDE, SIDE)
    right[OBJECT] = 1
    return torch.stack([right, 1 - right])


CLASSES = torch.tensor([0, 0])


def test_deletion_and_insertion_of_a_mean_are_trapezia(images: Tensor, maps: Tensor) -> None:
    curves = deletion_insertion(object_mean, images, maps, CLASSES, baseline=torch.zeros_like(images), steps=20)
    # The object is the first fifth of what the right map takes away, the last fifth of what the wrong one does.
    assert auc(curves.deletion).tolist() == pytest.approx([0.1, 0.9])
    assert auc(curves.insertion).tolist() == pytest.approx([0.9, 0.1])
    assert curves.deletion[0, :6].tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0])


def test_of_equal_scores_the_first_in_scan_order_goes_first(images: Tensor) -> None:
    flat = torch.zeros(2, SIDE, SIDE)
    curves = deletion_insertion(object_mean, images, flat, CLASSES, baseline=torch.zeros_like(images), steps=10)
    # A row a step; the object lies in rows 2 to 6.
    assert curves.deletion[0].tolist() == pytest.approx([1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0])


def test_average_drop_and_increase_see_the_image_times_the_map(images: Tensor, maps: Tensor) -> None:
    half = torch.stack([maps[0], maps[1], 0.25 * maps[0]])
    three = torch.ones(3, 3, SIDE, SIDE) * torch.tensor([1.0, 1.0, 0.8]).view(3, 1, 1, 1)
    found = confidence(object_mean, three, half, torch.tensor([0, 0, 0]))
    assert found.drop.tolist() == pytest.approx([0, 1, 0.75])
    assert found.increase.tolist() == [0, 0, 0]
    of_other = confidence(object_mean, three[2:], half[2:], torch.tensor([1]))  # 0.2 becomes 0.8
    assert of_other.drop.tolist() == [0]
    assert of_other.increase.tolist() == [1]


def test_occlusion_blackens_what_reaches_the_threshold(images: Tensor, maps: Tensor) -> None:
    scaled = maps * 0.7
    assert object_mean(occlude(images, scaled, threshold=0.7))[:, 0].tolist() == [0, 1]
    assert object_mean(occlude(images, scaled, threshold=0.71))[:, 0].tolist() == [1, 1]
    assert object_mean(occlude(images, scaled))[:, 0].tolist() == [0, 1]  # LayerCAM's 0.7
    assert object_mean(occlude(images, maps * 0.69))[:, 0].tolist() == [1, 1]
    with pytest.raises(ValueError, match="maps"):
        occlude(images, maps[:1])


def test_imputing_within_a_linear_ramp_gives_it_back() -> None:
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(9.0), indexing="ij")
    ramp = torch.stack([rows, columns, 0.5 * rows - 2 * columns + 3])
    missing = torch.zeros(12, 9, dtype=torch.bool)
    missing[2:9, 2:7] = True
    missing[4, 4] = False
    filled = impute(torch.where(missing, 99.0, ramp), missing, noise=0.0)
    assert torch.allclose(filled, ramp, atol=1e-5)


def test_imputation_agrees_with_the_published_one() -> None:
    peer = pytest.importorskip("pytorch_grad_cam.metrics.road").NoisyLinearImputer(noise=0.0)
    image, missing = torch.rand(3, 13, 17), torch.rand(13, 17) < 0.7  # at the border too
    expected = peer(image, (~missing).float())
    assert torch.allclose(impute(image, missing, noise=0.0), expected, atol=1e-5)


def test_noise_is_the_generators_and_on_imputed_pixels_alone() -> None:
    image, missing = torch.full((3, 40, 40), 0.5), torch.rand(40, 40) < 0.5
    one, other = (impute(image, missing, noise=0.1, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(one[:, ~missing], image[:, ~missing])
    assert one[:, missing].std().item() == pytest.approx(0.1, rel=0.1)
    assert impute(image, torch.zeros_like(missing)) is image
    assert torch.isfinite(impute(image, torch.ones_like(missing))).all()


def test_road_prefers_the_right_map_to_a_random_one(maps: Tensor) -> None:
    image = torch.zeros(3, SIDE, SIDE)
    image[:, OBJECT[0], OBJECT[1]] = 1
    three = torch.stack([maps[0], torch.rand(SIDE, SIDE), maps[1]])
    found = road(
        object_mean,
        image.expand(3, -1, -1, -1),
        three,
        torch.zeros(3, dtype=torch.long),
        percentiles=[20, 50],
        noise=0.0,
    )
    assert found.most[0].tolist() == pytest.approx([0, 0], abs=1e-6)  # only black pixels are left to impute from
    assert found.least[0].tolist() == pytest.approx([1, 1], abs=1e-6)
    right, random, wrong = found.combined.tolist()
    assert right == pytest.approx(0.5)
    assert right > random > wrong


def test_relative_variance_is_that_of_each_channel() -> None:
    gradients = torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]], [[-1.0, 1.0]], [[0.0, 0.0]]]])
    found = relative_variance(gradients)[0]
    assert found[:3].tolist() == [0.25, 0, np.inf]
    assert found[3].isnan()
