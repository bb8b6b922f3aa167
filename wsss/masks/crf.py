"""Fully-connected CRF (Krähenbühl & Koltun, NIPS 2011), in torch or by pydensecrf, and masks made with it."""

import importlib.util
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from wsss.defaults import BACKENDS, CRFParams
from wsss.errors import InputError
from wsss.labels import VOID
from wsss.masks.labels import local_labels, to_labels
from wsss.masks.mean_field import MeanField

# Energy of a label that an image has not, where its batch has more: a probability of 1e-13.
_ABSENT = 30.0


def require_backend(params: CRFParams) -> None:
    """Fail early, in one line, where the CRF cannot run."""
    if params.backend not in BACKENDS:
        raise InputError(f"crf.backend={params.backend}: expected one of {', '.join(BACKENDS)}")
    if params.backend == "pydensecrf" and importlib.util.find_spec("pydensecrf") is None:
        raise InputError(
            "crf.backend=pydensecrf: `pip install pydensecrf2` first (needs a C++ compiler), "
            "or choose crf.backend=torch, which needs nothing and gives the same masks"
        )


def unary_from_labels(labels: NDArray[np.integer], num_labels: int, *, gt_prob: float) -> NDArray[np.float32]:
    """Energies (L, H, W): -log p for a pixel's own label, -log((1 - p) / (L - 1)) for the others."""
    own, other = -np.log(gt_prob), -np.log((1 - gt_prob) / (num_labels - 1))
    energies: NDArray[np.float32] = np.where(labels[None] == np.arange(num_labels)[:, None, None], own, other).astype(
        np.float32
    )
    return energies


def crf_marginals(image: NDArray[np.uint8], unary: NDArray[np.float32], params: CRFParams) -> NDArray[np.float32]:
    """Label probabilities after mean-field inference.

    Args:
        image: RGB as a person sees it, (H, W, 3) uint8.
        unary: energies, -log of a probability, (L, H, W); or of P labellings with L labels each, (P, L, H, W), for
            which what depends on the image alone is done once.
        params: the kernels and the back end.

    Returns:
        As `unary`.

    Raises:
        InputError: if pydensecrf is asked for and not installed.
    """
    require_backend(params)
    if unary.ndim == 3:
        return crf_marginals(image, unary[None], params)[0]
    if params.backend == "pydensecrf":
        return np.stack([_pydensecrf_marginals(image, of_pass, params) for of_pass in unary])
    crf = MeanField(torch.from_numpy(np.array(image))[None], params)  # a copy: torch refuses read-only arrays
    marginals: NDArray[np.float32] = crf.marginals(torch.tensor(unary)[None])[0].numpy()
    return marginals


def _pydensecrf_marginals(
    image: NDArray[np.uint8], unary: NDArray[np.float32], params: CRFParams
) -> NDArray[np.float32]:
    from pydensecrf.densecrf import DenseCRF2D

    num_labels, height, width = unary.shape
    crf = DenseCRF2D(width, height, num_labels)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(num_labels, -1), dtype=np.float32))
    crf.addPairwiseGaussian(sxy=params.gaussian_sxy, compat=params.gaussian_compat)
    crf.addPairwiseBilateral(
        sxy=params.bilateral_sxy,
        srgb=params.bilateral_srgb,
        rgbim=np.array(image, dtype=np.uint8, order="C"),  # a copy: pydensecrf refuses read-only arrays
        compat=params.bilateral_compat,
    )
    marginals = np.asarray(crf.inference(params.iterations), np.float32)
    return marginals.reshape(num_labels, height, width)


def dense_crf(
    image: NDArray[np.uint8],
    scores: NDArray[np.integer] | NDArray[np.floating],
    *,
    num_labels: int | None = None,
    params: CRFParams | None = None,
) -> NDArray[np.uint8]:
    """Sharpen a labelling along the image's edges.

    Args:
        image: RGB (H, W, 3) uint8.
        scores: integer labels (H, W) in 0 … L-1, or probabilities (L, H, W).
        num_labels: L, for integer labels; default: the largest label + 1.
        params: the kernels; default: `CRFParams()`.

    Returns:
        Label map (H, W). Where there is one label alone, it.

    Raises:
        InputError: if pydensecrf is not installed.
        ValueError: if sizes disagree, or for another kind of image, labels out of range or scores that are not finite.
    """
    params = params or CRFParams()
    if image.dtype != np.uint8 or not image.size:
        raise ValueError(f"expected an RGB image of uint8, got {image.dtype} {image.shape}")
    if image.shape != (*scores.shape[-2:], 3):
        raise ValueError(f"expected an image {(*scores.shape[-2:], 3)} for scores {scores.shape}, got {image.shape}")
    if scores.ndim == 2:
        num_labels = int(scores.max()) + 1 if num_labels is None else num_labels
        if scores.min() < 0 or scores.max() >= min(num_labels, VOID):
            raise ValueError(f"expected labels 0 to {min(num_labels, VOID) - 1}, got {scores.min()} to {scores.max()}")
        return refine_labels(image, scores[None].astype(np.uint8), num_labels, params)[0]
    if not np.isfinite(scores).all():
        raise ValueError("expected probabilities, got some that are not finite")
    if len(scores) == 1:
        return np.zeros(scores.shape[1:], np.uint8)
    unary = -np.log(np.clip(scores, 1e-5, 1.0)).astype(np.float32)
    return crf_marginals(image, unary, params).argmax(axis=0).astype(np.uint8)


