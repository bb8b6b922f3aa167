"""Look at every file once before any long work starts."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

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
            _check_mask(description, description.mask_path(image_id), size)
        return len(read_labels(description, image_id))

    with ThreadPoolExecutor(threads) as pool:
        num_labels = sum(pool.map(check, ids))
    if ids and not num_labels:
        raise InputError(
            f"{description.root}: none of {len(ids)} images has a label; look at data.labels and data.classes"
        )


def _check_mask(description: DataDescription, path: Path, size: tuple[int, int]) -> None:
    mask = read_mask(path)
    if mask.shape[::-1] != size:
        raise InputError(
            f"{path}: the mask is {mask.shape[1]} × {mask.shape[0]} pixels, its image {size[0]} × {size[1]}; "
            "export it again at the image's size"
        )
    check_label_values(path, np.unique(mask), description)
