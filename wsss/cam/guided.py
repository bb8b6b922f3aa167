"""Guided backpropagation, and Guided Grad-CAM: pictures of what raises a score, pixel by pixel."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wsss.cam.functions import resize
from wsss.cam.recording import Classes, Score, check_classes, class_gradients, class_scores, per_image, working

# By name, whichever way they are called: as modules, functions or methods, in place or not.
_RELUS = ("relu", "relu_", "relu6", "hardtanh", "hardtanh_")
_OTHERS = ("gelu", "silu", "silu_", "mish", "hardswish", "elu", "elu_", "selu", "celu", "leaky_relu", "prelu", "rrelu")


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
        ValueError: if the network runs no ReLU, or another activation, for which the rule is not defined.
    """
    with working(model):
        leaf = images.detach().clone().requires_grad_()
        with torch.enable_grad(), guided_relus() as count:
            scores = class_scores(model, leaf.clone(), score)  # a copy: the network may work in place
        if not count():
            raise ValueError("guided backprop: the network runs no ReLU, so there is nothing to guide")
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
def guided_relus() -> Iterator[Callable[[], int]]:
    """While it lasts, every ReLU of a forward pass is one whose backward pass lets only positive gradients through.

    Shared, functional and in-place ReLUs are too: what is guided is each call, not each module. The backward pass may
    come afterwards.

    Yields:
        A function that tells how many there have been.

    Raises:
        ValueError: in the forward pass, for another kind of activation.
    """
    mode = _GuidedReLUs()
    with mode:
        yield lambda: mode.calls


class _GuidedReLUs(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        is_from_below = name.startswith("hardtanh") and (kwargs or {}).get("min_val", (*args, -1.0, -1.0)[1]) != 0
        if name in _OTHERS or is_from_below:
            raise ValueError(f"guided backprop: the network's {name} is not a ReLU, for which alone it is defined")
        if name in _RELUS and output.requires_grad:
            self.calls += 1
            output.register_hook(torch.relu)  # on the gradient, before the ReLU's own backward asks for inputs above 0
        return output
