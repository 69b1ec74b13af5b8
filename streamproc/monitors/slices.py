"""The judge's side of prediction bias: slices by name, their tests, and what is found in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log
from typing import Any

import orjson

from streamproc.monitors.bias import BiasTests, Step, Tolerances
from streamproc.monitors.distribution import DistributionTest
from streamproc.monitors.finding import Finding, when
from streamproc.monitors.foundslices import FoundSlices
from streamproc.monitors.growing import Span
from streamproc.monitors.intervals import interval_of_mean
from streamproc.monitors.labelled import told
from streamproc.monitors.odds import Table, tabled
from streamproc.monitors.outcome_sample import SAMPLE, unpacked
from streamproc.monitors.outcomes import OVERALL, Row
from streamproc.monitors.series import Limits
from streamproc.monitors.spec import MAX_SLICES

LEAST_OUTCOMES = 1_000
"""Outcomes before it is known whether yes or no is the rarer."""

RESIDUAL_TOLERANCE, RESIDUAL_TOLERANCE_LEARNING = 0.1, 0.2
"""Of a regression's residuals, in standard deviations; the second one overall, if it learns."""

CRITICAL = 2.0
FOUND_SHARE = 0.25
"""The part of the false alarms that is left to slices which are looked for."""

_LOOK = "look at what changed there and whether labels are right; the model does not see it"


class BiasMonitor:
    """Tests all slices of a monitor, bucket after bucket; overall is the slice ``""``.

    ``alarm_ms`` is the mean time between false alarms of the monitor, ``warmup_ms`` how long the
    features' windows take to fill, ``declared`` the fields of slices, ``tolerance`` as
    `streamproc.monitors.spec.PredictionBias` has it. One fault is told once: while
    a slice is open, all that it is part of, or that is part of it, rests.
    """

    def __init__(
        self,
        bucket_ms: int,
        kind: str,
        learns: bool,
        alarm_ms: float,
        warmup_ms: int = 0,
        declared: Sequence[tuple[str, ...]] = (),
        tolerance: float | None = None,
    ) -> None:
        self.overflowed = 0
        self._declared = declared
        self._warmup_ms = warmup_ms
        self._noun = "right decisions" if kind == "multiclass" else "positives"
        self._names: list[str] = [OVERALL]
        self._rows = {OVERALL: 0}
        self._outcomes = self._yes = 0.0
        self._turned: bool | None = None
        self._residuals = None
        if kind == "regression":
            self._residuals = Residuals(bucket_ms, learns, alarm_ms, tolerance)
        self._tolerances = Tolerances.of(tolerance, learns)
        self._asked = bucket_ms, alarm_ms, Span(settles=learns)
        self._tests, self._found = self._make()

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a bucket: rows as `streamproc.monitors.outcomes` has them, by slice."""
        sample = unpacked(rows[SAMPLE]) if SAMPLE in rows else None
        rows = self._bounded({name: row for name, row in rows.items() if name != SAMPLE})
        if OVERALL not in rows:
            return []
        if self._residuals is not None:
            return self._residuals.update(start_ms, rows)
        if self._turned is None and not self._turns(rows):
            return []
        table = self._table(rows)
        delays = table.delay_ms / [max(rows.get(name, {}).get("n", 0), 1) for name in self._names]
        related = [_fields(name) for name in self._names]
        findings = []
        for step in self._tests.update(start_ms, table, related):
            findings.append(self._finding(self._names[step.row], step, int(delays[step.row])))
        quiet = not self._tests.opened
        if sample is None:
            return findings
        for name, slice_, step in self._found.update(start_ms, sample, bool(self._turned), quiet):
            findings.append(self._finding(name, step, int(delays[0]), slice_))
        return findings

    @property
    def candidates(self) -> list[dict[str, str]]:
        """The slices that nobody declared and that are looked at."""
        return self._found.candidates

    def _make(self) -> tuple[BiasTests, FoundSlices]:
        (bucket_ms, alarm_ms, span), (of_slices, overall, found) = self._asked, self._tolerances
        tests = BiasTests(bucket_ms, alarm_ms / (1 - FOUND_SHARE), of_slices, overall, span)
        found_alarm_ms, warmup_ms = alarm_ms / FOUND_SHARE, self._warmup_ms
        looked_for = FoundSlices(bucket_ms, found_alarm_ms, found, span, warmup_ms, self._declared)
        return tests, looked_for

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual, everywhere: slices are held against each other."""
        if self._residuals is not None:
            return self._residuals.relearn(key)
        if not key.startswith("prediction_bias/"):
            return False
        self._tests, self._found = self._make()
        return True

    def _turns(self, rows: dict[str, Row]) -> bool:
        """Learn whether yes is the rule, in which case no is counted; what came so far is lost."""
        counts = rows[OVERALL]["bins"].values()
        self._outcomes += sum(cell[0] for cell in counts)
        self._yes += sum(cell[1] for cell in counts)
        if self._outcomes >= LEAST_OUTCOMES:
            self._turned = self._yes > self._outcomes / 2
        return False

    def _bounded(self, rows: dict[str, Row]) -> dict[str, Row]:
        """Leave out slices beyond the bound: new ones, the smaller ones first."""
        new = sorted((n for n in rows if n not in self._rows), key=lambda n: (-rows[n]["n"], n))
        for name in new:
            if len(self._names) > MAX_SLICES:
                self.overflowed += 1
            else:
                self._rows[name] = len(self._names)
                self._names.append(name)
        return {name: rows[name] for name in sorted(rows) if name in self._rows}

    def _table(self, rows: dict[str, Row]) -> Table:
        table = tabled([rows.get(name, {}) for name in self._names])
        return table.turned() if self._turned else table

    def _finding(
        self, name: str, step: Step, delay_ms: int, found: dict[str, str] | None = None
    ) -> Finding:
        seen = step.seen
        n = max(seen.n, 1.0)
        observed, usual, low, high = seen.observed / n, seen.expected / n, seen.low, seen.high
        if self._turned:
            observed, usual, low, high = 1 - observed, 1 - usual, -high, -low
        slice_ = slice_of(name) if found is None else found
        place = where(name, capital=True) if found is None else f"Where {name}"
        threshold = self._tolerances.of_slices if name else self._tolerances.overall
        if found is not None:
            threshold = self._tolerances.found
        first_ms = step.since_ms - delay_ms
        since = when(first_ms)
        if step.what != "over":
            side = "more" if observed > usual else "fewer"
            summary = (
                f"{place} there are {side} {self._noun} than predicted since {since}: "
                f"{observed:.2%} observed against {usual:.2%} expected over {n:,.0f} outcomes "
                f"(the difference is between {low:+.2%} and {high:+.2%}); {_LOOK}."
            )
        else:
            summary = f"{place} predictions fit what is observed again after a bias since {since}."
        size = max(seen.size, 1 / seen.size)
        return Finding(
            kind="prediction_bias",
            subject="predictions",
            slice=slice_,
            ongoing=step.what != "over",
            severity="critical" if size >= CRITICAL else "warning",
            effect=size,
            statistic=round(size, 6),
            threshold=threshold,
            expected=usual,
            observed=observed,
            samples=int(n),
            first_seen_ms=first_ms,
            summary=summary,
        )


