"""What a few random seeds say: intervals of a mean, paired differences, and p-values of many comparisons."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import stats

Seed = TypeVar("Seed")

CONFIDENCE = 0.95


class Spread(NamedTuple):
    """Mean of n values, their sample standard deviation, and the interval of the mean; None where n is too small."""

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


class Difference(NamedTuple):
    """Mean difference over n pairs, its interval, and the p of a paired test; None where there is none."""

    n: int
    mean: float
    low: float | None
    high: float | None
    p: float | None


def spread(values: Sequence[float]) -> Spread:
    """Mean of a sample, with the 95 % interval of Student's t: mean ± t(n - 1) · std / √n.

    Args:
        values: n ≥ 1 finite values, one a random seed.
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Spread(n, mean, None, None, None)
    std = float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * std / n**0.5
    return Spread(n, mean, std, mean - half, mean + half)


def paired_difference(values: Mapping[Seed, float], control: Mapping[Seed, float]) -> Difference | None:
    """How much `values` exceed `control` at the random seeds that both have: Student's paired t-test, two-sided.

    Args:
        values: random seed -> figure.
        control: random seed -> figure of the control.

    Returns:
        The difference; None without a common seed. Differences that are all equal have no p: the test divides by
        their scatter.
    """
    common = [seed for seed in values if seed in control]
    if not common:
        return None
    differences = [values[seed] - control[seed] for seed in common]
    n, mean, std, low, high = spread(differences)
    largest = max(abs(figure[seed]) for seed in common for figure in (values, control))
    if std is None or std <= 1e-9 * largest:  # as rounding leaves of equal ones
        return Difference(n, mean, low, high, None)
    p = stats.ttest_rel([values[seed] for seed in common], [control[seed] for seed in common]).pvalue
    return Difference(n, mean, low, high, float(p))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for being several, by Holm's step-down (Scandinavian Journal of Statistics, 1979).

    The k-th smallest of m is multiplied by m - k + 1, and is no smaller than the ones before it.

    Args:
        p_values: of all comparisons made; None where a comparison had no test, which does not count.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    before = 0.0
    for rank, (p, place) in enumerate(known):
        before = max(before, min(1.0, (len(known) - rank) * p))
        corrected[place] = before
    return corrected
