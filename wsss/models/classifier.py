"""Image classifier with localisable evidence: global average pooling and a 1×1 convolution without bias."""

import torch
from torch import Tensor, nn

from wsss.models.backbones import Backbone


class Classifier(nn.Module):
    """Multi-label classifier whose logits are the mean of its class maps, so that CAM is exact (Zhou et al., 2016)."""

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
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

    def forward(self, images: Tensor) -> Tensor:
        """Logits before the sigmoid, (B, 3, H, W) -> (B, N)."""
        pooled = self.features(images).float().mean(dim=(2, 3))  # (B, C)
        with torch.autocast(images.device.type, enabled=False):
            return pooled @ self.fc1_weight.float().T  # (B, N)
