"""A tree of three images in VOC layout, 24 × 16 and 16 × 24 pixels, whose masks hold one rectangle each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss.data import DataDescription, describe, palette, save_mask

CLASSES = ("cat", "dog", "traffic light")
OBJECTS = {"one": [0], "two": [1, 2], "three": [0]}  # image id -> classes
SIZES = {"one": (24, 16), "two": (16, 24), "three": (24, 16)}  # width, height


def write_annotation(path: Path, names: list[str]) -> None:
    objects = "".join(f"<object><name>{n}</name><difficult>1</difficult></object>" for n in names)
    path.write_text(f"<annotation><part><name>nose</name></part>{objects}</annotation>")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tiny"
    for folder in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    (root / "ImageSets/Segmentation/train.txt").write_text("one\ntwo\nthree\n")
    for image_id, classes in OBJECTS.items():
        width, height = SIZES[image_id]
        mask = np.zeros((height, width), np.uint8)
        for i, label in enumerate(classes):
            mask[3:8, 2 + 7 * i : 7 + 7 * i] = label + 1
            mask[8, 2 + 7 * i : 7 + 7 * i] = 255
        # PNG content under the name the layout asks for: without loss, so that colours can be compared.
        Image.fromarray(palette()[mask]).save(root / f"JPEGImages/{image_id}.jpg", format="PNG")
        save_mask(root / f"SegmentationClass/{image_id}.png", mask)
        write_annotation(root / f"Annotations/{image_id}.xml", [CLASSES[label] for label in classes])
    return root


@pytest.fixture
def tiny(root: Path) -> DataDescription:
    return describe(root)