def refine_labels(
    image: NDArray[np.uint8], labels: NDArray[np.integer], num_labels: int, params: CRFParams
) -> NDArray[np.uint8]:
    """Sharpen P labellings (P, H, W) of one image with labels 0 … L-1, side by side -> (P, H, W)."""
    return refine_batch(image[None], [labels], [num_labels], params)[0]


def refine_batch(
    images: NDArray[np.uint8],
    labels: Sequence[NDArray[np.integer]],
    num_labels: Sequence[int],
    params: CRFParams,
    *,
    device: str = "cpu",
) -> list[NDArray[np.uint8]]:
    """Sharpen P labellings of each of B images of one size.

    Args:
        images: RGB (B, H, W, 3).
        labels: of each image, (P, H, W) in 0 … L_b - 1.
        num_labels: L_b of each image.
        params: the kernels and the back end.
        device: where the torch back end works, on all images at once; pydensecrf takes one after another.

    Returns:
        As `labels`.
    """
    most = max(num_labels)
    if most == 1:
        return [np.zeros_like(of_image, np.uint8) for of_image in labels]
    if params.backend == "pydensecrf" and len(images) > 1:
        return [refine_labels(*one, params) for one in zip(images, labels, num_labels, strict=True)]
    unary = np.full((len(images), len(labels[0]), most, *images.shape[1:3]), _ABSENT, np.float32)
    for energies, of_image, own in zip(unary, labels, num_labels, strict=True):
        if own > 1:
            energies[:, :own] = [unary_from_labels(one, own, gt_prob=params.gt_prob) for one in of_image]
        else:
            energies[:, 0] = 0.0
    if params.backend == "pydensecrf":
        return [crf_marginals(images[0], unary[0], params).argmax(axis=1).astype(np.uint8)]
    crf = MeanField(torch.from_numpy(np.array(images)).to(device), params)
    refined = crf.marginals(torch.from_numpy(unary).to(device)).argmax(dim=2).byte().cpu()
    return list(refined.numpy())


def crf_mask(
    image: NDArray[np.uint8],
    maps: NDArray[np.floating],
    classes: Sequence[int] | NDArray[np.integer],
    *,
    threshold: float,
    params: CRFParams | None = None,
) -> NDArray[np.uint8]:
    """Pseudo-mask (H, W): arg max of threshold and maps (K, H, W), then the CRF. Scores enter by rank only."""
    local = local_labels(maps, threshold)
    return to_labels(dense_crf(image, local, num_labels=len(maps) + 1, params=params), classes)


def confident_mask(
    image: NDArray[np.uint8],
    maps: NDArray[np.floating],
    classes: Sequence[int] | NDArray[np.integer],
    *,
    fg_threshold: float,
    bg_threshold: float,
    params: CRFParams | None = None,
) -> NDArray[np.uint8]:
    """Pseudo-mask of the pixels two CRF passes are sure of (IRN, Ahn et al., CVPR 2019); both passes are one."""
    local = np.stack([local_labels(maps, threshold) for threshold in (fg_threshold, bg_threshold)])
    refined = refine_labels(image, local, len(maps) + 1, params or CRFParams())
    return join_confident(*(to_labels(of_pass, classes) for of_pass in refined))


def join_confident(foreground: NDArray[np.uint8], background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label maps F of a high and B of a low threshold: F's class where there is one, void where only B has, else 0.

    Example:
        >>> join_confident(np.array([3, 0, 0], np.uint8), np.array([3, 3, 0], np.uint8))
        array([  3, 255,   0], dtype=uint8)
    """
    return np.where(foreground > 0, foreground, np.where(background > 0, VOID, 0)).astype(np.uint8)
