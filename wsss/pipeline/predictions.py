"""Label maps of whole photographs, with a CRF afterwards if asked for."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from wsss.masks import dense_crf
from wsss.models import Inference, Segmenter
from wsss.pipeline.config import InferenceConfig


def with_inference(segmenter: Segmenter, config: InferenceConfig) -> Segmenter:
    """The segmenter, looking at photographs as the options say, at the size it was made for."""
    options: Inference = replace(
        segmenter.inference,
        scales=tuple(config.scales),
        flip=config.flip,
        window=config.window,
        overlap=config.overlap,
    )
    return Segmenter(segmenter.model, segmenter.classes, inference=options)


def predict(segmenter: Segmenter, image: Image.Image, config: InferenceConfig) -> NDArray[np.uint8]:
    """Label map (H, W) of a photograph.

    Args:
        segmenter: see `with_inference`.
        image: RGB.
        config: its CRF is used.
    """
    if config.crf is None:
        return segmenter(image)
    probabilities = segmenter.probabilities(image)
    with torch.autocast("cpu", enabled=False):  # half precision is for the network alone
        return dense_crf(np.array(image), probabilities, params=config.crf)
