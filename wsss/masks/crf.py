"""Fully-connected CRF (Krähenbühl & Koltun, NIPS 2011) over pydensecrf, and masks made with it."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsss.errors import InputError
from wsss.labels import VOID
from wsss.masks.labels import local_labels, to_labels


@dataclass
class CRFParams:
    """Parameters of the CRF; defaults are IRN's and ReCAM's.

    Attributes:
        iterations: mean-field steps.
        gt_prob: confidence in the labels the CRF starts from, in (1 / num_labels, 1).
        gaussian_sxy: standard deviation of the smoothness kernel, pixels.
        gaussian_compat: its weight.
        bilateral_sxy: spatial standard deviation of the appearance kernel, pixels.
        bilateral_srgb: its colour standard deviation, grey levels 0 … 255.
        bilateral_compat: its weight.
    """

    iterations: int = 10
    gt_prob: float = 0.7
    gaussian_sxy: float = 3.0
    gaussian_compat: float = 3.0
    bilateral_sxy: float = 50.0
    bilateral_srgb: float = 5.0
    bilateral_compat: float = 10.0


def require_pydensecrf() -> None:
    """Fail early, in one line, where the CRF cannot run."""
    if importlib.util.find_spec("pydensecrf") is None:
        raise InputError(
            "the dense CRF needs pydensecrf: `pip install pydensecrf2` (needs a C++ compiler), "
            "or choose masks=threshold, which does without"
        )


def unary_from_labels(labels: NDArray[np.integer], num_labels: int, *, gt_prob: float) -> NDArray[np.float32]:
    """Energies (L, H, W): -log p for a pixel's own label, -log((1 - p) / (L - 1)) for the others."""
    own, other = -np.log(gt_prob), -np.log((1 - gt_prob) / (num_labels - 1))
    energies: NDArray[np.float32] = np.where(labels[None] == np.arange(num_labels)[:, None, None], own, other).astype(
        np.float32
    )
    return energies


def crf_marginals(image: NDArray[np.uint8], unary: NDArray[np.float32], params: CRFParams) -> NDArray[np.float32]:
    """Label probabilities (L, H, W) after mean-field inference from unary energies (L, H, W).

    Args:
        image: RGB as a person sees it, (H, W, 3) uint8.
        unary: energies, -log of a probability.
        params: the kernels.
    """
    require_pydensecrf()
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
        Label map (H, W). One label alone is returned as it came.

    Raises:
        InputError: if pydensecrf is not installed.
        ValueError: if sizes disagree.
    """
    params = params or CRFParams()
    if image.shape != (*scores.shape[-2:], 3):
        raise ValueError(f"expected an image {(*scores.shape[-2:], 3)} for scores {scores.shape}, got {image.shape}")
    if scores.ndim == 2:
        labels = scores.astype(np.uint8)
        num_labels = int(labels.max()) + 1 if num_labels is None else num_labels
        if num_labels == 1:
            return labels
        unary = unary_from_labels(labels, num_labels, gt_prob=params.gt_prob)
    else:
        unary = -np.log(np.clip(scores, 1e-5, 1.0)).astype(np.float32)
    refined: NDArray[np.uint8] = crf_marginals(image, unary, params).argmax(axis=0).astype(np.uint8)
    return refined


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
    """Pseudo-mask of the pixels two CRF passes are sure of (IRN, Ahn et al., CVPR 2019).

    F from the high threshold, B from the low one: F's class where F is foreground, void where only B is, else
    background.
    """
    foreground = crf_mask(image, maps, classes, threshold=fg_threshold, params=params)
    background = crf_mask(image, maps, classes, threshold=bg_threshold, params=params)
    return np.where(foreground > 0, foreground, np.where(background > 0, VOID, 0)).astype(np.uint8)
