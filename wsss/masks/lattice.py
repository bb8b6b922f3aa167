"""Gaussian filtering of scattered points in linear time: the permutohedral lattice as tensor operations.

Adams, Baek & Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010. Points are
spread ("splatted") over the corners of the simplex they lie in, the corners blurred along each of d + 1 directions, and
read back ("sliced"). Each of the three is one `embedding_bag`: a weighted sum of table rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.errors import InputError


@dataclass(frozen=True)
class Lattice:
    """Where N points lie in a lattice of M occupied corners; corner M stands for all empty ones and stays zero.

    Attributes:
        splat_points: point of each entry, grouped by corner, (N · (d + 1),) int32.
        splat_offsets: first entry of each corner, (M + 2,) int32.
        splat_weights: weight of each entry.
        neighbours: for each direction all corners' first and second neighbours, (d + 1, 2, M + 1) int32.
        slice_corners: corners of each point, (N, d + 1) int32.
        slice_weights: weight of each corner.
    """

    splat_points: Tensor
    splat_offsets: Tensor
    splat_weights: Tensor
    neighbours: Tensor
    slice_corners: Tensor
    slice_weights: Tensor

    def filter(self, values: Tensor) -> Tensor:
        """Weighted sums (N, C) of all points' values (N, C)."""
        corners = F.embedding_bag(
            self.splat_points,
            values,
            self.splat_offsets,
            mode="sum",
            per_sample_weights=self.splat_weights,
            include_last_offset=True,
        )  # (M + 1, C)
        # Narrow rows are fetched as one number each; wide ones as pairs, with vector instructions.
        number = {1: torch.float32, 2: torch.complex64, 4: torch.complex128}.get(values.shape[1])
        for of_direction in self.neighbours if number else self._neighbour_pairs:
            if number:
                first, second = (_rows(corners, of_all, number) for of_all in of_direction)
                both = first.add_(second)
            else:
                both = F.embedding_bag(of_direction, corners, mode="sum")
            corners = corners.add(both, alpha=0.5)
        return F.embedding_bag(self.slice_corners, corners, mode="sum", per_sample_weights=self.slice_weights)

    def normalized(self, weight: float = 1.0) -> "Lattice":
        """The same filter K as weight · D K D with D = diag(K·1)^-½ (Krähenbühl & Koltun, NIPS 2011)."""
        ones = torch.ones(len(self.slice_corners), 1, device=self.slice_weights.device)
        norm = (self.filter(ones)[:, 0] + 1e-20).rsqrt()  # (N,)
        return replace(
            self,
            splat_weights=self.splat_weights * norm[self.splat_points],
            slice_weights=self.slice_weights * (weight * norm)[:, None],
        )

    @cached_property
    def _neighbour_pairs(self) -> Tensor:
        return self.neighbours.transpose(1, 2).contiguous()


def sum_of(lattices: Sequence[Lattice]) -> Lattice:
    """One lattice that filters the same points as all of several together, and adds up."""
    directions = max(len(lattice.neighbours) for lattice in lattices)
    points, offsets, neighbours, corners = [], [], [], []
    num_corners = num_entries = 0
    for lattice in lattices:
        empty = lattice.neighbours.shape[2] - 1
        missing = (0, 0, 0, 0, 0, directions - len(lattice.neighbours))
        neighbours.append(F.pad(lattice.neighbours, missing, value=empty) + num_corners)
        corners.append(lattice.slice_corners + num_corners)
        points.append(lattice.splat_points)
        offsets.append(lattice.splat_offsets[:-1] + num_entries)
        num_corners += empty + 1
        num_entries += len(lattice.splat_points)
    offsets.append(offsets[-1].new_tensor([num_entries]))
    return Lattice(
        splat_points=torch.cat(points),
        splat_offsets=torch.cat(offsets),
        splat_weights=torch.cat([lattice.splat_weights for lattice in lattices]),
        neighbours=torch.cat(neighbours, dim=2),
        slice_corners=torch.cat(corners, dim=1),
        slice_weights=torch.cat([lattice.slice_weights for lattice in lattices], dim=1),
    )


def build_lattice(features: Tensor) -> Lattice:
    """The lattice of points.

    Args:
        features: (N, d), or (B, N, d) for B sets of points that do not see each other; float32, in units of the
            Gaussian's standard deviation.

    Raises:
        InputError: if the points are spread over more cells than an int64 can number.
    """
    if features.ndim == 2:
        features = features[None]
    num_sets, _, d = features.shape
    cells, rank, weights = _simplices(features.permute(2, 0, 1).reshape(d, -1))
    keys, shifts = _keys(cells, rank, num_sets)  # (d + 1, B · N)
    corners, entry_points, is_first = _group(keys)
    entry_corner = is_first.view(-1).cumsum(0, dtype=torch.int32) - 1
    slice_corners = torch.empty(keys.shape[1], d + 1, dtype=torch.int32, device=keys.device)
    rows = torch.arange(d + 1, device=keys.device)[:, None]
    slice_corners.view(-1)[(entry_points * (d + 1) + rows).view(-1)] = entry_corner
    starts = is_first.view(-1).nonzero()[:, 0]
    ends = torch.full((2,), keys.numel(), device=keys.device)
    remainder = rows[:, 0].repeat_interleave(is_first.sum(dim=1))  # (M,)
    return Lattice(
        splat_points=entry_points.view(-1).int(),
        splat_offsets=torch.cat([starts, ends]).int(),
        splat_weights=weights.gather(1, entry_points).view(-1),
        neighbours=_neighbours(corners, shifts[:, remainder]),
        slice_corners=slice_corners,
        slice_weights=(weights.T / (1 + 2.0**-d)).contiguous(),
    )


