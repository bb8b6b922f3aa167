"""What is asked of polygons and run lengths from elsewhere before they are drawn."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_STEPS = 20_000_000  # pycocotools takes 40 bytes for each


def drawing_steps(polygon: NDArray[np.float64]) -> float:
    """Pixels that the outline of a polygon x, y, x, y … passes, about."""
    corners = polygon.reshape(-1, 2)
    return float(abs(corners - np.roll(corners, 1, axis=0)).max(axis=1, initial=0).sum())


def most_steps(size: Sequence[int]) -> int:
    """How many are sensible in an image of a size: around every pixel, and some far outside."""
    height, width = size
    return min(4 * height * width + 100 * max(height, width), MOST_STEPS)
