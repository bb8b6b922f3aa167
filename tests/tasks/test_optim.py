"""Learning rates: the schedule and the two groups."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from wsss.errors import InputError
from wsss.tasks.optim import PolyTask, make_optimizer, poly


def test_poly_falls_from_one_to_zero() -> None:
    assert poly(0, total=100) == 1.0
    assert poly(50, total=100, power=1.0) == 0.5
    assert poly(100, total=100) == 0.0
    assert poly(101, total=100) == 0.0  # schedulers step once more than there are steps
    assert poly(0, total=0) == 1.0


def test_warm_up_rises_to_the_schedule() -> None:
    factors = [poly(step, total=100, power=1.0, warmup=4) for step in range(5)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.96])


@given(total=st.integers(1, 200), power=st.floats(0.1, 3.0))
def test_poly_never_rises_after_warm_up(total: int, power: float) -> None:
    factors = [poly(step, total=total, power=power) for step in range(total + 2)]
    assert factors == sorted(factors, reverse=True)
    assert all(0 <= factor <= 1 for factor in factors)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_each_group_has_its_own_learning_rate(name: str, kind: type) -> None:
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    groups = [{"params": [first], "lr_factor": 1.0}, {"params": [second], "lr_factor": 10.0}]
    optimizer = make_optimizer(groups, name=name, lr=0.02, weight_decay=5e-4)
    assert isinstance(optimizer, kind)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.02, 0.2])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [5e-4, 5e-4]
    assert [group["params"] for group in optimizer.param_groups] == [[first], [second]]


def test_momentum_and_weight_decay_are_not_mixed_up() -> None:
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr_factor": 1.0}]
    group = make_optimizer(groups, name="sgd", lr=0.1, momentum=0.8, weight_decay=1e-3).param_groups[0]
    assert (group["momentum"], group["weight_decay"]) == (0.8, 1e-3)


def test_an_unknown_optimiser_is_refused() -> None:
    with pytest.raises(InputError, match=r"optimizer\.name='lion': expected sgd or adamw"):
        make_optimizer([], name="lion", lr=0.1)


def test_a_task_trains_its_head_faster_and_leaves_frozen_parameters_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "frozen": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
    model["frozen"].requires_grad_(False)
    factory = partial(make_optimizer, name="sgd", lr=0.01)
    task = PolyTask(model, factory, head=model["head"].parameters(), head_lr_factor=5.0, poly_power=1.0)
    monkeypatch.setattr(PolyTask, "trainer", SimpleNamespace(estimated_stepping_batches=4))
    configured = task.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    body, head = optimizer.param_groups
    assert body["params"] == list(model["body"].parameters())
    assert head["params"] == list(model["head"].parameters())
    rates = []
    for _ in range(5):
        rates.append((body["lr"], head["lr"]))
        optimizer.step()
        schedule.step()
    assert [rate for rate, _ in rates] == pytest.approx([0.01, 0.0075, 0.005, 0.0025, 0.0])
    assert [rate for _, rate in rates] == pytest.approx([0.05, 0.0375, 0.025, 0.0125, 0.0])


def test_the_heads_biases_may_have_a_rate_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
    factory = partial(make_optimizer, name="sgd", lr=0.01)
    task = PolyTask(model, factory, head=model["head"].parameters(), head_lr_factor=10.0, bias_lr_factor=2.0)
    monkeypatch.setattr(PolyTask, "trainer", SimpleNamespace(estimated_stepping_batches=4))
    groups = task.configure_optimizers()["optimizer"].param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rates[id(model["body"].bias)] == pytest.approx(0.01)
    assert rates[id(model["head"].weight)] == pytest.approx(0.1)
    assert rates[id(model["head"].bias)] == pytest.approx(0.2)
