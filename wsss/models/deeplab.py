"""DeepLab v1 to v3+ on any backbone (Chen et al., ICLR 2015, TPAMI 2018, arXiv 2017, ECCV 2018)."""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from wsss.errors import InputError
from wsss.models.backbones import Backbone
from wsss.models.norms import allow_lone_images
from wsss.models.segmentation import SegmentationNetwork


class DeepLab(SegmentationNetwork):
    """A head on the last stage, v1 to v3.

    Args:
        backbone: any backbone.
        head: last stage (B, C, h, w) -> logits (B, L, h, w).
        options: see `SegmentationNetwork`.
    """

    backbone: Backbone

    def __init__(self, backbone: Backbone, head: nn.Module, **options: object) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.options = options

    def logits(self, images: Tensor) -> Tensor:
        """See `SegmentationNetwork.logits`; at the last stage's stride."""
        return self.head(self.backbone(images)[self.backbone.last_stage])  # type: ignore[no-any-return]


class DeepLabV1(DeepLab):
    """DeepLab-LargeFOV (Chen et al., ICLR 2015): one dilated layer that sees far, then 1×1 layers.

    The paper starts the hidden layers from VGG-16's fully connected ones, which other backbones do not have.

    Args:
        backbone: any backbone; the paper's is VGG-16 at stride 8.
        num_labels: classes with background, L.
        channels: width of the hidden layers (1024 in the paper).
        atrous_rates: the one dilation, in cells of the last stage; default: 12 at stride 8, as in the paper, and what
            sees as far at others.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_labels: int,
        *,
        channels: int = 1024,
        atrous_rates: Sequence[int] | None = None,
    ) -> None:
        rates = _rates(atrous_rates, (12,), 8, backbone)
        if len(rates) != 1:
            raise InputError(f"segmenter.atrous_rates={rates}: deeplab_v1 has a single one")
        deepest = backbone.channels[backbone.last_stage]
        head = nn.Sequential(
            *_hidden(deepest, channels, kernel_size=3, dilation=rates[0]),
            *_hidden(channels, channels),
            _classifier(channels, num_labels),
        )
        super().__init__(backbone, head, channels=channels, atrous_rates=rates)


class DeepLabV2(DeepLab):
    """Atrous spatial pyramid of classifiers whose logits are added (Chen et al., TPAMI 2018).

    Args:
        backbone: any backbone; the paper's is ResNet-101 at stride 8.
        num_labels: classes with background, L.
        atrous_rates: dilations, in cells of the last stage; default: 6, 12, 18, 24 at stride 8, as in the paper, and
            what sees as far at others.
    """

    def __init__(self, backbone: Backbone, num_labels: int, *, atrous_rates: Sequence[int] | None = None) -> None:
        rates = _rates(atrous_rates, (6, 12, 18, 24), 8, backbone)
        deepest = backbone.channels[backbone.last_stage]
        head = _Sum(_classifier(deepest, num_labels, kernel_size=3, dilation=rate) for rate in rates)
        super().__init__(backbone, head, atrous_rates=rates)


class DeepLabV3(DeepLab):
    """Atrous spatial pyramid with image pooling, then a hidden layer (Chen et al., arXiv 2017).

    Args:
        backbone: any backbone; ResNets at stride 16 or 8 in the paper.
        num_labels: classes with background, L.
        channels: width of the pyramid and the hidden layer (256 in the paper).
        atrous_rates: dilations, in cells of the last stage; default: 6, 12, 18 at stride 16, as in the paper, and what
            sees as far at others.
    """

    def __init__(
        self, backbone: Backbone, num_labels: int, *, channels: int = 256, atrous_rates: Sequence[int] | None = None
    ) -> None:
        rates = _rates(atrous_rates, (6, 12, 18), 16, backbone)
        head = nn.Sequential(
            ASPP(backbone.channels[backbone.last_stage], rates, channels),
            _conv_bn_relu(channels, channels, 3),
            nn.Conv2d(channels, num_labels, kernel_size=1),
        )
        allow_lone_images(head)
        super().__init__(backbone, head, channels=channels, atrous_rates=rates)


class DeepLabV3Plus(SegmentationNetwork):
    """DeepLab v3's pyramid, refined with a shallow stage (Chen et al., ECCV 2018).

    Args:
        backbone: any backbone.
        num_labels: classes with background, L.
        channels: width of the pyramid and decoder (256 in the paper).
        atrous_rates: see `DeepLabV3`.
        skip_stage: the shallow stage (stride 4 in the paper).
        skip_channels: width it is reduced to (48 in the paper).
        separable: build the 3×3 layers of pyramid and decoder as a convolution of each channel alone and a 1×1 one
            ("atrous separable convolution" in the paper): a fraction of the arithmetic.
    """

    backbone: Backbone

    def __init__(
        self,
        backbone: Backbone,
        num_labels: int,
        *,
        channels: int = 256,
        atrous_rates: Sequence[int] | None = None,
        skip_stage: str = "stage2",
        skip_channels: int = 48,
        separable: bool = False,
    ) -> None:
        super().__init__()
        if skip_stage not in backbone.channels:
            known = ", ".join(backbone.channels)
            raise InputError(f"segmenter.skip_stage={skip_stage}: this backbone has {known}")
        rates = _rates(atrous_rates, (6, 12, 18), 16, backbone)
        self.backbone = backbone
        self.skip_stage = skip_stage
        self.aspp = ASPP(backbone.channels[backbone.last_stage], rates, channels)
        allow_lone_images(self.aspp)
        self.skip = _conv_bn_relu(backbone.channels[skip_stage], skip_channels, 1)
        self.decoder = nn.Sequential(
            _conv_bn_relu(channels + skip_channels, channels, 3), nn.Conv2d(channels, num_labels, kernel_size=1)
        )
        if separable:
            _separate(self.aspp)
            _separate(self.decoder)
        self.options = {
            "channels": channels,
            "atrous_rates": rates,
            "skip_stage": skip_stage,
            "skip_channels": skip_channels,
            "separable": separable,
        }

    def logits(self, images: Tensor) -> Tensor:
        """See `SegmentationNetwork.logits`; at the skip stage's stride."""
        stages = self.backbone(images)
        skip = self.skip(stages[self.skip_stage])  # (B, c, h, w)
        deep = self.aspp(stages[self.backbone.last_stage])
        deep = F.interpolate(deep, size=skip.shape[2:], mode="bilinear", align_corners=False)
        return self.decoder(torch.cat([deep, skip], dim=1))  # type: ignore[no-any-return]  # (B, L, h, w)


