"""Whole photographs through a segmentation network: scales, mirror image, sliding windows, and the labels at full size.

Logits are joined on one coarse grid, where the network computes them anyway, and grow to the photograph's size strip by
strip at the end: all labels of all pixels never exist at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.models.segmentation import SegmentationNetwork

GRID_STRIDE = 4  # input pixels per cell where several passes are joined
STRIP = 256  # rows that grow to full size at once
# Photographs of more pixels are cut into windows of this side, unless told otherwise.
MOST_PIXELS = 2 * 1024**2
WINDOW = 1024
LONGEST = 8192  # pixels that a photograph is enlarged to at most


@dataclass(frozen=True)
class Inference:
    """How a photograph is looked at.

    Attributes:
        resize_long: longer side, in pixels, at which scale 1 sees it; None: its own.
        scales: resize factors; their logits are averaged.
        flip: add the mirror image at every scale.
        window: side in pixels of the square windows that a scaled photograph is cut into; None: it is seen whole up to
            `MOST_PIXELS`, which bounds the memory, and in windows of `WINDOW` beyond. One as large as the photograph
            sees it whole at any size.
        overlap: share of a window that the next one sees again, at least.
    """

    resize_long: int | None = None
    scales: Sequence[float] = (1.0,)
    flip: bool = False
    window: int | None = None
    overlap: float = 1 / 3

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"expected scales above 0, got {list(self.scales)}")
        if self.window is not None and self.window < 2 * GRID_STRIDE:
            raise ValueError(f"expected a window of at least {2 * GRID_STRIDE} pixels, got {self.window}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"expected an overlap in [0, 1), got {self.overlap}")
        if self.resize_long is not None and not 1 <= self.resize_long <= LONGEST:
            raise ValueError(f"expected resize_long from 1 to {LONGEST}, got {self.resize_long}")


def coarse_logits(model: SegmentationNetwork, images: Tensor, inference: Inference) -> Tensor:
    """Logits (B, L, h, w) of images (B, 3, H, W), uint8 or float in [0, 1], on a grid that covers the whole image.

    One pass gives the network's own grid; several are averaged on one of `GRID_STRIDE` pixels a cell.
    """
    base = _scaled(images.shape[2:], inference)
    mirrored = (False, True) if inference.flip else (False,)
    passes = (
        _one_scale(model, _resize(images, base, scale), inference, flip=flip)
        for scale, flip in product(inference.scales, mirrored)
    )
    first, num_passes = next(passes), len(inference.scales) * len(mirrored)
    if num_passes == 1:
        return first
    grid = [_cells(side) for side in base]
    total = _interpolate(first, grid)
    for logits in passes:
        total = total + _interpolate(logits, grid)
    return total / num_passes


def full_logits(
    model: SegmentationNetwork, images: Tensor, inference: Inference, *, size: Sequence[int] | None = None
) -> Tensor:
    """Logits (B, L, *size); size (H, W): default: the images'."""
    return _interpolate(coarse_logits(model, images, inference), images.shape[2:] if size is None else size)


def predict_labels(model: SegmentationNetwork, images: Tensor, inference: Inference) -> Tensor:
    """Label maps (B, H, W), uint8, of images (B, 3, H, W)."""
    return grown_labels(coarse_logits(model, images, inference), images.shape[2:])


def grown_labels(scores: Tensor, size: Sequence[int]) -> Tensor:
    """Arg max (B, H, W), uint8, of scores (B, L, h, w) grown to `size`."""
    return torch.cat([strip.argmax(dim=1).byte() for strip in grown_strips(scores, size)], dim=1)


def grown_strips(logits: Tensor, size: Sequence[int], rows: int = STRIP) -> Iterator[Tensor]:
    """Logits (B, L, h, w) grown to `size` bilinearly, (B, L, up to `rows`, W) at a time, from top to bottom."""
    height, width = size
    wide = _interpolate(logits, (logits.shape[2], width))  # (B, L, h, W)
    cells = wide.shape[2]
    # Bilinear interpolation without aligned corners, one axis after the other.
    centre = ((torch.arange(height, device=wide.device) + 0.5) * (cells / height) - 0.5).clamp(0, cells - 1)
    above = centre.floor().long()
    below = (above + 1).clamp(max=cells - 1)
    share = (centre - above).to(wide.dtype)
    for start in range(0, height, rows):
        part = slice(start, start + rows)
        yield torch.lerp(wide[:, :, above[part]], wide[:, :, below[part]], share[part, None])


def _scaled(size: Sequence[int], inference: Inference) -> list[int]:
    factor = 1.0 if inference.resize_long is None else inference.resize_long / max(size)
    return [max(round(side * factor), 1) for side in size]


def _resize(images: Tensor, base: Sequence[int], scale: float) -> Tensor:
    size = [max(round(side * scale), 1) for side in base]
    if list(images.shape[2:]) == size:
        return images
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def _one_scale(model: SegmentationNetwork, images: Tensor, inference: Inference, *, flip: bool) -> Tensor:
    images = images.flip(-1) if flip else images
    logits = _windows(model, images, _window(images.shape[2:], inference), inference.overlap)
    return logits.flip(-1) if flip else logits


def _window(size: Sequence[int], inference: Inference) -> int:
    if inference.window is not None:
        return inference.window
    return WINDOW if size[0] * size[1] > MOST_PIXELS else max(size)


def _windows(model: SegmentationNetwork, images: Tensor, window: int, overlap: float) -> Tensor:
    """Mean logits of overlapping windows, on a grid of `GRID_STRIDE` pixels; the network's own of a single window."""
    height, width = images.shape[2:]
    if max(height, width) <= window:
        return model.logits(images).float()
    total = seen = torch.zeros((), device=images.device)
    for rows, columns in product(_spans(height, window, overlap), _spans(width, window, overlap)):
        logits = model.logits(images[:, :, rows.pixels, columns.pixels]).float()
        if not total.ndim:  # the first tells the number of labels
            seen = logits.new_zeros(_cells(height), _cells(width))
            total = logits.new_zeros(*logits.shape[:2], *seen.shape)
        total[:, :, rows.cells, columns.cells] += _interpolate(logits, seen[rows.cells, columns.cells].shape)
        seen[rows.cells, columns.cells] += 1
    return total / seen


class _Span(NamedTuple):
    """Where a window lies along one side."""

    cells: slice
    pixels: slice


def _spans(side: int, window: int, overlap: float) -> list[_Span]:
    """Windows along one side, evenly spread, from border to border."""
    cells = _cells(side)
    length = min(_cells(window), cells)
    step = max(int(length * (1 - overlap)), 1)
    num_steps = ceil((cells - length) / step)
    starts = [round(i * (cells - length) / num_steps) for i in range(num_steps + 1)] if num_steps else [0]
    pixels = side / cells  # a cell's, a little less than the stride where that does not divide the side
    return [
        _Span(slice(start, start + length), slice(round(start * pixels), round((start + length) * pixels)))
        for start in starts
    ]


def _cells(side: int) -> int:
    return ceil(side / GRID_STRIDE)


def _interpolate(logits: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(logits.shape[2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
