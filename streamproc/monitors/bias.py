"""The bias test: is more, or less, observed than predicted, in which slice, and since when.

In a bucket the model predicts that a share q of all yes falls into a slice. Of the m yes there are,
it observes Y. For any tilt l, if no yes has a chance above q to fall there,

    exp(l Y - m log(1 + q (e^l - 1))),   l > 0

has an expectation of at most 1 (and likewise downward, l < 0), so its running product is a test
that may be looked at after every bucket: an anytime-valid one (Howard, Ramdas, McAuliffe and Sekhon
2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49(2);
Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", JRSS B 86).
Restarted whenever it is below 1 it is Page's CUSUM; if each start alarms with probability a at
most, alarms are 1/a buckets apart on average (Lorden 1971, "Procedures for reacting to a change in
distribution", Annals of Mathematical Statistics 42). A few tilts run side by side, in both
directions, for effects of different size.

That a model as a whole is off, as one that learns is, cancels out: a slice is held against all
others in the same time, and against its own share before. Overall there are no others; there the
yes are counted against those predicted, scaled by what that ratio usually is, which is the same
with m -> infinity: exp(l Y - E (e^l - 1)).

Evidence is divided by how much more counts waver than they should (fraud comes in bursts): the one
part that is estimated and not exact. Where yes is the rule, no is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, log1p
from typing import NamedTuple

TILTS = (0.2, 0.4, 0.7, 1.0, 1.4)
ALARM_ODDS = 1e3
"""Buckets between two false alarms of one slice in one direction, at least (see above).

In truth far more: evidence only counts beyond what is tolerated.
"""

THRESHOLD = log(ALARM_ODDS * 2 * len(TILTS))

_OVER = log(100)
_LEAST_OVER = 2.5
_MOST_SHARE = 0.999


class Totals(NamedTuple):
    """What was seen: outcomes, yes observed, yes usual, and of how many (infinite overall)."""

    n: float = 0.0
    observed: float = 0.0
    usual: float = 0.0
    of: float = 0.0

    def plus(self, more: Totals) -> Totals:
        """Return the sums."""
        return Totals(*(a + b for a, b in zip(self, more, strict=True)))

    @property
    def expected(self) -> float:
        """How many yes there would be here, going by those that are not here."""
        if self.of == inf:
            return self.usual
        share = self._share(1.0)
        return share / (1 - share) * (self.of - self.observed)

    @property
    def size(self) -> float:
        """How many times the expected was observed, steadied where both are few."""
        return (self.observed + 1) / (self.expected + 1)

    def evidence(self, tilt: float, factor: float) -> float:
        """Return the logarithm of the module's product, the usual odds being times ``factor``."""
        grows = exp(tilt) - 1
        if self.of == inf:
            return tilt * self.observed - self.usual * factor * grows
        return tilt * self.observed - self.of * log1p(self._share(factor) * grows)

    def against(self, size: float) -> float:
        """Return the logarithm of the odds for the usual against ``size`` times that."""
        if self.of == inf:
            return self.usual * (size - 1) - self.observed * log(size)
        usual, other = self._share(1.0), self._share(size)
        rest = self.of - self.observed
        return self.observed * log(usual / other) + rest * log((1 - usual) / (1 - other))

    def factor(self, tilt: float, evidence: float) -> float:
        """Return the factor at which the evidence is so much; the inverse of `evidence`."""
        grows = exp(tilt) - 1
        if self.of == inf:
            return (tilt * self.observed - evidence) / (self.usual * grows)
        share = (exp((tilt * self.observed - evidence) / self.of) - 1) / grows
        usual = self._share(1.0)
        return inf if share >= 1 else share / (1 - share) * (1 - usual) / usual

    def _share(self, factor: float) -> float:
        share = min(max(self.usual / self.of, 1 - _MOST_SHARE), _MOST_SHARE) if self.of else 0.5
        return share * factor / (1 - share + share * factor)


_NOTHING = Totals()


@dataclass
class Run:
    """A restarted product for one tilt, as its logarithm, and what was seen since it began."""

    tilt: float
    evidence: float = 0.0
    totals: Totals = _NOTHING
    start_ms: int = 0

    def add(self, seen: Totals, factor: float, spread: float, start_ms: int) -> None:
        """Multiply a bucket in; begin anew if the product was below 1."""
        if self.evidence <= 0.0:
            self.evidence, self.totals, self.start_ms = 0.0, _NOTHING, start_ms
        self.evidence += seen.evidence(self.tilt, factor) / spread
        self.totals = self.totals.plus(seen)


class RateTest:
    """Tests one slice; see the module. ``tolerance`` is a ratio (of odds), such as 1.25.

    ``open`` is the direction while something is found, else 0; ``found`` what was seen since.
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.open = 0
        self.found = _NOTHING
        self.found_evidence = 0.0
        self.first_seen_ms = 0
        self._runs: dict[int, list[Run]] = {}
        self._back = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin anew, as if nothing had been seen."""
        self.open = 0
        self._runs = {sign: [Run(sign * tilt) for tilt in TILTS] for sign in (1, -1)}

    def strongest(self) -> tuple[float, int]:
        """Return the strongest evidence and its direction."""
        return max((run.evidence, sign) for sign, runs in self._runs.items() for run in runs)

    def test(self, seen: Totals, unsure: float, spread: float, start_ms: int) -> bool:
        """Multiply a bucket in, not yet open; return whether it opens.

        ``unsure`` is the error of what is usual, as a share.
        """
        for sign, runs in self._runs.items():
            for run in runs:
                run.add(seen, (self.tolerance * (1 + unsure)) ** sign, spread, start_ms)
        best = max((run for runs in self._runs.values() for run in runs), key=_evidence)
        if best.evidence < THRESHOLD:
            return False
        self.open = 1 if best.tilt > 0 else -1
        self.found, self.found_evidence = best.totals, best.evidence
        self.first_seen_ms = best.start_ms
        self._back = 0.0
        return True

    def follow(self, seen: Totals, spread: float) -> bool:
        """While it is open: return whether it is over.

        The size that was found against the usual, the hypotheses exchanged: it takes odds of a
        hundred to one, and three buckets at least.
        """
        size = self.found.size
        size = min(max(size, 1.5), 4.0) if self.open > 0 else min(max(size, 0.25), 0.67)
        step = min(seen.against(size) / spread, _OVER / _LEAST_OVER)
        self._back = max(0.0, self._back + step)
        if self._back >= _OVER:
            self.restart()
            return True
        if self._back == 0.0:
            self.found = self.found.plus(seen)
        return False

    def interval(self, spread: float) -> tuple[float, float]:
        """Return an interval for observed minus expected, per outcome, since it began.

        It holds those ratios that the test does not reject, whenever one looks; so it is further
        from 0 than what is tolerated.
        """
        found = self.found
        low = max(0.0, *(found.factor(tilt, spread * THRESHOLD) for tilt in TILTS))
        high = min(found.factor(-tilt, spread * THRESHOLD) for tilt in TILTS)
        each = found.expected / found.n
        return (low - 1) * each, min((high - 1) * each, 1.0)


def _evidence(run: Run) -> float:
    return run.evidence
