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

    Example:
        >>> features = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # two channels of 1 × 2 cells
        >>> cam(features, torch.tensor([[1.0, -1.0]]))
        tensor([[[[0., 2.]]]])
    """
    if features.ndim != 4 or weight.ndim != 2 or features.shape[1] != weight.shape[1]:
        raise ValueError(
            f"expected features (B, C, h, w) and weight (K, C), got {tuple(features.shape)}, {tuple(weight.shape)}"
        )
    with torch.autocast(features.device.type, enabled=False):
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


def x_grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """M = ReLU(Σ_c w_c A_c), w_c = Σ_p G_c A_c / Σ_p A_c, from XGrad-CAM (Fu et al., BMVC 2020).

    A channel whose activations sum to zero has weight zero. (B, C, h, w) twice -> (B, h, w).
    """
    _check(activations, gradients)
    total = activations.sum(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
    weights = (gradients * activations).sum(dim=(2, 3), keepdim=True) / torch.where(total == 0, 1.0, total)
    return (torch.where(total == 0, 0.0, weights) * activations).sum(dim=1).relu()  # (B, h, w)


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """M = ReLU(Σ_c G_c A_c), from HiResCAM (Draelos & Carin, 2020). (B, C, h, w) twice -> (B, h, w)."""
    _check(activations, gradients)
    return (gradients * activations).sum(dim=1).relu()  # (B, h, w)


def norm_grad(activations: Tensor, gradients: Tensor) -> Tensor:
    """M_p = ‖A_p‖₂ ‖G_p‖₂, norms over the channels of a cell p, from NormGrad (Rebuffi et al., CVPR 2020).

    The Frobenius norm of A_p G_pᵀ: what cell p adds to the gradient of the weights of a 1×1 convolution that follows.
    Blind to the sign: a cell that speaks against the class counts as well. (B, C, h, w) twice -> (B, h, w).
    """
    _check(activations, gradients)
    return activations.norm(dim=1) * gradients.norm(dim=1)  # (B, h, w)


def score_cam(activations: Tensor, scores: Tensor) -> Tensor:
    """Maps weighted by what each channel, laid over the image as a mask, lets the network see; no gradient.

    M_k = ReLU(Σ_c softmax_c(s_kc) A_c), from Score-CAM (Wang et al., CVPR workshops 2020).

    Args:
        activations: A of one image, (C, h, w).
        scores: s, the score of K classes for the image under each channel's mask, see `channel_masks`, (K, C).

    Returns:
        Maps (K, h, w).

    Raises:
        ValueError: if the channel counts differ.
    """
    if activations.ndim != 3 or scores.ndim != 2 or len(activations) != scores.shape[1]:
        raise ValueError(
            f"expected activations (C, h, w) and scores (K, C), got {tuple(activations.shape)}, {tuple(scores.shape)}"
        )
    with torch.autocast(activations.device.type, enabled=False):
        return torch.einsum("kc,chw->khw", scores.softmax(dim=1), activations).relu()  # (K, h, w)


def channel_masks(activations: Tensor, size: tuple[int, int]) -> Tensor:
    """Each channel as a mask of the image: (C, h, w) -> (C, H, W) in [0, 1].

    Resized bilinearly with aligned corners, then from its minimum to its maximum (pytorch-grad-cam's convention).
    """
    resized = F.interpolate(activations[:, None], size=size, mode="bilinear", align_corners=True)[:, 0]  # (C, H, W)
    low, high = resized.aminmax(dim=-1)  # (C, H) twice
    low, high = low.amin(dim=-1)[:, None, None], high.amax(dim=-1)[:, None, None]
    # A flat channel's range is rounding alone.
    is_flat = activations.amin(dim=(1, 2)) == activations.amax(dim=(1, 2))  # (C,)
    return torch.where(is_flat[:, None, None], 0.0, (resized - low) / (high - low + 1e-8))


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

    Example:
        >>> activations = torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)
        >>> layer_cam(activations, torch.tensor([2.0, -1.0]).view(1, 2, 1, 1))  # 2 · 3; the other channel lowers y
        tensor([[[6.]]])
    """
    _check(activations, gradients)
    return (gradients.relu() * activations).sum(dim=1).relu()  # (B, h, w)


def normalize(maps: Tensor, *, eps: float = 0.0) -> Tensor:
    """Divide each map (…, h, w) by its own maximum + eps; a map whose maximum is zero stays zero.

    ReCAM's published maps use eps = 1e-5; no minimum is subtracted.

    Example:
        >>> normalize(torch.tensor([[[1.0, 4.0]], [[0.0, 0.0]]]))
        tensor([[[0.2500, 1.0000]],
        <BLANKLINE>
                [[0.0000, 0.0000]]])
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
    weights: Sequence[float] | None = None,
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
        weights: of the mean, one number per stage; equal by default.

    Returns:
        (…, H, W), values in [0, 1].

    Raises:
        ValueError: for no maps, an unknown mode, `scaled` or `weights` of another length, or weights without a mean.

    Example:
        >>> deep, shallow = torch.tensor([[[5.0]]]), torch.tensor([[[0.0, 2.0]]])
        >>> fuse([deep, shallow], (1, 2), mode="mean")
        tensor([[[0.5000, 1.0000]]])
    """
    scaled = [False] * len(maps) if scaled is None else scaled
    if not maps or len(scaled) != len(maps):
        raise ValueError(f"expected one or more maps and as many `scaled`, got {len(maps)} and {len(scaled)}")
    if mode not in ("max", "mean"):
        raise ValueError(f"expected mode 'max' or 'mean', got {mode!r}")
    if weights is not None and (mode != "mean" or len(weights) != len(maps) or min(weights) < 0 or sum(weights) <= 0):
        raise ValueError(f"expected {len(maps)} weights for mode 'mean', none negative, got {weights} for {mode!r}")
    normalized = [torch.tanh(gamma * normalize(m)) if s else normalize(m) for m, s in zip(maps, scaled, strict=True)]
    stacked = torch.stack([resize(m, size) for m in normalized])  # (stages, …, H, W)
    if mode == "max":
        return stacked.amax(dim=0)
    if weights is None:
        return stacked.mean(dim=0)
    share = stacked.new_tensor(weights).view(-1, *[1] * (stacked.ndim - 1))
    return (stacked * share).sum(dim=0) / share.sum()


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of maps (…, h, w) to `size`, half-pixel centres (align_corners False)."""
    if maps.shape[-2:] == torch.Size(size):
        return maps
    flat = maps.reshape(-1, 1, *maps.shape[-2:])  # (·, 1, h, w): a batch may be empty, channels may not
    return F.interpolate(flat, size=size, mode="bilinear", align_corners=False).reshape(*maps.shape[:-2], *size)


def _check(activations: Tensor, gradients: Tensor) -> None:
    if activations.ndim != 4 or activations.shape != gradients.shape:
        raise ValueError(f"expected two tensors (B, C, h, w), got {tuple(activations.shape)}, {tuple(gradients.shape)}")
