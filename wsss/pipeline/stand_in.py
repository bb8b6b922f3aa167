"""A few made-up photographs with labels and masks, to measure the steps on where a data set is not there yet."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsss.data import DataDescription, describe, save_mask
from wsss.writing import write_csv, write_text

CONTRAST = 50.0  # standard deviation of the colours, about that of photographs


def write_stand_in(
    root: Path, *, train: int, val: int, size: tuple[int, int], num_classes: int, classes_per_image: float
) -> DataDescription:
    """Write a data set of a folder and a table.

    Its images have the spectrum of photographs (amplitude falling as 1/f), since what the CRF costs depends on how many
    colours lie side by side.

    Args:
        root: its folder.
        train: images of its train split, all with masks.
        val: as well, of val.
        size: height and width in pixels.
        num_classes: without background.
        classes_per_image: mean number of labels.
    """
    random = np.random.default_rng(0)
    classes = [f"class{index}" for index in range(num_classes)]
    ids = [f"{index:04d}" for index in range(train + val)]
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rows = []
    for index, image_id in enumerate(ids):
        number = int((index + 1) * classes_per_image) - int(index * classes_per_image)
        present = (index + np.arange(min(max(number, 1), num_classes))) % num_classes
        Image.fromarray(pink_noise(random, size)).save(root / "images" / f"{image_id}.jpg", quality=90)
        save_mask(root / "masks" / f"{image_id}.png", _bands(size, present))
        rows.append((f"{image_id}.jpg", ";".join(classes[c] for c in present)))
    write_csv(root / "labels.csv", ["image", "labels"], rows)
    write_text(root / "classes.txt", "\n".join(classes) + "\n")
    write_text(root / "train.txt", "\n".join(ids[:train]) + "\n")
    write_text(root / "val.txt", "\n".join(ids[train:]) + "\n")
    return describe(root, labels="table")


def pink_noise(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image (H, W, 3) without content whose amplitude falls as 1/f."""
    height, width = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.rfft2(random.standard_normal((3, height, width))) / frequency
    planes = np.fft.irfft2(noise, s=size)
    planes *= CONTRAST / planes.std(axis=(1, 2), keepdims=True)
    return (planes + 128).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def _bands(size: tuple[int, int], present: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Background, then a band of each class."""
    edges = np.arange(size[1]) * (len(present) + 1) // size[1]
    return np.broadcast_to(np.concatenate([[0], present + 1]).astype(np.uint8)[edges], size).copy()
