"""Losses for masks that are partly wrong."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from wsss.labels import VOID
from wsss.tasks.losses import balanced_weights, mask_loss


def batch(seed: int, void: float = 0.2) -> tuple[Tensor, Tensor]:
    """Logits (2, 4, 5, 6) and masks with some void."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, 4, (2, 5, 6), generator=generator)
    masks[torch.rand(2, 5, 6, generator=generator) < void] = VOID
    return torch.randn(2, 4, 5, 6, generator=generator), masks


@given(st.integers(0, 10_000))
def test_without_options_it_is_the_mean_cross_entropy_of_known_pixels(seed: int) -> None:
    logits, masks = batch(seed)
    expected = F.cross_entropy(logits, masks, ignore_index=VOID)
    torch.testing.assert_close(mask_loss(logits, masks), expected)


def test_a_batch_of_void_alone_gives_zero_and_no_gradient() -> None:
    logits, masks = batch(0)
    logits.requires_grad_()
    for options in ({}, {"bootstrap": 0.3}, {"hardest": 0.5}, {"label_weights": torch.ones(4)}):
        loss = mask_loss(logits, torch.full_like(masks, VOID), **options)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss == 0
        assert not gradient.any()


@given(st.integers(0, 10_000))
def test_weights_by_label_and_by_pixel_multiply(seed: int) -> None:
    logits, masks = batch(seed)
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0])
    confidence = torch.rand(masks.shape, generator=torch.Generator().manual_seed(seed)) + 0.1
    total = norm = 0.0
    for b, y, x in (masks != VOID).nonzero().tolist():
        label = int(masks[b, y, x])
        weight = float(weights[label] * confidence[b, y, x])
        total -= weight * float(logits[b, :, y, x].log_softmax(0)[label])
        norm += weight
    loss = mask_loss(logits, masks, label_weights=weights, confidence=confidence)
    assert float(loss) == pytest.approx(total / norm, rel=1e-4)


def test_the_hardest_pixels_are_those_of_the_largest_loss() -> None:
    probabilities = torch.tensor([0.9, 0.6, 0.2, 0.1])
    logits = torch.stack([probabilities, 1 - probabilities]).log().view(1, 2, 1, 4)
    masks = torch.tensor([[[0, 0, 0, VOID]]])  # the void one would be the hardest
    assert float(mask_loss(logits, masks, hardest=0.34)) == pytest.approx(-math.log(0.2), rel=1e-5)
    two = -(math.log(0.2) + math.log(0.6)) / 2
    assert float(mask_loss(logits, masks, hardest=0.67)) == pytest.approx(two, rel=1e-5)


@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_bootstrapping_has_a_target_between_mask_and_prediction(seed: int, beta: float) -> None:
    logits, masks = batch(seed, void=0.0)
    own = logits.softmax(dim=1)
    target = (1 - beta) * F.one_hot(masks, 4).movedim(-1, 1) + beta * own
    expected = -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(mask_loss(logits, masks, bootstrap=beta), expected)


def test_bootstrapping_holds_the_prediction_constant() -> None:
    logits, masks = batch(1, void=0.0)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(mask_loss(logits, masks, bootstrap=0.5), logits)
    plain = (logits.softmax(dim=1) - F.one_hot(masks, 4).movedim(-1, 1)) / masks.numel()
    torch.testing.assert_close(gradient, 0.5 * plain)  # p - p of the own part is zero


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=6).filter(any), st.floats(0, 1))
def test_balanced_weights_average_to_one_over_the_pixels(counts: list[int], power: float) -> None:
    pixels = torch.tensor(counts)
    weights = balanced_weights(pixels, power)
    assert float((weights * pixels).double().sum() / pixels.sum()) == pytest.approx(1, rel=1e-4)
    assert not weights[pixels == 0].any()
    if power == 0:
        assert weights[pixels > 0].tolist() == pytest.approx([1.0] * int((pixels > 0).sum()))


def test_full_balance_gives_each_label_one_share() -> None:
    pixels = torch.tensor([900, 90, 10])
    assert (balanced_weights(pixels, 1.0) * pixels).tolist() == pytest.approx([1000 / 3] * 3)
