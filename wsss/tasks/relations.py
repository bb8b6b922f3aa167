"""Learn which cells belong together from partial labels (Ahn & Kwak, CVPR 2018; Ahn et al., CVPR 2019)."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.data import Sample
from wsss.labels import VOID
from wsss.masks.affinity import edge_affinities, feature_affinities, neighbours, seen_by_neighbours
from wsss.models.irn import IRN, AffinityNet, Relations
from wsss.tasks.optim import OptimizerFactory, PolyTask

EPS = 1e-5  # in logarithms and divisions, as published


class Pairs(NamedTuple):
    """Which pairs of neighbours are alike: masks (P, B, h, w), by the way to the second cell and the first one.

    Attributes:
        background: both are background.
        foreground: both are of one class.
        different: they are of two labels.
    """

    background: Tensor
    foreground: Tensor
    different: Tensor


def pair_labels(labels: Tensor, radius: int) -> Pairs:
    """Compare labels (B, h, w), 0 background; a pair with a void cell is in no group."""
    there = seen_by_neighbours(labels, radius, beyond=VOID)
    known = (labels != VOID) & (there != VOID)
    same = known & (labels == there)
    return Pairs(same & (labels == 0), same & (labels > 0), known & ~same)


def affinity_loss(affinities: Tensor, pairs: Pairs) -> Tensor:
    """Cross-entropy of affinities (P, B, h, w): a quarter for each group that is alike, half for pairs that differ.

    Both papers' loss, up to a factor.
    """
    alike, different = -(affinities + EPS).log(), -(1 + EPS - affinities).log()
    fg, bg, other = _mean(alike, pairs.foreground), _mean(alike, pairs.background), _mean(different, pairs.different)
    return fg / 4 + bg / 4 + other / 2


def displacement_loss(displacement: Tensor, pairs: Pairs, radius: int) -> Tensor:
    """What displacements owe: within a class to differ by the way between two cells, in the background not at all.

    IRN's; the background's keeps them from meaning something there.

    Args:
        displacement: (B, 2, h, w), rows and columns, in cells.
        pairs: see `pair_labels`.
        radius: the pairs'.
    """
    difference = displacement - seen_by_neighbours(displacement, radius)  # (P, B, 2, h, w)
    ways = torch.tensor(neighbours(radius), dtype=displacement.dtype, device=displacement.device)
    to_way = (difference - ways[:, None, :, None, None]).abs().mean(dim=2)  # (P, B, h, w)
    return (_mean(to_way, pairs.foreground) + _mean(difference.abs().mean(dim=2), pairs.background)) / 2


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / (mask.sum() + EPS)


class RelationTask(PolyTask):
    """Train branches on a frozen backbone.

    Args:
        model: IRN, or AffinityNet.
        radius: pairs closer than this are compared, in cells; 10 in IRN, 5 in AffinityNet.
    """

    model: IRN | AffinityNet

    def __init__(self, model: IRN | AffinityNet, optimizer: OptimizerFactory, *, radius: int, **options: Any) -> None:
        super().__init__(model, optimizer, head=model.head_parameters, **options)
        self.radius = radius

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """The losses of the pairs whose labels are known."""
        found = self.model(batch.images)
        with torch.autocast(batch.images.device.type, enabled=False):
            losses = self._irn(found, batch.masks) if isinstance(found, Relations) else self._psa(found, batch.masks)
        self.log_dict(
            {f"train/{name}": loss for name, loss in losses.items()}, batch_size=len(batch.images), prog_bar=True
        )
        return torch.stack([*losses.values()]).sum()

    def _irn(self, found: Relations, masks: Tensor) -> dict[str, Tensor]:
        pairs = pair_labels(_reduced(masks, found.edge), self.radius)
        affinities = edge_affinities(found.edge.float().sigmoid(), self.radius)
        displacement = displacement_loss(found.displacement.float(), pairs, self.radius)
        return {"affinity": affinity_loss(affinities, pairs), "displacement": displacement}

    def _psa(self, features: Tensor, masks: Tensor) -> dict[str, Tensor]:
        pairs = pair_labels(_reduced(masks, features), self.radius)
        return {"affinity": affinity_loss(feature_affinities(features.float(), self.radius), pairs)}


def _reduced(masks: Tensor, grid: Tensor) -> Tensor:
    """Labels (B, H, W) of the nearest pixels on a coarser grid (…, h, w)."""
    return F.interpolate(masks[:, None].float(), grid.shape[-2:], mode="nearest-exact")[:, 0].long()
