"""The aggregates of order, edges and pace, against numpy on every record, kept for ever."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from streamproc.features import AGGREGATES, Window
from streamproc.features.texts import Ids
from streamproc.features.windows import KeyedWindow

SPANS = (40, 300)
KINDS = (*AGGREGATES, "p5", "p95", "p99")
LATENESS_MS = 25

Held = list[tuple[int, int, float]]
"""Records of a window: time, number, value."""


def oracle(
    every: Held, now: tuple[int, int, float | None], span_ms: int, hop_ms: int | None = None
) -> dict[str, Any]:
    """Return every aggregate of the window that ends with a record, as one would write it."""
    now_ms, number, own = now
    begin = now_ms - span_ms + 1
    if hop_ms:  # the oldest that it is in, of those that begin at multiples
        begin = next(ms for ms in range(begin, now_ms + 1) if ms % hop_ms == 0)
    held = sorted(each for each in every if begin <= each[0] and each[:2] <= (now_ms, number))
    before = [v for t, _, v in every if begin - span_ms <= t < begin]
    times = [t for t, _, _ in held]
    values = np.array([v for _, _, v in held])
    found: dict[str, Any] = dict.fromkeys(KINDS)
    found |= {"count": len(held), "sum": math.fsum(values), "distinct": len(set(values.tolist()))}
    weights = np.array([0.5 ** (8 * (now_ms - t) / span_ms) for t in times])
    found["decayed_count"] = weights.sum() if held else 0.0
    others = times[:-1] if own is not None else times
    if others:
        found["since_last"] = (now_ms - others[-1]) / 1000
    if not held:
        return found
    found |= {
        "mean": values.mean(), "min": values.min(), "max": values.max(), "range": np.ptp(values),
        "first": values[0], "last": values[-1], "median": np.median(values),
        "decayed_mean": (weights * values).sum() / weights.sum(),
        **{f"p{share}": np.percentile(values, share) for share in (5, 95, 99)},
    }  # fmt: skip
    found["var"] = values.var(ddof=1) if len(held) > 1 else 0.0
    found["std"] = math.sqrt(found["var"])
    if own is not None:
        found["zscore"] = (own - values.mean()) / found["std"] if found["std"] else 0.0
    if math.fsum(before):
        found["growth"] = (math.fsum(values) - math.fsum(before)) / math.fsum(before)
    if len(held) > 1:
        found["delta"] = values[-1] - values[-2]
        if times[-1] > times[0]:
            found["rate"] = (values[-1] - values[0]) / ((times[-1] - times[0]) / 1000)
    return found


def check(window: KeyedWindow, found: list[Any], expected: list[dict[str, Any]], at: Any) -> None:
    """Compare a record's aggregates: counts exactly, others to 1e-9 of themselves."""
    wanted = [each[kind] for each in expected for kind in KINDS]
    for name, got, want in zip(window.names, found, wanted, strict=True):
        if want is None or isinstance(want, int):
            assert (got, type(got)) == (want, type(want)), (name, at)
        else:
            assert got == pytest.approx(want, rel=1e-9, abs=1e-9), (name, at)


@pytest.mark.parametrize("hop_ms", [None, 20, 4])
@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_every_aggregate_is_that_of_numpy(seed: int, slow: bool, hop_ms: int | None) -> None:
    """In order and out of it, tied in time, null or repeated; in words, or in Python's integers."""
    chance = random.Random(seed)
    over = tuple(f"{span}ms" for span in SPANS)
    hops = None if hop_ms is None else f"{hop_ms}ms"
    window = KeyedWindow(Window("x", "k", over, KINDS, hops), LATENESS_MS)
    history: dict[str, Held] = {"a": [], "b": []}
    if slow:  # long ago, and gone from every window
        for key in history:
            window.observe(key, -10_000, "0", 1e-200)
    now_ms = -2_000
    for number in range(1, 500):
        now_ms += chance.choice((0, 0, 1, 2, 9))
        time_ms = now_ms - (chance.randint(1, LATENESS_MS) if chance.random() < 0.1 else 0)
        key = chance.choice("aaab")
        value = chance.choice((None, 3.0, 3.0, -0.0, 57.16, chance.gauss(5, 100)))
        found = window.observe(key, time_ms, str(number), value)
        if value is not None:
            history[key].append((time_ms, number, value))
        now = (time_ms, number, value)
        expected = [oracle(history[key], now, span, hop_ms) for span in SPANS]
        check(window, found, expected, now)
    assert bool(window._logs) == slow


def test_an_empty_window_has_counts_and_a_sum() -> None:
    """All else is null."""
    window = KeyedWindow(Window("x", "k", ("1s",), KINDS), 0)
    found = dict(zip(KINDS, window.observe("k", 0, "1", None), strict=True))
    zeros = {"count": 0, "sum": 0.0, "distinct": 0, "decayed_count": 0.0}
    assert found == {**dict.fromkeys(KINDS), **zeros}


@pytest.mark.parametrize("size", [1_024, 1_025, 6_000])
def test_large_windows_keep_to_the_stated_error(size: int) -> None:
    """Quantiles to 0.03 % of themselves; distinct counts to three standard errors; else exact."""
    chance = np.random.default_rng(size)
    values = np.round(chance.lognormal(3, 2, size) - 30, 2)
    kinds = ("p1", "median", "p99", "distinct")
    window = KeyedWindow(Window("x", "k", ("1d",), kinds), 0)
    feeding = KeyedWindow(Window("x", "k", ("1d",), ("count",)), 0)
    ids = Ids([str(number) for number in range(size)])
    times, what = np.arange(size, dtype=np.int64), np.zeros(size, np.uint8)
    assert feeding.observe_many(["k"] * size, ids, times, values, what)[-1, 0] == size
    *quantiles, distinct = window.observe_many(["k"] * size, ids, times, values, what)[-1].tolist()
    wanted = np.percentile(values, (1, 50, 99)).tolist()
    unlike = len(set(values.tolist()))
    if size <= 1_024:
        assert quantiles == pytest.approx(wanted, rel=1e-12)
        assert distinct == unlike
    else:
        assert quantiles == pytest.approx(wanted, rel=3e-4)
        assert distinct == pytest.approx(unlike, rel=3 * 0.023)


def test_the_deviation_after_a_million_evictions() -> None:
    """Nothing creeps in: large values that came and went leave no trace in the small ones."""
    size, rounds = 20_000, 50
    chance = np.random.default_rng(1)
    window = KeyedWindow(Window("x", "k", ("64ms",), ("std", "var", "mean")), 0)
    what = np.zeros(size, np.uint8)
    for turn in range(rounds):
        offset = 1e12 if turn % 2 == 0 else 1e6
        values = offset + chance.normal(0, 1e-3, size)
        times = np.arange(turn * size, (turn + 1) * size, dtype=np.int64)
        ids = Ids([str(each) for each in times])
        found = window.observe_many(["k"] * size, ids, times, values, what)
    held = [int(value * 2**40) for value in values[-64:].tolist()]  # exact: they are near 2**20
    spread = 64 * sum(each * each for each in held) - sum(held) ** 2
    variance = spread / (64 * 63 * 2**80)
    assert found[-1].tolist() == pytest.approx(
        [math.sqrt(variance), variance, sum(held) / (64 * 2**40)], rel=1e-15
    )
