"""Multi-scale + flip: the sums by which the field turns many maps of one image into one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from wsss.cam.functions import normalize, resize


def strided_size(size: tuple[int, int], stride: int = 4) -> tuple[int, int]:
    """Cells of a map at `stride`: ceil(H / stride), ceil(W / stride)."""
    return ((size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1)


def with_flips(images: Tensor) -> Tensor:
    """Append the horizontally flipped images: (B, 3, H, W) -> (2B, 3, H, W). Inverse: `merge_flips`."""
    return torch.cat([images, images.flip(-1)])


def merge_flips(maps: Tensor) -> Tensor:
    """Add the maps of flipped images, flipped back: (2B, K, h, w) -> (B, K, h, w). A sum, as published (IRN)."""
    straight, flipped = maps.chunk(2)
    return straight + flipped.flip(-1)


def multi_scale(
    draw: Callable[[Tensor, float], Mapping[str, Tensor]], images: Tensor, *, scales: Sequence[float], flip: bool
) -> dict[str, Tensor]:
    """Maps of several scales and their mirror images, added at stride 4, as published (IRN).

    Args:
        draw: from images of one scale, followed by their mirror images where `flip`, and the scale itself, to
            kind -> maps (B or 2B, K, h, w) after ReLU; it may leave out kinds at some scales.
        images: (B, 3, H, W), floating.
        scales: resize factors.
        flip: whether to add the mirror images' maps.

    Returns:
        Kind -> (B, K, ceil(H/4), ceil(W/4)), a sum, not normalised.
    """
    drawn = (draw(batch, scale) for scale, batch in at_scales(images, scales=scales, flip=flip))
    return add_scales(drawn, strided_size((images.shape[-2], images.shape[-1])), flip=flip)


def at_scales(images: Tensor, *, scales: Sequence[float], flip: bool) -> Iterator[tuple[float, Tensor]]:
    """Each scale with the images (B, 3, H, W) resized by it, followed by their mirror images where `flip`."""
    height, width = images.shape[-2:]
    for scale in scales:
        scaled = resize(images, (max(round(height * scale), 1), max(round(width * scale), 1)))
        yield scale, with_flips(scaled) if flip else scaled


def add_scales(drawn: Iterable[Mapping[str, Tensor]], size: tuple[int, int], *, flip: bool) -> dict[str, Tensor]:
    """Add the maps drawn at each scale, and those of mirror images, at one size.

    Args:
        drawn: for each scale, kind -> maps (B or, where `flip`, 2B, K, h_i, w_i).
        size: cells of the result, (h, w).
        flip: whether mirror images follow the images.

    Returns:
        Kind -> (B, K, h, w), a sum, not normalised.
    """
    total: dict[str, Tensor] = {}
    for of_scale in drawn:
        for kind, maps in of_scale.items():
            merged = resize(merge_flips(maps) if flip else maps, size)
            total[kind] = total[kind] + merged if kind in total else merged
    return total


def sum_scales(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Resize the maps (…, h_i, w_i) of each scale to one size and add them, as published (IRN)."""
    return torch.stack([resize(m, size) for m in maps]).sum(dim=0)


def published_maps(maps: Sequence[Tensor], size: tuple[int, int], *, stride: int = 16) -> tuple[Tensor, Tensor]:
    """IRN's and ReCAM's two outputs from the flip-merged maps (K, h_i, w_i) of each scale.

    Returns:
        The stride-4 maps (K, ceil(H/4), ceil(W/4)), and the maps at image size (K, H, W): resized to the next multiple
        of `stride` and cut, not resized to `size`. Both are divided by (own maximum + 1e-5).
    """
    rows, columns = strided_size(size, stride)
    padded = sum_scales(maps, (rows * stride, columns * stride))
    cut = padded[..., : size[0], : size[1]]
    return normalize(sum_scales(maps, strided_size(size)), eps=1e-5), normalize(cut, eps=1e-5)
