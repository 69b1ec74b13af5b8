"""Odds factors, likelihood ratios, intervals: against sums over all there is."""

from __future__ import annotations

from itertools import product
from math import exp, log, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.monitors.bias import BiasTests, interval
from streamproc.monitors.growing import Span
from streamproc.monitors.odds import Table, expected, offsets, ratios, tabled
from streamproc.monitors.recalibrated import Block, Recalibrated, Wavering

DAY_MS = 86_400_000


def table(n: list[float], p: list[float], yes: float) -> Table:
    """Return a table of one slice, overall, in bins as they come."""
    rows, bins = np.zeros(len(n), np.int64), np.arange(len(n)) + 60
    return Table(rows, bins, np.array(n), np.array(p), np.array([yes]), np.zeros(1))


@pytest.mark.parametrize("strength", [-1.6, -0.2, 0.05, 0.7])
def test_a_ratio_is_fair(strength: float) -> None:
    """Its expectation is 1 where chances are as said: summed over all outcomes there can be."""
    chances = [0.01, 0.2, 0.2, 0.7, 0.95]
    total = 0.0
    for outcomes in product((0, 1), repeat=len(chances)):
        likely = prod(c if y else 1 - c for c, y in zip(chances, outcomes, strict=True))
        seen = table([1.0] * len(chances), chances, float(sum(outcomes)))
        total += likely * exp(float(ratios(seen, seen.p, np.array([strength]))[0, 0]))

    assert total == pytest.approx(1.0)


@given(
    st.lists(st.tuples(st.integers(1, 500), st.floats(0.001, 0.999)), min_size=1, max_size=6),
    st.floats(-2.0, 2.0),
)
def test_the_odds_factor_is_the_one_that_explains_what_was_seen(
    cells: list[tuple[int, float]], off: float
) -> None:
    """Newton's method finds the root that bisection finds."""
    n, p = (np.array(each, np.float64) for each in zip(*cells, strict=True))
    logits = np.log(p / (1 - p))

    def would(at: float) -> float:
        return float(n @ (1 / (1 + np.exp(-(logits + at)))))

    dense = np.stack((n, n * p), axis=1)[None]
    yes = would(off)
    found, _ = offsets(dense, np.array([yes]))

    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if would(middle) < yes else (low, middle)
    assert found[0] == pytest.approx(low, abs=1e-6)
    assert expected(dense, found)[0][0] == pytest.approx(yes)


def test_tables_read_what_sketches_hold() -> None:
    """Cells come in order of slice and bin whatever the order of names; p is the bin's mean."""
    steps = 1 << 30
    sketches = [
        {"n": 3, "bins": {"100": [1, 0, steps // 2], "20": [2, 1, steps // 4]}, "delay_ms": 9},
        {},
    ]
    found = tabled(sketches)

    assert found.bin.tolist() == [20, 100]
    assert found.p.tolist() == [0.125, 0.5]
    assert found.yes.tolist() == [1.0, 0.0]
    assert found.total().tolist() == [3.0, 0.0]
    assert found.turned().p.tolist() == [0.875, 0.5]
    assert found.turned().yes.tolist() == [2.0, 0.0]


def test_the_interval_leaves_out_the_truth_as_seldom_as_the_test_alarms() -> None:
    """Of 60 streams none of whose parts is looked at in advance, few intervals miss the truth.

    The threshold is of one in twenty; each stream is looked at after every bucket.
    """
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(60):
        seen = Block(0, 1, np.zeros((1, 49, 2)), np.zeros(1))
        wrong = False
        for _ in range(10):
            n, p, chance = 50.0, 0.1, 0.2
            seen.dense[0, 20] += (n, n * p)
            seen.yes[0] += rng.binomial(int(n), chance)
            low, high = interval(seen, 0.0, log(20))
            wrong |= not low <= chance - p <= high
        missed += wrong

    assert missed <= 60 / 20
    assert 0.02 < low < 0.1 < high < 0.18


def test_burst_are_measured() -> None:
    """Yes that come in fours vary four times as much; independent ones as chance would have it."""
    rng = np.random.default_rng(1)
    for many, about in ((1, 1.0), (4, 4.0)):
        wavering = Wavering()
        for _ in range(1_000):
            yes = many * rng.poisson(20 / many, 3).astype(np.float64)
            wavering.add(yes - 20.0, np.full(3, 20.0))
        assert wavering.kappa == pytest.approx(about, rel=0.12)


def stream(
    tests: BiasTests, hours: int, factor: float = 1.0, slices: int = 4, seed: int = 1
) -> list[tuple[int, str, int]]:
    """Return what is found in a stream whose outcomes have odds so many times those said."""
    rng = np.random.default_rng(seed)
    found = []
    for hour in range(hours):
        n = np.concatenate(([0], rng.poisson(30, slices))).astype(np.float64)
        chance = np.full(slices + 1, 0.05 * factor)
        yes = rng.binomial(n.astype(int), chance).astype(np.float64)
        n[0], yes[0] = n.sum(), yes.sum()
        rows = np.arange(slices + 1)
        seen = Table(
            rows, np.full(slices + 1, 73), n, np.full(slices + 1, 0.05), yes, np.zeros(slices + 1)
        )
        names = [(), *[("c",)] * slices]
        found += [(s.row, s.what, hour) for s in tests.update(hour * 3_600_000, seen, names)]
    return found


def test_a_model_off_by_the_same_all_along_is_not_told() -> None:
    """What is usual is put right, whatever it is."""
    for factor in (0.3, 1.0, 3.0):
        tests = BiasTests(3_600_000, 90.0 * DAY_MS, span=Span(3 * DAY_MS))
        assert stream(tests, 24 * 12, factor) == []
        assert exp(tests.usual.off) == pytest.approx(factor, rel=0.15)


def test_nothing_is_held_against_what_was_never_seen() -> None:
    """All of one class, and no outcome at all: no reference, nothing found, nothing breaks."""
    tests = BiasTests(3_600_000, 1e6, span=Span(0, 10))
    for hour in range(100):
        for rows in ([], [0]):
            of = np.array(rows, np.int64)
            ones = np.full(len(rows), 100.0)
            empty = Table(of, of + 60, ones, ones / 1_000, np.zeros(1), np.zeros(1))
            assert tests.update(hour * 3_600_000, empty, [()]) == []
    assert not tests.usual.ready


def test_a_change_leaves_the_quarantine() -> None:
    """What is forgotten is handed back, and is never learnt."""
    usual = Recalibrated(Span(3_600_000 * 20, 100))
    for hour in range(200):
        seen = table([1_000.0], [0.1], 100.0 if hour < 150 else 300.0)
        usual.learn(hour * 3_600_000, (hour + 1) * 3_600_000, seen)
    gone = usual.forget(150 * 3_600_000)

    assert gone is not None
    assert gone.end_ms == 200 * 3_600_000
    assert gone.yes[0] >= 300.0 * 50
    assert abs(usual.off) < 0.02
