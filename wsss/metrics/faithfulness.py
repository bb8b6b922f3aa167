"""How far a map tells what a classifier looks at: pixels are taken away or put back, and its scores compared.

B rows, each a map of one class of one image: images (B, 3, H, W) in [0, 1], maps (B, H, W) in [0, 1], classes (B,).
`predict` takes images and gives probabilities (B, N). All functions give figures of each row, whose means a caller
pools, and run the network on whole batches.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import splu
from torch import Tensor

from wsss.defaults import PERCENTILES

Predict = Callable[[Tensor], Tensor]

OCCLUDED_FROM = 0.7  # LayerCAM's threshold
# Weight of a neighbour (down, right) where a pixel is imputed, from ROAD.
NEIGHBOURS = {
    (down, right): 1 / 6 if 0 in (down, right) else 1 / 12
    for down in (-1, 0, 1)
    for right in (-1, 0, 1)
    if (down, right) != (0, 0)
}


class Confidence(NamedTuple):
    """What is left of a class's probability y when only what its map shows is seen, o; each (B,).

    Attributes:
        drop: max(0, y − o) / y; its mean is the average drop.
        increase: 1 where o > y; its mean is the increase in confidence.
    """

    drop: Tensor
    increase: Tensor


class Curves(NamedTuple):
    """Probability of a class over S + 1 evenly spaced shares of pixels, 0 … 1, (B, S + 1).

    Attributes:
        deletion: pixels are taken away, those of the highest score first.
        insertion: pixels are put back in this order.
    """

    deletion: Tensor
    insertion: Tensor


def score_of(predict: Predict, images: Tensor, classes: Tensor) -> Tensor:
    """Probability of each row's class, (B,)."""
    return predict(images).gather(1, classes[:, None])[:, 0]


def occlude(images: Tensor, maps: Tensor, *, threshold: float = OCCLUDED_FROM) -> Tensor:
    """Images whose pixels with a score of `threshold` or more are 0.

    LayerCAM (Jiang et al., TIP 2021) compares the accuracy of a classifier on images that it gets right with that on
    these. Black it is here: 0 before what the network itself subtracts.
    """
    _check(images, maps)
    return torch.where((maps >= threshold)[:, None], 0.0, images)


def confidence(predict: Predict, images: Tensor, maps: Tensor, classes: Tensor) -> Confidence:
    """Average drop and increase in confidence (Grad-CAM++, Chattopadhay et al., WACV 2018), row by row.

    The network sees the image times the map.
    """
    _check(images, maps)
    before = score_of(predict, images, classes)
    after = score_of(predict, images * maps[:, None], classes)
    drop = (before - after).clamp(min=0) / before.clamp(min=torch.finfo(before.dtype).tiny)
    return Confidence(drop, (after > before).float())


def deletion_insertion(
    predict: Predict, images: Tensor, maps: Tensor, classes: Tensor, *, baseline: Tensor, steps: int = 20
) -> Curves:
    """Deletion and insertion (RISE, Petsiuk et al., BMVC 2018).

    Deletion blackens pixels in descending order of their score; insertion uncovers them over `baseline`, which is the
    blurred image as published. Of equal scores the first in row-major order goes first.

    Args:
        predict: images -> probabilities (B, N).
        images: (B, 3, H, W).
        maps: (B, H, W).
        classes: (B,).
        baseline: what is seen before insertion, (B, 3, H, W).
        steps: S.
    """
    _check(images, maps)
    place = ranking(maps)  # (B, H, W)
    num_pixels = maps[0].numel()
    deleted, inserted = [], []
    for step in range(steps + 1):
        is_taken = (place < round(step * num_pixels / steps))[:, None]  # (B, 1, H, W)
        deleted.append(score_of(predict, torch.where(is_taken, 0.0, images), classes))
        inserted.append(score_of(predict, torch.where(is_taken, images, baseline), classes))
    return Curves(torch.stack(deleted, dim=1), torch.stack(inserted, dim=1))


def auc(curves: Tensor) -> Tensor:
    """Area (B,) under curves (B, S + 1) over evenly spaced shares from 0 to 1, by trapezia."""
    return torch.trapezoid(curves, dx=1 / (curves.shape[1] - 1), dim=1)


