"""Connected parts of a label map, and the polygons around them."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Corner = tuple[int, int]
TOUCHING = np.ones((3, 3))  # pixels are neighbours by a corner too
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # (x, y) to the east, south, west and north
# A pixel's edges, walked in these directions: the neighbour (row, column) across, the corner (x, y) where one starts.
EDGES = (((-1, 0), (0, 0)), ((0, 1), (1, 0)), ((1, 0), (1, 1)), ((0, -1), (0, 1)))


class Region(NamedTuple):
    """A connected part of one class: its cut-out (h, w), whose corner lies at (`left`, `top`)."""

    label: int
    left: int
    top: int
    mask: NDArray[np.bool_]

    def outline(self) -> NDArray[np.int64]:
        """See `outline`, in pixels of the whole image."""
        return outline(self.mask) + np.array([self.left, self.top])


def regions(labels: NDArray[np.uint8]) -> Iterator[Region]:
    """The 8-connected parts of every label but background, void too, by ascending label."""
    for label in np.unique(labels[labels > 0]):
        parts, _ = ndimage.label(labels == label, structure=TOUCHING)
        for number, (rows, columns) in enumerate(ndimage.find_objects(parts), start=1):
            yield Region(int(label), columns.start, rows.start, parts[rows, columns] == number)


def outline(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """One polygon around an 8-connected mask (H, W), along the edges of its pixels.

    A hole is joined to what lies above it by a cut of no width, walked once each way, so that filling the polygon gives
    back the mask.

    Returns:
        Corners (P, 2) as x, y; pixel (row r, column c) covers [c, c + 1] × [r, r + 1].

    Raises:
        ValueError: if the mask is empty or of several parts.
    """
    _, num_parts = ndimage.label(mask, structure=TOUCHING)
    if num_parts != 1:
        raise ValueError(f"expected a mask of one part, got {num_parts}: take the parts from `regions`")
    loops = _loops(_edges(mask))
    heights: dict[int, list[int]] = defaultdict(list)  # of the corners so far, by their x
    holes_at: dict[Corner, list[list[Corner]]] = defaultdict(list)
    for loop in loops:  # from the top, so what lies above a hole has come before it
        if loop is not loops[0]:
            x, y = loop[0]
            holes_at[x, max(height for height in heights[x] if height <= y)].append(loop)
        for x, y in loop:
            heights[x].append(y)
    walk, ahead = [], loops[0][::-1]
    while ahead:
        walk.append(corner := ahead.pop())
        for hole in holes_at.pop(corner, ()):
            ahead += [corner, hole[0], *reversed(hole)]
    return _without_straight(np.array(walk))


def _edges(mask: NDArray[np.bool_]) -> dict[Corner, list[int]]:
    """Directions in which the boundary leaves each corner, the mask on its right; corners from top left."""
    inside = np.pad(mask, 1)
    edges = []
    for direction, ((down, right), (x, y)) in enumerate(EDGES):
        rows, columns = np.nonzero(inside & ~np.roll(inside, (-down, -right), (0, 1)))
        edges += [
            (row + y - 1, column + x - 1, direction)
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
    directions: dict[Corner, list[int]] = defaultdict(list)
    for y, x, direction in sorted(edges):
        directions[x, y].append(direction)
    return directions


def _loops(edges: dict[Corner, list[int]]) -> list[list[Corner]]:
    """Closed walks over all edges, each from its top left corner, in the order of these; uses the edges up."""
    loops = []
    for start in list(edges):
        while edges[start]:
            loop, corner, direction = [start], start, edges[start].pop()
            while (corner := (corner[0] + STEPS[direction][0], corner[1] + STEPS[direction][1])) != start:
                loop.append(corner)
                # Left first: pixels that touch at a corner belong together.
                turn = next(turn for turn in (-1, 0, 1) if (direction + turn) % 4 in edges[corner])
                direction = (direction + turn) % 4
                edges[corner].remove(direction)
            loops.append(loop)
    return loops


def _without_straight(corners: NDArray[np.int64]) -> NDArray[np.int64]:
    """The corners (P, 2) of a closed walk at which it turns."""
    corners = corners[(corners != np.roll(corners, 1, axis=0)).any(axis=1)]
    arriving = np.sign(corners - np.roll(corners, 1, axis=0))
    return corners[(arriving != np.roll(arriving, -1, axis=0)).any(axis=1)]
