"""Label shift and concept drift: rates and numbers that come with labels, overall.

Buckets are of the time at which labels became known. The tests are told the event time instead, by
the mean delay of the bucket's labels, so that a finding says from which event on.
"""

from __future__ import annotations

from dataclasses import replace

from streamproc.messages import AlertKind
from streamproc.monitors.distribution import DistributionTest
from streamproc.monitors.finding import Finding, alert_key, when
from streamproc.monitors.outcomes import ERRORS, LOSSES, OVERALL, Row
from streamproc.monitors.series import Limits, SeriesTest
from streamproc.monitors.sketch import unpacked
from streamproc.monitors.tilts import Rate

CRITICAL = 2.0
_LABELS = "look at whether the world changed or the way of labelling"
_CONCEPT = "look at whether labels are right, what changed in the data, and the learner"


class LabelMonitor:
    """Watches the distribution of labels; two-sided."""

    def __init__(self, kind: str, limits: Limits) -> None:
        self._rate = Rated("label_shift", "labels", "the share of positives", 2, limits, _LABELS)
        self._labels = DistributionTest(
            "label_shift",
            "labels",
            limits,
            categorical=kind == "multiclass",
            noun="the label",
            look_at=_LABELS,
        )

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a bucket's rows; see `streamproc.monitors.outcomes`."""
        row = rows.get(OVERALL)
        if row is None or not row["n"]:
            return []
        if "values" in row:
            return told(self._labels, start_ms, row)
        return self._rate.update(start_ms, row)

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual for what a finding's key is about; return whether it is here."""
        if key != self._rate.key:
            return False
        self._rate.relearn()
        self._labels.relearn()
        return True


class ConceptMonitor:
    """Watches how wrong predictions are: wrong decisions upward, losses both ways."""

    def __init__(self, kind: str, limits: Limits) -> None:
        regression = kind == "regression"
        each = limits if regression else replace(limits, alarm_ms=2 * limits.alarm_ms)
        self._losses = DistributionTest(
            "concept_drift",
            "loss",
            each,
            noun="the absolute error" if regression else "the log loss",
            look_at=_CONCEPT,
        )
        self._errors = Rated(
            "concept_drift", "decisions", "the share of wrong decisions", 1, each, _CONCEPT
        )

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a bucket's rows; see `streamproc.monitors.outcomes`."""
        findings = []
        if ERRORS in rows:
            findings += self._errors.update(start_ms, rows[ERRORS])
        if LOSSES in rows:
            findings += told(self._losses, start_ms, rows[LOSSES])
        return findings

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual for what a finding's key is about; return whether it is here."""
        found = [test for test in (self._losses, self._errors) if test.key == key]
        for test in found:
            test.relearn()
        return bool(found)


class Rated:
    """Tests a share, upward only with ``ways`` 1."""

    def __init__(
        self, kind: AlertKind, subject: str, noun: str, ways: int, limits: Limits, look: str
    ) -> None:
        self.key = alert_key(kind, subject, None)
        self._kind: AlertKind = kind
        self._subject, self._noun, self._look = subject, noun, look
        self._rate = Rate(ways)
        self._limits = limits
        self._test = SeriesTest(self._rate, limits)

    def relearn(self) -> None:
        """Begin anew: what comes now is usual."""
        self._test.relearn()

    def update(self, start_ms: int, row: Row) -> list[Finding]:
        """Take in a bucket: n, yes and the sum of delays."""
        counts = self._rate.counts(float(row["yes"]), float(row["n"]))
        what = self._test.update(event_ms(start_ms, row), counts)
        if what is None:
            return []
        found, usual = self._test.found, float(self._test.usual[1])
        n = float(found.sum())
        now = float(found[1]) / n if n else usual
        effect = (float(found[1]) + 1) / (usual * n + 1)
        effect = max(effect, 1 / effect)
        first_ms = self._test.since_ms
        summary = f"For events from {when(first_ms)} on {self._noun} "
        if what == "over":
            summary += "had moved; it is as usual again."
        else:
            side = "higher" if now > usual else "lower"
            summary += f"is {side}: {now:.2%} of {n:,.0f}, usually {usual:.2%}; {self._look}."
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
                samples=int(n),
                first_seen_ms=first_ms,
                summary=summary,
            )
        ]


def told(test: DistributionTest, start_ms: int, row: Row) -> list[Finding]:
    """Return what a test says of a row with a sketch."""
    names = {int(key): name for key, name in row.get("names", {}).items()}
    finding = test.update(event_ms(start_ms, row), unpacked(row["values"]), names)
    return [] if finding is None else [finding]


def event_ms(start_ms: int, row: Row) -> int:
    """Return when the events of a bucket were, which starts when their labels were known.

    >>> event_ms(5_000, {"n": 2, "delay_ms": 6_000})
    2000
    """
    return int(start_ms - row["delay_ms"] // max(row["n"], 1))
