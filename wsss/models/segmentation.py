"""What every segmentation network has in common."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SegmentationNetwork(nn.Module):
    """Images to a logit for each label and pixel.

    Attributes:
        backbone: what may start from trained weights; everything else is the head.
        options: keyword arguments the network is built with, defaults filled in: what a model file keeps of it.

    Subclasses compute `logits` on their own coarse grid.
    """

    backbone: nn.Module
    options: dict[str, Any]

    @property
    def head_parameters(self) -> list[nn.Parameter]:
        """Everything that is not the backbone; trained with the larger learning rate."""
        started = {id(p) for p in self.backbone.parameters()}
        return [p for p in self.parameters() if id(p) not in started]

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, L, h, w) of RGB images (B, 3, H, W), uint8 or float in [0, 1]; the grid covers the whole image."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Logits at the images' size, (B, 3, H, W) -> (B, L, H, W)."""
        return grown(self.logits(images), images.shape[2:])

    def training_logits(self, images: Tensor) -> list[Tensor]:
        """Logits (B, L, H, W) that the loss looks at, each of which it counts alike; the first is the prediction."""
        return [self(images)]


class MultiScaleInputs(SegmentationNetwork):
    """A network that sees each image at several scales (Chen et al., TPAMI 2018, section 4.1.2).

    The scales share all weights. Their element-wise maximum is the prediction; in training every scale has a loss, and
    so has the maximum (Chen et al., CVPR 2016).

    Args:
        network: any segmentation network.
        scales: resize factors besides 1; 0.5 and 0.75 in the paper.
    """

    def __init__(self, network: SegmentationNetwork, scales: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.scales = tuple(scales)
        self.options = {**network.options, "multi_scale_inputs": list(scales)}

    @property
    def backbone(self) -> nn.Module:  # type: ignore[override]  # an attribute elsewhere
        """The network's."""
        return self.network.backbone

    def logits(self, images: Tensor) -> Tensor:
        """See `SegmentationNetwork.logits`; the maximum over the scales."""
        return _maximum(self._pyramid(images))

    def training_logits(self, images: Tensor) -> list[Tensor]:
        """The maximum over the scales, then those of each scale, scale 1 first."""
        pyramid = self._pyramid(images)
        return [grown(logits, images.shape[2:]) for logits in (_maximum(pyramid), *pyramid)]

    def _pyramid(self, images: Tensor) -> list[Tensor]:
        """Logits of each scale on its own grid, scale 1 first."""
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        resized = [
            F.interpolate(images, scale_factor=s, mode="bilinear", align_corners=False, recompute_scale_factor=True)
            for s in self.scales
        ]
        return [self.network.logits(scaled) for scaled in (images, *resized)]


def grown(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits (B, L, h, w) at another size, in float32."""
    return F.interpolate(logits.float(), size=tuple(size), mode="bilinear", align_corners=False)


def _maximum(pyramid: Sequence[Tensor]) -> Tensor:
    """Element-wise maximum, on the grid of the first."""
    first, *others = pyramid
    return reduce(torch.maximum, [grown(logits, first.shape[2:]) for logits in others], first.float())
