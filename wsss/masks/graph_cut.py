"""Segments of a map by a graph cut of the image's colours; OpenCV's GrabCut does the cutting."""

import importlib.util

import numpy as np
from numpy.typing import NDArray

from wsss.errors import InputError


def require_graph_cut() -> None:
    """Fail early, in one line, where OpenCV is missing."""
    if importlib.util.find_spec("cv2") is None:
        raise InputError("masks.kind=graphcut: `pip install opencv-python-headless` first, or choose masks.kind=crf")


def graph_cut(
    image: NDArray[np.uint8],
    map: NDArray[np.floating],
    *,
    foreground: float = 0.95,
    background: float = 0.3,
    threshold: float | None = None,
    iterations: int = 5,
) -> NDArray[np.bool_]:
    """The object that a map lies on, as far as colours tell it from the rest.

    GrabCut (Rother et al., SIGGRAPH 2004) started as by Simonyan et al. (ICLR workshops 2014), who segment by maps that
    mark little of an object, as those of shallow stages do: pixels above a high quantile of the map are foreground for
    certain, those up to a low one background; between them colours and edges decide.

    Args:
        image: RGB (H, W, 3) uint8.
        map: (H, W), higher where the object is.
        foreground: quantile from which on a pixel is foreground.
        background: quantile up to which it is background.
        threshold: value of the map above which the pixels between start as foreground; default: halfway between the
            two quantiles' values.
        iterations: of fitting colours and cutting.

    Returns:
        (H, W), true on the object; false everywhere for a map of one value.

    Raises:
        InputError: if OpenCV is not installed.
        ValueError: if sizes disagree, or the quantiles do not rise from background to foreground.
    """
    require_graph_cut()
    import cv2

    if image.dtype != np.uint8 or image.shape != (*map.shape, 3):
        raise ValueError(f"expected an image {(*map.shape, 3)} of uint8, got {image.shape} of {image.dtype}")
    if not 0 <= background < foreground <= 1:
        raise ValueError(f"expected quantiles 0 ≤ background < foreground ≤ 1, got {background} and {foreground}")
    low, high = np.quantile(map, [background, foreground])
    middle = (low + high) / 2 if threshold is None else threshold
    seeds = np.where(map > middle, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    seeds[map >= high] = cv2.GC_FGD
    seeds[map <= low] = cv2.GC_BGD  # after the other: where both quantiles are one value, nothing stands out
    if not (seeds == cv2.GC_FGD).any():
        return np.zeros(map.shape, bool)
    cv2.setRNGSeed(0)  # the mixtures of colours start at random
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cut, *_ = cv2.grabCut(np.ascontiguousarray(image), seeds, None, *models, iterations, cv2.GC_INIT_WITH_MASK)
    return (cut == cv2.GC_FGD) | (cut == cv2.GC_PR_FGD)


def graph_cut_labels(image: NDArray[np.uint8], maps: NDArray[np.floating], threshold: float) -> NDArray[np.uint8]:
    """Local labels (H, W) of maps (K, H, W): the highest map among those whose segment a pixel is in, i + 1, else 0."""
    segments = np.stack([graph_cut(image, one, threshold=threshold) for one in maps])
    scores = np.where(segments, maps, -1.0)
    return np.where(segments.any(axis=0), scores.argmax(axis=0) + 1, 0).astype(np.uint8)
