"""Random walks of class scores between cells that belong together (Ahn & Kwak, CVPR 2018; Ahn et al., CVPR 2019).

A step replaces each score by its neighbours' mean, weighted by affinity^β. As published, the dense matrix T of a step
is squared t times, which at stride 4 of a photograph of 375 × 500 takes 550 MB and 26 TFLOP. Here T is sparse and acts
on the few maps there are, far fewer times than the power says: in Chebyshev polynomials x^n = Σ_k p_k T_k(x), where p_k
is the chance that n fair steps to either side end k away from where they began, and beyond a few √n that is nothing.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from math import comb, isqrt
from types import EllipsisType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.masks.affinity import edge_affinities, neighbours

DROPPED = 1e-7  # sum of the terms that are left out of a power; all add up to 1
BUDGET = 512 * 1024**2
BYTES_PER_NEIGHBOUR = 42  # measured while T is built: affinities, values, columns, and copies of them
STEPS_PER_TILE = 8


def random_walk(
    maps: Tensor,
    edge: Tensor,
    *,
    radius: int = 5,
    beta: float = 10.0,
    exp_times: int = 8,
    budget: int = BUDGET,
) -> Tensor:
    """Spread class scores within boundaries: `(maps · (1 - edge)) Tⁿ`, n = 2^exp_times (IRN).

    Args:
        maps: scores (K, h, w) of the classes.
        edge: probability (h, w) that a boundary runs through a cell.
        radius: neighbours are closer than this, in cells.
        beta: power of the affinities; more makes the walk shun weak edges too.
        exp_times: t of the 2^t steps.
        budget: bytes that T may take, see `walk_bytes`; a larger grid is walked in tiles, to the same result.

    Returns:
        Scores (K, h, w).

    Raises:
        ValueError: if the shapes do not fit.
    """
    if maps.dim() != 3 or edge.shape != maps.shape[1:]:
        raise ValueError(f"expected maps (K, h, w) and an edge map (h, w), got {[*maps.shape]} and {[*edge.shape]}")

    def matrix_of(part: Part) -> Tensor:
        return transition(edge_affinities(edge[part], radius), radius=radius, beta=beta)

    return _walk(maps * (1 - edge), matrix_of, radius, exp_times, budget)


def affinity_walk(
    maps: Tensor,
    affinities: Tensor,
    *,
    radius: int = 5,
    beta: float = 8.0,
    exp_times: int = 8,
    budget: int = BUDGET,
) -> Tensor:
    """Spread scores to neighbours of like features: `maps Tⁿ`, n = 2^exp_times (AffinityNet).

    Args:
        maps: scores (K, h, w), the background's among them.
        affinities: (P, h, w), see `wsss.masks.affinity`; 0 beyond the border.
        radius: neighbours are closer than this, in cells.
        beta: power of the affinities.
        exp_times: t of the 2^t steps.
        budget: see `random_walk`.

    Returns:
        Scores (K, h, w).

    Raises:
        ValueError: if the shapes do not fit.
    """
    expected = (len(neighbours(radius)), *maps.shape[1:])
    if affinities.shape != expected:
        raise ValueError(f"expected affinities {[*expected]}, got {[*affinities.shape]}")

    def matrix_of(part: Part) -> Tensor:
        return transition(_within(affinities[part], radius), radius=radius, beta=beta)

    return _walk(maps, matrix_of, radius, exp_times, budget)


def walk_bytes(size: Sequence[int], radius: int) -> int:
    """Memory that the walk over a grid (h, w) takes in one piece."""
    return size[0] * size[1] * (2 * len(neighbours(radius)) + 1) * BYTES_PER_NEIGHBOUR


@lru_cache
def power_weights(n: int) -> list[float]:
    """The p_k of x^n = Σ_k p_k T_k(x), k from 0; those left out at the end add up to less than `DROPPED`."""
    half = [comb(n, (n - k) // 2) / 2**n if (n - k) % 2 == 0 else 0.0 for k in range(n + 1)]
    weights = [half[0], *(2 * p for p in half[1:])]
    rest = 0.0
    while rest + weights[-1] < DROPPED:
        rest += weights.pop()
    return weights


def transition(affinities: Tensor, *, radius: int, beta: float) -> Tensor:
    """T as it acts on columns of scores, (h·w, h·w), sparse; each row's sum is 1.

    Args:
        affinities: (P, h, w), see `wsss.masks.affinity`; 0 beyond the border.
        radius: neighbours are closer than this, in cells.
        beta: power of the affinities.
    """
    height, width = affinities.shape[1:]
    planes = {(0, 0): torch.ones_like(affinities[0])}
    for (dy, dx), ahead in zip(neighbours(radius), affinities.pow(beta), strict=True):
        planes[dy, dx] = ahead
        # A cell's neighbour at (-dy, -dx) has it at (dy, dx); beyond the border the latter is 0 already.
        planes[-dy, -dx] = F.pad(ahead, (abs(dx), abs(dx), dy, 0))[:height, abs(dx) - dx : abs(dx) - dx + width]
    ways = sorted(planes)  # so the columns of a row ascend
    values = torch.stack([planes[way] for way in ways], dim=-1).flatten(0, 1)  # (h·w, neighbours)
    # In double precision: some hundred steps would carry a row's rounding into the scores.
    values = (values / values.sum(dim=1, keepdim=True, dtype=torch.float64)).float()
    jumps = torch.tensor([dy * width + dx for dy, dx in ways], dtype=torch.int32, device=values.device)
    columns = torch.arange(len(values), dtype=torch.int32, device=values.device)[:, None] + jumps
    is_there = values > 0
    row_ends = F.pad(is_there.sum(dim=1).cumsum(dim=0), (1, 0)).int()
    with warnings.catch_warnings():  # of a product that is all that is asked of it
        warnings.filterwarnings("ignore", message="Sparse")
        return torch.sparse_csr_tensor(row_ends, columns[is_there], values[is_there], [len(values)] * 2)


def _walk(scores: Tensor, matrix_of: Callable[["Part"], Tensor], radius: int, exp_times: int, budget: int) -> Tensor:
    """Scores (K, h, w) after 2^exp_times steps of the T that `matrix_of` makes for a part of the grid."""
    weights, size = power_weights(2**exp_times), scores.shape[1:]
    state = _start(scores, weights)
    num_steps, tiles = len(weights) - 1, [_whole(size)]
    if walk_bytes(size, radius) > budget:
        num_steps, tiles = STEPS_PER_TILE, _tiles(size, radius, budget)
    for first in range(1, len(weights), num_steps):
        steps = range(first, min(first + num_steps, len(weights)))
        moved = torch.empty_like(state)
        for tile in tiles:
            moved[tile.inner] = _advance(state[tile.outer], matrix_of(tile.outer), weights, steps)[tile.core]
        state = moved
    return state[2]


def _within(affinities: Tensor, radius: int) -> Tensor:
    """Affinities (P, h, w) of a part of a grid, 0 where the neighbour lies beyond its border."""
    height, width = affinities.shape[1:]
    within = torch.zeros_like(affinities)
    for inner, ahead, (dy, dx) in zip(within, affinities, neighbours(radius), strict=True):
        there = slice(0, max(height - dy, 0)), slice(max(-dx, 0), max(width - max(dx, 0), 0))
        inner[there] = ahead[there]
    return within


def _start(scores: Tensor, weights: Sequence[float]) -> Tensor:
    """T_0 of the scores, as though T_{-1} were 0, and the sum so far."""
    scores = scores.float()
    return torch.stack([scores, torch.zeros_like(scores), weights[0] * scores])


def _advance(state: Tensor, matrix: Tensor, weights: Sequence[float], steps: Sequence[int]) -> Tensor:
    """Take T_k, T_{k-1} and the sum up to k, each (K, h, w), through some k: T_{k+1} = 2 x T_k - T_{k-1}, T_1 = x."""
    current, previous, total = (plane.flatten(1).T.contiguous() for plane in state)  # (h·w, K)
    for k in steps:
        new = matrix @ current if k == 1 else torch.addmm(previous, matrix, current, beta=-1, alpha=2)
        current, previous = new, current
        total = total.add(current, alpha=weights[k])
    return torch.stack([plane.T.unflatten(1, state.shape[2:]) for plane in (current, previous, total)])


Part = tuple[EllipsisType, slice, slice]


class _Tile(NamedTuple):
    """A part of the grid that is walked by itself for some steps."""

    outer: Part  # all that has a say in the inner part
    inner: Part
    core: Part  # the inner part within the outer one


def _whole(size: Sequence[int]) -> _Tile:
    everything = (..., slice(0, size[0]), slice(0, size[1]))
    return _Tile(everything, everything, everything)


def _tiles(size: Sequence[int], radius: int, budget: int) -> list[_Tile]:
    """Tiles whose outer parts keep to the budget, as long as the inner ones need not be narrower than their margin."""
    margin = STEPS_PER_TILE * (radius - 1)
    side = isqrt(budget // walk_bytes((1, 1), radius))
    step = max(side - 2 * margin, margin)
    rows, columns = (_spans(length, step, margin) for length in size)
    return [_Tile(*((..., *part) for part in zip(row, column, strict=True))) for row, column in product(rows, columns)]


def _spans(length: int, step: int, margin: int) -> list[tuple[slice, slice, slice]]:
    """Outer, inner and core part of each tile along one side."""
    spans = []
    for start in range(0, length, step):
        outer = slice(max(start - margin, 0), min(start + step + margin, length))
        inner = slice(start, min(start + step, length))
        spans.append((outer, inner, slice(inner.start - outer.start, inner.stop - outer.start)))
    return spans
