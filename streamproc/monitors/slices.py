"""The slices of one bias monitor, tested beside each other."""

from __future__ import annotations

from typing import Any

import orjson

from streamproc.messages import Severity
from streamproc.monitors.bias import THRESHOLD, Margins, RateTest, Totals
from streamproc.monitors.drift import DriftTest
from streamproc.monitors.finding import Finding, when
from streamproc.monitors.reference import Bucket
from streamproc.monitors.spec import MAX_SLICES
from streamproc.monitors.usual import LEAST_OUTCOMES, Tally, Usual

TOLERANCE = 1.25
TOLERANCE_OVERALL = 1.5
"""Overall more is tolerated: a model that learns, or whose labels are late, is off as a whole."""

CRITICAL = 2.0
RESIDUAL_TOLERANCE = 0.2

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
        self._tests: dict[str, RateTest] = {}
        self._means: dict[str, DriftTest] = {}
        self._usual = Usual(bucket_ms)
        self._outcomes = 0.0

    def update(
        self, start_ms: int, rows: dict[str, tuple[float, ...]], spreads: dict[str, float]
    ) -> list[Finding]:
        """Take in a bucket: n, and the sums of y - p, variance, p and delay, by slice.

        ``spreads`` is the variance of single residuals by slice.
        """
        rows = self._bounded(rows)
        if "" not in rows:
            return []
        if self._regression:
            self._outcomes += rows[""][0]
            return self._residuals(start_ms, rows, spreads)
        tallies = {
            name: Tally(start_ms, n, left + expected, expected, variance, delay / n)
            for name, (n, left, variance, expected, delay) in rows.items()
        }
        findings = self._test(tallies)
        self._usual.learn(tallies, {name for name, test in self._tests.items() if test.open})
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

    def _test(self, tallies: dict[str, Tally]) -> list[Finding]:
        findings: list[Finding] = []
        spread = self._usual.spread
        # The finest first, overall last: the cause is told rather than its sum.
        for name in sorted(tallies, key=lambda name: (name == "", name)):
            own, tally = self._usual.own(name), tallies[name]
            if own is None:
                continue
            ratio, unsure = own
            seen = self._seen(name, tallies, ratio)
            others = self._usual.others(name)
            test = self._tests.setdefault(name, self._new_test(name))
            if test.open:
                over = test.follow(seen, others, spread)
                findings.append(self._finding(name, test, ongoing=not over))
                continue
            margins = Margins(min(others, 1.0) / (1 + unsure), max(others, 1.0) * (1 + unsure))
            if not test.test(seen, margins, spread, tally.start_ms - int(tally.delay_ms)):
                continue
            if self._explained(name, test.open):
                test.open = 0
                test.restart()
            else:
                self._usual.forget(name)
                findings.append(self._finding(name, test, ongoing=True))
        return findings

    def _seen(self, name: str, tallies: dict[str, Tally], ratio: float) -> Totals:
        """Return a bucket of a slice beside what is usual there."""
        own, all_ = tallies[name], tallies[""]
        left = self._usual.ratio * (all_.expected - own.expected) if name else 0.0
        return Totals(
            n=own.n,
            observed=own.observed,
            usual=ratio * own.expected,
            variance=ratio * own.variance,
            others_observed=all_.observed - own.observed if name else 0.0,
            others_usual=max(left, 0.0),
        )

    def _new_test(self, name: str) -> RateTest:
        return RateTest(TOLERANCE if name else TOLERANCE_OVERALL)

    def _explained(self, name: str, sign: int) -> bool:
        """Whether what is found here lies in a slice that is open, or on the way to it."""
        inner = slice_of(name) or {}
        for other, test in self._tests.items():
            if other == name or not other:
                continue
            evidence, direction = test.strongest()
            if not name and (test.open == sign or (direction == sign and evidence > THRESHOLD / 2)):
                return True
            outer = slice_of(other) or {}
            if test.open == sign and outer.items() < inner.items():
                return True
        return False

    def _finding(self, name: str, test: RateTest, ongoing: bool) -> Finding:
        n, observed, usual, *_ = test.found
        size = max(test.found.size, 1 / test.found.size)
        severity: Severity = "critical" if size >= CRITICAL else "warning"
        since = when(test.first_seen_ms)
        low, high = test.interval(self._usual.spread)
        if ongoing:
            side = "more" if observed > usual else "fewer"
            summary = (
                f"{where(name, capital=True)} there are {side} positives than predicted since "
                f"{since}: {observed / n:.2%} observed against {usual / n:.2%} expected over "
                f"{n:,.0f} outcomes (observed minus expected between {low:+.2%} and {high:+.2%}); "
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
            first_seen_ms=test.first_seen_ms,
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