class Residuals:
    """Tests the residuals of a regression, overall and in slices.

    ``alarm_ms`` is the mean time between false alarms of all; each that is known has an equal part.
    """

    def __init__(
        self, bucket_ms: int, learns: bool, alarm_ms: float, tolerance: float | None = None
    ) -> None:
        self._bucket_ms = bucket_ms
        self._learns = learns
        self._tolerance = tolerance
        self._alarm_ms = alarm_ms
        self._tests: dict[str, DistributionTest] = {}

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a bucket."""
        findings = []
        for name in sorted(rows):
            if name not in self._tests:
                self._tests[name] = self._new(name)
                for test in self._tests.values():
                    test.share_out(self._alarm_ms * len(self._tests))
            found = told(self._tests[name], start_ms, rows[name])
            findings += [self._bounded(self._tests[name], each) for each in found]
        return findings

    def _bounded(self, test: DistributionTest, found: Finding) -> Finding:
        """Add an interval for the difference, as wide as the test's false alarms are rare.

        As of shares (`streamproc.monitors.bias.interval`): what is usual is taken as known.
        """
        before, after = test.sides(found.first_seen_ms)
        if not found.ongoing or test.test is None or after.n < 1 or before.n < 1:
            return found
        alarm_ms = self._alarm_ms * len(self._tests)
        kappa = max(1.0, float(test.test.reference.kappa[0]))
        variance = max(before.variance, after.variance) * kappa
        odds = log(max(alarm_ms / self._bucket_ms, 1.0))
        ends = interval_of_mean(after.n, after.mean - before.mean, variance, odds)
        low, high = (f"{end:+.4g}" for end in ends)
        said, _, look_at = found.summary.partition(";")
        summary = f"{said} (the difference is between {low} and {high});{look_at}"
        return replace(found, summary=summary)

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual for what a finding's key is about; return whether it is here."""
        found = [test for test in self._tests.values() if test.key == key]
        for test in found:
            test.relearn()
        return bool(found)

    def _new(self, name: str) -> DistributionTest:
        wavers = self._learns and not name
        tolerance = residual_tolerance(self._tolerance, wavers)
        return DistributionTest(
            "prediction_bias",
            "predictions",
            Limits(self._alarm_ms, self._bucket_ms, tolerance),
            location=True,
            slice_=slice_of(name),
            noun=f"observed minus predicted {where(name)}",
            look_at=_LOOK,
        )


def _fields(name: str) -> tuple[str, ...]:
    return tuple(slice_of(name) or ())


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


def residual_tolerance(declared: float | None, learns: bool) -> float:
    """Return the tolerance of a regression's residuals, in standard deviations.

    >>> residual_tolerance(None, learns=True), residual_tolerance(0.5, learns=True)
    (0.2, 0.5)
    """
    if declared is not None:
        return declared
    return RESIDUAL_TOLERANCE_LEARNING if learns else RESIDUAL_TOLERANCE
