"""Optimisers and schedules shared by the tasks."""

from collections.abc import Callable, Iterable

import pytorch_lightning as pl
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from wsss.errors import InputError

OptimizerFactory = Callable[[list[dict[str, object]]], Optimizer]


def poly(step: int, *, total: int, power: float = 0.9, warmup: int = 0) -> float:
    """Factor of the learning rate at an optimiser step: (1 - step / total)^power, after a linear rise over `warmup`."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return float(max(1 - step / max(total, 1), 0.0) ** power)


def make_optimizer(
    groups: list[dict[str, object]], *, name: str, lr: float, momentum: float = 0.9, weight_decay: float = 1e-4
) -> Optimizer:
    """Build `sgd` or `adamw` over parameter groups, each with an `lr_factor` that multiplies `lr`."""
    scaled = [{"params": group["params"], "lr": lr * float(str(group["lr_factor"]))} for group in groups]
    if name == "sgd":
        return SGD(scaled, lr=lr, momentum=momentum, weight_decay=weight_decay)
    if name == "adamw":
        return AdamW(scaled, lr=lr, weight_decay=weight_decay)
    raise InputError(f"optimizer.name={name!r}: expected sgd or adamw")


class PolyTask(pl.LightningModule):
    """A task whose model is trained with two learning rates, head and rest, on a poly schedule per step.

    Args:
        optimizer: builds the optimiser from parameter groups (dicts of `params` and `lr_factor`).
        head: parameters trained with the larger learning rate.
        head_lr_factor: learning rate of the head over that of the rest.
        bias_lr_factor: learning rate of the head's biases over that of the head.
        poly_power: exponent of the schedule.
        warmup: steps of linear rise at the start.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerFactory,
        *,
        head: Iterable[nn.Parameter],
        head_lr_factor: float = 10.0,
        bias_lr_factor: float = 1.0,
        poly_power: float = 0.9,
        warmup: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.optimizer_factory = optimizer
        self.head = _names(model, head)
        self.head_lr_factor = head_lr_factor
        self.bias_lr_factor = bias_lr_factor
        self.poly_power = poly_power
        self.warmup = warmup

    def configure_optimizers(self) -> dict[str, object]:  # type: ignore[override]  # Lightning's union of many shapes
        """Two groups (three, if the head's biases have a rate of their own), one schedule."""
        groups: dict[float, list[nn.Parameter]] = {1.0: [], self.head_lr_factor: []}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self._lr_factor(_plain(name)), []).append(parameter)
        optimizer = self.optimizer_factory([{"params": ps, "lr_factor": factor} for factor, ps in groups.items()])
        total = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimizer, lambda step: poly(step, total=total, power=self.poly_power, warmup=self.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _lr_factor(self, name: str) -> float:
        if name not in self.head:
            return 1.0
        return self.head_lr_factor * (self.bias_lr_factor if name.endswith(".bias") else 1.0)


def _names(model: nn.Module, parameters: Iterable[nn.Parameter]) -> set[str]:
    """Names of some of a model's parameters, which copies of it and shards have too."""
    ids = {id(p) for p in parameters}
    return {name for name, p in model.named_parameters() if id(p) in ids}


def _plain(name: str) -> str:
    return name.replace("_fsdp_wrapped_module.", "")
