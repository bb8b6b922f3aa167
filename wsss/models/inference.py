"""Whole photographs through a segmentation network: scales, mirror image, sliding windows, and the labels at full size.

Logits are joined on one coarse grid, where the network computes them anyway, and grow to the photograph's size strip by
strip at the end: all labels of all pixels never exist at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.models.segmentation import SegmentationNetwork

GRID_STRIDE = 4  # input pixels per cell where several passes are joined
STRIP = 256  # rows that grow to full size at once


@dataclass(frozen=True)
class Inference:
    """How a photograph is looked at.

    Attributes:
        resize_long: longer side, in pixels, at which scale 1 sees it; None: its own.
        scales: resize factors; their logits are averaged.
        flip: add the mirror image at every scale.
        window: side in pixels of the square windows that a scaled photograph is cut into; None: it is seen whole.
        overlap: share of a window that the next one sees again.
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


def coarse_logits(model: SegmentationNetwork, images: Tensor, inference: Inference) -> Tensor:
    """Logits (B, L, h, w) of images (B, 3, H, W), uint8 or float in [0, 1], on a grid that covers the whole image.

    One pass gives the network's own grid; several are averaged on one of `GRID_STRIDE` pixels a cell.
    """
    base = _scaled(images.shape[2:], inference)
    passes = [
        _one_scale(model, _resize(images, base, scale), inference.window, inference.overlap, flip=flip)
        for scale, flip in product(inference.scales, (False, True) if inference.flip else (False,))
    ]
    if len(passes) == 1:
        return passes[0]
    grid = [ceil(side / GRID_STRIDE) for side in base]
    return torch.stack([_interpolate(logits, grid) for logits in passes]).mean(dim=0)


def full_logits(model: SegmentationNetwork, images: Tensor, inference: Inference) -> Tensor:
    """Logits (B, L, H, W) at the images' size."""
    return _interpolate(coarse_logits(model, images, inference), images.shape[2:])


def predict_labels(model: SegmentationNetwork, images: Tensor, inference: Inference) -> Tensor:
    """Label maps (B, H, W), uint8, of images (B, 3, H, W)."""
    size = tuple(images.shape[2:])
    strips = [strip.argmax(dim=1).byte() for strip in grown_strips(coarse_logits(model, images, inference), size)]
    return torch.cat(strips, dim=1)


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


def _one_scale(model: SegmentationNetwork, images: Tensor, window: int | None, overlap: float, *, flip: bool) -> Tensor:
    images = images.flip(-1) if flip else images
    logits = model.logits(images).float() if window is None else _windows(model, images, window, overlap)
    return logits.flip(-1) if flip else logits


def _windows(model: SegmentationNetwork, images: Tensor, window: int, overlap: float) -> Tensor:
    """Mean logits of overlapping windows, on a grid of `GRID_STRIDE` pixels."""
    height, width = images.shape[2:]
    if max(height, width) <= window:
        return model.logits(images).float()
    window = ceil(window / GRID_STRIDE) * GRID_STRIDE
    grid = (ceil(height / GRID_STRIDE), ceil(width / GRID_STRIDE))
    total = seen = torch.zeros(())
    for top, left in product(_starts(height, window, overlap), _starts(width, window, overlap)):
        cut = images[:, :, top : top + window, left : left + window]
        cells = [ceil(side / GRID_STRIDE) for side in cut.shape[2:]]
        logits = _interpolate(model.logits(cut).float(), cells)
        if total.ndim == 0:
            total = logits.new_zeros(*logits.shape[:2], *grid)
            seen = logits.new_zeros(grid)
        rows = slice(top // GRID_STRIDE, top // GRID_STRIDE + cells[0])
        columns = slice(left // GRID_STRIDE, left // GRID_STRIDE + cells[1])
        total[:, :, rows, columns] += logits
        seen[rows, columns] += 1
    return total / seen


def _starts(side: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along one side, in multiples of the grid's stride; the last one ends at the border."""
    if side <= window:
        return [0]
    step = max(int(window * (1 - overlap)) // GRID_STRIDE, 1) * GRID_STRIDE
    last = ceil((side - window) / GRID_STRIDE) * GRID_STRIDE
    return [*range(0, last, step), last]


def _interpolate(logits: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(logits.shape[2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
