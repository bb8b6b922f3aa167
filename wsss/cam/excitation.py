"""Excitation backprop: how likely each cell is to have made a class win, traced down from the score."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wsss.cam.recording import (
    Classes,
    Score,
    check_classes,
    class_gradients,
    find_layer,
    parameters_fixed,
    per_image,
    record_forward,
    running_module,
    working,
)

Rule = Callable[[Tensor], tuple[Tensor, ...]]  # from the probabilities of an output to those of its inputs


def excitation_backprop(
    model: nn.Module,
    images: Tensor,
    classes: Classes | None,
    layer: str,
    *,
    contrastive: bool = True,
    score: Score = None,
) -> list[Tensor]:
    """Marginal winning probabilities of a layer's cells, from Excitation Backprop (Zhang et al., ECCV 2016).

    The class wins with probability 1. A winning neuron i passes its probability to the neurons j below it by their
    share of its excitation, P(j | i) = a_j w⁺_ij / Σ_j a_j w⁺_ij with w⁺ = max(w, 0), so that P_j = Σ_i P(j | i) P_i;
    biases have no part. A batch norm belongs to the convolution before it, a ReLU passes what it gets, the maximum of
    a pooling takes all, and at a residual sum each branch gets its share of the positive activation. Activations below
    zero count as zero.

    Contrastive: minus the probabilities P̄ under a class unit of negated weights, which stands for what is not the
    class; c-MWP = max(Σ_c P_c - P̄_c, 0).

    Args:
        model: a network of convolutions, linear layers, poolings, ReLUs and batch norms (torchvision's ResNet and VGG,
            and others built of these); it runs in evaluation mode and is left as it was.
        images: what it takes, (B, 3, H, W).
        classes: class indices of each image; None: each image's best-scoring class.
        layer: whose cells, a name as in `model.named_modules()`, or its unambiguous end.
        contrastive: c-MWP instead of MWP.
        score: from the network's output to scores (B, N); by default the output itself.

    Returns:
        List over images of maps (K_b, h, w). MWP sums to 1 over a layer that everything passes, less what is won by
        neurons excited by their bias alone.

    Raises:
        ValueError: if the network does something for which there is no rule, naming the module; or as `CAMExtractor`.
    """
    with working(model), parameters_fixed(model), running_module(model) as place:
        mode = _Excitation(place)
        with mode:
            scores, activations = record_forward(model, {layer: find_layer(model, layer)}, images, score)
        chosen = check_classes(classes, scores)
        # The gradient of the score, where every backward is one of the rules, is the probability.
        maps = _marginals(scores, activations[layer], layer, chosen, keep_graph=contrastive)
        if contrastive and maps.numel():
            mode.negate_top()
            maps = (maps - _marginals(scores, activations[layer], layer, chosen)).relu()
        return per_image(maps, chosen)


def _marginals(
    scores: Tensor, activations: Tensor, layer: str, classes: Classes, *, keep_graph: bool = False
) -> Tensor:
    """Winning probabilities of cells, summed over channels, (B, K, h, w)."""
    size = (len(scores), max(map(len, classes), default=0), *activations.shape[2:])
    maps = torch.zeros(size, device=scores.device)
    for k, found in enumerate(class_gradients(scores, {layer: activations}, classes, keep_graph=keep_graph)):
        maps[:, k] = found[layer].float().sum(dim=1)
    return maps


class _ByRule(torch.autograd.Function):
    """A value whose backward pass is a rule."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[[], Tensor], rule: Rule, *inputs: Tensor) -> Tensor:
        ctx.rule = rule
        return compute()

    @staticmethod
    def backward(ctx: Any, *winning: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *ctx.rule(*winning))


@dataclass
class _Weights:
    """Weights of a linear operation on activations, x -> apply(x, w); `dim` is that of the outputs in w."""

    x: Tensor
    weight: Tensor
    apply: Callable[[Tensor, Tensor], Tensor]
    dim: int = 0
    sign: int = 1

    def rule(self, winning: Tensor) -> tuple[Tensor, ...]:
        positive = (self.sign * self.weight).relu()
        return _share(self.x, lambda a: self.apply(a, positive), winning)

    def scaled(self, scale: Tensor) -> "_Weights":
        """The weights times a scale of each output."""
        shape = [-1 if dim == self.dim else 1 for dim in range(self.weight.ndim)]
        return _Weights(self.x, self.weight * scale.view(shape), self.apply, self.dim)


def _share(x: Tensor, linear: Callable[[Tensor], Tensor], winning: Tensor) -> tuple[Tensor, ...]:
    """P_j = a_j Σ_i w_ij P_i / (Σ_j w_ij a_j), for a linear function of non-negative weights w and a = max(x, 0)."""
    with torch.enable_grad():
        a = x.detach().relu().requires_grad_()
        excitation = linear(a)
    # Where nothing excites a neuron but its bias, its probability ends here.
    share = torch.where(excitation > 0, winning / torch.where(excitation > 0, excitation, 1.0), 0.0)
    (back,) = torch.autograd.grad(excitation, a, share)
    return (a.detach() * back,)


