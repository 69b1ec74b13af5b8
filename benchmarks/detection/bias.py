"""Prediction bias over 201 series: false alarms in 10 million events, and delays.

200 slices and overall, one false alarm in 10 million events over all of them, tolerance none; there
is an event a minute. Slices are of unequal size, one is
5 %. Scores vary around the base rate by a tenth of a logit; outcomes are drawn from them, with the
rate of one slice (or of all) times 1 + b from a time on. All seeded.

    python -m benchmarks.detection.bias [--false-alarms] [--repetitions 12] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamproc.monitors.bias import BiasTests
from streamproc.monitors.growing import Span
from streamproc.monitors.odds import Table
from streamproc.monitors.scores import BINS
from streamproc.monitors.sketch import Floats, Ints

SLICES = 200
RELATED = [(), *[("slice",)] * SLICES]
BUDGET_EVENTS = 10_000_000
H0_SEEDS = range(100, 108)
H0_BUCKET = 10_000
MINUTE_MS = 60_000
WARM_BUCKETS, WARM_EVENTS = 40, 120_000
"""A change comes after so many at least: half of it is the first reference."""

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


def false_alarms(base: float) -> tuple[int, int]:
    """Return how many alarms there are with nothing wrong, and in how many events."""
    world, alarms, buckets = World.of(base), 0, BUDGET_EVENTS // H0_BUCKET
    for seed in H0_SEEDS:
        rng, judge = np.random.default_rng(seed), tests(H0_BUCKET, 20)
        for k in range(buckets):
            table = world.table(rng, H0_BUCKET, 1.0, 0)
            for _ in (
                s
                for s in judge.update(k * H0_BUCKET * MINUTE_MS, table, RELATED)
                if s.what == "opened"
            ):
                alarms += 1
                judge = tests(H0_BUCKET, 20)
    return alarms, buckets * H0_BUCKET * len(H0_SEEDS)


def delays(base: float, b: float, row: int, repetitions: int) -> Iterator[int]:
    """Yield in how many events of the stream a bias of a slice (0: of all) is found."""
    world = World.of(base)
    bucket = max(200, round(PUBLISHED[base, b][0 if row else 1] / 30))
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


def main() -> None:
    """Print the table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--false-alarms", action="store_true")
    parser.add_argument("--repetitions", type=int, default=12)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    began_s = time.process_time()
    found: dict[str, list[dict[str, Any]]] = {"false_alarms": [], "rows": []}
    if asked.false_alarms:
        for base in (0.01, 0.1):
            alarms, events = false_alarms(base)
            rate = alarms / events * BUDGET_EVENTS
            print(
                f"base {base:.0%}: {alarms} false alarms in {events:,} events, {rate:.2f} per 10M"
            )
            found["false_alarms"].append({"base": base, "alarms": alarms, "events": events})
    for (base, b), published in PUBLISHED.items():
        for row, name, before in ((1, "slice of 5 %", published[0]), (0, "overall", published[1])):
            each = np.array(list(delays(base, b, row, asked.repetitions)), np.float64)
            mean, error = each.mean(), each.std(ddof=1) / len(each) ** 0.5
            print(
                f"base {base:.0%} b {b:<4} {name}: {mean:,.0f} +- {error:,.0f} ({before:,})",
                flush=True,
            )
            row_of: dict[str, Any] = {"base": base, "b": b, "series": name}
            found["rows"].append(row_of | {"mean_delay_events": mean, "error": error})
    print(f"{time.process_time() - began_s:.0f} s of CPU")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
