"""Sums are the same in whatever order, and exact."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamproc.monitors.sums import add_rows, exact_sums, rounded

NUMBERS = st.floats(-1e100, 1e100, allow_subnormal=True)


@given(st.lists(NUMBERS, min_size=1, max_size=60))
def test_a_sum_is_the_exact_one(values: list[float]) -> None:
    """High and low part together are the exact sum, to 30 digits of the largest value."""
    high, low = exact_sums(np.array([values]))[0, 0]

    exact = sum(map(Fraction, values))

    assert float(exact) == high
    error = abs(exact - Fraction(high) - Fraction(low))
    assert error <= max(map(abs, values)) * Fraction(1, 10**30)


@given(st.lists(st.tuples(NUMBERS, st.integers(0, 3)), min_size=1, max_size=60))
def test_sums_by_group_are_those_of_each_group(pairs: list[tuple[float, int]]) -> None:
    """Grouped sums equal the sums of the groups by themselves."""
    values, groups = (np.array(column) for column in zip(*pairs, strict=True))

    sums = exact_sums(values[None, :], groups, 4)

    for group in range(4):
        alone = exact_sums(values[None, groups == group])[0, 0].tolist()
        assert rounded([1, *alone]) == rounded([1, *sums[group, 0].tolist()])


def test_amounts_add_up_alike_however_they_are_spread() -> None:
    """Amounts in cents, whose sums end where rounding to ten digits ties, round alike."""
    rng = random.Random(1)
    values = [round(rng.uniform(0, 1e7), 2) + 0.005 for _ in range(997)]
    seen = set()
    for parts in (1, 2, 5, 16):
        rng.shuffle(values)
        rows = [
            [len(values[i::parts]), *exact_sums(np.array([values[i::parts]]))[0, 0].tolist()]
            for i in range(parts)
        ]
        seen.add(rounded(add_rows(rows)))

    assert len(seen) == 1
    assert {(997, float(f"{float(sum(map(Fraction, values))):.10g}"))} == seen