class _Excitation(TorchFunctionMode):
    """Replaces the backward pass of what a network calls by the rules of excitation backprop.

    Only what depends on the recorded layer has one: tensors that require a gradient. Operations in place are done on
    copies, which is the same where their result is what the network goes on with.
    """

    def __init__(self, place: Callable[[], str]) -> None:
        super().__init__()
        self.place = place
        self.weights: dict[int, tuple[Tensor, _Weights]] = {}  # of the convolution that put out a tensor, by its id
        self.top: _Weights | None = None

    def negate_top(self) -> None:
        """Turn the last weights into those of the dual class unit."""
        if self.top is None:
            raise ValueError(
                "excitation backprop: no convolution or linear layer follows the layer; take an earlier one"
            )
        self.top.sign = -1

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not any(_is_recorded(value) for value in (*args, *kwargs.values())):
            return func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        if name in _RULES:
            return _RULES[name](self, func, *args, **kwargs)
        output = func(*args, **kwargs)
        if name in _AS_THEY_ARE or not _is_recorded(output):
            return output
        raise self.refusal(name)

    def refusal(self, what: str) -> ValueError:
        known = "convolution, linear, batch norm after one, ReLU, pooling, sum of branches"
        return ValueError(f"excitation backprop: no rule for {what} in {self.place()}; there is one for {known}")

    def weighted(self, weights: _Weights, compute: Callable[[], Tensor]) -> Tensor:
        self.top = weights
        output = _by_rule(compute, weights.rule, weights.x)
        self.weights[id(output)] = (output, weights)  # holds the tensor, so that no id comes twice
        return output


def _is_recorded(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_is_recorded(item) for item in value)
    return isinstance(value, Tensor) and value.requires_grad


def _by_rule(compute: Callable[[], Tensor], rule: Rule, *inputs: Tensor) -> Tensor:
    output: Tensor = _ByRule.apply(compute, rule, *inputs)  # type: ignore[no-untyped-call]
    return output


def _weighted(
    mode: _Excitation,
    func: Callable[..., Tensor],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """A convolution or a linear layer."""
    weights = _Weights(x, weight, lambda a, w: func(a, w, None, *args, **kwargs))
    return mode.weighted(weights, lambda: func(x, weight, bias, *args, **kwargs))


def _matmul(mode: _Excitation, func: Callable[..., Tensor], x: Tensor, weight: Tensor) -> Tensor:
    if not isinstance(x, Tensor) or _is_recorded(weight):
        raise mode.refusal("a product with activations on its right")
    return mode.weighted(_Weights(x, weight, func, dim=1), lambda: func(x, weight))


def _batch_norm(
    mode: _Excitation,
    func: Callable[..., Tensor],
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """The norm and the convolution before it are one, of other weights."""
    _, before = mode.weights.get(id(x), (None, None))
    if before is None or training:
        raise mode.refusal("a batch norm that follows no convolution")
    scale = (1.0 if weight is None else weight) / (var + eps).sqrt()
    return mode.weighted(before.scaled(scale), lambda: F.batch_norm(x, mean, var, weight, bias, eps=eps))


def _relu(mode: _Excitation, func: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    def compute() -> Tensor:
        return func(x.clone(), *args, **kwargs)

    return _by_rule(compute, lambda winning: (winning,), x)


def _hardtanh(
    mode: _Excitation, func: Callable[..., Tensor], x: Tensor, min_val: float = -1.0, *args: Any, **kwargs: Any
) -> Tensor:
    if min_val != 0:
        raise mode.refusal(f"hardtanh from {min_val:g}")
    return _relu(mode, func, x, min_val, *args, **kwargs)


def _average(mode: _Excitation, func: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    linear = partial(_call, func, args, kwargs)
    return _by_rule(lambda: linear(x), lambda winning: _share(x, linear, winning), x)


def _call(func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: Mapping[str, Any], x: Tensor) -> Tensor:
    return func(x, *args, **kwargs)


def _add(mode: _Excitation, func: Callable[..., Tensor], x: Any, y: Any, **kwargs: Any) -> Tensor:
    """A residual sum; what does not come from the layer is as a bias."""
    if kwargs:
        raise mode.refusal("a weighted sum")
    branches = [branch for branch in (x, y) if _is_recorded(branch)]
    if len(branches) == 2 and x.shape != y.shape:
        raise mode.refusal(f"a sum of shapes {tuple(x.shape)} and {tuple(y.shape)}")

    def rule(winning: Tensor) -> tuple[Tensor, ...]:
        parts = [branch.detach().relu() for branch in branches]
        total = torch.stack(parts).sum(dim=0)
        share = torch.where(total > 0, winning / torch.where(total > 0, total, 1.0), 0.0)
        return tuple(part * share for part in parts)

    return _by_rule(lambda: torch.add(x, y), rule, *branches)


_RULES: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(("conv2d", "linear"), _weighted),
    **dict.fromkeys(("matmul", "__matmul__", "mm"), _matmul),
    "batch_norm": _batch_norm,
    **dict.fromkeys(("relu", "relu_", "relu6"), _relu),
    **dict.fromkeys(("hardtanh", "hardtanh_"), _hardtanh),
    **dict.fromkeys(("avg_pool2d", "adaptive_avg_pool2d", "mean", "sum"), _average),
    **dict.fromkeys(("add", "add_", "__add__", "__radd__", "__iadd__"), _add),
}
# What only moves values, or picks them: the gradient is the rule.
_AS_THEY_ARE = (
    *("clone", "contiguous", "float", "to", "flatten", "view", "reshape", "permute", "transpose", "squeeze"),
    *("unsqueeze", "pad", "cat", "chunk", "split", "narrow", "__getitem__", "dropout", "dropout_", "requires_grad_"),
    *("max_pool2d", "adaptive_max_pool2d", "amax", "feature_dropout", "dropout2d"),
)
