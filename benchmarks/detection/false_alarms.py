"""Part 1: does the budget of false alarms hold, on independent and on dependent streams.

Each stream has a million events in a hundred days and fifty features, tested as the judge does. It
is given two false alarms in all, shared out over its fifty features and its slices (`bias.py`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamproc.monitors.budget import FalseAlarms
from streamproc.monitors.distribution import DistributionTest
from streamproc.monitors.growing import Span
from streamproc.monitors.season import DAY_MS
from streamproc.monitors.series import Limits
from streamproc.monitors.sketch import Floats, Sketch, categories, sketches

FEATURES, SERIES = 50, 251
"""Features of a stream; with its 200 slices and the overall series, what shares the budget."""

DAYS, EVENTS, BUCKET_MS = 100, 1_000_000, DAY_MS // 12
A_BUCKET = EVENTS * BUCKET_MS // (DAYS * DAY_MS)
BUCKETS = EVENTS // A_BUCKET
BUDGET = FalseAlarms(2, DAYS * DAY_MS)
Rng = np.random.Generator


class Counted(NamedTuple):
    """False alarms of one kind of stream, beside those expected."""

    kind: str
    streams: int
    found: int
    expected: float

    @property
    def ratio(self) -> float:
        """Found to expected."""
        return self.found / self.expected

    @property
    def error(self) -> float:
        """The standard error of the ratio, alarms being rare and apart: sqrt(found)/expected."""
        return sqrt(max(self.found, 1)) / self.expected


def independent(kind: str, rng: Rng) -> Iterator[Floats]:
    """Yield the buckets of a stream whose values know nothing of each other: features x events."""
    shape = (FEATURES, A_BUCKET)
    draw: Callable[[], Floats] = {
        "normal": lambda: rng.normal(size=shape),
        "t3": lambda: rng.standard_t(3, size=shape),
        "lognormal": lambda: rng.lognormal(size=shape),
    }[kind]
    for _ in range(BUCKETS):
        yield draw()


def dependent(kind: str, rng: Rng) -> Iterator[Floats]:
    """Yield the buckets of a normal stream with memory, seasons, or days that differ."""
    before = rng.normal(size=FEATURES)
    of_day = np.zeros(FEATURES)
    turn = rng.uniform(0, 2 * np.pi, FEATURES)
    for bucket in range(BUCKETS):
        values = rng.normal(size=(A_BUCKET, FEATURES))
        if kind in ("ar", "both"):
            values *= sqrt(0.75)
            for i in range(A_BUCKET):
                values[i] += 0.5 * before
                before = values[i]
        values = values.T.copy()
        day = (bucket + np.arange(A_BUCKET) / A_BUCKET) * BUCKET_MS / DAY_MS
        if kind in ("seasons", "both"):
            of_hour = np.sin(2 * np.pi * day + turn[:, None])
            values += 0.5 * of_hour + 0.5 * np.sin(2 * np.pi * day / 7 + turn[:, None])
        if kind == "days":
            if bucket % (DAY_MS // BUCKET_MS) == 0:
                of_day = rng.normal(0, 0.05, FEATURES)
            values += of_day[:, None]
        yield values


def numbers(kind: str, seed: int) -> int:
    """Return the false alarms over the features of one stream."""
    rng = np.random.default_rng((seed, len(kind)))
    strict = kind in ("normal", "t3", "lognormal")
    made = independent(kind, rng) if strict else dependent(kind, rng)
    limits = Limits(BUDGET.alarm_ms(1 / SERIES), BUCKET_MS, 0.0 if strict else 0.1, Span())
    tests = [DistributionTest("covariate_drift", str(i), limits) for i in range(FEATURES)]
    opened = 0
    for bucket, values in enumerate(made):
        for test, sketch in zip(tests, sketches(values), strict=True):
            before = test.open
            test.update(bucket * BUCKET_MS, sketch)
            opened += test.open and not before
    return opened


def kinds(seed: int) -> int:
    """Return the false alarms over fifty categorical features, of two to a thousand values."""
    rng = np.random.default_rng((seed, 77))
    limits = Limits(BUDGET.alarm_ms(1 / SERIES), BUCKET_MS, 0.0, Span())
    tests, shares, names = [], [], []
    for i in range(FEATURES):
        size = (2, 5, 10, 50, 1_000)[i % 5]
        tests.append(DistributionTest("covariate_drift", str(i), limits, categorical=True))
        shares.append(rng.dirichlet(np.full(size, 1.0)))
        names.append([str(name) for name in range(size)])
    opened = 0
    for bucket in range(BUCKETS):
        for test, share, name in zip(tests, shares, names, strict=True):
            drawn = rng.multinomial(A_BUCKET, share)
            before = test.open
            test.update(bucket * BUCKET_MS, _counted(name, drawn))
            opened += test.open and not before
    return opened


def _counted(names: list[str], counts: NDArray[np.int64]) -> Sketch:
    there = np.flatnonzero(counts)
    sketch, of = categories([names[i] for i in there])
    by_name = {names[i]: int(counts[i]) for i in there}
    whole = np.array([by_name[of[int(cell)]] for cell in sketch.cells], np.int64)
    return Sketch(sketch.shift, sketch.cells, whole, 0)


def count(kind: str, streams: int, workers: int = 2) -> Counted:
    """Return the false alarms of the features of so many streams, seeds 0 on."""
    run = kinds if kind == "categorical" else partial(numbers, kind)
    with ProcessPoolExecutor(workers) as pool:
        found = sum(pool.map(run, range(streams)))
    return Counted(kind, streams, found, 2 * streams * FEATURES / SERIES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="+")
    parser.add_argument("--streams", type=int, default=2)
    asked = parser.parse_args()
    for kind in asked.kinds:
        told = count(kind, asked.streams)
        print(f"{kind:12} {told.found} found, {told.expected:.1f} expected", flush=True)
