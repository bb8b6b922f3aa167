"""A forward pass that keeps chosen layers, and gradients of chosen classes: what the methods of maps have in common.

Hooks live for the length of a call; modes, `requires_grad` and `.grad` are left as they were.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from wsss.cam.tokens import TokenGrid, token_grid

Classes = Sequence[Sequence[int]]
Score = Callable[[Any], Tensor] | None


@contextmanager
def working(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and tensors that autograd takes: Lightning's prediction runs in inference mode."""
    with torch.inference_mode(False), evaluating(model):
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every module gets its own mode back."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def parameters_fixed(model: nn.Module) -> Iterator[None]:
    """Parameters require no gradient for a while, so that what does depends on the recorded layer, or the images."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


@contextmanager
def running_module(model: nn.Module) -> Iterator[Callable[[], str]]:
    """While it lasts, a function that tells which module of a network is running."""
    running: list[str] = []
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # takes no hooks
            continue
        called = f"{name} ({type(module).__name__})" if name else type(module).__name__
        handles.append(module.register_forward_pre_hook(lambda *_, called=called: running.append(called)))
        handles.append(module.register_forward_hook(lambda *_: running.pop() and None, always_call=True))
    try:
        yield lambda: running[-1] if running else "the score"
    finally:
        for handle in handles:
            handle.remove()


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The module of this name, or the only one whose name ends in it.

    Raises:
        ValueError: if there is none, or more than one.
    """
    modules = dict(model.named_modules())
    if name in modules:
        return modules[name]
    ends = [full for full in modules if full.endswith(f".{name}")]
    if len(ends) != 1:
        found = (
            f"several: {', '.join(ends[:5])}" if ends else f"none; its modules are {', '.join(list(modules)[1:9])} …"
        )
        raise ValueError(f"layer {name}: expected one module of this name, the network has {found}")
    return modules[ends[0]]


def record_forward(
    model: nn.Module, layers: Mapping[str, nn.Module], images: Tensor, score: Score = None, *, record: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a network and keep what layers put out.

    Args:
        model: in evaluation mode.
        layers: name -> module of `model`.
        images: what it takes, (B, 3, H, W).
        score: from its output to scores (B, N); by default the output itself.
        record: whether to record a graph from the shallowest layer, which becomes the leaf, to the scores.

    Returns:
        Scores (B, N), and layer -> (B, C, h, w).

    Raises:
        ValueError: if a layer does not run once with an output (B, C, h, w) or the tokens of one.
    """
    activations: dict[str, Tensor] = {}
    images = images.clone() if images.is_inference() else images
    grid = token_grid(model, images)
    handles = [
        module.register_forward_hook(_keep(name, activations, grid, record=record)) for name, module in layers.items()
    ]
    try:
        # Recording starts in the hook of the shallowest layer and ends here.
        with torch.no_grad():
            scores = class_scores(model, images, score)
    finally:
        for handle in handles:
            handle.remove()
    for name in layers:
        if name not in activations:
            raise ValueError(f"layer {name}: the network did not run it")
    return scores, {name: activations[name] for name in layers}


def class_scores(model: nn.Module, images: Tensor, score: Score = None) -> Tensor:
    """Scores (B, N) of images.

    Raises:
        ValueError: if the network, or `score` of its output, gives something else.
    """
    output = model(images)
    scores = output if score is None else score(output)
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        raise ValueError("the network's output is not a tensor of scores (B, N); pass score=<function of the output>")
    return scores


def check_classes(classes: Classes | None, scores: Tensor) -> list[list[int]]:
    """Class indices of each image, the best-scoring one by default.

    Raises:
        ValueError: if there is not one list an image, or an index is out of range.
    """
    if classes is None:
        return [[int(index)] for index in scores.argmax(dim=1)]
    if len(classes) != len(scores):
        raise ValueError(f"classes: expected one list for each of {len(scores)} images, got {len(classes)}")
    for wanted in classes:
        if isinstance(wanted, int):
            raise ValueError(f"classes: expected a list of indices for each image, got {wanted}; pass [[{wanted}], …]")
        for index in wanted:
            if not 0 <= index < scores.shape[1]:
                raise ValueError(f"classes: no class {index}; expected 0 to {scores.shape[1] - 1}")
    return [[int(index) for index in wanted] for wanted in classes]


def class_gradients(
    scores: Tensor, activations: Mapping[str, Tensor], classes: Classes, *, keep_graph: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Gradients of the k-th class of every image, for k = 0, 1, …: one backward pass each.

    Args:
        scores: (B, N), with a graph back to the activations.
        activations: name -> any tensors of the graph.
        classes: class indices of each image; an image without a k-th one has gradient zero.
        keep_graph: whether the graph is needed afterwards.

    Yields:
        Name -> gradient, shaped as the activation.

    Raises:
        ValueError: if the scores do not depend on one of the activations.
    """
    num_passes = max((len(wanted) for wanted in classes), default=0)
    for k in range(num_passes):
        has_kth = [image for image, wanted in enumerate(classes) if len(wanted) > k]
        kth = [classes[image][k] for image in has_kth]
        # A sum over images: no image's score depends on another's activations.
        retain = keep_graph or k + 1 < num_passes
        yield _gradients(scores[has_kth, kth].sum(), activations, retain_graph=retain)


def per_image(stacked: Tensor, classes: Classes) -> list[Tensor]:
    """Each image's own classes: (B, K, …) to a list over images of (K_b, …)."""
    return [of_image[: len(wanted)] for of_image, wanted in zip(stacked, classes, strict=True)]


def _gradients(score: Tensor, activations: Mapping[str, Tensor], *, retain_graph: bool) -> dict[str, Tensor]:
    if not score.requires_grad:
        raise ValueError(f"layer {next(iter(activations))}: the score does not depend on it")
    gradients = torch.autograd.grad(score, list(activations.values()), retain_graph=retain_graph, allow_unused=True)
    found = dict(zip(activations, gradients, strict=True))
    for name, gradient in found.items():
        if gradient is None:
            raise ValueError(f"layer {name}: the score does not depend on it")
    return found


def _keep(
    name: str, activations: dict[str, Tensor], grid: TokenGrid | None, *, record: bool
) -> Callable[..., Tensor | None]:
    """Hook that keeps a layer's output; the first to run makes it the leaf that gradients are recorded from."""

    def hook(_: nn.Module, __: object, output: Any) -> Tensor | None:
        if name in activations:
            raise ValueError(f"layer {name}: the network runs it more than once")
        is_tokens = grid is not None and isinstance(output, Tensor) and output.ndim == 3
        prefix, cells = grid.split(name, output) if grid is not None and is_tokens else (None, output)
        if not isinstance(cells, Tensor) or cells.ndim != 4:
            raise ValueError(f"layer {name}: its output is not a tensor (B, C, h, w)")
        activations[name] = cells
        if record:
            torch.set_grad_enabled(True)
            if not cells.requires_grad:
                activations[name] = cells.detach().requires_grad_()
        if grid is not None and prefix is not None:
            return grid.join(prefix, activations[name])
        # What follows may work in place; the kept tensor must not see it.
        return activations[name].clone()

    return hook