class _Sum(nn.ModuleList):
    """What several modules make of one input, added up."""

    def forward(self, x: Tensor) -> Tensor:
        return reduce(torch.add, [module(x) for module in self])


def _rates(given: Sequence[int] | None, paper: Sequence[int], stride: int, backbone: Backbone) -> list[int]:
    """The dilations given, or the paper's at the `stride` it has them for, turned into cells of the last stage."""
    if given is not None:
        return list(given)
    return [max(round(rate * stride / backbone.strides[backbone.last_stage]), 1) for rate in paper]


def _hidden(in_channels: int, channels: int, kernel_size: int = 1, dilation: int = 1) -> list[nn.Module]:
    """A layer without batch norm, which therefore starts so that it keeps the scale (He et al., ICCV 2015)."""
    conv = _conv(in_channels, channels, kernel_size, dilation)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return [conv, nn.ReLU(inplace=True), nn.Dropout(0.5)]


def _classifier(in_channels: int, num_labels: int, kernel_size: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A last layer as v1 and v2 start it: weights N(0, 0.01), no bias."""
    conv = _conv(in_channels, num_labels, kernel_size, dilation)
    nn.init.normal_(conv.weight, std=0.01)
    return conv


def _conv(in_channels: int, out_channels: int, kernel_size: int, dilation: int) -> nn.Conv2d:
    """A convolution that keeps the size, its biases zero."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=dilation * (kernel_size // 2), dilation=dilation)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # there is one
    return conv


def _conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class _ChannelwiseConv(nn.Conv2d):
    """A 3×3 convolution of each channel alone; CPUs run dilated ones up to three times faster channels first."""

    def __init__(self, channels: int, rate: int) -> None:
        super().__init__(channels, channels, 3, padding=rate, dilation=rate, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.contiguous() if self.dilation[0] > 1 else x)


def _separate(head: nn.Module) -> None:
    """Replace each 3×3 convolution by one of every channel alone and a 1×1 one."""
    for name, conv in list(head.named_modules()):
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
            alone = _ChannelwiseConv(conv.in_channels, conv.dilation[0])
            head.set_submodule(
                name, nn.Sequential(alone, nn.Conv2d(conv.in_channels, conv.out_channels, 1, bias=False))
            )
