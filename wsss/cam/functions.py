"""Class activation maps as pure functions of activations, gradients and weights. No hooks, no models, no state.

Every function returns non-negative maps that are not normalised: see `normalize` and `fuse`. A = activations of a
stage, G = dy/dA for a class score y before the sigmoid, Σ_c over channels, Σ_p and mean_p over the cells of a map.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def cam(features: Tensor, weight: Tensor) -> Tensor:
    """Class activation maps of a network that ends in global average pooling and a linear layer.

    M_k = ReLU(Σ_c W_kc f_c), from CAM (Zhou et al., CVPR 2016).

    Args:
        features: last feature maps f, (B, C, h, w).
        weight: classifier weights W of the K classes wanted, (K, C).

    Returns:
        Maps in units of the logit, (B, K, h, w).

    Raises:
        ValueError: if the channel counts differ.
    """
    if features.ndim != 4 or weight.ndim != 2 or features.shape[1] != weight.shape[1]:
        raise ValueError(
            f"expected features (B, C, h, w) and weight (K, C), got {tuple(features.shape)}, {tuple(weight.shape)}"
        )
    return torch.einsum("kc,bchw->bkhw", weight, features).relu()  # (B, K, h, w)


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """M = ReLU(Σ_c mean_p(G_c) A_c), from Grad-CAM (Selvaraju et al., ICCV 2017). (B, C, h, w) twice -> (B, h, w)."""
    _check(activations, gradients)
    weights = gradients.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
    return (weights * activations).sum(dim=1).relu()  # (B, h, w)


def grad_cam_pp(activations: Tensor, gradients: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Grad-CAM with per-cell weights for the gradient, from Grad-CAM++ (Chattopadhay et al., WACV 2018).

    M = ReLU(Σ_c w_c A_c), w_c = Σ_p a ReLU(G), a = G² / (2 G² + G³ Σ_p A_c + eps), and a = 0 where G = 0.

    Args:
        activations: A, (B, C, h, w).
        gradients: G, (B, C, h, w).
        eps: added to the denominator. Gradients of a pooled score are small (about 1/hw), so 1e-6 is not negligible
            beside G² and the map depends on the scale of the logits; the default is pytorch-grad-cam's, for comparison.

    Returns:
        Maps (B, h, w).
    """
    _check(activations, gradients)
    squared = gradients**2
    denominator = 2 * squared + squared * gradients * activations.sum(dim=(2, 3), keepdim=True) + eps
    # Where G < 0 the denominator may vanish; ReLU(G) is zero there, and 0 · ∞ must not arise.
    alpha = torch.where(gradients > 0, squared / denominator, 0.0)  # (B, C, h, w)
    weights = (alpha * gradients.relu()).sum(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
    return (weights * activations).sum(dim=1).relu()  # (B, h, w)


def element_wise_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """M = Σ_c ReLU(G_c A_c), pytorch-grad-cam's element-wise variant; LayerCAM where A ≥ 0. -> (B, h, w)."""
    _check(activations, gradients)
    return (gradients * activations).relu().sum(dim=1)  # (B, h, w)


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Map where one stage supports a class, with a weight per cell.

    M = ReLU(Σ_c ReLU(G_c) A_c), from LayerCAM (Jiang et al., TIP 2021). Grad-CAM averages the weight over the map;
    keeping it per cell is what makes shallow stages usable.

    Args:
        activations: A of the stage, (B, C, h, w).
        gradients: G, (B, C, h, w).

    Returns:
        Non-negative maps in units of the logit, (B, h, w).

    Raises:
        ValueError: if the arguments are not two tensors of one shape (B, C, h, w).
    """
    _check(activations, gradients)
    return (gradients.relu() * activations).sum(dim=1).relu()  # (B, h, w)


def normalize(maps: Tensor, *, eps: float = 0.0) -> Tensor:
    """Divide each map (…, h, w) by its own maximum + eps; a map whose maximum is zero stays zero.

    ReCAM's published maps use eps = 1e-5; no minimum is subtracted.
    """
    maximum = maps.amax(dim=(-2, -1), keepdim=True) + eps
    return torch.where(maximum > 0, maps / torch.where(maximum > 0, maximum, 1.0), 0.0)


def fuse(
    maps: Sequence[Tensor],
    size: tuple[int, int],
    *,
    mode: Literal["max", "mean"] = "max",
    scaled: Sequence[bool] | None = None,
    gamma: float = 2.0,
) -> Tensor:
    """Join the maps of several stages at one size.

    Each map is divided by its maximum or, where `scaled`, becomes tanh(γ M / max M) (LayerCAM, Jiang et al., TIP 2021,
    eq. 9, meant for shallow stages); it is then resized bilinearly and joined by element-wise maximum or mean.

    Args:
        maps: one tensor (…, h_i, w_i) per stage, at least one.
        size: (H, W) of the result.
        mode: "max" as published, or "mean".
        scaled: which maps get the tanh; none by default.
        gamma: γ.

    Returns:
        (…, H, W), values in [0, 1].

    Raises:
        ValueError: for no maps, an unknown mode, or `scaled` of another length.
    """
    scaled = [False] * len(maps) if scaled is None else scaled
    if not maps or len(scaled) != len(maps):
        raise ValueError(f"expected one or more maps and as many `scaled`, got {len(maps)} and {len(scaled)}")
    if mode not in ("max", "mean"):
        raise ValueError(f"expected mode 'max' or 'mean', got {mode!r}")
    normalized = [torch.tanh(gamma * normalize(m)) if s else normalize(m) for m, s in zip(maps, scaled, strict=True)]
    stacked = torch.stack([resize(m, size) for m in normalized])  # (stages, …, H, W)
    return stacked.amax(dim=0) if mode == "max" else stacked.mean(dim=0)


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of maps (…, h, w) to `size`, half-pixel centres (align_corners False)."""
    if maps.shape[-2:] == torch.Size(size):
        return maps
    flat = maps.reshape(-1, 1, *maps.shape[-2:])  # (·, 1, h, w): a batch may be empty, channels may not
    return F.interpolate(flat, size=size, mode="bilinear", align_corners=False).reshape(*maps.shape[:-2], *size)


def _check(activations: Tensor, gradients: Tensor) -> None:
    if activations.ndim != 4 or activations.shape != gradients.shape:
        raise ValueError(f"expected two tensors (B, C, h, w), got {tuple(activations.shape)}, {tuple(gradients.shape)}")
