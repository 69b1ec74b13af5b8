"""Label shift and concept drift: rates and numbers that come with labels, overall."""

from __future__ import annotations

import numpy as np

from streamproc.messages import AlertKind
from streamproc.monitors.finding import Finding, when
from streamproc.monitors.outcomes import ERRORS, LOSSES, OVERALL, Row
from streamproc.monitors.residuals import NumberSeries
from streamproc.monitors.series import Limits, SeriesTest
from streamproc.monitors.sketch import Sketch, added, unpacked
from streamproc.monitors.tilts import Categories, Rate

CRITICAL = 2.0
CRITICAL_MOVE = 0.5
_LABELS = "look at whether the world changed or the way of labelling"
_CONCEPT = "look at whether labels are right, what changed in the data, and the learner"


class LabelMonitor:
    """Watches the distribution of labels; two-sided."""

    def __init__(self, kind: str, limits: Limits) -> None:
        self._kind = kind
        self._limits = limits
        self._rate = Rated("label_shift", "labels", "the share of positives", 2, limits, _LABELS)
        self._numbers = Numbered("label_shift", "labels", "the mean label", limits, _LABELS)
        self._classes = Classes(limits)

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a bucket's rows; see `streamproc.monitors.outcomes`."""
        row = rows.get(OVERALL)
        if row is None or not row["n"]:
            return []
        if self._kind == "multiclass":
            return self._classes.update(start_ms, row)
        if self._kind == "regression":
            return self._numbers.update(start_ms, row)
        return self._rate.update(start_ms, row)


class ConceptMonitor:
    """Watches how wrong predictions are: wrong decisions upward, losses both ways."""

    def __init__(self, kind: str, limits: Limits) -> None:
        each = limits if kind == "regression" else _halved(limits)
        noun = "the absolute error" if kind == "regression" else "the log loss"
        self._losses = Numbered("concept_drift", "loss", noun, each, _CONCEPT)
        self._errors = Rated(
            "concept_drift", "decisions", "the share of wrong decisions", 1, each, _CONCEPT
        )

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a bucket's rows; see `streamproc.monitors.outcomes`."""
        findings = []
        if ERRORS in rows:
            findings += self._errors.update(start_ms, rows[ERRORS])
        if LOSSES in rows:
            findings += self._losses.update(start_ms, rows[LOSSES])
        return findings


class Rated:
    """Tests a share, upward only with ``ways`` 1."""

    def __init__(
        self, kind: AlertKind, subject: str, noun: str, ways: int, limits: Limits, look: str
    ) -> None:
        self._kind: AlertKind = kind
        self._subject, self._noun, self._look = subject, noun, look
        self._rate = Rate(ways)
        self._limits = limits
        self._test = SeriesTest(self._rate, limits)

    def update(self, start_ms: int, row: Row) -> list[Finding]:
        """Take in a bucket: n, yes and the sum of delays."""
        what = self._test.update(start_ms, self._rate.counts(float(row["yes"]), float(row["n"])))
        if what is None:
            return []
        found, usual = self._test.found, float(self._test.usual[1])
        now = float(found[1] / found.sum()) if found.sum() else usual
        effect = (found[1] + 1) / (usual * found.sum() + 1)
        first_ms = self._test.since_ms - row["delay_ms"] // max(row["n"], 1)
        effect = max(effect, 1 / effect)
        told = f"{now:.2%} over {found.sum():,.0f} outcomes, usually {usual:.2%}"
        return [
            Finding(
                kind=self._kind,
                subject=self._subject,
                slice=None,
                ongoing=what != "over",
                severity="critical" if effect >= CRITICAL else "warning",
                effect=effect,
                statistic=round(effect, 6),
                threshold=1 + self._limits.tolerance,
                expected=usual,
                observed=now,
                samples=int(found.sum()),
                first_seen_ms=first_ms,
                summary=_sentence(self._noun, now > usual, first_ms, told, what, self._look),
            )
        ]


