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

from dataclasses import dataclass
from math import exp, log
from typing import NamedTuple

TILTS = (0.2, 0.4, 0.7, 1.0, 1.4)
ALARM_ODDS = 1e5
"""Buckets between two false alarms of one slice in one direction, at least (see above)."""

THRESHOLD = log(ALARM_ODDS * 2 * len(TILTS))
_OVER = log(100)
_MOST = 40.0


class Totals(NamedTuple):
    """What was seen since something began, in a slice and in all others."""

    n: float = 0.0
    observed: float = 0.0
    usual: float = 0.0
    variance: float = 0.0
    others_observed: float = 0.0
    others_usual: float = 0.0

    def plus(self, more: Totals) -> Totals:
        """Return the sums."""
        return Totals(*(a + b for a, b in zip(self, more, strict=True)))

    @property
    def size(self) -> float:
        """Observed to usual."""
        return (self.observed + 0.5) / (self.usual + 0.5)

    @property
    def others(self) -> float:
        """Observed to usual, of all others."""
        return (self.others_observed + 2) / (self.others_usual + 2)


_NOTHING = Totals()


class Margins(NamedTuple):
    """By how much more, and less, than usual a slice may observe: factors above and below 1."""

    low: float
    high: float


@dataclass
class Run:
    """A restarted product for one tilt, as its logarithm, and what was seen since it began."""

    tilt: float
    evidence: float = 0.0
    totals: Totals = _NOTHING
    start_ms: int = 0

    def add(self, step: float, seen: Totals, start_ms: int) -> None:
        """Multiply by exp(step); begin anew if the product was below 1."""
        if self.evidence <= 0.0:
            self.evidence, self.totals, self.start_ms = 0.0, Totals(), start_ms
        self.evidence += min(step, _MOST)
        self.totals = self.totals.plus(seen)


class RateTest:
    """Tests one slice; see the module. ``tolerance`` is a ratio, such as 1.25.

    Near a rate of one half the ratio is of the odds, roughly: what is tolerated shrinks with V / P.
    ``open`` is the direction while something is found, else 0; ``found`` what was seen since.
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.open = 0
        self.found = Totals()
        self.first_seen_ms = 0
        self._runs: dict[int, list[Run]] = {}
        self._back = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin anew, as if nothing had been seen."""
        self._runs = {sign: [Run(tilt) for tilt in TILTS] for sign in (1, -1)}

    def strongest(self) -> tuple[float, int]:
        """Return the strongest evidence and its direction."""
        return max((run.evidence, sign) for sign, runs in self._runs.items() for run in runs)

    def test(self, seen: Totals, margins: Margins, spread: float, start_ms: int) -> bool:
        """Multiply a bucket's evidence in; return whether it is enough to open.

        It is if it stands against how all others are off in the very same time, too.
        """
        for sign, runs in self._runs.items():
            for run in runs:
                run.add(self._step(seen, margins, spread, sign, run.tilt), seen, start_ms)
        for sign, runs in self._runs.items():
            for run in sorted(runs, key=lambda run: -run.evidence):
                if run.evidence < THRESHOLD:
                    break
                others = min(max(run.totals.others, 0.2), 5.0)
                then = Margins(min(others, 1.0) * margins.low, max(others, 1.0) * margins.high)
                if self._step(run.totals, then, spread, sign, run.tilt) >= THRESHOLD:
                    self._begin(sign, run)
                    return True
        return False

    def _step(self, seen: Totals, margins: Margins, spread: float, sign: int, tilt: float) -> float:
        """Return the logarithm of the factor in the module's formula."""
        _, observed, usual, variance, _, _ = seen
        if sign > 0:
            bound = usual * margins.high + variance * (self.tolerance - 1)
        else:
            bound = max(0.0, usual * margins.low - variance * (1 - 1 / self.tolerance))
        variance *= margins.high * self.tolerance
        return (tilt * sign * (observed - bound) - variance * (exp(tilt) - 1 - tilt)) / spread

    def _begin(self, sign: int, run: Run) -> None:
        self.open, self.found, self.first_seen_ms = sign, run.totals, run.start_ms
        self._back = 0.0

    def follow(self, seen: Totals, others: float, spread: float) -> bool:
        """While it is open: return whether it is over.

        The ratio that was found against the usual one, the hypotheses exchanged: it takes odds of
        a hundred to one, and three buckets at least. ``others`` is how all others are off.
        """
        size = self.found.size
        if self.open > 0:
            size, usual = min(max(size, 1.5), 4.0), seen.usual * min(others, 1.0)
        else:
            size, usual = min(max(size, 0.25), 0.67), seen.usual * max(others, 1.0)
        step = (usual * (size - 1) - seen.observed * log(size)) / spread
        self._back = max(0.0, self._back + min(step, _OVER / 2.5))
        if self._back >= _OVER:
            self.open = 0
            self.restart()
            return True
        if self._back == 0.0:
            self.found = self.found.plus(seen)
        return False

    def interval(self, spread: float) -> tuple[float, float]:
        """Return an interval for observed minus usual, per outcome, since it began.

        The ratios that the test does not reject; it holds whenever one looks.
        """
        n, observed, usual, variance, _, _ = self.found
        low, high = 0.0, float("inf")
        for tilt in TILTS:
            slack = variance * (exp(tilt) - 1 - tilt)
            low = max(low, (tilt * observed - spread * THRESHOLD) / (tilt * usual + slack))
            if tilt * usual > slack:
                most = (tilt * observed + spread * THRESHOLD) / (tilt * usual - slack)
                high = min(high, most)
        return (low - 1) * usual / n, min((high - 1) * usual / n, 1.0)
