"""Intervals, paired tests and Holm's correction, by hand and by their properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss.metrics.statistics import holm, paired_difference, spread

FIGURES = st.floats(0, 100, allow_nan=False).map(lambda value: round(value, 4))


def test_the_interval_of_three_seeds_is_students() -> None:
    found = spread([1.0, 2.0, 3.0])
    assert (found.n, found.mean, found.std) == (3, 2.0, 1.0)
    half = 4.302653 / 3**0.5  # t of two degrees of freedom, from a table
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-5)


def test_one_seed_has_a_mean_and_no_interval() -> None:
    assert spread([7.5]) == (1, 7.5, None, None, None)


@given(st.lists(FIGURES, min_size=2, max_size=6).filter(lambda values: max(values) - min(values) > 1))
def test_the_interval_shrinks_with_more_of_the_same_seeds(values: list[float]) -> None:
    once, twice = spread(values), spread(values * 2)
    assert twice.high - twice.low < once.high - once.low
    assert twice.mean == pytest.approx(once.mean)


def test_a_paired_difference_by_hand() -> None:
    found = paired_difference({0: 51.0, 1: 62.0, 2: 73.0}, {0: 50.0, 1: 60.0, 2: 70.0, 3: 99.0})
    assert found is not None
    assert (found.n, found.mean) == (3, 2.0)  # differences 1, 2, 3: t = 2 / (1 / √3) = 3.4641
    half = 4.302653 / 3**0.5
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert found.p == pytest.approx(0.074180, abs=1e-6)  # of two degrees of freedom: 1 - t / √(t² + 2)
    assert found.p == pytest.approx(1 - 12**0.5 / 14**0.5)


@given(
    st.lists(st.tuples(FIGURES, FIGURES), min_size=2, max_size=6).filter(
        lambda pairs: max(a - b for a, b in pairs) - min(a - b for a, b in pairs) > 1
    ),
    st.lists(FIGURES, min_size=6, max_size=6),
    st.randoms(),
)
def test_what_a_seed_adds_to_both_and_the_order_of_seeds_do_not_matter(pairs, shifts, random) -> None:
    values, control = ({seed: pair[side] for seed, pair in enumerate(pairs)} for side in (0, 1))
    before = paired_difference(values, control)
    order = random.sample(list(values), len(values))
    after = paired_difference(
        {seed: values[seed] + shifts[seed] for seed in order}, {s: control[s] + shifts[s] for s in control}
    )
    assert after == pytest.approx(before, abs=1e-6)


def test_without_pairs_or_scatter_there_is_no_test() -> None:
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    single, equal = paired_difference({0: 3.0}, {0: 1.0}), paired_difference({0: 1.1, 1: 2.1}, {0: 1.0, 1: 2.0})
    assert single == (1, 2.0, None, None, None)
    assert equal is not None
    assert equal.p is None
    assert equal.mean == pytest.approx(0.1)


def test_holm_by_hand() -> None:
    # Sorted: 0.01 · 4, 0.02 · 3, 0.03 · 2, 0.04 · 1, none below the one before.
    assert holm([0.04, 0.01, None, 0.03, 0.02]) == pytest.approx([0.06, 0.04, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers_a_p(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
    ranked = [c for _, c in sorted(zip(p_values, corrected, strict=True))]
    assert ranked == sorted(ranked)
