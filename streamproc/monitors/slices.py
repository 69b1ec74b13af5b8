"""The slices of one bias monitor, tested beside each other."""

from __future__ import annotations

from math import sqrt
from typing import Any

import orjson

from streamproc.messages import Severity
from streamproc.monitors.bias import (
    LEAST_EXPECTED,
    THRESHOLD,
    RateTest,
    Tally,
    dispersion,
)
from streamproc.monitors.drift import DriftTest
from streamproc.monitors.finding import Finding, when
from streamproc.monitors.reference import DAY_MS, LEAST_BUCKETS, LEAST_DAYS, Bucket
from streamproc.monitors.spec import MAX_SLICES

LEAST_OUTCOMES = 1_000
"""Outcomes of a model's learnt versions before its predictions are held against it."""

TOLERANCE = 1.25
TOLERANCE_OVERALL = 1.5
"""Overall more is tolerated: a model that learns, or whose labels are late, is off as a whole."""

CRITICAL = 2.0
RESIDUAL_TOLERANCE = 0.2

_FADES = 0.9
_LOOK = "look at what changed there and whether labels are right; the model does not see it"


class BiasMonitor:
    """Tests all slices of a monitor, bucket after bucket; overall is the slice ``""``.

    One fault is told once: overall is not told while a slice explains it, nor a pair's slice while
    the slice it lies in is open.
    """

    def __init__(self, bucket_ms: int, kind: str) -> None:
        self.overflowed = 0
        self._bucket_ms = bucket_ms
        self._regression = kind == "regression"
        self._least = max(LEAST_BUCKETS, -(-LEAST_DAYS * DAY_MS // bucket_ms))
        self._tests: dict[str, RateTest] = {}
        self._means: dict[str, DriftTest] = {}
        self._lately: dict[str, list[float]] = {}
        self._outcomes = 0.0
        self._started = False
        self._spread = 1.0

    def update(
        self, start_ms: int, rows: dict[str, tuple[float, ...]], spreads: dict[str, float]
    ) -> list[Finding]:
        """Take in a bucket: n, and the sums of y - p, variance, p and delay, by slice.

        ``spreads`` is the variance of single residuals by slice.
        """
        rows = self._bounded(rows)
        if "" not in rows:
            return []
        self._outcomes += rows[""][0]
        if self._regression:
            return self._residuals(start_ms, rows, spreads)
        tallies = {
            name: Tally(start_ms, n, left + expected, expected, variance, delay / n)
            for name, (n, left, variance, expected, delay) in rows.items()
        }
        findings: list[Finding] = []
        if self._started:
            self._spread = self._dispersion()
            findings = self._test(tallies)
        self._learn(tallies)
        return findings

    def _bounded(self, rows: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        """Leave out slices beyond the bound: new ones, smaller ones first."""
        known = self._means if self._regression else self._tests
        new = sorted((name for name in rows if name not in known), key=lambda s: (-rows[s][0], s))
        over = set(new[max(0, MAX_SLICES + 1 - len(known)) :]) - {""}
        self.overflowed += len(over)
        return {name: rows[name] for name in sorted(rows) if name not in over}

    def _residuals(
        self, start_ms: int, rows: dict[str, tuple[float, ...]], spreads: dict[str, float]
    ) -> list[Finding]:
        if self._outcomes < LEAST_OUTCOMES:
            return []
        findings = []
        for name, row in rows.items():
            test = self._means.get(name)
            if test is None:
                test = self._means[name] = DriftTest(
                    "prediction_bias",
                    "predictions",
                    self._bucket_ms,
                    slice_=slice_of(name),
                    noun=f"observed minus predicted {where(name)}",
                    look_at=_LOOK,
                    tolerance=RESIDUAL_TOLERANCE,
                )
            bucket = Bucket(start_ms - int(row[4] / row[0]), row[0], row[1] / row[0], spreads[name])
            finding = test.update(bucket)
            if finding:
                findings.append(finding)
        return findings

    def _learn(self, tallies: dict[str, Tally]) -> None:
        for lately in self._lately.values():
            lately[:] = [value * _FADES for value in lately]
        for name, tally in tallies.items():
            lately = self._lately.setdefault(name, [0.0, 0.0])
            lately[0] += tally.observed
            lately[1] += tally.expected
            test = self._tests.get(name)
            if test is None:
                tolerance = TOLERANCE if name else TOLERANCE_OVERALL
                most = 8 * self._least if self._started else self._least
                test = self._tests[name] = RateTest(tolerance, self._least, most)
            if not test.open:
                test.learn(tally, self._started)
        if not self._started and self._outcomes >= LEAST_OUTCOMES:
            self._started = self._settled()
            if self._started:
                for test in self._tests.values():
                    test.keep(8 * self._least)

    def _settled(self) -> bool:
        """Whether the ratio overall was the same in both halves of the first buckets."""
        history = list(self._tests[""].history)
        if len(history) < self._least:
            return False
        half = len(history) // 2
        sums: list[list[float]] = [
            [sum(getattr(t, what) for t in part) for what in ("observed", "expected")]
            for part in (history[:half], history[half:])
        ]
        (y1, p1), (y2, p2) = sums
        if min(y1, y2) * 2 < LEAST_EXPECTED or min(p1, p2) <= 0:
            return False
        ratio = (y1 + y2) / (p1 + p2)
        moved = abs(y2 / p2 - y1 / p1) / ratio
        return moved <= max(TOLERANCE - 1, min(2 * sqrt(1 / y1 + 1 / y2), TOLERANCE_OVERALL - 1))

    def _usual(self) -> float:
        history = self._tests[""].history
        observed = sum(tally.observed for tally in history)
        return (observed + 1) / (sum(tally.expected for tally in history) + 1)

    def _dispersion(self) -> float:
        ratio = self._usual()
        histories = []
        for name, test in self._tests.items():
            if name or len(self._tests) == 1:
                observed = sum(tally.observed for tally in test.history)
                expected = sum(tally.expected for tally in test.history)
                own = (observed + 1) / (expected + 1 / ratio)
                histories.append(
                    [(t.observed, own * t.expected, own * t.variance) for t in test.history]
                )
        return dispersion(histories)

    def _others(self, name: str, ratio: float) -> float:
        """Return how far all but this slice are off lately, as a ratio to what is usual."""
        if not name:
            return 1.0
        observed, expected = (
            max(0.0, all_ - own)
            for all_, own in zip(self._lately[""], self._lately.get(name, (0, 0)), strict=True)
        )
        return min(max((observed + 2) / (expected * ratio + 2), 0.2), 5.0)

    def _test(self, tallies: dict[str, Tally]) -> list[Finding]:
        ratio, findings = self._usual(), []
        # The finest first, overall last: the cause is told rather than its sum.
        for name in sorted(tallies, key=lambda name: (name == "", name)):
            test, tally = self._tests.get(name), tallies[name]
            if test is None:
                continue
            band = test.band(tally, ratio, self._others(name, ratio), self._spread)
            if band is None:
                continue
            if test.open:
                over = test.follow(tally, band, self._spread)
                findings.append(self._finding(name, test, ongoing=not over))
                continue
            test.test(tally, band, self._spread)
            evidence, sign, _ = test.evidence()
            if evidence >= THRESHOLD:
                if self._explained(name, sign):
                    test.restart()
                else:
                    test.begin()
                    findings.append(self._finding(name, test, ongoing=True))
        return findings

    def _explained(self, name: str, sign: int) -> bool:
        """Whether what is found here lies in a slice that is open, or on the way to it."""
        inner = slice_of(name) or {}
        for other, test in self._tests.items():
            if other == name or not other:
                continue
            evidence, direction, _ = test.evidence()
            if not name and (test.open == sign or (direction == sign and evidence > THRESHOLD / 2)):
                return True
            outer = slice_of(other) or {}
            if test.open == sign and outer.items() < inner.items():
                return True
        return False

    def _finding(self, name: str, test: RateTest, ongoing: bool) -> Finding:
        n, observed, usual, _ = test.found.tallies
        size = max(test.size, 1 / test.size)
        severity: Severity = "critical" if size >= CRITICAL else "warning"
        since = when(test.found.start_ms)
        low, high = test.interval(self._spread)
        if ongoing:
            side = "more" if observed > usual else "fewer"
            summary = (
                f"{where(name, capital=True)} there are {side} positives than predicted since "
                f"{since}: {observed / n:.2%} observed against {usual / n:.2%} expected over "
                f"{n:,.0f} outcomes (observed minus predicted between {low:+.2%} and {high:+.2%}); "
                f"{_LOOK}."
            )
        else:
            summary = (
                f"{where(name, capital=True)} predictions fit what is observed again after a bias "
                f"since {since}."
            )
        return Finding(
            kind="prediction_bias",
            subject="predictions",
            slice=slice_of(name),
            ongoing=ongoing,
            severity=severity,
            effect=size,
            statistic=round(size, 6),
            threshold=test.tolerance,
            expected=usual / n,
            observed=observed / n,
            samples=int(n),
            first_seen_ms=test.found.start_ms,
            summary=summary,
        )


def slice_of(name: str) -> dict[str, str] | None:
    """Return a slice's map from its name; None overall.

    >>> slice_of('{"country":"NL"}'), slice_of("")
    ({'country': 'NL'}, None)
    """
    found: dict[str, Any] | None = orjson.loads(name) if name else None
    return found


def where(name: str, capital: bool = False) -> str:
    """Return a slice as it is said in a sentence.

    >>> where('{"country":"NL"}'), where("", capital=True)
    ('for country=NL', 'Overall')
    """
    told = slice_of(name)
    text = "for " + ", ".join(f"{k}={v}" for k, v in told.items()) if told else "overall"
    return text[0].upper() + text[1:] if capital else text
