"""Look at every file once before any long work starts."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsss.data.voc import DataDescription, check_label_values, read_image, read_labels, read_mask
from wsss.errors import InputError


def check_images(description: DataDescription, ids: Iterable[str], *, masks: bool, threads: int = 4) -> None:
    """Decode the images, read their labels and, if asked, compare the masks with them.

    Args:
        description: the data set.
        ids: images to look at.
        masks: whether every image must have a ground-truth mask.
        threads: images are decoded in so many threads.

    Raises:
        InputError: for the first image with a fault: unreadable, unknown class name, mask missing, of another size, or
            with a label value out of range; or if no image has any class.
    """
    ids = list(ids)

    def check(image_id: str) -> int:
        size = read_image(description.image_path(image_id)).size
        if masks:
            check_mask(description, description.mask_path(image_id), size)
        return len(read_labels(description, image_id))

    with ThreadPoolExecutor(threads) as pool:
        num_labels = sum(pool.map(check, ids))
    if ids and not num_labels:
        raise InputError(
            f"{description.root}: none of {len(ids)} images has a label; look at data.labels and data.classes"
        )


def check_masks(description: DataDescription, ids: Iterable[str], folder: Path, *, threads: int = 4) -> None:
    """Compare the label maps `<folder>/<id>.png` with their images.

    Raises:
        InputError: for the first that is missing, unreadable, of another size, or has a label value out of range.
    """

    def check(image_id: str) -> None:
        check_mask(description, folder / f"{image_id}.png", read_image(description.image_path(image_id)).size)

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(check, ids):
            pass


def check_mask(description: DataDescription, path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read a label map, refusing one whose size is not the image's (width, height) or whose values are no labels."""
    mask = read_mask(path)
    if mask.shape[::-1] != size:
        raise InputError(
            f"{path}: the mask is {mask.shape[1]} × {mask.shape[0]} pixels, its image {size[0]} × {size[1]}; "
            "export it again at the image's size"
        )
    check_label_values(path, np.unique(mask), description)
    return mask
