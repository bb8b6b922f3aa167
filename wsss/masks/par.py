"""Pixel-adaptive refinement of class scores by local colours and places (AFA, Ru et al., CVPR 2022); no training."""

from collections.abc import Iterator, Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

DILATIONS = (1, 2, 4, 8, 12, 24)
EPS = 1e-8  # of standard deviations, which are 0 where all is of one colour


def par(
    image: Tensor,
    maps: Tensor,
    *,
    dilations: Sequence[int] = DILATIONS,
    iterations: int = 10,
    color_width: float = 0.3,
    place_width: float = 0.3,
    place_weight: float = 0.01,
) -> Tensor:
    """Replace each score by a mean of its neighbours', those of like colour counting most, again and again.

    The neighbours are the eight around a pixel at each dilation; beyond the border its last pixel is repeated.

    Args:
        image: photograph (3, H', W'), of any range of values; it is brought to the size of the maps.
        maps: scores (L, H, W), the background's among them.
        dilations: distances of the neighbours.
        iterations: how often.
        color_width: w1, width of the kernel of colours, in standard deviations among the neighbours.
        place_width: w2, the same of places.
        place_weight: w3, weight of the kernel of places beside that of colours.

    Returns:
        Scores (L, H, W).

    Raises:
        ValueError: if the shapes do not fit.
    """
    if image.dim() != 3 or image.shape[0] != 3 or maps.dim() != 3:
        raise ValueError(f"expected a photograph (3, H, W) and maps (L, H, W), got {[*image.shape]}, {[*maps.shape]}")
    image = F.interpolate(image.float()[None], maps.shape[1:], mode="bilinear", align_corners=False, antialias=True)[0]
    by_color = _color_kernel(image, dilations, color_width)
    by_place = _place_kernel(dilations, place_width).to(image.device)[:, None, None]
    kernel = (by_color + place_weight * by_place) / (1 + place_weight)  # so that scores keep their scale
    maps = maps.float()
    for _ in range(iterations):
        refined = torch.zeros_like(maps)
        for weight, neighbours in zip(kernel, _around(maps, dilations), strict=True):
            refined.addcmul_(weight, neighbours)
        maps = refined
    return maps


def _color_kernel(image: Tensor, dilations: Sequence[int], width: float) -> Tensor:
    """Weights (N, H, W) of each pixel's neighbours by colour; their sum is 1."""
    logits = torch.zeros(len(_offsets(dilations)), *image.shape[1:], device=image.device)  # (N, H, W)
    for channel in image.split(1):  # one by one: the neighbours' colours are what takes the memory
        around = torch.cat([*_around(channel, dilations)])
        spread = width * (around.std(dim=0) + EPS)
        logits -= around.sub_(channel).div_(spread).square_() / len(image)
    return logits.softmax(dim=0)


def _place_kernel(dilations: Sequence[int], width: float) -> Tensor:
    """Weights (N,) of each pixel's neighbours by distance; their sum is 1."""
    distance = torch.tensor(_offsets(dilations)).float().norm(dim=1)
    return (-(distance / (width * (distance.std() + EPS))).square()).softmax(dim=0)


def _around(planes: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Planes (C, H, W) as each neighbour of a pixel sees them."""
    height, width = planes.shape[1:]
    far = max(dilations)
    # Not padded in one step: that cannot repeat a border beyond the size of the planes.
    rows = torch.arange(-far, height + far, device=planes.device).clamp(0, height - 1)
    columns = torch.arange(-far, width + far, device=planes.device).clamp(0, width - 1)
    padded = planes[:, rows[:, None], columns]
    for dy, dx in _offsets(dilations):
        yield padded[:, far + dy : far + dy + height, far + dx : far + dx + width]


def _offsets(dilations: Sequence[int]) -> list[tuple[int, int]]:
    return [(d * dy, d * dx) for d in dilations for dy, dx in product((-1, 0, 1), repeat=2) if dy or dx]
