"""Random walk over an edge map, against the reference's dense matrices and against its own definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss.masks import affinity_walk, random_walk, walk_bytes
from wsss.masks.affinity import edge_affinities, feature_affinities, neighbours, paths, seen_by_neighbours
from wsss.masks.random_walk import power_weights, transition


@pytest.fixture(scope="module")
def reference(golden) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in golden("irn_random_walk").items() if array.ndim}


def some_case(*size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, *size, generator=generator), torch.rand(*size, generator=generator) ** 3


def dense_walk(maps: torch.Tensor, edge: torch.Tensor, beta: float, steps: int) -> torch.Tensor:
    """As published, from affinities cell by cell, in double precision."""
    height, width = edge.shape
    matrix = torch.eye(height * width, dtype=torch.float64)
    for (dy, dx), path in paths(5).items():
        for y in range(height - dy):
            for x in range(max(-dx, 0), min(width - dx, width)):
                here, there = y * width + x, (y + dy) * width + x + dx
                matrix[here, there] = matrix[there, here] = 1 - max(edge[y + a, x + b] for a, b in path)
    step = matrix**beta / (matrix**beta).sum(dim=0)
    walked = (maps * (1 - edge)).double().flatten(1) @ torch.linalg.matrix_power(step, steps)
    return walked.view(maps.shape)


def test_scores_are_the_references(reference) -> None:
    walked = random_walk(reference["cam"], reference["edge"][0], radius=5, beta=10, exp_times=8)
    torch.testing.assert_close(walked, reference["rw"][:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(walked, reference["rw_float64"][:, 0], atol=5e-6, rtol=0)


def test_affinities_are_the_references(reference) -> None:
    edge, dense = reference["small_edge"][0], reference["small_affinity"]
    height, width = edge.shape
    for (dy, dx), found in zip(neighbours(5), edge_affinities(edge, 5), strict=True):
        for y in range(height):
            for x in range(width):
                is_inside = y + dy < height and 0 <= x + dx < width
                expected = dense[y * width + x, (y + dy) * width + x + dx] if is_inside else 0.0
                assert found[y, x] == pytest.approx(float(expected), abs=1e-6)


def test_ways_to_the_neighbours_are_the_references(reference) -> None:
    theirs = {}
    for end, path, length in zip(
        reference["search_dst"], reference["search_paths"], reference["path_lengths"], strict=True
    ):
        theirs[tuple(end.tolist())] = sorted(map(tuple, path[:length].tolist()))
    assert {end: sorted(path) for end, path in paths(5).items()} == theirs


def test_a_step_is_the_references(reference) -> None:
    matrix = transition(edge_affinities(reference["small_edge"][0], 5), radius=5, beta=10.0).to_dense()
    torch.testing.assert_close(matrix.T, reference["small_transition_beta10_t0"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("exp_times", [0, 1, 3, 8])
def test_any_number_of_steps_is_a_power_of_the_dense_matrix(exp_times: int) -> None:
    maps, edge = some_case(7, 9)
    expected = dense_walk(maps, edge, 4.0, 2**exp_times)
    found = random_walk(maps, edge, beta=4.0, exp_times=exp_times)
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=0)


@given(st.integers(1, 600), st.floats(-1.0, 1.0))
@settings(deadline=None)
def test_weights_of_the_polynomials_give_the_power(n: int, x: float) -> None:
    weights = power_weights(n)
    assert np.polynomial.chebyshev.chebval(x, weights) == pytest.approx(x**n, abs=2e-7)
    assert len(weights) <= 6 * n**0.5 + 2


def test_tiles_give_the_same_scores() -> None:
    maps, edge = some_case(90, 150)
    assert walk_bytes(edge.shape, 5) > 8_000_000
    torch.testing.assert_close(random_walk(maps, edge, budget=8_000_000), random_walk(maps, edge), atol=1e-6, rtol=0)
    affinities = feature_affinities(torch.cat([maps, edge[None]]), 5)
    whole = affinity_walk(maps, affinities)
    torch.testing.assert_close(affinity_walk(maps, affinities, budget=8_000_000), whole, atol=1e-6, rtol=0)


def test_nothing_crosses_a_closed_boundary() -> None:
    maps, edge = torch.zeros(1, 12, 20), torch.zeros(12, 20)
    edge[:, 10] = 1.0
    maps[0, :, :5] = 1.0
    walked = random_walk(maps, edge)
    assert walked[:, :, 10:].abs().max() == 0
    assert walked[:, :, :10].min() > 0.1


def test_a_constant_stays_where_there_is_no_edge() -> None:
    maps = torch.full((3, 11, 8), 0.7)
    torch.testing.assert_close(random_walk(maps, torch.zeros(11, 8)), maps, atol=2e-6, rtol=0)


def test_features_that_are_alike_are_walked_between() -> None:
    features = torch.zeros(3, 12, 20)
    features[:, :, 10:] = 50.0
    affinities = feature_affinities(features, 5)
    maps = torch.zeros(1, 12, 20)
    maps[0, :, :5] = 1.0
    walked = affinity_walk(maps, affinities)
    assert walked[:, :, 10:].abs().max() == 0
    assert walked[:, :, :10].min() > 0.1
    with pytest.raises(ValueError, match=r"expected affinities \[34, 12, 20\], got \[1, 12, 20\]"):
        affinity_walk(maps, maps)


def test_affinities_of_features_are_those_of_the_paper() -> None:
    features = torch.rand(2, 4, 6, 7, generator=torch.Generator().manual_seed(0))
    found = feature_affinities(features, 4)
    there = seen_by_neighbours(features, 4)
    for number, (dy, dx) in enumerate(neighbours(4)):
        for y in range(6):
            for x in range(7):
                if y + dy < 6 and 0 <= x + dx < 7:
                    other = features[:, :, y + dy, x + dx]
                    assert torch.equal(there[number, :, :, y, x], other)
                    expected = torch.exp(-(features[:, :, y, x] - other).abs().mean(dim=1))
                    torch.testing.assert_close(found[number, :, y, x], expected)
                else:
                    assert found[number, :, y, x].abs().max() == there[number, :, :, y, x].abs().max() == 0


def test_no_map_gives_none() -> None:
    assert random_walk(torch.zeros(0, 5, 6), torch.rand(5, 6)).shape == (0, 5, 6)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected maps \(K, h, w\) and an edge map \(h, w\), got \[2, 5, 6\]"):
        random_walk(torch.rand(2, 5, 6), torch.rand(6, 5))
