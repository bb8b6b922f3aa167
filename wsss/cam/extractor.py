"""Class activation maps of any network with named layers: hooks for the length of one call, nothing left behind."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from wsss.cam.functions import (
    channel_masks,
    element_wise_cam,
    grad_cam,
    grad_cam_pp,
    hires_cam,
    layer_cam,
    norm_grad,
    normalize,
    score_cam,
    x_grad_cam,
)
from wsss.cam.multiscale import multi_scale
from wsss.cam.recording import (
    Classes,
    check_classes,
    class_gradients,
    class_scores,
    find_layer,
    per_image,
    record_forward,
    working,
)


def pooled_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """CAM from gradients: Grad-CAM times the number of cells, which is CAM where a pooled layer feeds a linear one."""
    return grad_cam(activations, gradients) * (activations.shape[2] * activations.shape[3])


GRADIENT_METHODS: dict[str, Callable[..., Tensor]] = {
    "cam": pooled_cam,
    "grad_cam": grad_cam,
    "grad_cam_pp": grad_cam_pp,
    "x_grad_cam": x_grad_cam,
    "element_wise_cam": element_wise_cam,
    "hires_cam": hires_cam,
    "layer_cam": layer_cam,
    "norm_grad": norm_grad,
}
METHODS = (*GRADIENT_METHODS, "score_cam")

Maps = dict[str, list[Tensor]]


class CAMExtractor:
    """Maps of chosen layers of a network, for chosen classes of each image.

    One forward pass serves all layers and classes. Gradients are recorded from the shallowest of the layers on, and one
    backward pass serves the k-th class of every image; parameters get none. Hooks live for the length of a call, after
    which the network is as it was: modes, `requires_grad`, `.grad`.

    Args:
        model: any network of convolutional layers, or a vision transformer of timm's, whose tokens of patches are laid
            out as the map that they are; it runs in evaluation mode.
        layers: names as in `model.named_modules()`, or the unambiguous end of one (`stage3`).
        method: one of `METHODS`.
        score: from the network's output to scores (B, N); by default the output itself.
        batch_size: masked images a forward pass takes; `score_cam` only.
        **options: keywords of the method's function, as `eps` of `grad_cam_pp`.

    Raises:
        ValueError: for an unknown method, or a layer that the network has not or has twice.

    Example:
        with CAMExtractor(model, ["layer3", "layer4"], "layer_cam") as extractor:
            maps = extractor(images, [[3, 7], [2]])["layer4"][0]  # (2, h, w)
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] | str,
        method: str = "layer_cam",
        *,
        score: Callable[[Any], Tensor] | None = None,
        batch_size: int = 32,
        **options: Any,
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"method {method!r}: expected one of {', '.join(METHODS)}")
        layers = [layers] if isinstance(layers, str) else layers
        if not layers:
            raise ValueError("layers: expected at least one name")
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: expected at least 1")
        parameters = inspect.signature(GRADIENT_METHODS[method]).parameters if method != "score_cam" else {}
        known = [name for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY]
        for option in options:
            if option not in known:
                raise ValueError(f"{method} has no option {option!r}; expected {', '.join(known) or 'none'}")
        self.model, self.method, self.batch_size, self.options = model, method, batch_size, options
        self.layers = {name: find_layer(model, name) for name in layers}
        self.score = score

    def __enter__(self) -> "CAMExtractor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to undo: hooks live for the length of a call."""

    def __call__(self, images: Tensor, classes: Classes | None = None) -> Maps:
        """Draw maps.

        Args:
            images: what the network takes, (B, 3, H, W).
            classes: class indices of each image, any number of them; by default each image's best-scoring class.

        Returns:
            Layer name -> list over images of maps (K_b, h, w), float32, after ReLU, not normalised.

        Raises:
            ValueError: if `classes` does not fit, a layer does not run once with an output (B, C, h, w), or the score
                does not depend on it.
        """
        with working(self.model):
            stacked, chosen = self._draw(images, classes)
            return {name: per_image(maps, chosen) for name, maps in stacked.items()}

    def multi_scale(
        self,
        images: Tensor,
        classes: Classes | None = None,
        *,
        scales: Sequence[float] = (0.5, 1.0, 1.5, 2.0),
        flip: bool = True,
    ) -> Maps:
        """Draw maps at several scales, with mirror images, and add them; images and mirror images share a batch.

        Args:
            images: what the network takes, (B, 3, H, W).
            classes: see `__call__`; the best-scoring class is that of scale 1.
            scales: resize factors.
            flip: whether to add the mirror images' maps.

        Returns:
            Layer name -> list over images of maps (K_b, ceil(H/4), ceil(W/4)), each divided by its maximum.
        """
        if not scales:
            raise ValueError("scales: expected at least one")
        with working(self.model):
            if classes is None:
                with torch.no_grad():
                    classes = check_classes(None, self._scores(images))
            if len(classes) != len(images):
                raise ValueError(f"classes: expected one list for each of {len(images)} images, got {len(classes)}")
            wanted = [*classes, *classes] if flip else classes
            total = multi_scale(lambda batch, _: self._draw(batch, wanted)[0], images, scales=scales, flip=flip)
        return {name: per_image(normalize(maps), classes) for name, maps in total.items()}

    def _draw(self, images: Tensor, classes: Classes | None) -> tuple[dict[str, Tensor], list[list[int]]]:
        """Layer -> (B, K, h, w), zero beyond an image's own classes; and these."""
        needs_gradients = self.method != "score_cam"
        scores, activations = record_forward(self.model, self.layers, images, self.score, record=needs_gradients)
        chosen = check_classes(classes, scores)
        if needs_gradients:
            method = partial(GRADIENT_METHODS[self.method], **self.options)
            return class_maps(scores, activations, chosen, {self.method: method})[self.method], chosen
        return score_cam_maps(self._scores, images, activations, chosen, batch_size=self.batch_size), chosen

    def _scores(self, images: Tensor) -> Tensor:
        return class_scores(self.model, images, self.score)


