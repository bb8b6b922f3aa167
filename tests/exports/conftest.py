"""Data sets of a few small images, whose ids lie in folders, hold spaces and letters of any alphabet."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from wsss.data import VOID, DataDescription, save_mask
from wsss.exports import LabelMaps

CLASSES = ("cat", "traffic light", "Ente: gelb")
RING = np.array(
    [[0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 2], [3, 255, 255, 2, 0]], np.uint8
)  # a hole, classes that touch, a diagonal, void
EXAMPLES = {
    "plain": RING,
    "trip to sea/0001": np.zeros((4, 7), np.uint8),
    "Übung/猫.2": np.full((3, 5), 2, np.uint8),
    "one": np.pad(np.full((1, 1), 3, np.uint8), ((2, 0), (0, 4))),
}

label_maps = arrays(
    np.uint8,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0, 1, 2, 3, VOID]),
    fill=st.sampled_from([0, 1]),
)


def make_maps(root: Path, labels: Mapping[str, NDArray[np.uint8]] = EXAMPLES) -> LabelMaps:
    """The label maps under `root/masks`, of grey photographs under `root/data`."""
    data = DataDescription("tiny", root / "data", CLASSES)
    for image_id, mask in labels.items():
        save_mask(root / "masks" / f"{image_id}.png", mask)
        photograph = data.image_path(image_id)
        photograph.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", mask.shape[::-1]).save(photograph)
    return LabelMaps(data, list(labels), root / "masks")
