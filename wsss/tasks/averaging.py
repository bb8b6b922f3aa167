"""Exponential moving average of the weights during training."""

from collections.abc import Sequence

import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


def ema_rate(decay: float, num_updates: int) -> float:
    """The decay after so many updates, min(decay, (1 + n) / (10 + n)).

    It rises from 0.1, so that the first, untrained weights are soon forgotten in short trainings too.
    """
    return min(decay, (1 + num_updates) / (10 + num_updates))


class MovingAverage(WeightAveraging):
    """Keep a moving average of weights and running statistics, d·average + (1 - d)·current after each step.

    The average is what is validated, and the result of the training.

    Args:
        decay: see `ema_rate`.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        super().__init__(multi_avg_fn=self._update)

    @torch.no_grad()
    def _update(self, averages: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Tensor | int) -> None:
        rate = ema_rate(self.decay, int(num_averaged))
        for average, now in zip(averages, current, strict=True):
            if average.is_floating_point():
                average.lerp_(now, 1 - rate)
            else:
                average.copy_(now)  # a counter
