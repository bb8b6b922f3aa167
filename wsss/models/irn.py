"""Networks that learn which cells belong together: IRN (Ahn et al., CVPR 2019) and AffinityNet (Ahn & Kwak, CVPR 2018).

Both are branches on a classifier's backbone, which stays as it is.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.errors import InputError
from wsss.models.backbones import Backbone


class OnFrozenBackbone(nn.Module):
    """A network whose backbone is neither trained nor ever in training mode.

    Args:
        backbone: a trained one.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        backbone.freeze()

    @property
    def head_parameters(self) -> list[nn.Parameter]:
        """All that learns."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    @torch.no_grad()
    def stages(self, images: Tensor) -> list[Tensor]:
        """Features (B, C, h, w) of every stage, shallow to deep, of RGB images (B, 3, H, W), uint8 or in [0, 1]."""
        return list(self.backbone(images).values())


class Relations(NamedTuple):
    """What IRN tells of cells, at stride 4.

    Attributes:
        edge: logits (B, h, w) that a boundary runs through a cell.
        displacement: the way (B, 2, h, w), rows and columns, from a cell to the middle of its object.
    """

    edge: Tensor
    displacement: Tensor


class IRN(OnFrozenBackbone):
    """Boundaries and displacements from all stages of a backbone (IRN; widths as published).

    The walk takes the boundaries alone; displacements would tell apart objects of one class.

    Args:
        backbone: of a classifier.
    """

    EDGE_WIDTH, SHALLOW_WIDTHS, WIDTH = 32, (64, 64, 128), 256
    stride = 4
    mean_displacement: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        channels = list(backbone.channels.values())
        self.num_shallow = sum(stride <= 4 for stride in backbone.strides.values())  # the last of them has the grid
        if not 1 <= self.num_shallow <= len(self.SHALLOW_WIDTHS):
            strides = ", ".join(map(str, backbone.strides.values()))
            raise InputError(f"masks.refine=irn: needs a backbone with a stage of stride 4, this one's are {strides}")
        self.edge_stages = nn.ModuleList(_reduced(c, self.EDGE_WIDTH, groups=4) for c in channels)
        self.edge = nn.Conv2d(len(channels) * self.EDGE_WIDTH, 1, kernel_size=1)
        shallow = self.SHALLOW_WIDTHS[-self.num_shallow :]
        deep = [self.WIDTH] * (len(channels) - len(shallow))
        self.displacement_stages = nn.ModuleList(
            _reduced(c, width, groups=min(width // 8, 16)) for c, width in zip(channels, [*shallow, *deep], strict=True)
        )
        self.deep = _reduced(sum(deep), self.WIDTH, groups=16)
        self.displacement = nn.Sequential(
            _reduced(sum(shallow) + self.WIDTH, self.WIDTH, groups=16),
            nn.Conv2d(self.WIDTH, 2, kernel_size=1, bias=False),
        )
        self.register_buffer("mean_displacement", torch.zeros(2))

    def forward(self, images: Tensor) -> Relations:
        """Relations of RGB images (B, 3, H, W), uint8 or in [0, 1]; outside training the displacements' mean is 0."""
        stages = self.stages(images)
        displacement = self._displacement(stages)
        if not self.training:
            displacement = displacement - self.mean_displacement[:, None, None]
        return Relations(self._edge(stages), displacement)

    def edges(self, images: Tensor) -> Tensor:
        """The relations' edge logits (B, h, w) alone."""
        return self._edge(self.stages(images))

    def _edge(self, stages: Sequence[Tensor]) -> Tensor:
        grid = stages[self.num_shallow - 1]
        reduced = [_at(grid, reduce(stage)) for reduce, stage in zip(self.edge_stages, stages, strict=True)]
        return self.edge(torch.cat(reduced, dim=1))[:, 0]  # type: ignore[no-any-return]

    def _displacement(self, stages: Sequence[Tensor]) -> Tensor:
        reduced = [reduce(stage) for reduce, stage in zip(self.displacement_stages, stages, strict=True)]
        shallow, deep = reduced[: self.num_shallow], reduced[self.num_shallow :]
        joined = self.deep(torch.cat([_at(deep[0], stage) for stage in deep], dim=1))
        return self.displacement(torch.cat([_at(shallow[-1], stage) for stage in (*shallow, joined)], dim=1))  # type: ignore[no-any-return]


class AffinityNet(OnFrozenBackbone):
    """Features whose distance tells whether two cells belong together (AffinityNet; widths and start as published).

    Args:
        backbone: of a classifier.
    """

    WIDTHS = (64, 128, 256)

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        channels = list(backbone.channels.values())[-len(self.WIDTHS) :]
        pairs = zip(channels, self.WIDTHS, strict=True)
        self.reduced = nn.ModuleList(_embedded(c, width, nn.init.kaiming_normal_) for c, width in pairs)
        joined = sum(self.WIDTHS)
        # A gain beyond its kind: cells are far apart at first, affinities start low.
        self.joined = _embedded(joined, joined, partial(nn.init.xavier_uniform_, gain=4))
        strides = list(backbone.strides.values())[-len(self.WIDTHS) :]
        self.grid = max((i for i, stride in enumerate(strides) if stride <= 8), default=0)
        self.stride = strides[self.grid]

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, 448, h, w) of RGB images (B, 3, H, W), uint8 or in [0, 1]; at stride 8, if there is one."""
        stages = self.stages(images)[-len(self.WIDTHS) :]
        reduced = [_at(stages[self.grid], reduce(stage)) for reduce, stage in zip(self.reduced, stages, strict=True)]
        return self.joined(torch.cat(reduced, dim=1))  # type: ignore[no-any-return]


def _reduced(channels: int, width: int, *, groups: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, kernel_size=1, bias=False), nn.GroupNorm(groups, width), nn.ReLU())


def _embedded(channels: int, width: int, start: Callable[[Tensor], object]) -> nn.Sequential:
    layer = nn.Conv2d(channels, width, kernel_size=1, bias=False)
    start(layer.weight)
    return nn.Sequential(layer, nn.ELU())


def _at(grid: Tensor, features: Tensor) -> Tensor:
    """Features on another's grid."""
    return F.interpolate(features, grid.shape[2:], mode="bilinear", align_corners=False)
