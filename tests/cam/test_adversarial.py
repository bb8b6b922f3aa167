"""Anti-adversarial climbing by hand, and what its regulariser is for."""

from __future__ import annotations

import torch
from torch import Tensor

from wsss.cam import climb


def linear(weight: Tensor) -> object:
    """Scores Σ_p w_n · x_p of images (R, C, 1, P), and their target's (the first class's) share of each cell."""

    def evidence(images: Tensor) -> tuple[Tensor, Tensor]:
        cells = torch.einsum("rchw,nc->rnhw", images, weight)
        return cells.sum(dim=(2, 3)), cells[:, 0].relu()

    return evidence


def test_a_step_by_hand() -> None:
    # Cells 3 and 1 of one channel; class scores y₀ = x, y₁ = 2x, y₂ = -x: the others' gradient is 2, as y₂ < 0.
    images = torch.tensor([3.0, 1.0]).view(1, 1, 1, 2)
    evidence = linear(torch.tensor([[1.0], [2.0], [-1.0]]))
    start, once = climb(images, torch.tensor([0]), evidence, steps=1, step_size=0.5, weight=0.0)
    assert torch.equal(start, images)
    assert once.flatten().tolist() == [2.5, 0.5]  # + 0.5 (1 - 2)
    # One class, λ = 7: the first step moves nothing from where it was, the second is held back where the map is high.
    alone = linear(torch.tensor([[1.0]]))
    steps = list(climb(images, torch.tensor([0]), alone, steps=2, step_size=0.5))
    assert steps[1].flatten().tolist() == [3.5, 1.5]
    assert steps[2].flatten().tolist() == [3.5 + 0.5 * (1 - 7), 2.0]  # 1.5 is no more than half of 3.5


def test_the_score_climbs_by_regions_that_were_low() -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)
    images = torch.rand(4, 3, 6, 8)
    targets = torch.tensor([0, 1, 2, 3])

    def evidence(images: Tensor) -> tuple[Tensor, Tensor]:
        cells = conv(images)
        return cells.mean(dim=(2, 3)), cells[torch.arange(4), targets].relu() / 48

    def share_of_high(weight: float) -> Tensor:
        *_, last = climb(images, targets, evidence, steps=20, step_size=2.0, weight=weight)
        before, after = evidence(images), evidence(last)
        assert (after[0][range(4), targets] > before[0][range(4), targets]).all()
        high = before[1] > 0.5 * before[1].amax(dim=(1, 2), keepdim=True)
        return ((after[1] - before[1]) * high).sum() / (after[1] - before[1]).sum()

    assert share_of_high(weight=7.0) < 0.8 * share_of_high(weight=0.0)


def test_images_climb_alone_whatever_the_callers_mode() -> None:
    evidence = linear(torch.tensor([[1.0], [-1.0]]))
    images = torch.rand(3, 1, 1, 5)
    before = images.clone()
    with torch.inference_mode():
        together = list(climb(images * 1.0, torch.tensor([0, 0, 0]), evidence, steps=3))
    alone = list(climb(images[1:2], torch.tensor([0]), evidence, steps=3))
    assert len(together) == 4
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b.detach())
    assert torch.equal(images, before)


def test_a_step_may_differ_by_channel() -> None:
    step = torch.tensor([1.0, 0.0, 2.0]).view(3, 1, 1)
    images = torch.zeros(1, 3, 1, 1)
    *_, last = climb(images, torch.tensor([0]), linear(torch.ones(1, 3)), steps=1, step_size=step)
    assert last.flatten().tolist() == [1.0, 0.0, 2.0]


def test_the_published_climb_has_27_steps_of_0_008() -> None:
    images = torch.zeros(1, 1, 1, 1)
    climbed = list(climb(images, torch.tensor([0]), linear(torch.ones(1, 1)), weight=0.0))
    assert len(climbed) == 28
    torch.testing.assert_close(climbed[-1], torch.full_like(images, 27 * 0.008))
