"""Weakly supervised object localisation: boxes from maps, and how well they and the maps agree with the truth.

Boxes are x0, y0, x1, y1 in pixels, the ends exclusive. A map belongs to one class of one image.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Box = tuple[int, int, int, int]
# Fraction of the maximum above which a map's pixels are its object's, in CAM (Zhou et al., CVPR 2016).
FRACTION = 0.2
# IoU from which a box is right, of the three that MaxBoxAcc is reported at; 0.5 is that of GT-known localisation.
IOUS = (0.3, 0.5, 0.7)
# Neighbours of a pixel (down, right) that come after it, by connectivity.
LATER = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, 0), (1, 1), (1, -1))}
TOP = (1, 5)  # places in the ranking for loc1 and loc5
PIXEL_BINS = 1000


class Components(NamedTuple):
    """Connected components of a mask, the largest first, of equal ones the first in row-major order.

    Attributes:
        boxes: (n, 4).
        areas: pixels, (n,).
    """

    boxes: NDArray[np.int64]
    areas: NDArray[np.int64]


def box_from_map(map: NDArray[np.floating], fraction: float = FRACTION, *, connectivity: int = 8) -> Box | None:
    """Box around the largest connected component of the pixels strictly above a fraction of the map's maximum.

    The convention of CAM (Zhou et al., CVPR 2016), which takes 20 %; LayerCAM (Jiang et al., TIP 2021) takes 15 %.

    Args:
        map: (h, w).
        fraction: of the maximum; their product is compared as float32.
        connectivity: 8, or 4, where pixels that touch at a corner are no neighbours.

    Returns:
        x0, y0, x1, y1; of components of equal area the first in row-major order; None if no pixel is above, or the
        maximum is not positive.

    Example:
        >>> box_from_map(np.array([[0.0, 0.5, 1.0], [0.0, 0.6, 0.1]]), fraction=0.2)
        (1, 0, 3, 2)
    """
    (found,) = components_from_map(map, [fraction], connectivity=connectivity)
    if not len(found.boxes):
        return None
    x0, y0, x1, y1 = found.boxes[0].tolist()
    return x0, y0, x1, y1


def components_from_map(
    map: NDArray[np.floating], fractions: Sequence[float] | NDArray[np.floating], *, connectivity: int = 8
) -> list[Components]:
    """Components of the pixels strictly above each of many fractions of the map's maximum, in one pass.

    Pixels between the same two thresholds that touch are one zone. From the highest threshold down, zones join those
    they touch (the map's component tree), so that the work is that of one labelling and of the zones, whose number does
    not depend on the map's size but on how often it rises and falls.

    Args:
        map: (h, w).
        fractions: ascending, T of them.
        connectivity: 8 or 4.

    Returns:
        T components; none where the map's maximum is not positive.

    Raises:
        ValueError: for a map that is not (h, w), fractions that do not ascend, or another connectivity.
    """
    shares = np.asarray(fractions, np.float64)
    if map.ndim != 2 or not map.size:
        raise ValueError(f"expected a map (h, w), got {map.shape}")
    if shares.ndim != 1 or not (np.diff(shares) > 0).all():
        raise ValueError(f"expected ascending fractions, got {fractions}")
    if connectivity not in LATER:
        raise ValueError(f"expected connectivity 4 or 8, got {connectivity}")
    values = map.astype(np.float32)
    maximum = values.max()
    if not maximum > 0:
        return [_NONE] * len(shares)
    # Number of thresholds strictly below a pixel's value.
    levels = np.searchsorted(shares.astype(np.float32) * maximum, values, side="left")  # (h, w)
    return _Zones(levels, connectivity).components(len(shares))


_NONE = Components(np.zeros((0, 4), np.int64), np.zeros(0, np.int64))


class _Zones:
    """Zones of equal level, and which of them touch."""

    def __init__(self, levels: NDArray[np.int64], connectivity: int) -> None:
        pairs = _neighbours(levels.shape, connectivity)  # (2, P)
        flat = levels.ravel()
        first, second = flat[pairs]
        is_inside = first == second
        count, zones = _labelled(pairs[:, is_inside], flat.size)
        self.level = np.zeros(count, np.int64)
        self.level[zones] = flat
        self.area = np.bincount(zones, minlength=count).tolist()
        rows, columns = np.unravel_index(np.arange(flat.size), levels.shape)
        low = np.full((3, count), flat.size)
        high = np.zeros((2, count), np.int64)
        for bound, place in zip(low, (columns, rows, np.arange(flat.size)), strict=True):
            np.minimum.at(bound, zones, place)
        for bound, place in zip(high, (columns, rows), strict=True):
            np.maximum.at(bound, zones, place + 1)
        # x0, y0, first pixel; x1, y1.
        self.low, self.high = low.T.tolist(), high.T.tolist()
        low_zone, high_zone = np.sort(zones[pairs[:, ~is_inside]], axis=0)
        touching = np.stack(np.divmod(np.unique(low_zone * count + high_zone), count))  # (2, pairs of zones)
        meeting = self.level[touching].min(axis=0)  # the threshold from which both are in
        order = np.argsort(-meeting, kind="stable")
        self.touching, self.meeting = touching[:, order].T.tolist(), meeting[order]
        self.parent = list(range(count))

    def components(self, num_levels: int) -> list[Components]:
        """Components of the pixels of each level 1 … `num_levels` or above; joins the zones on the way."""
        order = np.argsort(-self.level, kind="stable")
        descending = -np.arange(num_levels, 0, -1)
        entered = np.searchsorted(-self.level[order], descending, side="right").tolist()
        joined = np.searchsorted(-self.meeting, descending, side="right").tolist()
        alive: set[int] = set()
        found: list[Components] = []
        zone = pair = 0
        for last_zone, last_pair in zip(entered, joined, strict=True):
            alive.update(order[zone:last_zone].tolist())
            for one, other in self.touching[pair:last_pair]:
                self._join(one, other, alive)
            zone, pair = last_zone, last_pair
            found.append(self._sorted(alive))
        return found[::-1]

    def _join(self, one: int, other: int, alive: set[int]) -> None:
        one, other = self._root(one), self._root(other)
        if one == other:
            return
        if self.area[one] < self.area[other]:
            one, other = other, one
        self.parent[other] = one
        alive.discard(other)
        self.area[one] += self.area[other]
        self.low[one] = [min(pair) for pair in zip(self.low[one], self.low[other], strict=True)]
        self.high[one] = [max(pair) for pair in zip(self.high[one], self.high[other], strict=True)]

    def _root(self, zone: int) -> int:
        while self.parent[zone] != zone:
            self.parent[zone] = zone = self.parent[self.parent[zone]]
        return zone

    def _sorted(self, alive: set[int]) -> Components:
        ranked = sorted(alive, key=lambda zone: (-self.area[zone], self.low[zone][2]))
        boxes = [[*self.low[zone][:2], *self.high[zone]] for zone in ranked]
        return Components(
            np.array(boxes, np.int64).reshape(-1, 4), np.array([self.area[zone] for zone in ranked], np.int64)
        )


def _neighbours(size: tuple[int, ...], connectivity: int) -> NDArray[np.int64]:
    """Flat indices of every two pixels of a map (h, w) that touch, (2, P)."""
    index = np.arange(size[0] * size[1]).reshape(size)
    height, width = size
    pairs = []
    for down, right in LATER[connectivity]:
        left, start = max(-right, 0), max(right, 0)
        one = index[: height - down, left : width - start]
        other = index[down:, start : width - left]
        pairs.append(np.stack([one.ravel(), other.ravel()]))
    return np.concatenate(pairs, axis=1)


def _labelled(pairs: NDArray[np.int64], count: int) -> tuple[int, NDArray[np.int64]]:
    """Number of groups that pairs join `count` things into, and the group of each."""
    graph = coo_array((np.ones(pairs.shape[1], bool), (pairs[0], pairs[1])), shape=(count, count))
    number, groups = connected_components(graph, directed=False)
    return int(number), groups.astype(np.int64)


def box_iou(boxes: NDArray[np.integer], others: NDArray[np.integer]) -> NDArray[np.float64]:
    """IoU of boxes (…, 4) with others (…, 4), which broadcast; 0 where both are empty."""
    low = np.maximum(boxes[..., :2], others[..., :2])
    high = np.minimum(boxes[..., 2:], others[..., 2:])
    overlap = (high - low).clip(0).prod(axis=-1)
    union = box_area(boxes) + box_area(others) - overlap
    return np.divide(overlap, union, out=np.zeros(overlap.shape), where=union > 0)


def box_area(boxes: NDArray[np.integer]) -> NDArray[np.integer]:
    """Pixels in boxes (…, 4)."""
    return (boxes[..., 2:] - boxes[..., :2]).clip(0).prod(axis=-1)


class Localization(NamedTuple):
    """Shares of maps whose box is right, at each of T fractions and D thresholds of IoU.

    Attributes:
        fractions: (T,).
        ious: (D,).
        box_acc: (T, D), of the largest component's box.
        box_acc_v2: (T, D), where any component's box will do.
        top: for k of 1 and 5, (T, D): the box is right and the class among the k that score highest; empty unless the
            rank was told of every map.
        num_maps: how many.
    """

    fractions: NDArray[np.float64]
    ious: NDArray[np.float64]
    box_acc: NDArray[np.float64]
    box_acc_v2: NDArray[np.float64]
    top: dict[int, NDArray[np.float64]]
    num_maps: int

    @property
    def max_box_acc(self) -> NDArray[np.float64]:
        """MaxBoxAcc, (D,): at each IoU the best over the fractions, an oracle."""
        return np.asarray(self.box_acc.max(axis=0))

    @property
    def max_box_acc_v2(self) -> float:
        """MaxBoxAccV2: mean over the thresholds of IoU, of boxes of any component."""
        return float(self.box_acc_v2.max(axis=0).mean())

    @property
    def best_fractions(self) -> NDArray[np.float64]:
        """The fraction that MaxBoxAcc comes from, (D,), the first of several."""
        return np.asarray(self.fractions[self.box_acc.argmax(axis=0)])

    def at(self, fraction: float) -> int:
        """Index of a fraction.

        Raises:
            ValueError: if it is none of them.
        """
        near = int(np.abs(self.fractions - fraction).argmin())
        if not np.isclose(self.fractions[near], fraction, rtol=0, atol=1e-9):
            raise ValueError(f"expected one of the fractions, got {fraction}")
        return near


class LocalizationCounter:
    """Counts right boxes: MaxBoxAcc and MaxBoxAccV2 (Choe et al., CVPR 2020 and TPAMI 2022), loc1 and loc5.

    BoxAcc(τ, δ) is the share of maps whose box at fraction τ overlaps a true box of its class by an IoU of δ or more;
    of several true boxes the best one counts. V2 takes the best of all components' boxes in place of the largest's.
    As published each image has one class; of several, every present class counts as a map of its own.

    Args:
        fractions: ascending, T of them.
        ious: thresholds δ.
        connectivity: see `box_from_map`.
    """

    def __init__(
        self,
        fractions: Sequence[float] | NDArray[np.floating],
        ious: Sequence[float] = IOUS,
        *,
        connectivity: int = 8,
    ) -> None:
        self.fractions, self.ious = np.asarray(fractions, np.float64), np.asarray(ious, np.float64)
        self.connectivity = connectivity
        self.right = np.zeros((2, len(self.fractions), len(self.ious)), np.int64)
        self.top = {k: np.zeros(self.right.shape[1:], np.int64) for k in TOP}
        self.count = self.ranked = 0

    def update(
        self, map: NDArray[np.floating], truth: NDArray[np.integer], *, rank: int | None = None
    ) -> list[Components]:
        """Add one map.

        Args:
            map: of one class, at the image's size, (H, W).
            truth: true boxes of that class, (M, 4), one at least.
            rank: place of the class among the classifier's scores, 0 the highest; for loc1 and loc5.

        Returns:
            The map's components at each fraction.

        Raises:
            ValueError: if there is no true box.
        """
        if truth.ndim != 2 or not len(truth):
            raise ValueError(f"expected true boxes (M, 4), one at least, got {truth.shape}")
        found = components_from_map(map, self.fractions, connectivity=self.connectivity)
        overlaps = [box_iou(of.boxes[:, None], truth[None]).max(axis=1, initial=0) for of in found]  # T times (n,)
        largest = np.array([of_all[0] if len(of_all) else 0.0 for of_all in overlaps])
        best = np.array([of_all.max(initial=0) for of_all in overlaps])
        right = np.stack([largest, best])[..., None] >= self.ious  # (2, T, D)
        self.right += right
        self.count += 1
        if rank is not None:
            self.ranked += 1
            for k, count in self.top.items():
                count += right[0] & (rank < k)
        return found

    def compute(self) -> Localization:
        """Shares over all maps so far."""
        total = max(self.count, 1)
        is_ranked = self.count > 0 and self.ranked == self.count
        top = {k: count / total for k, count in self.top.items()} if is_ranked else {}
        largest, best = self.right / total
        return Localization(self.fractions, self.ious, largest, best, top, self.count)


class PixelCounter:
    """Pixel-wise average precision, PxAP (Choe et al., CVPR 2020), of maps in [0, 1] against true pixels.

    Precision and recall of the pixels whose score is at least τ, pooled over all maps; PxAP = Σ_l Prec(τ_l) (Rec(τ_l) −
    Rec(τ_{l+1})) over `bins` thresholds. Void pixels are left out.
    """

    def __init__(self, bins: int = PIXEL_BINS) -> None:
        self.bins = bins
        self.counts = np.zeros((2, bins + 1), np.int64)

    def update(self, map: NDArray[np.floating], truth: NDArray[np.bool_], void: NDArray[np.bool_]) -> None:
        """Add one map (H, W) in [0, 1], with the pixels of its class and those without a label."""
        known = ~void
        bucket = np.floor(map[known].astype(np.float64).clip(0, 1) * self.bins).astype(np.int64)
        self.counts += np.bincount(truth[known] * (self.bins + 1) + bucket, minlength=self.counts.size).reshape(2, -1)

    def compute(self) -> float:
        """PxAP over all maps so far; NaN without a true pixel."""
        false, true = self.counts[:, ::-1].cumsum(axis=1)
        if not true[-1]:
            return float("nan")
        precision = np.divide(true, true + false, out=np.zeros(len(true)), where=true + false > 0)
        return float((precision * np.diff(true, prepend=0)).sum() / true[-1])
