"""Batch norms merged into the convolutions before them: the same network for evaluation, in less time."""

import copy
from collections import Counter
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

Network = TypeVar("Network", bound=nn.Module)


def fold_batch_norm(network: Network, example: Tensor) -> Network:
    """A copy of `network` for evaluation whose batch norms are part of its convolutions' weights.

    In evaluation a batch norm multiplies and shifts each channel, which the convolution before it can do as well. Norms
    are found by running `example`: those whose input is what a convolution has just returned. Where the copy would not
    give the same output within rounding (a convolution's output that is used twice), norms stay as they are.

    Args:
        network: any module; it is not changed.
        example: an input of `network`; its output is a tensor or a dict of tensors.

    Returns:
        A copy in evaluation mode, without parameter gradients, its weights channels last in memory as images are.
    """
    plain = copy.deepcopy(network).eval().requires_grad_(False)
    folded = copy.deepcopy(plain)
    for conv, norm_name in _pairs(folded, example):
        _fold(folded, conv, norm_name)
    with torch.no_grad():
        is_equal = all(
            torch.allclose(after, before, rtol=1e-3, atol=1e-4 * float(before.abs().max()))
            for before, after in zip(_tensors(plain(example)), _tensors(folded(example)), strict=True)
        )
    return nn.utils.convert_conv2d_weight_memory_format(folded if is_equal else plain, torch.channels_last)


def _pairs(network: nn.Module, example: Tensor) -> list[tuple[nn.Conv2d, str]]:
    """Each convolution with the name of the norm that takes its output, where neither has another partner."""
    returned: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # holds the tensors, so that no id comes twice
    calls: list[tuple[nn.Conv2d, str]] = []

    def after_conv(conv: nn.Module, _: object, output: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        returned[id(output)] = (conv, output)

    def before_norm(name: str, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in returned:
            calls.append((returned[id(inputs[0])][0], name))

    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(after_conv))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            handles.append(module.register_forward_pre_hook(lambda _, inputs, name=name: before_norm(name, inputs)))
    try:
        with torch.no_grad():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    pairs = dict.fromkeys(calls)  # a network that sees several scales runs each of them several times
    partners = Counter(module for pair in pairs for module in pair)
    return [(conv, name) for conv, name in pairs if partners[conv] == partners[name] == 1]


def _fold(network: nn.Module, conv: nn.Conv2d, norm_name: str) -> None:
    norm = network.get_submodule(norm_name)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    conv.requires_grad_(False)
    # timm's norms end in their activation, which stays.
    activation = getattr(norm, "act", None)
    network.set_submodule(norm_name, nn.Identity() if activation is None else activation)


def _tensors(output: Tensor | dict[str, Tensor]) -> list[Tensor]:
    return list(output.values()) if isinstance(output, dict) else [output]
