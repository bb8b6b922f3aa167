"""Guided backpropagation, and Guided Grad-CAM: pictures of what raises a score, pixel by pixel."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wsss.cam.functions import resize
from wsss.cam.recording import (
    Classes,
    Score,
    check_classes,
    class_gradients,
    class_scores,
    parameters_fixed,
    per_image,
    running_module,
    working,
)

# By name, whichever way they are called: as modules, functions or methods, in place or not.
_RELUS = ("relu", "relu_", "relu6", "hardtanh", "hardtanh_")
# Nodes of autograd that are no activation, by the beginning of their names; a softmax may turn scores to probabilities.
_NO_ACTIVATION = (
    *("Add", "Sub", "Mul", "Div", "Neg", "Mean", "Sum", "Amax", "Addmm", "Mm", "Bmm", "Linear"),
    *("Convolution", "ConstantPad", "Reflection", "Replication", "AvgPool", "AdaptiveAvgPool", "MaxPool"),
    *("AdaptiveMaxPool", "Mkldnn", "Upsample", "Grid", "NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm"),
    *("NativeLayerNorm", "NativeGroupNorm", "NativeDropout", "FusedDropout", "Softmax", "LogSoftmax", "Clone"),
    *("ToCopy", "View", "UnsafeView", "Reshape", "UnsafeSplit", "Split", "Unbind", "Stack", "Cat", "Slice", "Select"),
    *("Index", "Gather", "Squeeze", "Unsqueeze", "Expand", "Repeat", "Permute", "Transpose", "TBackward", "Flip"),
    *("Roll", "AsStrided", "CopySlices", "PixelShuffle"),
)
_REMEDY = "it is defined for ReLUs alone; take a network of ReLUs (resnet50, vgg16, efficientnet_lite0), or do without"


def guided_backprop(
    model: nn.Module, images: Tensor, classes: Classes | None = None, *, score: Score = None
) -> list[Tensor]:
    """Gradient of a class's score for the pixels, by positive evidence alone.

    Each ReLU passes a gradient R where both its input and R are positive: R · [x > 0] · [R > 0], from Guided
    Backpropagation (Springenberg et al., ICLR workshops 2015).

    Args:
        model: any network whose activations are ReLUs; it runs in evaluation mode and is left as it was.
        images: what it takes, (B, 3, H, W), floating.
        classes: class indices of each image; by default each image's best-scoring class.
        score: from the network's output to scores (B, N); by default the output itself.

    Returns:
        List over images of (K_b, 3, H, W), positive where a higher value raises the score.

    Raises:
        ValueError: if the network runs no ReLU, or another activation, for which the rule is not defined; names its
            module.
    """
    with working(model):
        leaf = images.detach().clone().requires_grad_()
        with torch.enable_grad(), parameters_fixed(model), guided_relus(model) as check:
            scores = class_scores(model, leaf.clone(), score)  # a copy: the network may work in place
        check(scores)
        chosen = check_classes(classes, scores)
        found = torch.zeros(len(images), max(map(len, chosen), default=0), *images.shape[1:], device=images.device)
        for k, gradients in enumerate(class_gradients(scores, {"image": leaf}, chosen)):
            found[:, k] = gradients["image"].float()
        return per_image(found, chosen)


def guided_cam(maps: Tensor, gradients: Tensor) -> Tensor:
    """Guided Grad-CAM: a map, resized to the image, times the guided gradient (Selvaraju et al., ICCV 2017).

    Args:
        maps: of K classes, (K, h, w); Grad-CAM's in the paper, any method's will do.
        gradients: from `guided_backprop`, (K, 3, H, W).

    Returns:
        (K, 3, H, W).
    """
    return resize(maps, (gradients.shape[2], gradients.shape[3]))[:, None] * gradients


@contextmanager
def guided_relus(model: nn.Module) -> Iterator[Callable[[Tensor], None]]:
    """While it lasts, every ReLU of a forward pass is one whose backward pass lets only positive gradients through.

    Shared, functional and in-place ReLUs are too: what is guided is each call, not each module. The backward pass may
    come afterwards.

    Args:
        model: the network that will run.

    Yields:
        A function of its scores, to be called after the forward pass: looks at all that their gradients will go
        through, and raises ValueError where that is another activation than a guided ReLU, or no ReLU at all.
    """
    with running_module(model) as place:
        mode = _GuidedReLUs(place)
        with mode:
            yield mode.check


class _GuidedReLUs(TorchFunctionMode):
    def __init__(self, place: Callable[[], str]) -> None:
        super().__init__()
        self.place = place
        self.guided: set[Any] = set()  # nodes of autograd, held so that none comes twice
        self.places: dict[Any, str] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if not isinstance(output, Tensor) or output.grad_fn is None:
            return output
        self.places.setdefault(output.grad_fn, self.place())
        is_from_zero = not name.startswith("hardtanh") or (kwargs or {}).get("min_val", (*args, -1.0, -1.0)[1]) == 0
        if name in _RELUS and is_from_zero:
            self.guided.add(output.grad_fn)
            output.register_hook(torch.relu)  # on the gradient, before the ReLU's own backward asks for inputs above 0
        return output

    def check(self, scores: Tensor) -> None:
        """See `guided_relus`."""
        has_relu, seen, waiting = False, set(), [scores.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
            if node in self.guided:
                has_relu = True
            elif node.next_functions and not node.name().startswith(_NO_ACTIVATION):
                what = node.name().partition("Backward")[0]
                place = self.places.get(node, "the network")
                raise ValueError(f"guided backprop: {what} in {place} is not a call of a ReLU; {_REMEDY}")
        if not has_relu:
            raise ValueError(f"guided backprop: the network runs no ReLU; {_REMEDY}")
