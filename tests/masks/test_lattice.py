"""The permutohedral lattice against exact sums, and what any such filter must keep."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsss.masks import build_lattice
from wsss.masks.lattice import sum_of


def points(seed: int, count: int = 200, d: int = 3, spread: float = 4.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, d, generator=generator) * spread, torch.rand(count, 2, generator=generator)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_normalised_sums_are_close_to_the_exact_ones(d: int) -> None:
    features, values = points(0, count=600, d=d, spread=3.0)
    kernel = torch.exp(-(torch.cdist(features, features) ** 2) / 2)
    norm = kernel.sum(dim=1).rsqrt()
    exact = norm[:, None] * (kernel @ (norm[:, None] * values))
    torch.testing.assert_close(build_lattice(features).normalized().filter(values), exact, rtol=0.2, atol=0.02)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), d=st.integers(1, 5))
def test_points_in_another_order_give_the_same_sums(seed: int, d: int) -> None:
    features, values = points(seed, count=60, d=d)
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    straight = build_lattice(features).filter(values)
    torch.testing.assert_close(
        build_lattice(features[order]).filter(values[order]), straight[order], rtol=1e-4, atol=1e-5
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_sum_is_linear_in_the_values(seed: int) -> None:
    features, values = points(seed)
    lattice = build_lattice(features).normalized()
    both = lattice.filter(torch.cat([values, 2 * values[:, :1] - 3 * values[:, 1:]], dim=1))
    torch.testing.assert_close(both[:, 2], 2 * both[:, 0] - 3 * both[:, 1], rtol=1e-4, atol=1e-4)


def test_sets_of_points_do_not_see_each_other() -> None:
    first, first_values = points(1)
    second, second_values = points(2)
    together = build_lattice(torch.stack([first, second])).normalized(3.0)
    sums = together.filter(torch.cat([first_values, second_values]))
    apart = [build_lattice(f).normalized(3.0).filter(v) for f, v in ((first, first_values), (second, second_values))]
    torch.testing.assert_close(sums, torch.cat(apart), rtol=1e-4, atol=1e-5)


def test_a_point_far_from_all_others_keeps_its_value() -> None:
    features = torch.tensor([[0.0, 0.0], [1000.0, -1000.0], [0.1, 0.0]])
    values = torch.tensor([[1.0], [5.0], [1.0]])
    torch.testing.assert_close(build_lattice(features).normalized().filter(values)[1], values[1])


def test_points_too_far_apart_to_be_numbered_are_refused() -> None:
    with pytest.raises(ValueError, match=r"spread too far.*larger standard deviations"):
        build_lattice(torch.tensor([[0.0] * 5, [1e5] * 5]))


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 8])
def test_columns_are_filtered_as_if_alone(columns: int) -> None:
    features, _ = points(0)
    values = torch.rand(len(features), columns)
    lattice = build_lattice(features).normalized()
    alone = torch.cat([lattice.filter(column) for column in values.split(1, dim=1)], dim=1)
    torch.testing.assert_close(lattice.filter(values), alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
def test_a_sum_of_lattices_adds_up_what_each_filters(columns: int) -> None:
    features, _ = points(0, d=5)
    values = torch.rand(len(features), columns)
    lattices = [build_lattice(features[:, :2]).normalized(3.0), build_lattice(features).normalized(0.5)]
    apart = lattices[0].filter(values) + lattices[1].filter(values)
    torch.testing.assert_close(sum_of(lattices).filter(values), apart, rtol=1e-5, atol=1e-5)