class Numbered:
    """Tests a number's distribution, both ways."""

    def __init__(
        self, kind: AlertKind, subject: str, noun: str, limits: Limits, look: str
    ) -> None:
        self._kind: AlertKind = kind
        self._subject, self._noun, self._look = subject, noun, look
        self._series = NumberSeries(limits)

    def update(self, start_ms: int, row: Row) -> list[Finding]:
        """Take in a bucket: a sketch of values, n and the sum of delays."""
        what = self._series.update(start_ms, unpacked(row["values"]))
        test = self._series.test
        if what is None or test is None:
            return []
        usual, now = self._series.means
        effect = abs(now - usual) / self._series.deviation
        first_ms = test.since_ms - row["delay_ms"] // max(row["n"], 1)
        told = f"{now:.4g} on average over {test.found.sum():,.0f} outcomes, usually {usual:.4g}"
        return [
            Finding(
                kind=self._kind,
                subject=self._subject,
                slice=None,
                ongoing=what != "over",
                severity="critical" if effect >= CRITICAL_MOVE else "warning",
                effect=effect,
                statistic=round(effect, 6),
                threshold=self._series.limits.tolerance,
                expected=usual,
                observed=now,
                samples=int(test.found.sum()),
                first_seen_ms=first_ms,
                summary=_sentence(self._noun, now > usual, first_ms, told, what, self._look),
            )
        ]


class Classes:
    """Tests the shares of classes among the labels; names the one that moved most."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._early: list[tuple[int, Sketch]] = []
        self._categories: Categories | None = None
        self._test: SeriesTest | None = None
        self._names: dict[int, str] = {}

    def update(self, start_ms: int, row: Row) -> list[Finding]:
        """Take in a bucket: a sketch of categories, their names, n and the sum of delays."""
        if len(self._names) < 10_000:
            self._names |= {int(key): name for key, name in row.get("names", {}).items()}
        sketch = unpacked(row["values"])
        if self._test is None or self._categories is None:
            self._early.append((start_ms, sketch))
            if sum(each.n for _, each in self._early) >= self._limits.span.least_n:
                self._begin()
            return []
        what = self._test.update(start_ms, self._categories.counts(sketch))
        if what is None:
            return []
        return [self._finding(what, row["delay_ms"] // max(row["n"], 1))]

    def _begin(self) -> None:
        self._categories = Categories(added([each for _, each in self._early]))
        self._test = SeriesTest(self._categories, self._limits)
        for at_ms, each in self._early:
            self._test.update(at_ms, self._categories.counts(each))
        self._early = []

    def _finding(self, what: str, delay_ms: int) -> Finding:
        test, own = self._test, self._categories
        assert test is not None and own is not None  # noqa: PT018
        found, usual = test.found / max(test.found.sum(), 1.0), test.usual
        moved = np.abs(found - usual)
        at = int(moved.argmax())
        words = [self._names.get(int(cell), "a class") for cell in own.own]
        name = [*words, "other classes", "new classes", "missing"][at]
        effect = (found[at] + 1e-3) / (usual[at] + 1e-3)
        effect = max(float(effect), 1 / float(effect))
        first_ms = test.since_ms - delay_ms
        told = f"{found[at]:.2%} over {test.found.sum():,.0f} outcomes, usually {usual[at]:.2%}"
        noun = f"the share of {name} among labels"
        return Finding(
            kind="label_shift",
            subject="labels",
            slice=None,
            ongoing=what != "over",
            severity="critical" if effect >= CRITICAL else "warning",
            effect=effect,
            statistic=round(effect, 6),
            threshold=1 + self._limits.tolerance,
            expected=float(usual[at]),
            observed=float(found[at]),
            samples=int(test.found.sum()),
            first_seen_ms=first_ms,
            summary=_sentence(noun, bool(found[at] > usual[at]), first_ms, told, what, _LABELS),
        )


def _halved(limits: Limits) -> Limits:
    """Return the limits of one of two tests that share a monitor's false alarms."""
    return Limits(limits.alarm_ms * 2, limits.bucket_ms, limits.tolerance, limits.span)


def _sentence(noun: str, up: bool, first_ms: int, told: str, what: str, look: str) -> str:
    if what == "over":
        return f"For events from {when(first_ms)} on {noun} had moved; it is as usual again."
    side = "higher" if up else "lower"
    return f"For events from {when(first_ms)} on {noun} is {side}: {told}; {look}."
