"""Layers that pad by the image's size, replaced by equal ones that pad the same at every size."""

import copy
from typing import TypeVar

from timm.layers import AvgPool2dSame
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def with_fixed_padding(network: Network) -> Network:
    """A copy of a network whose graph is one for all sizes, as far as these layers are concerned.

    - A convolution of stride 2 with TensorFlow's "same" padding gets one less at the top and left where the side is
      even. At the bottom and right its padding is always the same: seen from there, image and kernel turned by 180°,
      it is an ordinary one. One of stride 1 gets what its kernel asks for.
    - The "same" average of 2 × 2 pixels at stride 1 is padded by one at the bottom and right.
    - Of 2 × 2 pixels at stride 2, rounded up: where the side is odd, the last row counts alone, or twice.
    """
    network = copy.deepcopy(network)
    for name, module in [*network.named_modules()]:
        fixed = _fixed(module)
        if fixed is not None:
            network.set_submodule(name, fixed)
    return network


def _fixed(module: nn.Module) -> nn.Module | None:
    if isinstance(module, Conv2dSame):
        return _fixed_convolution(module)
    if isinstance(module, nn.AvgPool2d) and _pair(module.kernel_size) == (2, 2):
        if isinstance(module, AvgPool2dSame) and _pair(module.stride) == (1, 1):
            return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, 1))
        is_plain = type(module) is nn.AvgPool2d and _pair(module.padding) == (0, 0)
        if is_plain and module.ceil_mode and _pair(module.stride) == (2, 2):
            return nn.Sequential(nn.ReplicationPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, 2))
    return None


def _fixed_convolution(conv: Conv2dSame) -> nn.Module | None:
    height, width = (step * (side - 1) for step, side in zip(conv.dilation, conv.kernel_size, strict=True))
    weight = conv.weight.detach()
    if conv.stride == (1, 1):
        padding = nn.ZeroPad2d((width // 2, width - width // 2, height // 2, height - height // 2))
        return nn.Sequential(padding, _convolution(conv, weight, (0, 0)))
    if conv.stride == (2, 2) and all(side % 2 and side > 1 for side in conv.kernel_size):
        return nn.Sequential(_Turn(), _convolution(conv, weight.flip(2, 3), (height // 2, width // 2)), _Turn())
    return None


def _convolution(conv: Conv2dSame, weight: Tensor, padding: tuple[int, int]) -> nn.Conv2d:
    shape = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride)
    plain = nn.Conv2d(*shape, padding, conv.dilation, conv.groups)
    plain.weight, plain.bias = nn.Parameter(weight, requires_grad=False), conv.bias
    return plain


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


class _Turn(nn.Module):
    """Turn by 180°."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(2, 3)
