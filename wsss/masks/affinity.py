"""Which cells of a grid belong together: affinities of neighbours, from edges or from features.

A cell's neighbours are those closer than a radius. Of each two opposite ways to them, (dy, dx) and (-dy, -dx), one is
listed, in the order of `neighbours`: P ways in all.
"""

from functools import lru_cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

Way = tuple[int, int]


@lru_cache
def neighbours(radius: int) -> list[Way]:
    """Ways (dy, dx) to the neighbours, one of each two opposite ones."""
    ahead = [(0, dx) for dx in range(1, radius)]
    sides = range(1 - radius, radius)
    return ahead + [(dy, dx) for dy, dx in product(range(1, radius), sides) if dy**2 + dx**2 < radius**2]


@lru_cache
def paths(radius: int) -> dict[Way, list[Way]]:
    """The cells on the straight way to each neighbour, both ends included, relative to the first.

    They are those of the spanned rectangle whose centre lies closer than 1 to the line (IRN's published code).
    """
    return {way: _path(*way) for way in neighbours(radius)}


def seen_by_neighbours(planes: Tensor, radius: int, *, beyond: float = 0.0) -> Tensor:
    """What lies at each way from a cell: (…, h, w) -> (P, …, h, w).

    Args:
        planes: (…, h, w).
        radius: neighbours are closer than this, in cells.
        beyond: what lies beyond the border.
    """
    shifted = _Shifted(planes, radius, beyond)
    return torch.stack([shifted.at(way) for way in neighbours(radius)])


def edge_affinities(edge: Tensor, radius: int) -> Tensor:
    """1 minus the strongest edge on the straight way to a neighbour (IRN); 0 beyond the border.

    Args:
        edge: probability (…, h, w) that a boundary runs through a cell.
        radius: neighbours are closer than this, in cells.

    Returns:
        (P, …, h, w).
    """
    shifted = _Shifted(edge, radius, 1.0)
    strongest = [torch.stack([shifted.at(cell) for cell in path]).amax(dim=0) for path in paths(radius).values()]
    return 1 - torch.stack(strongest)


def feature_affinities(features: Tensor, radius: int) -> Tensor:
    """exp(-mean |f - f'|) of a cell's features and a neighbour's (AffinityNet); 0 beyond the border.

    Args:
        features: (…, C, h, w).
        radius: neighbours are closer than this, in cells.

    Returns:
        (P, …, h, w).
    """
    shifted = _Shifted(features, radius, torch.inf)
    return torch.stack([(-(shifted.at(way) - features).abs().mean(dim=-3)).exp() for way in neighbours(radius)])


class _Shifted:
    """Planes (…, h, w) as seen from cells that look along a way, less than a radius long, that does not lead up."""

    def __init__(self, planes: Tensor, radius: int, beyond: float) -> None:
        self.height, self.width = planes.shape[-2:]
        self.margin = radius - 1
        self.padded = F.pad(planes, (self.margin, self.margin, 0, self.margin), value=beyond)

    def at(self, way: Way) -> Tensor:
        y, x = way[0], self.margin + way[1]
        return self.padded[..., y : y + self.height, x : x + self.width]


def _path(dy: int, dx: int) -> list[Way]:
    columns = range(min(dx, 0), max(dx, 0) + 1)
    return [(y, x) for y, x in product(range(dy + 1), columns) if (dy * x - dx * y) ** 2 < dy**2 + dx**2]
