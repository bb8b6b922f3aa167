"""A small segmenter of random weights, as a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from wsss.models import SegmentationNetwork, build_segmentation
from wsss.models.files import save_model

CLASSES = ["bird", "cow", "fish"]
PROTOCOL = {"data": "toy", "split": "train", "images": 4, "trained_on": "pseudo-masks", "seed": 0}


def small_network(name: str = "deeplab_v3plus", **changes: Any) -> tuple[SegmentationNetwork, dict[str, Any]]:
    """The network, and what it is built from."""
    backbone = {"name": "test_efficientnet", "weights": "none", "output_stride": 16, **changes}
    head = {"channels": 8, "skip_channels": 4, "atrous_rates": [1, 2]}
    network = build_segmentation(name, len(CLASSES) + 1, backbone=backbone, head=head)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 3  # labels that differ from place to place
    return network.eval(), {"name": name, "backbone": backbone, "resize_long": None, **head}


def save_small_segmenter(path: Path, name: str = "deeplab_v3plus", **changes: Any) -> SegmentationNetwork:
    """Write its model file."""
    network, settings = small_network(name, **changes)
    save_model(path, network, kind="segmenter", network=settings, classes=CLASSES, protocol=PROTOCOL)
    return network
