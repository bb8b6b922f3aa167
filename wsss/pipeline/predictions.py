"""Label maps of whole photographs, with a CRF afterwards if asked for."""

from collections.abc import Sequence
from math import sqrt
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from wsss.masks import CRFParams, crf_marginals
from wsss.models import Inference, Segmenter, grown_labels
from wsss.pipeline.config import InferenceConfig
from wsss.pipeline.options import check_inference

# Larger photographs get their CRF at this size: with 21 labels it keeps 2.4 kB a pixel, and its kernels are a few dozen
# pixels wide, made for photographs of VOC's size.
CRF_PIXELS = 1024 * 768
MIN_PROBABILITY = 0.02  # a label that nowhere has more cannot win by the CRF, and takes no part in it


def with_inference(segmenter: Segmenter, config: InferenceConfig) -> Segmenter:
    """The segmenter, looking at photographs as the options say, at the size it was made for.

    Raises:
        InputError: for an option out of range, or a CRF that cannot run here.
    """
    check_inference(SimpleNamespace(inference=config))
    inference = Inference(
        resize_long=segmenter.inference.resize_long,
        scales=tuple(config.scales),
        flip=config.flip,
        window=config.window,
        overlap=config.overlap,
    )
    return segmenter.with_inference(inference)


def predict(segmenter: Segmenter, image: Image.Image, config: InferenceConfig) -> NDArray[np.uint8]:
    """Label map (H, W) of a photograph; see `predict_batch`."""
    return predict_batch(segmenter, [image], config)[0]


def predict_batch(
    segmenter: Segmenter, images: Sequence[Image.Image], config: InferenceConfig
) -> list[NDArray[np.uint8]]:
    """Label maps (H, W) of photographs of one size.

    Args:
        segmenter: see `with_inference`.
        images: RGB.
        config: its CRF is used, on each photograph by itself.
    """
    if config.crf is None:
        return segmenter.label_maps(images)
    return [_with_crf(segmenter, image, config.crf) for image in images]


def _with_crf(segmenter: Segmenter, image: Image.Image, params: CRFParams) -> NDArray[np.uint8]:
    """The CRF sees the photograph at `CRF_PIXELS` at most; what it makes of it grows to the photograph's size."""
    width, height = image.size
    shrunk = max(sqrt(width * height / CRF_PIXELS), 1.0)
    size = (max(round(height / shrunk), 1), max(round(width / shrunk), 1))
    probabilities = segmenter.probabilities(image, size=size)  # (L, h, w)
    highest = probabilities.max(axis=(1, 2))  # (L,)
    labels = np.flatnonzero(highest >= min(MIN_PROBABILITY, highest.max())).astype(np.uint8)  # (K,)
    if len(labels) == 1:
        return np.full((height, width), labels[0])
    unary = -np.log(np.clip(probabilities[labels], 1e-5, 1.0))
    seen = image if shrunk == 1 else image.resize(size[::-1], Image.Resampling.BOX)
    with torch.autocast("cpu", enabled=False):  # half precision is for the network alone
        marginals = torch.from_numpy(crf_marginals(np.array(seen), unary, params))
    return labels[grown_labels(marginals[None], (height, width))[0].numpy()]
