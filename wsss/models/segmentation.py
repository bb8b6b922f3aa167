"""What every segmentation network has in common."""

import torch.nn.functional as F
from torch import Tensor, nn


class SegmentationNetwork(nn.Module):
    """Images to a logit for each label and pixel.

    Attributes:
        backbone: what may start from a classifier's weights.

    Subclasses compute `logits` on their own coarse grid, and name the parameters that do not start from trained ones.
    """

    backbone: nn.Module

    @property
    def head_parameters(self) -> list[nn.Parameter]:
        """Everything that is not the backbone; trained with the larger learning rate."""
        return [p for name, p in self.named_parameters() if not name.startswith("backbone.")]

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, L, h, w) of RGB images (B, 3, H, W), uint8 or float in [0, 1]; the grid covers the whole image."""
        raise NotImplementedError

    def training_logits(self, images: Tensor) -> list[Tensor]:
        """Logits (B, L, H, W) that the loss looks at, each of which it counts alike; the first is the prediction."""
        return [self(images)]

    def forward(self, images: Tensor) -> Tensor:
        """Logits at the images' size, (B, 3, H, W) -> (B, L, H, W)."""
        return F.interpolate(self.logits(images).float(), size=images.shape[2:], mode="bilinear", align_corners=False)
