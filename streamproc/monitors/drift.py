"""The series of one drift monitor, tested beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from streamproc.messages import AlertKind
from streamproc.monitors.detectors import DetectorTest
from streamproc.monitors.distribution import DistributionTest
from streamproc.monitors.drift_fold import (
    DECISION,
    IN_SLICE,
    SAMPLE,
    SCORE,
    Row,
    combined,
    of_texts,
    read,
)
from streamproc.monitors.finding import Finding
from streamproc.monitors.growing import Span
from streamproc.monitors.rated import Rated
from streamproc.monitors.recent import Bucket
from streamproc.monitors.sample import Sample, unpacked
from streamproc.monitors.season import WEEK_MS
from streamproc.monitors.series import Limits
from streamproc.monitors.sketch import hashed
from streamproc.monitors.slices import slice_of, where
from streamproc.monitors.spec import Drift, Series, Watched
from streamproc.monitors.together import SUBJECT, TogetherTest

SCORE_TOLERANCE = 0.5
"""A model that learns moves its scores; less than so many standard deviations is no drift."""

MOST_SERIES = 2_000
"""How many series one monitor tests; those that come later are counted and left out."""

LEAST_IN_SLICE = 300
"""How many values a slice's first reference has."""

Test = DistributionTest | DetectorTest | TogetherTest | Rated

YES = hashed("True")
"""The category of a decision that is yes, where it is yes or no."""

_MODEL = "look at the features that moved and at the model's last versions"


class DriftMonitor:
    """Tests every series of a drift monitor; classes of the score are added as they appear.

    ``alarm_ms`` is the mean time between false alarms of all together; each series has an equal
    part of them.
    """

    def __init__(self, monitor: Drift, series: Series, pipeline: Watched, alarm_ms: float) -> None:
        self._monitor = monitor
        self._series = series
        self._alarm_ms = alarm_ms
        self._learns = pipeline.learns
        self._yes_or_no = pipeline.kind in ("binary", "anomaly")
        self._warmup_ms = {
            name: pipeline.warmup_ms(name) for name in (*series.numbers, *series.texts)
        }
        self._tests: dict[str, Test] = {}
        self._first_ms: int | None = None
        self.overflowed = 0

    def combined(self, parts: Sequence[Row]) -> Row:
        """Return one row for several of one series and bucket, whatever their order."""
        return combined(parts)

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a sealed bucket."""
        if self._first_ms is None:
            self._first_ms = start_ms
        findings = []
        for name in sorted(rows):
            if name == SAMPLE:
                finding = self._together(start_ms, unpacked(rows[name]))
                findings += [] if finding is None else [finding]
                continue
            sketch, names = read(rows[name])
            if name not in self._tests and len(self._tests) >= MOST_SERIES:
                self.overflowed += 1
                continue
            test = self._tests.get(name)
            if test is None:
                test = self._add(name, self._new_test(name, categorical=of_texts(rows[name])))
            if isinstance(test, DetectorTest):
                finding = test.update(Bucket(start_ms, *sketch.moments())) if sketch.n else None
            elif isinstance(test, Rated):
                yes = int(sketch.counts[sketch.cells == YES].sum())
                finding = test.update(start_ms, yes, sketch.n)
            elif isinstance(test, DistributionTest):
                finding = test.update(start_ms, sketch, names)
            if finding is not None:
                findings.append(finding)
        return findings

    def evidence(self, name: str) -> tuple[float, float] | None:
        """Return a series' evidence and what it takes to alarm, as logarithms; None without."""
        test = self._tests.get(name)
        if isinstance(test, TogetherTest):
            return test.test.evidence, test.test.detector.threshold
        if isinstance(test, DistributionTest | Rated) and test.test is not None:
            return test.test.detector.evidence, test.test.detector.threshold
        return None

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual for what a finding's key is about; return whether it is here."""
        found = [test for test in self._tests.values() if test.key == key]
        for test in found:
            test.relearn()
        return bool(found)

    def _together(self, start_ms: int, sample: Sample) -> Finding | None:
        """Test how features go together, where there are two and no detector is given."""
        names = (*self._series.numbers, *self._series.texts)
        if len(names) < 2 or self._monitor.detector is not None:
            return None
        test = self._tests.get(SAMPLE)
        if test is None:
            monitor = self._monitor
            limits = Limits(self._alarm_ms, monitor.bucket_ms, monitor.tolerance, monitor.span)
            after_ms = start_ms + max(self._warmup_ms.values())
            # Of several drift monitors the first has the score; one alert is about one of them.
            subject = SUBJECT if self._series.score else f"{SUBJECT} with {names[0]}"
            test = TogetherTest(names, limits, self._series.texts, after_ms, subject)
            self._add(SAMPLE, test)
        assert isinstance(test, TogetherTest)
        return test.update(start_ms, sample)

    def _add(self, name: str, test: Test) -> Test:
        self._tests[name] = test
        self.share_out(self._alarm_ms)
        return test

    def share_out(self, alarm_ms: float) -> None:
        """Set the mean time between false alarms of all together."""
        self._alarm_ms = alarm_ms
        for each in self._tests.values():
            if not isinstance(each, DetectorTest):
                each.share_out(self._alarm_ms * len(self._tests))

    def _new_test(self, name: str, categorical: bool) -> DistributionTest | DetectorTest | Rated:
        monitor = self._monitor
        told: dict[str, Any] = {}
        kind: AlertKind = "covariate_drift"
        subject = name
        tolerance, span = monitor.tolerance, monitor.span
        if name.startswith("="):
            kind, subject = "prior_drift", "decision" if name == DECISION else "score"
            of_class = name[len(SCORE) + 1 :] if name.startswith(SCORE) else ""
            told["slice_"] = {"class": of_class} if of_class else None
            told["noun"] = f"the score of class {of_class}" if of_class else f"the {subject}"
            told["look_at"] = _MODEL
            if self._learns:  # a model that has yet to see a weekend is not settled
                tolerance = max(tolerance, SCORE_TOLERANCE)
                span = Span(max(span.least_ms, WEEK_MS), span.least_n, settles=True)
        else:
            subject, _, of_slice = name.partition(IN_SLICE)
            told["slice_"] = slice_of(of_slice)
            told["noun"] = f"{subject} {where(of_slice)}" if of_slice else subject
            told["after_ms"] = (self._first_ms or 0) + self._warmup_ms.get(subject, 0)
        limits = Limits(self._alarm_ms, monitor.bucket_ms, tolerance, span)
        if name == DECISION and self._yes_or_no:
            return Rated(kind, subject, "the share of decisions that are yes", 2, limits, _MODEL)
        if monitor.detector is not None and not categorical:
            days = -(-span.least_ms // 86_400_000)
            return DetectorTest(
                kind, subject, monitor.bucket_ms, monitor.detector, **told,
                tolerance=tolerance, least_days=days,
            )  # fmt: skip
        if told.get("slice_") and kind == "covariate_drift":
            limits = replace(limits, span=Span(span.least_ms, LEAST_IN_SLICE))
        return DistributionTest(kind, subject, limits, categorical=categorical, **told)
