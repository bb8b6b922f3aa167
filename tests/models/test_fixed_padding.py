"""Padding by the image's size, and the same without a look at it."""

from __future__ import annotations

import pytest
import torch
from timm.layers import AvgPool2dSame
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from wsss.models.fixed_padding import with_fixed_padding

SIZES = [(16, 16), (17, 16), (16, 23), (33, 9)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "layer",
    [
        *(Conv2dSame(3, 4, kernel, stride=2, dilation=step, bias=True) for kernel in (3, 5, 7) for step in (1, 2)),
        Conv2dSame(3, 3, (3, 5), stride=2, groups=3, bias=False),
        Conv2dSame(3, 4, 2, stride=1, bias=False),
        Conv2dSame(3, 4, (3, 4), stride=1, dilation=2),
        AvgPool2dSame(2, 1),
        AvgPool2dSame(2, 1, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(2, 2, ceil_mode=True),
    ],
    ids=str,
)
def test_a_layer_of_fixed_padding_is_the_one_it_replaces(layer: nn.Module, size: tuple[int, int]) -> None:
    network = nn.Sequential(layer)
    fixed = with_fixed_padding(network)
    assert type(fixed[0]) is not type(layer)
    images = torch.rand(2, 3, *size)
    torch.testing.assert_close(fixed(images), network(images))


@pytest.mark.parametrize(
    "layer",
    [
        Conv2dSame(3, 4, 3, stride=4),
        Conv2dSame(3, 4, 2, stride=2),
        Conv2dSame(3, 4, 1, stride=2),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(2, 2),
        nn.Conv2d(3, 4, 3, stride=2),
    ],
    ids=str,
)
def test_what_there_is_no_equal_for_stays(layer: nn.Module) -> None:
    assert type(with_fixed_padding(nn.Sequential(layer))[0]) is type(layer)