def _simplices(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The simplex each point lies in.

    Args:
        features: (d, N).

    Returns:
        Cell of the nearest corner of remainder 0 in units of d + 1, (d + 1, N) int64; rank of each coordinate's
        offset from it, largest first, (d + 1, N) int64; weight of the corner of each remainder, (d + 1, N).
    """
    d = len(features)
    # Rounded where the reference rounds: a float32's last bit is 1e-5 of a cell here.
    common = float(np.float32((2 / 3) ** 0.5 * (d + 1)))
    scale = [common / ((i + 1) * (i + 2)) ** 0.5 for i in range(d)]
    elevated = features.new_empty(d + 1, features.shape[1])
    total = torch.zeros_like(features[0])
    for i in range(d, 0, -1):
        scaled = features[i - 1] * scale[i - 1]
        elevated[i] = total - i * scaled
        total = total + scaled
    elevated[0] = total
    cells = (elevated * (1 / (d + 1))).round()  # halves to even, as the reference rounds
    offset = elevated - cells * (d + 1)
    small = torch.arange(d + 1, dtype=torch.int8, device=offset.device)[:, None].repeat(1, offset.shape[1])
    for i in range(d):
        for j in range(i + 1, d + 1):
            is_less = (offset[i] < offset[j]).view(torch.int8)
            small[i] += is_less
            small[j] -= is_less
    # The cells' sum says how far the corner is off the plane; those of extreme rank move by one.
    small += cells.sum(dim=0).to(torch.int8)
    step = (small < 0).view(torch.int8) - (small > d).view(torch.int8)
    cells += step
    rank = (small + step * (d + 1)).long()
    by_rank = torch.empty_like(offset).scatter_(0, rank, (elevated - cells * (d + 1)) * (1 / (d + 1)))
    weights = torch.empty_like(offset)
    weights[0] = by_rank[d] + (1 - by_rank[0])
    weights[1:] = by_rank[:-1].flip(0) - by_rank[1:].flip(0)
    return cells.long(), rank, weights


def _keys(cells: Tensor, rank: Tensor, num_sets: int) -> tuple[Tensor, Tensor]:
    """A number for each point's corner of each remainder, equal where the corners are, (d + 1, N) int64.

    The corner of remainder r has coordinates (d + 1) q + r with q = cell - [rank > d - r]; the last follows from the
    others. A direction's first neighbour, coordinates - 1 but + d in the direction, has remainder r - 1 and the same q,
    + 1 in the direction; for r = 0, remainder d and q - 1, + 0 in the direction.

    Returns:
        Keys; and what the first neighbour's key is larger by, (directions, remainders).
    """
    d, num_points = len(cells) - 1, cells.shape[1]
    least, most = cells[:d].aminmax(dim=1)
    low = least - 2
    extent = (most + 2 - low).tolist()
    strides, size = [], 1
    for n in extent:
        strides.append(size)
        size *= n
    if size * num_sets * (d + 1) << num_points.bit_length() >= 2**63:
        raise InputError(f"the points are spread too far: {extent} cells; choose larger standard deviations")
    stride = torch.tensor([*strides, 0], device=cells.device)  # (d + 1,)
    first = ((cells[:d] - low[:, None]) * stride[:d, None]).sum(dim=0)  # remainder 0
    first += torch.arange(num_sets, device=cells.device).repeat_interleave(num_points // num_sets) * size
    size *= num_sets
    by_rank = torch.empty_like(rank).scatter_(0, rank, stride[:, None].expand_as(rank))
    less = torch.cat([torch.zeros_like(first)[None], by_rank[1:].flip(0)]).cumsum(dim=0)
    keys = first - less + size * torch.arange(d + 1, device=cells.device)[:, None]
    shifts = torch.empty(d + 1, d + 1, dtype=torch.long, device=cells.device)
    shifts[:, 1:] = (stride - size)[:, None]
    shifts[:, 0] = stride - stride.sum() + size * d
    return keys, shifts


def _group(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sort each row of keys (R, N): different keys of all rows, ascending; point of each entry; is it its key's first.

    The point's number fills the key's lower bits, so that sorting values alone, which is fast, sorts both.
    """
    bits = keys.shape[1].bit_length()
    tagged = (keys << bits) + torch.arange(keys.shape[1], device=keys.device)
    # numpy sorts with vector instructions.
    tagged = tagged.sort(dim=1).values if tagged.is_cuda else torch.from_numpy(np.sort(tagged.numpy(), axis=1))
    points, ordered = tagged & ((1 << bits) - 1), tagged >> bits
    is_first = torch.ones_like(keys, dtype=torch.bool)
    torch.ne(ordered[:, 1:], ordered[:, :-1], out=is_first[:, 1:])
    return ordered[is_first], points, is_first


def _neighbours(corners: Tensor, shifts: Tensor) -> Tensor:
    """For each direction all corners' two neighbours, M where empty: (M,), (R, M) -> (R, 2, M + 1) int32.

    A corner's first neighbour has it as its second.
    """
    num_corners = len(corners)
    neighbours = torch.full((len(shifts), 2, num_corners + 1), num_corners, dtype=torch.int32, device=corners.device)
    for (first, second), shift in zip(neighbours, shifts, strict=True):
        wanted = corners + shift
        place = torch.searchsorted(corners, wanted).clamp_(max=num_corners - 1)
        found = (corners[place] == wanted).nonzero()[:, 0]
        place = place[found]
        first[found] = place.int()
        second[place] = found.int()
    return neighbours


def _rows(table: Tensor, indices: Tensor, number: torch.dtype) -> Tensor:
    """Rows of a table, each as wide as one `number`: several times faster than copying rows."""
    return table.view(number)[:, 0].index_select(0, indices)[:, None].view(table.dtype)
