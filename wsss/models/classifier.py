"""Image classifier with localisable evidence: global pooling and a 1×1 convolution without bias."""

from typing import Literal

import torch
from torch import Tensor, nn

from wsss.models.backbones import Backbone


class Classifier(nn.Module):
    """Classifier whose logits are, with `gap`, the mean of its class maps, so that CAM is exact (Zhou et al., 2016).

    Args:
        backbone: its last stage is pooled.
        num_classes: N.
        pooling: how each channel's cells become one number: `gap`, their mean, or `gmp`, their maximum, which the CAM
            paper compares with: a class then needs one cell of evidence, and nothing makes the map cover the object.
    """

    def __init__(self, backbone: Backbone, num_classes: int, *, pooling: Literal["gap", "gmp"] = "gap") -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.fc1 = nn.Conv2d(backbone.channels[backbone.last_stage], num_classes, kernel_size=1, bias=False)

    @property
    def fc1_weight(self) -> Tensor:
        """W1, (N, C)."""
        return self.fc1.weight.flatten(1)

    @property
    def head_parameters(self) -> list[nn.Parameter]:
        """Everything that is not the backbone; trained with the larger learning rate."""
        return [p for name, p in self.named_parameters() if not name.startswith("backbone.")]

    def features(self, images: Tensor) -> Tensor:
        """Last stage's feature maps, (B, 3, H, W) -> (B, C, h, w)."""
        stages: dict[str, Tensor] = self.backbone(images)
        return stages[self.backbone.last_stage]

    def pool(self, features: Tensor) -> Tensor:
        """Last stage's features (B, C, h, w) -> (B, C) float32."""
        cells = features.float()
        return cells.mean(dim=(2, 3)) if self.pooling == "gap" else cells.amax(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Logits before sigmoid or softmax, (B, 3, H, W) -> (B, N)."""
        pooled = self.pool(self.features(images))  # (B, C)
        with torch.autocast(images.device.type, enabled=False):
            return pooled @ self.fc1_weight.float().T  # (B, N)