def ranking(maps: Tensor) -> Tensor:
    """Place of each pixel in the descending order of scores, 0 the highest; of equals the first in row-major order."""
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)  # (B, HW)
    places = torch.arange(order.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view_as(maps)


class Road(NamedTuple):
    """Probability of each row's class after P shares of the pixels were imputed, (B, P).

    Attributes:
        most: the most relevant pixels went first.
        least: the least relevant pixels went first.
    """

    most: Tensor
    least: Tensor

    @property
    def combined(self) -> Tensor:
        """Mean over the shares of (least − most) / 2, (B,): high where the map ranks pixels as the network does."""
        return ((self.least - self.most) / 2).mean(dim=1)


def road(
    predict: Predict,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    *,
    percentiles: Sequence[float] = PERCENTILES,
    noise: float = 0.01,
    generator: torch.Generator | None = None,
) -> Road:
    """ROAD, remove and debias (Rong et al., ICML 2022), for the most and the least relevant pixels first.

    Pixels are not blackened but imputed, see `impute`, so that the outline of what is gone tells little of the class.

    Args:
        predict: images -> probabilities (B, N).
        images: (B, 3, H, W).
        maps: (B, H, W).
        classes: (B,).
        percentiles: how many percent of the pixels are removed, P numbers.
        noise: see `impute`.
        generator: of the noise.
    """
    _check(images, maps)
    place = ranking(maps)
    num_pixels = maps[0].numel()
    scores: dict[bool, list[Tensor]] = {True: [], False: []}
    for percent in percentiles:
        removed = round(percent * num_pixels / 100)
        for is_most, mask in ((True, place < removed), (False, place >= num_pixels - removed)):
            rows = [
                impute(image, of_image, noise=noise, generator=generator)
                for image, of_image in zip(images, mask, strict=True)
            ]
            scores[is_most].append(score_of(predict, torch.stack(rows), classes))
    return Road(torch.stack(scores[True], dim=1), torch.stack(scores[False], dim=1))


def impute(image: Tensor, missing: Tensor, *, noise: float = 0.01, generator: torch.Generator | None = None) -> Tensor:
    """Noisy linear imputation (Rong et al., ICML 2022): missing pixels become weighted means of their neighbours.

    Each is 1/6 of its four neighbours across an edge and 1/12 of those across a corner, known or missing themselves, so
    that all of them are the solution of one sparse system; at the border the neighbours there are share the weight. A
    hole in a linear ramp is filled as it was.

    Args:
        image: (3, H, W).
        missing: bool (H, W).
        noise: standard deviation of the normal noise that is added to them.
        generator: of the noise.

    Returns:
        The image; without a known pixel its mean colour stands for all.
    """
    if not missing.any():
        return image
    mask = missing.cpu().numpy()
    if mask.all():
        filled = image.mean(dim=(1, 2))[:, None].expand(-1, mask.size)  # (3, M)
    else:
        matrix, known = _system(mask, image.flatten(1).T.double().cpu().numpy())
        # Symmetric and diagonally dominant: an ordering for symmetric matrices, and no pivots.
        factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        filled = torch.from_numpy(factors.solve(known).T).to(image)  # (3, M)
    result = image.clone()
    drawn = torch.randn(filled.shape, generator=generator).to(image) * noise
    result[:, missing] = filled + drawn
    return result


def _system(missing: NDArray[np.bool_], pixels: NDArray[np.float64]) -> tuple[csc_array, NDArray[np.float64]]:
    """The equations of the M missing pixels, (M, M), and what known neighbours contribute, (M, 3)."""
    height, width = missing.shape
    rows, columns = np.nonzero(missing)
    number = np.full(missing.shape, -1)
    number[rows, columns] = np.arange(len(rows))
    weights, known = np.zeros(len(rows)), np.zeros((len(rows), pixels.shape[1]))
    entries: list[tuple[NDArray[np.int64], NDArray[np.int64], float]] = []
    for (down, right), weight in NEIGHBOURS.items():
        y, x = rows + down, columns + right
        is_inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        of_pixel = np.flatnonzero(is_inside)
        y, x = y[is_inside], x[is_inside]
        weights[of_pixel] += weight
        other = number[y, x]
        is_known = other < 0
        known[of_pixel[is_known]] += weight * pixels[y[is_known] * width + x[is_known]]
        entries.append((of_pixel[~is_known], other[~is_known], -weight))
    each = np.arange(len(rows))
    i = np.concatenate([each, *(of_pixel for of_pixel, _, _ in entries)])
    j = np.concatenate([each, *(other for _, other, _ in entries)])
    values = np.concatenate([weights, *(np.full(len(other), value) for _, other, value in entries)])
    return coo_array((values, (i, j)), shape=(len(rows), len(rows))).tocsc(), known


def relative_variance(gradients: Tensor) -> Tensor:
    """Variance over the cells of each channel's gradient over its squared mean, (B, C, h, w) -> (B, C).

    Grad-CAM gives a channel one weight, the mean of its gradient. Where that varies little from cell to cell nothing is
    lost; LayerCAM (Jiang et al., TIP 2021) shows that in shallow stages it varies much, and weighs each cell. The ratio
    is 0 for a gradient that is the same in all cells, infinite for one of mean 0, NaN for one that is 0.
    """
    mean = gradients.mean(dim=(2, 3))
    return gradients.var(dim=(2, 3), correction=0) / mean**2


def _check(images: Tensor, maps: Tensor) -> None:
    if images.ndim != 4 or maps.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"expected images (B, 3, H, W) and maps (B, H, W), got {tuple(images.shape)}, {tuple(maps.shape)}"
        )
