"""Prediction bias over 201 series: false alarms in 10 million events, and delays.

200 slices and overall, one false alarm in 10 million events over all of them, tolerance none; there
is an event a minute. Slices are of unequal size, one is 5 %. Scores vary around the base rate by a
tenth of a logit; outcomes are drawn from them, with the rate of one slice (or of all) times 1 + b
from a time on. All seeded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.detection.tables import table
from streamproc.monitors.bias import BiasTests
from streamproc.monitors.growing import Span
from streamproc.monitors.odds import Table
from streamproc.monitors.scores import BINS
from streamproc.monitors.sketch import Floats, Ints

SLICES = 200
RELATED = [(), *[("slice",)] * SLICES]
BUDGET_EVENTS = 10_000_000
SEEDS, REPETITIONS = 8, 16
H0_BUCKET = 10_000
MINUTE_MS = 60_000
WARM_BUCKETS, WARM_EVENTS = 40, 120_000
"""A change comes after so many at least: half of it is the first reference."""

_COUNTS = ("alarms", "events")
MOST_BUCKETS = 2_000
"""A change not seen by then counts as missed."""

PUBLISHED = {
    # base rate, b: delay of a slice of 5 % and of overall in the prototype, in events of the stream
    (0.01, 0.5): (201_000, 11_000),
    (0.01, 0.2): (953_000, 62_000),
    (0.01, 0.1): (3_000_000, 225_000),
    (0.01, 0.05): (12_600_000, 701_000),
    (0.1, 0.5): (21_000, 1_200),
    (0.1, 0.2): (98_000, 5_200),
    (0.1, 0.1): (334_000, 26_000),
    (0.1, 0.05): (1_370_000, 86_000),
}


@dataclass(frozen=True)
class World:
    """Slices' shares of the stream, and the bins of the score with their shares and chances."""

    shares: Floats
    bins: Ints
    of_bins: Floats
    chances: Floats

    @classmethod
    def of(cls, base: float) -> World:
        """Return one with such a base rate; the first slice is 5 %."""
        tail = 1 / np.arange(1, SLICES) ** 0.7
        shares = np.concatenate(([0.05], 0.95 * tail / tail.sum()))
        logits = (np.arange(BINS) - 96.5) / 8
        middle = np.log(base / (1 - base))
        for _ in range(100):
            of_bins = np.exp(-(((logits - middle) / 0.1) ** 2) / 2)
            of_bins /= of_bins.sum()
            mean = float(of_bins @ (1 / (1 + np.exp(-logits))))
            middle += np.log(base / mean)
        kept = of_bins > 1e-6
        chances = 1 / (1 + np.exp(-logits[kept]))
        return cls(shares, np.flatnonzero(kept), of_bins[kept] / of_bins[kept].sum(), chances)

    def table(self, rng: np.random.Generator, events: int, factor: float, row: int) -> Table:
        """Draw a bucket in which the rate of a slice (0: of all) is ``factor`` times the score."""
        mean = events * np.outer(self.shares, self.of_bins)
        rate = np.tile(self.chances, (SLICES, 1))
        at = slice(None) if row == 0 else slice(row - 1, row)
        rate[at] = np.minimum(rate[at] * factor, 1.0)
        yes = rng.poisson(mean * rate)
        n = yes + rng.poisson(mean * (1 - rate))
        rows, cells = np.nonzero(n)
        total = n.sum(axis=0)
        there = np.flatnonzero(total)
        at_cells = np.concatenate((there, cells))
        return Table(
            np.concatenate((np.zeros(len(there), np.int64), rows + 1)),
            self.bins[at_cells],
            np.concatenate((total[there], n[rows, cells])).astype(np.float64),
            self.chances[at_cells],
            np.concatenate(([yes.sum()], yes.sum(axis=1))).astype(np.float64),
            np.zeros(SLICES + 1),
        )


