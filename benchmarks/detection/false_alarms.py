"""Part 1: does the budget of false alarms hold, on independent and on dependent streams.

Each stream has a million events in a hundred days, fifty features and 200 slices, tested as the
judge does. It is given two false alarms in all, shared out over all that is watched: of independent
kinds fifty features, the slices and all outcomes together, of dependent ones the features alone.
Slices and outcomes are drawn as `bias.py` does, with base rates of 1 to 10 %; they do not depend on
each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from benchmarks.detection.bias import RELATED, SLICES, World
from benchmarks.detection.compiled import compiled
from benchmarks.detection.tables import table
from streamproc.monitors.bias import BiasTests
from streamproc.monitors.budget import FalseAlarms
from streamproc.monitors.distribution import DistributionTest
from streamproc.monitors.growing import Span
from streamproc.monitors.season import DAY_MS
from streamproc.monitors.series import Limits
from streamproc.monitors.sketch import Floats, Sketch, hashed, sketches

INDEPENDENT = ("normal", "t3", "lognormal", "categorical")
DEPENDENT = ("ar", "seasons", "both", "days")
STREAMS, DEPENDENT_STREAMS = 25, 4
"""Of each kind."""

BASE_RATES = (0.01, 0.02, 0.05, 0.1)
FEATURES = 50
SERIES = FEATURES + SLICES + 1
"""With the slices and all outcomes together: what shares the budget of an independent kind."""

DAYS, EVENTS, BUCKET_MS = 100, 1_000_000, DAY_MS // 12
A_BUCKET = EVENTS * BUCKET_MS // (DAYS * DAY_MS)
BUCKETS = EVENTS // A_BUCKET
BUDGET = FalseAlarms(2, DAYS * DAY_MS)
Rng = np.random.Generator


class Counted(NamedTuple):
    """False alarms of one kind of stream."""

    kind: str
    streams: int
    of_features: int
    of_slices: int | None
    """None where there are none."""

    @property
    def found(self) -> int:
        """All of them."""
        return self.of_features + (self.of_slices or 0)

    @property
    def expected(self) -> float:
        """As many as the budget has."""
        return float(BUDGET.count * self.streams)

    @property
    def ratio(self) -> float:
        """Found to expected."""
        return self.found / self.expected

    @property
    def error(self) -> float:
        """The standard error of the ratio, alarms being rare and apart: sqrt(found)/expected."""
        return sqrt(max(self.found, 1)) / self.expected


def features(kind: str, seed: int) -> int:
    """Return the false alarms over the features of one stream."""
    return kinds(seed) if kind == "categorical" else numbers(kind, seed)


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
            remembering(values, before)
            before = values[-1]
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


@compiled
def remembering(values: Floats, before: Floats) -> None:
    """Make an AR(1) of 0.5 and of variance 1 out of noise, event x feature, in place."""
    for i in range(len(values)):
        last = before if i == 0 else values[i - 1]
        for j in range(values.shape[1]):
            values[i, j] = 0.5 * last[j] + sqrt(0.75) * values[i, j]


def numbers(kind: str, seed: int) -> int:
    """Return the false alarms over the features of one stream."""
    rng = np.random.default_rng((seed, len(kind)))
    strict = kind in ("normal", "t3", "lognormal")
    made = independent(kind, rng) if strict else dependent(kind, rng)
    part, tolerance = (1 / SERIES, 0.0) if strict else (1 / FEATURES, 0.1)
    limits = Limits(BUDGET.alarm_ms(part), BUCKET_MS, tolerance, Span())
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
    tests, shares = [], []
    for i in range(FEATURES):
        size = (2, 5, 10, 50, 1_000)[i % 5]
        tests.append(DistributionTest("covariate_drift", str(i), limits, categorical=True))
        shares.append(rng.dirichlet(np.full(size, 1.0)))
    cells = np.array(sorted(hashed(str(name)) for name in range(1_000)), np.int64)
    opened = 0
    for bucket in range(BUCKETS):
        for test, share in zip(tests, shares, strict=True):
            counts = rng.multinomial(A_BUCKET, share)
            there = np.flatnonzero(counts)
            before = test.open
            test.update(bucket * BUCKET_MS, Sketch(0, cells[there], counts[there]))
            opened += test.open and not before
    return opened


def slices(kind: str, seed: int) -> int:
    """Return the false alarms of prediction bias over the slices of one stream, and over all."""
    rng = np.random.default_rng((seed, INDEPENDENT.index(kind), 201))
    world = World.of(BASE_RATES[seed % len(BASE_RATES)])
    tests = BiasTests(BUCKET_MS, BUDGET.alarm_ms((SLICES + 1) / SERIES), 1.0, 1.0)
    opened = 0
    for bucket in range(BUCKETS):
        drawn = world.table(rng, A_BUCKET, 1.0, 0)
        steps = tests.update(bucket * BUCKET_MS, drawn, RELATED)
        opened += sum(step.what == "opened" for step in steps)
    return opened


def counted(found: Mapping[tuple[Any, ...], int]) -> list[Counted]:
    """Return the false alarms by kind, from those of each (``"features"``, kind, seed).

    And, of independent kinds, of each (``"slices"``, kind, seed).
    """

    def of(what: str, kind: str) -> list[int]:
        return [it for task, it in found.items() if task[:2] == (what, kind)]

    return [
        Counted(
            kind,
            len(of("features", kind)),
            sum(of("features", kind)),
            sum(of("slices", kind)) if kind in INDEPENDENT else None,
        )
        for kind in (*INDEPENDENT, *DEPENDENT)
    ]


def figures(counts: Sequence[Counted]) -> dict[str, Any]:
    """Return what is kept: the worst ratios, and each kind's."""
    worst = {
        which: max(it.ratio for it in counts if it.kind in kinds)
        for which, kinds in (("", INDEPENDENT), ("_dependent", DEPENDENT))
    }
    return {
        **{f"false_alarms_over_budget{which}": round(it, 3) for which, it in worst.items()},
        "false_alarms": [
            {
                **it._asdict(),
                "found": it.found,
                "expected": round(it.expected, 2),
                "ratio": round(it.ratio, 3),
                "standard_error": round(it.error, 3),
            }
            for it in counts
        ],
    }


def text(counts: Sequence[Counted]) -> str:
    """Return it as a table."""
    head = ("kind", "streams", "features", "slices", "in all", "budget", "ratio", "± SE")
    return table(
        head,
        [
            (
                *(it.kind, str(it.streams), str(it.of_features)),
                "-" if it.of_slices is None else str(it.of_slices),
                *(str(it.found), f"{it.expected:.1f}", f"{it.ratio:.2f}", f"{it.error:.2f}"),
            )
            for it in counts
        ],
    )
