"""Label shift and concept drift: rates and numbers that come with labels, overall.

Buckets are of the time at which labels became known. The tests are told the event time instead, by
the mean delay of the bucket's labels, so that a finding says from which event on.
"""

from __future__ import annotations

from dataclasses import replace

from streamproc.monitors.distribution import DistributionTest
from streamproc.monitors.finding import Finding
from streamproc.monitors.outcomes import ERRORS, LOSSES, OVERALL, Row
from streamproc.monitors.rated import Rated
from streamproc.monitors.series import Limits
from streamproc.monitors.sketch import unpacked

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
        return _rated(self._rate, start_ms, row)

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
            findings += _rated(self._errors, start_ms, rows[ERRORS])
        if LOSSES in rows:
            findings += told(self._losses, start_ms, rows[LOSSES])
        return findings

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual for what a finding's key is about; return whether it is here."""
        found = [test for test in (self._losses, self._errors) if test.key == key]
        for test in found:
            test.relearn()
        return bool(found)


def _rated(test: Rated, start_ms: int, row: Row) -> list[Finding]:
    finding = test.update(event_ms(start_ms, row), row["yes"], row["n"])
    return [] if finding is None else [finding]


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
