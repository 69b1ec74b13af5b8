"""The slices of one bias monitor, tested beside each other."""

from __future__ import annotations

from math import inf
from typing import Any

import orjson
from river import drift

from streamproc.monitors.bias import THRESHOLD, RateTest, Totals
from streamproc.monitors.detectors import DetectorTest
from streamproc.monitors.finding import Finding, alert_key, when
from streamproc.monitors.recent import Bucket
from streamproc.monitors.spec import MAX_SLICES
from streamproc.monitors.usual import Tally, Usual

LEAST_OUTCOMES = 1_000
"""Outcomes of a model's learnt versions before its predictions are held against it."""

TOLERANCE = 1.1
TOLERANCE_OVERALL = 2.0
"""Ratios of observed to usual. Overall more is tolerated: a model that learns is off as a whole."""

LEAST_SIZE = 1.3
"""What is found is told once it is so many times, or one such part of, the usual."""

CRITICAL = 2.0
RESIDUAL_TOLERANCE = 0.2

_LOOK = "look at what changed there and whether labels are right; the model does not see it"


class BiasMonitor:
    """Tests all slices of a monitor, bucket after bucket; overall is the slice ``""``.

    One fault is told once: while a slice is open those beside it are tested without it, and all
    else (overall, the pairs it is part of) rests.
    """

    def __init__(self, bucket_ms: int, kind: str) -> None:
        self.overflowed = 0
        self._bucket_ms = bucket_ms
        self._regression = kind == "regression"
        self._tests: dict[str, RateTest] = {}
        self._means: dict[str, DetectorTest] = {}
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
        if not any(test.open for test in self._tests.values()):
            self._usual.learn(tallies)
        return findings

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual in the slice of a finding's key; return whether it is here."""
        names = [
            name
            for name in self._known
            if alert_key("prediction_bias", "predictions", slice_of(name)) == key
        ]
        for name in names:
            self._tests.pop(name, None)
            self._means.pop(name, None)
            self._usual.relearn(name)
        return bool(names)

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
                test = self._means[name] = DetectorTest(
                    "prediction_bias",
                    "predictions",
                    self._bucket_ms,
                    _adwin(),
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
        aside = [name for name, test in self._tests.items() if test.open]
        # The finest first, overall last: the cause is told rather than its sum.
        for name in sorted(tallies, key=lambda name: (-len(_fields(name)), name)):
            usual, tally = self._usual.relative(name), tallies[name]
            if usual is None:
                continue
            test = self._tests.get(name)
            if test is None:
                test = self._tests[name] = RateTest(TOLERANCE if name else TOLERANCE_OVERALL)
            relative, unsure = usual
            seen, spread = self._seen(name, tallies, relative, aside), self._spread(name)
            if test.open:
                over = test.follow(seen, spread)
                findings.append(self._finding(name, test, ongoing=not over))
            elif any(_fields(other) != _fields(name) for other in aside):
                test.restart()  # moved by what is open; whether more is wrong shows later
            elif test.test(seen, unsure, spread, tally.start_ms - int(tally.delay_ms)):
                small = 1 / LEAST_SIZE < test.found.size < LEAST_SIZE
                if small or self._explained(name, test.open):
                    test.restart()
                else:
                    aside.append(name)
                    self._usual.forget(test.first_seen_ms)
                    findings.append(self._finding(name, test, ongoing=True))
        return findings

    def _spread(self, name: str) -> float:
        return self._usual.spread if name else self._usual.spread_overall

    def _seen(
        self, name: str, tallies: dict[str, Tally], relative: float, aside: list[str]
    ) -> Totals:
        """Return a bucket of a slice beside what is usual there, by what all others are.

        Slices beside it that are open are left ``aside``.
        """
        own, all_ = tallies[name], tallies[""]
        if not name:
            return Totals(own.n, own.observed, relative * own.predicted, inf)
        observed, predicted = all_.observed, all_.predicted
        for other in aside:
            usual = self._usual.relative(other)
            if other != name and _fields(other) == _fields(name) and other in tallies and usual:
                observed -= tallies[other].observed
                predicted -= tallies[other].predicted * usual[0]
        share = relative * own.predicted / predicted if predicted > 0 else 0.0
        return Totals(own.n, own.observed, min(max(share, 0.0), 1.0) * observed, observed)

    def _explained(self, name: str, sign: int) -> bool:
        """Whether what is found here comes from a slice that is on the way to be found.

        Overall moves with it; the slices beside it seem to move the other way.
        """
        mine = self._tests[name].found_evidence
        for other, test in self._tests.items():
            if other and other != name:
                evidence, direction = test.strongest()
                if not name and direction == sign and evidence > THRESHOLD / 2:
                    return True
                if name and direction == -sign and evidence > mine:
                    return True
        return False

    def _finding(self, name: str, test: RateTest, ongoing: bool) -> Finding:
        n, observed, usual = test.found.n, test.found.observed, test.found.expected
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


def _adwin() -> Any:
    adwin: Any = drift.ADWIN  # not typed
    return adwin(delta=1e-4, clock=1, min_window_length=3, grace_period=6)


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