def class_maps(
    scores: Tensor,
    activations: Mapping[str, Tensor],
    classes: Classes,
    methods: Mapping[str, Callable[[Tensor, Tensor], Tensor]],
) -> dict[str, dict[str, Tensor]]:
    """Maps from a recorded forward pass: one backward pass for the k-th class of every image serves all methods.

    Args:
        scores: (B, N), with a graph back to the activations.
        activations: layer -> (B, C, h, w).
        classes: class indices of each image, K at most.
        methods: name -> function of (activations, gradients) -> (B, h, w).

    Returns:
        Method -> layer -> (B, K, h, w) float32, zero beyond an image's own classes.

    Raises:
        ValueError: if the scores do not depend on one of the activations.
    """
    num_maps = max((len(wanted) for wanted in classes), default=0)
    maps = {method: {name: _no_maps(a, num_maps) for name, a in activations.items()} for method in methods}
    for k, gradients in enumerate(class_gradients(scores, activations, classes)):
        for name, a in activations.items():
            pair = a.detach().float(), gradients[name].float()
            for method, draw in methods.items():
                maps[method][name][:, k] = draw(*pair)
    return maps


def score_cam_maps(
    scores: Callable[[Tensor], Tensor],
    images: Tensor,
    activations: Mapping[str, Tensor],
    classes: Classes,
    *,
    batch_size: int = 32,
) -> dict[str, Tensor]:
    """Score-CAM; the masked forward passes serve all classes of an image.

    Args:
        scores: the network, images (b, 3, H, W) -> (b, N).
        images: (B, 3, H, W); masked images have their memory format, and `torch.channels_last` is the faster on CPUs.
        activations: layer -> (B, C, h, w).
        classes: class indices of each image, K at most.
        batch_size: masked images a forward pass takes.

    Returns:
        Layer -> (B, K, h, w) float32, zero beyond an image's own classes.
    """
    num_maps = max((len(wanted) for wanted in classes), default=0)
    is_channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    layout = torch.channels_last if is_channels_last else torch.contiguous_format

    def score_masked(masked: Tensor) -> Tensor:
        return scores(masked.to(images.dtype, memory_format=layout)).float()

    maps: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, layer in activations.items():
            maps[name] = _no_maps(layer, num_maps)
            for row, image, a, wanted in zip(maps[name], images, layer.float(), classes, strict=True):
                if wanted:
                    masked = _masked_scores(score_masked, image, a, batch_size)[:, list(wanted)]  # (C, K)
                    row[: len(wanted)] = score_cam(a, masked.T)
    return maps


def _masked_scores(scores: Callable[[Tensor], Tensor], image: Tensor, activations: Tensor, batch_size: int) -> Tensor:
    """Scores (C, N) of one image (3, H, W) under each channel's mask; flat channels have none and share a pass."""
    is_flat = activations.amax(dim=(1, 2)) == activations.amin(dim=(1, 2))  # (C,)
    rows = torch.cat([(~is_flat).nonzero()[:, 0], is_flat.nonzero()[:1, 0]])
    size = (image.shape[1], image.shape[2])
    computed = torch.cat(
        [scores(image * channel_masks(activations[chunk], size)[:, None]) for chunk in rows.split(batch_size)]
    )  # (rows, N)
    result = computed[-1:].repeat(len(activations), 1)
    result[rows] = computed
    return result


def _no_maps(activations: Tensor, num_maps: int) -> Tensor:
    size = (len(activations), num_maps, *activations.shape[2:])
    return torch.zeros(size, device=activations.device)
