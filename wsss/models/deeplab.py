"""DeepLab on any backbone (Chen et al., TPAMI 2018, arXiv 2017 and ECCV 2018)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from wsss.errors import InputError
from wsss.models.backbones import Backbone
from wsss.models.segmentation import SegmentationNetwork


def _conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class DeepLabV3Plus(SegmentationNetwork):
    """Atrous spatial pyramid on the last stage, refined with a shallow one (Chen et al., ECCV 2018).

    Args:
        backbone: any backbone.
        num_labels: classes with background, L.
        channels: width of the pyramid and decoder (256 in the paper).
        atrous_rates: dilations of the pyramid, in cells of the last stage; 6, 12, 18 suit stride 16.
        skip_stage: the shallow stage (stride 4 in the paper).
        skip_channels: width it is reduced to (48 in the paper).
    """

    def __init__(
        self,
        backbone: Backbone,
        num_labels: int,
        *,
        channels: int = 256,
        atrous_rates: Sequence[int] = (6, 12, 18),
        skip_stage: str = "stage2",
        skip_channels: int = 48,
    ) -> None:
        super().__init__()
        if skip_stage not in backbone.channels:
            known = ", ".join(backbone.channels)
            raise InputError(f"segmenter.skip_stage={skip_stage}: this backbone has {known}")
        self.backbone = backbone
        self.skip_stage = skip_stage
        self.aspp = ASPP(backbone.channels[backbone.last_stage], list(atrous_rates), channels)
        self.skip = _conv_bn_relu(backbone.channels[skip_stage], skip_channels, 1)
        self.decoder = nn.Sequential(
            _conv_bn_relu(channels + skip_channels, channels, 3), nn.Conv2d(channels, num_labels, kernel_size=1)
        )

    def logits(self, images: Tensor) -> Tensor:
        """See `SegmentationNetwork.logits`; at the skip stage's stride."""
        stages = self.backbone(images)
        skip = self.skip(stages[self.skip_stage])  # (B, c, h, w)
        deep = self.aspp(stages[self.backbone.last_stage])
        deep = F.interpolate(deep, size=skip.shape[2:], mode="bilinear", align_corners=False)
        return self.decoder(torch.cat([deep, skip], dim=1))  # type: ignore[no-any-return]  # (B, L, h, w)
