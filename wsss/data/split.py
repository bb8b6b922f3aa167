"""Dividing images of several labels each, so that every class is divided in the same proportion."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray


def stratified_split(labels: Sequence[Collection[str]], *, val_share: float, seed: int) -> NDArray[np.bool_]:
    """Which images are for validation.

    Iterative stratification (Sechidis, Tsoumakas & Vlahavas, ECML PKDD 2011): the rarest label left is dealt out first,
    each of its images to the side that lacks most of that label; images without labels come last.

    Args:
        labels: names of the classes in each image.
        val_share: share of the images for validation, in (0, 1).
        seed: images are dealt out in this random order.

    Returns:
        (len(labels),) bool.
    """
    shares = np.array([1 - val_share, val_share])
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    holders: dict[str, list[int]] = {}
    for index in order:
        for name in labels[index]:
            holders.setdefault(name, []).append(index)
    lacks = {name: shares * len(indices) for name, indices in holders.items()}
    lacks_images = shares * len(labels)
    side = np.full(len(labels), -1)

    def deal(index: int, lacking: NDArray[np.float64]) -> None:
        # Lexicographic: most of this label, then most images.
        chosen = int(np.lexsort((lacks_images, lacking.round(9)))[-1])
        side[index] = chosen
        lacks_images[chosen] -= 1
        for name in labels[index]:
            lacks[name][chosen] -= 1

    while remaining := {name: left for name, all_of in holders.items() if (left := [i for i in all_of if side[i] < 0])}:
        rarest = min(remaining, key=lambda name: (len(remaining[name]), name))
        for index in remaining[rarest]:
            deal(index, lacks[rarest])
    for index in order:
        if side[index] < 0:
            deal(index, lacks_images)
    is_val: NDArray[np.bool_] = side == 1
    return is_val
