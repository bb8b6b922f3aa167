"""Dividing images of several labels each, so that every class is divided in the same proportion."""

import math
from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray


def stratified_split(labels: Sequence[Collection[str]], *, val_share: float, seed: int) -> NDArray[np.bool_]:
    """Which images are for validation.

    Iterative stratification (Sechidis, Tsoumakas & Vlahavas, ECML PKDD 2011): the rarest label left is dealt out first.
    There each image goes to the side that lacks most of its label, so that of many rare classes, which all round to
    nothing, none would be validated. Here a label's share is rounded up or down by what the images dealt so far owe to
    the total, as error diffusion does. A class's last image is never taken from training.

    Args:
        labels: names of the classes in each image; an image of none counts as one of a class of its own.
        val_share: share of the images for validation, in (0, 1).
        seed: images are dealt out in this random order.

    Returns:
        (len(labels),) bool; of two images or more, at least one is for training and one for validation.
    """
    names_of = [tuple(names) or ("",) for names in labels]
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    holders: dict[str, list[int]] = defaultdict(list)
    for index in order:
        for name in names_of[index]:
            holders[name].append(index)
    lacking = {name: val_share * len(indices) for name, indices in holders.items()}
    in_training = {name: len(indices) for name, indices in holders.items()}
    is_val, is_dealt = np.zeros((2, len(labels)), bool)

    def validate_on(index: int) -> None:
        is_val[index] = True
        for name in names_of[index]:
            lacking[name] -= 1
            in_training[name] -= 1

    owed = 0.0  # images that validation should have of those dealt, less those it has
    while not is_dealt.all():
        left = {name: rest for name, all_of in holders.items() if (rest := [i for i in all_of if not is_dealt[i]])}
        rarest = min(left, key=lambda name: (len(left[name]), name))
        images = left[rarest]
        down = math.floor(round(lacking[rarest], 9))
        owed += val_share * len(images)
        wanted = min(max(round(owed), down), down + 1)
        for index in images:
            if wanted > 0 and all(in_training[name] > 1 for name in names_of[index]):
                validate_on(index)
                wanted, owed = wanted - 1, owed - 1
        is_dealt[images] = True
    if len(labels) > 1 and not is_val.any():
        validate_on(max(order, key=lambda index: min(in_training[name] for name in names_of[index])))
    return is_val
