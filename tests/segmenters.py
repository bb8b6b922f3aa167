"""A small segmenter of random weights, as a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from wsss.models import SegmentationNetwork, build_segmentation
from wsss.models.files import save_model

CLASSES = ["bird", "cow", "fish"]
PROTOCOL = {"data": "toy", "split": "train", "images": 4, "trained_on": "pseudo-masks", "seed": 0}


def small_network(
    name: str = "deeplab_v3plus", *, backbone: str = "test_efficientnet"
) -> tuple[SegmentationNetwork, dict[str, Any]]:
    """The network, and what it is built from."""
    options = {"name": backbone, "weights": "none", "output_stride": 16}
    head = {"channels": 8, "skip_channels": 4, "atrous_rates": [1, 2]}
    network = build_segmentation(name, len(CLASSES) + 1, backbone=options, head=head)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():  # norms learn what passes, so that labels differ from place to place
        network.train()(torch.rand(8, 3, 8, 8).repeat_interleave(12, 2).repeat_interleave(12, 3))
    return network.eval(), {"name": name, "backbone": options, "resize_long": None, **head}


def save_small_segmenter(
    path: Path, name: str = "deeplab_v3plus", *, backbone: str = "test_efficientnet"
) -> SegmentationNetwork:
    """Write its model file."""
    network, settings = small_network(name, backbone=backbone)
    save_model(path, network, kind="segmenter", network=settings, classes=CLASSES, protocol=PROTOCOL)
    return network
