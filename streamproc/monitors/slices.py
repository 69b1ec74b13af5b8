"""The slices of one bias monitor, tested beside each other."""

from __future__ import annotations

from math import inf
from typing import Any

import orjson

from streamproc.monitors.bias import THRESHOLD, RateTest, Totals
from streamproc.monitors.drift import DriftTest
from streamproc.monitors.finding import Finding, when
from streamproc.monitors.reference import Bucket
from streamproc.monitors.spec import MAX_SLICES
from streamproc.monitors.usual import Tally, Usual

LEAST_OUTCOMES = 1_000
"""Outcomes of a model's learnt versions before its predictions are held against it."""

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
        self._known = {""}
        self._noun = "right decisions" if kind == "multiclass" else "positives"
        self._usual = Usual(bucket_ms)
        self._outcomes = 0.0
        self._yes = 0.0
        self._turned: bool | None = None

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
            name: Tally(start_ms, n, float(round(left + predicted)), predicted, delay / n)
            for name, (n, left, _, predicted, delay) in rows.items()
        }
        if self._turned is None and self._outcomes >= LEAST_OUTCOMES:
            self._turned = self._yes > self._outcomes / 2
        if self._turned is None:
            self._yes += tallies[""].observed
            return []
        if self._turned:
            tallies = {name: tally.turned() for name, tally in tallies.items()}
        findings = self._test(tallies)
        self._usual.learn(tallies, {name for name, test in self._tests.items() if test.open})
        return findings

    def _bounded(self, rows: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        """Leave out slices beyond the bound: new ones, the smaller ones first."""
        new = sorted(
            (name for name in rows if name not in self._known), key=lambda s: (-rows[s][0], s)
        )
        self._known.update(new[: max(0, MAX_SLICES - len(self._known))])
        self.overflowed += sum(name not in self._known for name in new)
        return {name: rows[name] for name in sorted(rows) if name in self._known}

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
        # Overall last: the cause is told rather than its sum.
        for name in sorted(tallies, key=lambda name: (name == "", name)):
            usual, tally = self._usual.relative(name), tallies[name]
            if usual is None:
                continue
            relative, unsure = usual
            seen, spread = self._seen(name, tallies, relative), self._spread(name)
            test = self._tests.get(name)
            if test is None:
                test = self._tests[name] = RateTest(TOLERANCE if name else TOLERANCE_OVERALL)
            if test.open:
                over = test.follow(seen, spread)
                findings.append(self._finding(name, test, ongoing=not over))
            elif test.test(seen, unsure, spread, tally.start_ms - int(tally.delay_ms)):
                if self._explained(name, test.open):
                    test.restart()
                else:
                    self._usual.forget(name)
                    findings.append(self._finding(name, test, ongoing=True))
        return findings

    def _spread(self, name: str) -> float:
        return self._usual.spread if name else self._usual.spread_overall

    def _seen(self, name: str, tallies: dict[str, Tally], relative: float) -> Totals:
        """Return a bucket of a slice beside what is usual there, by what all others are."""
        own, all_ = tallies[name], tallies[""]
        if not name:
            return Totals(own.n, own.observed, relative * own.predicted, inf)
        share = relative * own.predicted / all_.predicted if all_.predicted > 0 else 0.0
        return Totals(own.n, own.observed, min(share, 1.0) * all_.observed, all_.observed)

    def _explained(self, name: str, sign: int) -> bool:
        """Whether what is found here comes from a slice that is open, or on the way to it.

        Overall moves with a slice; the slices beside it seem to move the other way; those inside
        it move along.
        """
        mine = self._tests[name].found_evidence
        inner = slice_of(name) or {}
        for other, test in self._tests.items():
            if other == name or not other:
                continue
            evidence, direction = test.strongest()
            if (slice_of(other) or {}).items() < inner.items():
                explains = test.open == sign
            elif not name:
                explains = sign in (test.open, direction if evidence > THRESHOLD / 2 else 0)
            else:
                explains = -sign in (test.open, direction if evidence > mine else 0)
            if explains:
                return True
        return False

    def _finding(self, name: str, test: RateTest, ongoing: bool) -> Finding:
        n, observed, usual, _ = test.found
        size = max(test.found.size, 1 / test.found.size)
        observed, usual = observed / n, usual / n
        low, high = test.interval(self._spread(name))
        if self._turned:
            observed, usual, low, high = 1 - observed, 1 - usual, -high, -low
        since, place = when(test.first_seen_ms), where(name, capital=True)
        if ongoing:
            side = "more" if observed > usual else "fewer"
            summary = (
                f"{place} there are {side} {self._noun} than predicted since {since}: "
                f"{observed:.2%} observed against {usual:.2%} expected over {n:,.0f} outcomes "
                f"(the difference is between {low:+.2%} and {high:+.2%}); {_LOOK}."
            )
        else:
            summary = f"{place} predictions fit what is observed again after a bias since {since}."
        return Finding(
            kind="prediction_bias",
            subject="predictions",
            slice=slice_of(name),
            ongoing=ongoing,
            severity="critical" if size >= CRITICAL else "warning",
            effect=size,
            statistic=round(size, 6),
            threshold=test.tolerance,
            expected=usual,
            observed=observed,
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
