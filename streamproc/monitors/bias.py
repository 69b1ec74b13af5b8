"""The bias test: is more, or less, observed than predicted, in which slice, and since when.

A bucket of a slice says how many yes there were, Y, and how many the model expected, P = sum p,
with V = sum p(1 - p). For any honest p and tilt l > 0, by Bennett's inequality,

    exp(l (Y - P) - V (e^l - 1 - l))

has an expectation of at most 1, so its running product is a test that may be looked at after every
bucket (Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic
confidence sequences", Annals of Statistics 49(2), the sub-Poisson case). Restarted whenever it is
below 1 it is Page's CUSUM, and if each start alarms with probability a at most, alarms are 1/a
buckets apart on average (Lorden 1971, "Procedures for reacting to a change in distribution", Annals
of Mathematical Statistics 42). A few tilts run side by side, in both directions, for effects of
different size.

A model that learns is not honest at first, and none is in every slice. So P is scaled by what the
slice's ratio Y / P usually is, and by that of all other slices lately where this makes the evidence
weaker: a slice is found when it differs from itself before and from the others now. Evidence is
divided by how much more Y wavers than it should (fraud comes in bursts).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import exp, log, sqrt
from typing import NamedTuple

import numpy as np

TILTS = (0.2, 0.4, 0.7, 1.0, 1.4)
ALARM_ODDS = 1e5
"""Buckets between two false alarms of one slice in one direction, at least (see above)."""

THRESHOLD = log(ALARM_ODDS * 2 * len(TILTS))
LEAST_EXPECTED = 8.0
"""A slice is watched once so many yes were expected in its reference."""

_PRIOR = 5.0
_OVER = log(100)
_LEAST_QUIET = 2
_MOST = 40.0


class Tally(NamedTuple):
    """One slice in one bucket: n, observed yes, expected, variance, mean delay of labels."""

    start_ms: int
    n: float
    observed: float
    expected: float
    variance: float
    delay_ms: float


@dataclass
class Run:
    """A restarted product for one tilt, as its logarithm, and what it was made of."""

    evidence: float = 0.0
    tallies: list[float] = field(default_factory=lambda: [0.0] * 4)
    start_ms: int = 0

    def add(self, step: float, tally: Tally, usual: float) -> None:
        """Multiply by exp(step); begin anew if the product was below 1."""
        if self.evidence <= 0.0:
            self.evidence = 0.0
            self.tallies = [0.0] * 4
            self.start_ms = tally.start_ms - int(tally.delay_ms)
        self.evidence += step
        more = (tally.n, tally.observed, usual, tally.expected)
        self.tallies = [a + b for a, b in zip(self.tallies, more, strict=True)]


class Band(NamedTuple):
    """What is usual in a bucket: between two expected numbers of yes; their variance."""

    low: float
    usual: float
    high: float
    variance: float


class RateTest:
    """Tests one slice; see the module. ``tolerance`` is a ratio, such as 1.25.

    Near a rate of one half the ratio is of the odds, roughly: what is tolerated shrinks with V / P.
    """

    def __init__(self, tolerance: float, least_buckets: int, most_buckets: int) -> None:
        self.tolerance = tolerance
        self.open = 0
        self.size = 1.0
        self.found: Run = Run()
        self._least = least_buckets
        self._history: deque[Tally] = deque(maxlen=most_buckets)
        self._quarantine: deque[Tally] = deque()
        self._runs = {sign: [Run() for _ in TILTS] for sign in (1, -1)}
        self._back = 0.0
        self._quiet = 0

    @property
    def history(self) -> deque[Tally]:
        """The buckets its usual ratio is learnt from."""
        return self._history

    def keep(self, most_buckets: int) -> None:
        """Let the reference grow to so many buckets."""
        self._history = deque(self._history, maxlen=most_buckets)

    def learn(self, tally: Tally, started: bool) -> None:
        """Take in a bucket in which nothing was found."""
        self._quarantine.append(tally)
        if not started or len(self._quarantine) > self._least:
            self._history.append(self._quarantine.popleft())

    def band(self, tally: Tally, ratio: float, others: float, spread: float) -> Band | None:
        """Return what is usual for a bucket, None while too little is known.

        ``ratio`` is the usual one over all slices, ``others`` how all other slices are off from
        theirs lately, ``spread`` how much more counts waver than they should.
        """
        _, observed, expected, _ = np.array([t[1:5] for t in self._history] or [(0.0,) * 4]).sum(0)
        if expected * ratio < LEAST_EXPECTED:
            return None
        own = (observed + _PRIOR * ratio) / (expected + _PRIOR)
        unsure = 1 + sqrt(spread / (observed + _PRIOR * ratio))
        usual = own * tally.expected
        variance = own * tally.variance
        beyond = variance * (self.tolerance - 1)
        below = variance * (1 - 1 / self.tolerance)
        return Band(
            low=max(usual * min(1.0, others) / unsure - below, 0.0),
            usual=usual,
            high=usual * max(1.0, others) * unsure + beyond,
            variance=variance * max(1.0, others) * unsure * self.tolerance,
        )

    def evidence(self) -> tuple[float, int, Run]:
        """Return the strongest evidence, its direction and its run."""
        found = [
            (run.evidence, sign, i) for sign in (1, -1) for i, run in enumerate(self._runs[sign])
        ]
        most, sign, i = max(found)
        return most, sign, self._runs[sign][i]

    def test(self, tally: Tally, band: Band, spread: float) -> None:
        """Multiply a bucket's evidence in."""
        for sign, bound in ((1, band.high), (-1, band.low)):
            beyond = sign * (tally.observed - bound)
            for tilt, run in zip(TILTS, self._runs[sign], strict=True):
                step = (tilt * beyond - band.variance * (exp(tilt) - 1 - tilt)) / spread
                run.add(min(step, _MOST), tally, band.usual)

    def restart(self) -> None:
        """Begin anew, as if nothing had been seen."""
        self._runs = {sign: [Run() for _ in TILTS] for sign in (1, -1)}

    def begin(self) -> None:
        """Open: from here on the way back is tested for."""
        _, self.open, self.found = self.evidence()
        self._measure()
        self._back, self._quiet = 0.0, 0
        self._quarantine.clear()

    def follow(self, tally: Tally, band: Band, spread: float) -> bool:
        """While it is open: return whether it is over.

        The ratio that was found against the usual one, the hypotheses exchanged: it takes odds of
        a hundred to one, and the last two buckets on the side of the usual.
        """
        size = min(max(self.size, 1.5), 4.0) if self.open > 0 else min(max(self.size, 0.25), 0.67)
        bound = band.high if self.open > 0 else band.low
        step = (band.usual * (size - 1) - tally.observed * log(size)) / spread
        self._back = max(0.0, self._back + step)
        inside = self.open * (tally.observed - bound) <= 0
        self._quiet = self._quiet + 1 if inside else 0
        if self._back >= _OVER and self._quiet >= _LEAST_QUIET:
            self.open = 0
            self.restart()
            return True
        if not inside:
            more = (tally.n, tally.observed, band.usual, tally.expected)
            self.found.tallies = [a + b for a, b in zip(self.found.tallies, more, strict=True)]
            self._measure()
        return False

    def interval(self, spread: float) -> tuple[float, float]:
        """Return an interval for observed minus predicted, per outcome, since it began.

        It holds, but for a chance of one in `ALARM_ODDS`, whenever one looks.
        """
        n, observed, _, expected = self.found.tallies
        variance = max(observed, expected)
        half = min(
            (variance * (exp(tilt) - 1 - tilt) + spread * THRESHOLD) / tilt for tilt in TILTS
        )
        return (observed - expected - half) / n, (observed - expected + half) / n

    def _measure(self) -> None:
        _, observed, usual, _ = self.found.tallies
        self.size = (observed + 0.5) / (usual + 0.5)


def dispersion(histories: list[list[tuple[float, float, float]]]) -> float:
    """Return how much more counts waver than chance makes them, at least 1.

    Each history is one slice's buckets: observed, usual, variance. Blocks of 1, 2 and 4 buckets
    are looked at, since bursts last; the largest counts.
    """
    worst = 1.0
    for length in (1, 2, 4):
        off, chance = 0.0, 0.0
        for history in histories:
            table = np.array(history).reshape(-1, 3)
            blocks = len(table) // length
            if not blocks:
                continue
            sums = table[: blocks * length].reshape(blocks, length, 3).sum(axis=1)
            off += float(((sums[:, 0] - sums[:, 1]) ** 2).sum())
            chance += float(sums[:, 2].sum())
        if chance > 0:
            worst = max(worst, off / chance)
    return min(worst, 10.0)
