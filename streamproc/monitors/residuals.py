"""Tests of numbers that come with outcomes: residuals, losses, labels."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np

from streamproc.monitors.finding import Finding, when
from streamproc.monitors.outcomes import Row
from streamproc.monitors.series import Limits, SeriesTest
from streamproc.monitors.sketch import Floats, Sketch, added, unpacked
from streamproc.monitors.tilts import Numbers, Tilts

TOLERANCE, TOLERANCE_LEARNING = 0.1, 0.2
"""Changes of a mean, in standard deviations, that are not worth telling."""

CRITICAL = 0.5

_LOOK = "look at what changed there and whether labels are right; the model does not see it"


class NumberSeries:
    """A test of numbers; ``location`` alone if their shape does not matter.

    ``open``, ``since_ms`` and ``since_delay_ms`` as of the last bucket.

    >>> from streamproc.monitors.growing import Span
    >>> series = NumberSeries(Limits(1e8, 1_000, 0.0, Span(0, 500)), location=True)
    >>> rng = np.random.default_rng(1)
    >>> for second in range(100):
    ...     what = series.update(second * 1_000, Sketch.of(rng.normal(second >= 90, 1, 50)))
    >>> what, series.test.since_ms, [round(each, 1) for each in series.means]
    ('open', 90000, [0.0, 1.0])
    """

    def __init__(self, limits: Limits, location: bool = False) -> None:
        self.limits = limits
        self.test: SeriesTest | None = None
        self._location = location
        self._early: list[tuple[int, Sketch]] = []
        self._n = 0
        self._numbers: Numbers | None = None
        self._middles: Floats = np.zeros(0)

    def update(self, start_ms: int, sketch: Sketch) -> str | None:
        """Take in a bucket; return what `SeriesTest.update` does."""
        if self.test is not None and self._numbers is not None:
            return self.test.update(start_ms, self._numbers.counts(sketch))
        self._early.append((start_ms, sketch))
        self._n += sketch.n
        if self._n < self.limits.span.least_n:
            return None
        first = added([each for _, each in self._early])
        self._numbers = numbers = Numbers(first)
        self._middles = _middles(numbers, first)
        if self._location:
            numbers.tilts = _some(numbers.tilts, 0)
        self.test = SeriesTest(numbers, self.limits)
        early, self._early = self._early, []
        for at_ms, each in early:
            self.test.update(at_ms, numbers.counts(each))
        return None

    @property
    def means(self) -> tuple[float, float]:
        """The usual mean and the one that was found, by the bins' means in the first reference."""
        assert self.test is not None
        p, found = self.test.usual[:-1], self.test.found[:-1]
        usual = float(p @ self._middles / max(p.sum(), 1e-300))
        now = float(found @ self._middles / max(found.sum(), 1e-300)) if found.sum() else usual
        return usual, now

    @property
    def deviation(self) -> float:
        """The usual standard deviation, by the bins' means."""
        assert self.test is not None
        p = self.test.usual[:-1] / self.test.usual[:-1].sum()
        mean = float(p @ self._middles)
        return sqrt(max(float(p @ (self._middles - mean) ** 2), 1e-300))


class Residuals:
    """Tests the residuals of a regression, overall and in slices.

    ``alarm_ms`` is the mean time between false alarms of all slices; each that is known has an
    equal part of them.
    """

    def __init__(self, limits: Limits, tolerance_overall: float) -> None:
        self._limits = limits
        self._overall = tolerance_overall
        self._series: dict[str, NumberSeries] = {}

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[tuple[str, int, NumberSeries]]:
        """Take in a bucket; return name, mean delay and test of each slice with something to say."""
        told = []
        for name in sorted(rows):
            row = rows[name]
            series = self._series.get(name)
            if series is None:
                series = self._series[name] = self._new(name)
            if series.test is not None:
                series.test.detector.alarm_ms = self._limits.alarm_ms * len(self._series)
            what = series.update(start_ms, unpacked(row["values"]))
            if what is not None:
                told.append((name, row["delay_ms"] // max(row["n"], 1), series))
        return told

    def _new(self, name: str) -> NumberSeries:
        tolerance = self._limits.tolerance if name else self._overall
        return NumberSeries(replace(self._limits, tolerance=tolerance), location=True)


def residual_finding(
    place: str, slice_: dict[str, str] | None, series: NumberSeries, delay_ms: int
) -> Finding:
    """Return what a slice's residuals have to say; ``place`` begins the sentence."""
    test = series.test
    assert test is not None
    usual, now = series.means
    effect = abs(now - usual) / series.deviation
    first_ms = test.since_ms - delay_ms
    side = "above" if now > usual else "below"
    if test.open:
        summary = (
            f"{place} what is observed is further {side} what is predicted since {when(first_ms)}: "
            f"observed minus predicted is {now:.4g} on average, usually {usual:.4g}; {_LOOK}."
        )
    else:
        summary = (
            f"{place} predictions fit what is observed again after a bias since {when(first_ms)}."
        )
    return Finding(
        kind="prediction_bias",
        subject="predictions",
        slice=slice_,
        ongoing=test.open,
        severity="critical" if effect >= CRITICAL else "warning",
        effect=effect,
        statistic=round(effect, 6),
        threshold=series.limits.tolerance,
        expected=usual,
        observed=now,
        samples=int(test.found.sum()),
        first_seen_ms=first_ms,
        summary=summary,
    )


def _middles(numbers: Numbers, first: Sketch) -> Floats:
    """Return the mean of the first reference in each bin but the last, that of missing ones."""
    at = np.searchsorted(numbers.edges, first.values, side="right")
    size = numbers.bins - 1
    sums = np.bincount(at, first.values * first.counts, minlength=size)
    counts = np.bincount(at, first.counts, minlength=size)
    edges = np.concatenate((numbers.edges[:1], numbers.edges))
    return np.where(counts > 0, sums / np.maximum(counts, 1), edges)


def _some(tilts: Tilts, score: int) -> Tilts:
    kept = tilts.of == score
    weights = tilts.weights[kept]
    return Tilts(
        tilts.scores, tilts.of[kept], tilts.strength[kept], weights / weights.sum(),
        tilts.indicator[kept],
    )


