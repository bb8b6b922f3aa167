"""Where masks go wrong, with truth and without."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsss.labels import VOID
from wsss.metrics.confusion import marginals, ratio

MAD_OF_NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


class ErrorSplit(NamedTuple):
    """Kinds of error, as shares of the pixels with a true label (after the ReCAM paper, Chen et al., CVPR 2022).

    Attributes:
        confused: of a class, taken for another.
        missed: of a class, taken for background or left void.
        spilled: background taken for a class.
        undecided: background left void.
    """

    confused: float
    missed: float
    spilled: float
    undecided: float


def error_split(confusion: NDArray[np.integer]) -> ErrorSplit:
    """Split the wrong pixels of counts (L, L + 1), see `confusion_matrix`, by kind; zeros where there are no pixels."""
    total = max(int(confusion.sum()), 1)
    objects, background = confusion[1:], confusion[0]
    right = int(np.diagonal(confusion)[1:].sum())
    missed = int(objects[:, 0].sum() + objects[:, -1].sum())
    confused = int(objects.sum()) - right - missed
    spilled, undecided = int(background[1:-1].sum()), int(background[-1])
    return ErrorSplit(*(count / total for count in (confused, missed, spilled, undecided)))


class Activation(NamedTuple):
    """How much too much and too little of each label there is, as shares of its true pixels, (L,); NaN without any.

    Attributes:
        over: pixels that wrongly have the label.
        under: pixels that lack it.
    """

    over: NDArray[np.float64]
    under: NDArray[np.float64]


def activation(confusion: NDArray[np.integer]) -> Activation:
    """Over- and under-activation from counts (L, L + 1), see `confusion_matrix`."""
    agreed, true, predicted = marginals(confusion)
    return Activation(ratio(predicted - agreed, true), ratio(true - agreed, true))


def agreement(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Share of equal labels among the pixels that are void in neither; 0 if there are none."""
    known = (first != VOID) & (second != VOID)
    return float((first == second)[known].mean()) if known.any() else 0.0


def robust_scores(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distance from the median, in standard deviations as the median absolute deviation tells them; 0 if it is 0."""
    distance = values - np.median(values)
    spread = MAD_OF_NORMAL * np.median(np.abs(distance))
    return np.asarray(distance / spread if spread else np.zeros_like(distance, np.float64))
