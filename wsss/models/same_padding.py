"""TensorFlow's "same" padding without a look at the image's size."""

import copy
from typing import TypeVar

from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def with_fixed_padding(network: Network) -> Network:
    """A copy of a network that pads the same at every size, so that one graph of it serves all sizes.

    TensorFlow pads a convolution of stride 2 by one less at the top and left where the side is even. At the bottom and
    right the padding is always the same: seen from there, image and kernel turned by 180°, it is an ordinary one.
    """
    network = copy.deepcopy(network)
    for name, module in [*network.named_modules()]:
        if isinstance(module, Conv2dSame) and module.stride == (2, 2) and _is_odd(module.kernel_size):
            network.set_submodule(name, _FromBottomRight(module))
    return network


def _is_odd(kernel_size: tuple[int, ...]) -> bool:
    return all(side % 2 and side > 1 for side in kernel_size)


class _FromBottomRight(nn.Module):
    """A convolution that counts its steps from the bottom right corner of the image."""

    def __init__(self, conv: Conv2dSame) -> None:
        super().__init__()
        height, width = (step * (side // 2) for step, side in zip(conv.dilation, conv.kernel_size, strict=True))
        self.conv = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            (height, width),
            conv.dilation,
            conv.groups,
        )
        self.conv.weight = nn.Parameter(conv.weight.detach().flip(2, 3), requires_grad=False)
        self.conv.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.flip(2, 3)).flip(2, 3)