def tests(bucket: int, warm: int) -> BiasTests:
    """Return the tests as the benchmark runs them."""
    span = Span(bucket * warm * MINUTE_MS, 1_000)
    return BiasTests(bucket * MINUTE_MS, float(BUDGET_EVENTS * MINUTE_MS), 1.0, 1.0, span)


def false_alarms(base: float, seed: int) -> dict[str, Any]:
    """Return how many alarms there are with nothing wrong, and in how many events."""
    world, alarms, buckets = World.of(base), 0, BUDGET_EVENTS // H0_BUCKET
    rng, judge = np.random.default_rng(100 + seed), tests(H0_BUCKET, 20)
    for k in range(buckets):
        drawn = world.table(rng, H0_BUCKET, 1.0, 0)
        steps = judge.update(k * H0_BUCKET * MINUTE_MS, drawn, RELATED)
        opened = sum(step.what == "opened" for step in steps)
        if opened:
            alarms += opened
            judge = tests(H0_BUCKET, 20)
    return {"base": base, "alarms": alarms, "events": buckets * H0_BUCKET}


def bucket_of(base: float, b: float, row: int) -> int:
    """Return the events of a bucket: a thirtieth of the delay of the prototype."""
    return max(200, round(PUBLISHED[base, b][0 if row else 1] / 30))


def delays(base: float, b: float, row: int, repetitions: int) -> Iterator[int]:
    """Yield in how many events of the stream a bias of a slice (0: of all) is found.

    Of one that isn't, `MOST_BUCKETS` of them.
    """
    world, bucket = World.of(base), bucket_of(base, b, row)
    warm = max(WARM_BUCKETS, -(-WARM_EVENTS // bucket))
    for seed in range(repetitions):
        rng, judge = np.random.default_rng(seed), tests(bucket, warm // 2)
        for k in range(warm + MOST_BUCKETS):
            changed = k >= warm
            table = world.table(rng, bucket, 1 + b if changed else 1.0, row)
            steps = judge.update(k * bucket * MINUTE_MS, table, RELATED)
            if changed and any(s.what == "opened" and s.row == row for s in steps):
                break
        yield (k + 1 - warm) * bucket


def measured(base: float, b: float, row: int, repetitions: int) -> dict[str, Any]:
    """Return the mean delay of a bias of the slice of 5 % (row 1), or of all (0)."""
    each = np.array(list(delays(base, b, row, repetitions)), np.float64)
    return {
        "base": base,
        "b": b,
        "series": "slice of 5 %" if row else "overall",
        "mean_delay_events": round(each.mean()),
        "standard_error_events": round(each.std(ddof=1) / len(each) ** 0.5),
        "missed": round(float(np.mean(each >= MOST_BUCKETS * bucket_of(base, b, row))), 4),
        "prototype_delay_events": PUBLISHED[base, b][0 if row else 1],
        "repetitions": repetitions,
    }


def together(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the false alarms of all streams by base rate."""
    return [
        {
            "base": base,
            **{what: sum(it[what] for it in found if it["base"] == base) for what in _COUNTS},
        }
        for base in sorted({it["base"] for it in found})
    ]


def text(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return it as tables: false alarms, and delays beside those of the prototype."""
    of_none = [
        (f"{it['base']:.0%}", f"{it['events'] / 1e6:.0f}M", str(it["alarms"]))
        for it in found["false_alarms"]
    ]
    of_some = [
        (
            *(f"{it['base']:.0%}", f"x {1 + it['b']:g}", it["series"]),
            *(f"{it['mean_delay_events']:,}", f"{it['standard_error_events']:,}"),
            *(f"{it['missed']:.0%}", f"{it['prototype_delay_events']:,}"),
        )
        for it in found["rows"]
    ]
    head = ("base rate", "outcomes", "series", "delay", "± SE", "missed", "goal")
    none_head = ("base rate", "events", "false alarms")
    return table(none_head, of_none) + "\n\n" + table(head, of_some)
