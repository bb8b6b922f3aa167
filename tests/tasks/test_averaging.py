"""The moving average of the weights."""

import pytest
import torch

from wsss.tasks.averaging import MovingAverage, ema_rate


def test_the_decay_rises_to_what_was_asked_for() -> None:
    assert [ema_rate(0.9, n) for n in (0, 8, 1000)] == pytest.approx([0.1, 0.5, 0.9])


def test_weights_are_averaged_and_counters_copied() -> None:
    averages = [torch.tensor([1.0, 2.0]), torch.tensor(3)]
    MovingAverage(0.5)._update(averages, [torch.tensor([3.0, 4.0]), torch.tensor(7)], 1000)
    assert averages[0].tolist() == [2.0, 3.0]
    assert averages[1] == 7
