"""Anti-adversarial climbing: images changed so that a class wins by more of its object."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Evidence = Callable[[Tensor], tuple[Tensor, Tensor]]


def climb(
    images: Tensor,
    targets: Tensor,
    evidence: Evidence,
    *,
    steps: int = 27,
    step_size: float | Tensor = 0.008,
    weight: float = 7.0,
    threshold: float = 0.5,
) -> Iterator[Tensor]:
    """Images on their way up the score of one class each, from AdvCAM (Lee et al., CVPR 2021).

    x_t = x_{t-1} + ξ ∂/∂x [y_k - Σ_{j≠k} max(y_j, 0) - λ Σ_p 1(A_p > τ max A) |A_p - A⁰_p|] at x_{t-1}, with A⁰ the map
    of x_0. The sum over the other classes keeps these from rising with it, the last term the regions that are high
    already: the score has to rise by others. AdvCAM is the sum of the maps, of any method, of x_0 to x_T.

    Args:
        images: x_0, (R, 3, H, W), floating; an image with several classes comes once for each.
        targets: k of each, (R,).
        evidence: differentiable, from images to scores y (R, N) and maps A (R, h, w) of their targets after ReLU, in
            the published code Grad-CAM's: in units of the score over the number of cells.
        steps: T.
        step_size: ξ; or one a channel (3, 1, 1): a network that itself divides images by std has the published ξ, which
            is that of normalised images, as ξ · std².
        weight: λ.
        threshold: τ.

    Yields:
        x_0 to x_T, (R, 3, H, W).
    """
    first: Tensor | None = None
    with torch.inference_mode(False):
        rows = torch.arange(len(images), device=images.device)
        images, targets = images.detach().clone(), targets.clone()
    yield images
    for _ in range(steps):
        with torch.inference_mode(False), torch.enable_grad():
            leaf = images.detach().requires_grad_()
            scores, maps = evidence(leaf)
            own = scores[rows, targets]
            others = scores.relu().sum(dim=1) - own.relu()
            present = maps.detach()
            first = present if first is None else first
            is_high = present > threshold * present.amax(dim=(1, 2), keepdim=True)
            moved = ((maps - first).abs() * is_high).sum(dim=(1, 2))
            # A sum over images: none depends on another.
            (uphill,) = torch.autograd.grad((own - others - weight * moved).sum(), leaf)
            images = (leaf + step_size * uphill).detach()
        yield images
