"""What an alert is made of: the evidence over time, then and now, examples, what else changed.

Everything is read off the log of sums that the judge reads, so it is as exact as the verdict, and
is there as far back as that log goes. The series in question is tested again by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite, log
from typing import Any

import orjson

from streamproc.messages import Alert, ModelVersion
from streamproc.monitors.budget import shares
from streamproc.monitors.comparing import Bar, categories_compared, numbers_compared
from streamproc.monitors.drift import DriftMonitor
from streamproc.monitors.drift_fold import (
    DECISION,
    IN_SLICE,
    SAMPLE,
    SCORE,
    combined,
    of_slice,
    of_texts,
    read,
)
from streamproc.monitors.outcomes import combined as combined_outcomes
from streamproc.monitors.outcomespec import outcome_plan
from streamproc.monitors.sample import Row, Sample, unpacked
from streamproc.monitors.scores import PROBABILITY_STEPS
from streamproc.monitors.season import DAY_MS
from streamproc.monitors.sketch import Sketch, added
from streamproc.monitors.spec import PredictionBias, Watched, drift_plan
from streamproc.monitors.together import SUBJECT

EXAMPLES, MOST_SLICES, MOST_OTHERS = 5, 10, 8
AROUND_BUCKETS = 6
"""What changed within so many buckets of the beginning is told of."""

_HELD = 48
_TOGETHER = 32


@dataclass(frozen=True)
class Point:
    """A value in the bucket that begins then."""

    start_ms: int
    value: float


@dataclass
class Explanation:
    """What is known of an alert.

    ``points`` are the evidence, 0 being none and 1 what it takes to alarm, or, with ``unit``
    "observed less predicted", that by outcome. ``bars`` compare counts before the alert's first
    time and since; ``slices`` are name, outcomes, observed and predicted since. The log still has
    what is from ``known_from_ms`` on.
    """

    alert: Alert
    unit: str = "evidence"
    points: list[Point] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    slices: list[tuple[str, float, float, float]] = field(default_factory=list)
    names: tuple[str, ...] = ()
    examples: list[Row] = field(default_factory=list)
    models_then: list[str] = field(default_factory=list)
    models_now: list[str] = field(default_factory=list)
    others: list[Alert] = field(default_factory=list)
    versions: list[ModelVersion] = field(default_factory=list)
    bucket_ms: int = 0
    known_from_ms: int | None = None


def explained(
    pipeline: Watched,
    records: Iterable[Mapping[str, Any]],
    alert: Alert,
    others: Iterable[Alert] = (),
    versions: Iterable[ModelVersion] = (),
) -> Explanation:
    """Return what is known of an alert from the log of sums: ``records`` as the judge reads them.

    ``others`` are the newest message of each alert, ``versions`` the published ones.
    """
    found = Explanation(alert)
    if alert["kind"] in ("covariate_drift", "prior_drift"):
        _of_drift(found, pipeline, records)
    elif alert["kind"] == "prediction_bias":
        _of_bias(found, pipeline, records)
    around_ms = AROUND_BUCKETS * max(found.bucket_ms, 60_000)
    first_ms = alert["first_seen_ms"]
    near = [
        other
        for other in others
        if other["alert_id"] != alert["alert_id"]
        and abs(other["first_seen_ms"] - first_ms) <= around_ms
    ]
    found.others = sorted(near, key=lambda each: (each["first_seen_ms"], each["key"]))[:MOST_OTHERS]
    found.versions = [
        each for each in versions if abs(each["label_time_ms"] - first_ms) <= around_ms
    ][-MOST_OTHERS:]
    return found


def _of_drift(found: Explanation, pipeline: Watched, records: Iterable[Mapping[str, Any]]) -> None:
    name = series_of(found.alert)
    plan = [each for each in drift_plan(pipeline) if _has(each[2], name)]
    if not plan:
        return
    number, monitor, series = plan[0]
    found.bucket_ms, first_ms = monitor.bucket_ms, found.alert["first_seen_ms"]
    near_ms = (first_ms - AROUND_BUCKETS * monitor.bucket_ms, first_ms + DAY_MS)
    told = _Log("drift", number, monitor.bucket_ms)
    share = shares({i: each.weight for i, each in enumerate(pipeline.monitors)})[number]
    alarm_ms, least = pipeline.budget.alarm_ms(share), log(monitor.bucket_ms)
    test = DriftMonitor(monitor, series, pipeline, alarm_ms)
    compared, sampled = _Compared(first_ms), _Sampled(first_ms)
    for start_ms, parts in told.read(
        records, lambda each, at: each == name or (each == SAMPLE and near_ms[0] <= at < near_ms[1])
    ):
        rows = {each: combined(some) for each, some in parts.items()}
        if SAMPLE in rows and near_ms[0] <= start_ms < near_ms[1]:
            sampled.add(start_ms, unpacked(rows[SAMPLE]))
        own = {name: rows[name]} if name in rows else {}
        test.share_out(alarm_ms * told.series)
        test.update(start_ms, own)
        evidence = test.evidence(name)
        if evidence is not None and isfinite(evidence[0]):
            part = (evidence[0] - least) / max(evidence[1] - least, 1e-9)
            found.points.append(Point(start_ms, max(part, 0.0)))
        if own and name != SAMPLE:
            compared.add(start_ms, own[name])
    found.known_from_ms = told.first_ms
    found.bars = compared.bars()
    sampled.tell(found, name)


class _Compared:
    """Adds up the distribution before the alert's first time, and that since."""

    def __init__(self, first_ms: int) -> None:
        self._first_ms = first_ms
        self._sides: tuple[list[Sketch], list[Sketch]] = ([], [])
        self._names: dict[int, str] = {}
        self._texts = False

    def add(self, start_ms: int, row: Any) -> None:
        """Take in a bucket."""
        sketch, names = read(row)
        self._texts = self._texts or of_texts(row)
        self._names |= names
        side = self._sides[start_ms >= self._first_ms]
        side.append(sketch)
        if len(side) == _TOGETHER:
            side[:] = [added(side)]

    def bars(self) -> list[Bar]:
        """Return both side by side; none where there is but one."""
        if not all(self._sides):
            return []
        then, now = map(added, self._sides)
        if self._texts:
            return categories_compared(then, now, self._names)
        return numbers_compared(then, now)


class _Sampled:
    """Examples since the alert's first time, and the versions that scored before and since."""

    def __init__(self, first_ms: int) -> None:
        self._first_ms = first_ms
        self._then: set[str] = set()
        self._names: tuple[str, ...] = ()
        self._now: list[Row] = []

    def add(self, start_ms: int, sample: Sample) -> None:
        """Take in a bucket's sample."""
        if start_ms < self._first_ms:
            self._then |= {row.model for row in sample.rows}
        elif not self._names or sample.names == self._names:
            self._names = sample.names
            self._now += sample.rows

    def tell(self, found: Explanation, name: str) -> None:
        """Choose examples: of the bar that grew most, where the series has bars."""
        now = self._now
        grown = max(found.bars, key=lambda bar: bar.now_share - bar.then_share, default=None)
        if grown is not None and name in self._names:
            at = self._names.index(name)
            now = [row for row in now if grown.holds(row.values[at])] or now
        found.names, found.examples = self._names, now[:EXAMPLES]
        found.models_then = sorted(self._then)
        found.models_now = sorted({row.model for row in self._now})


def _of_bias(found: Explanation, pipeline: Watched, records: Iterable[Mapping[str, Any]]) -> None:
    wanted, first_ms = found.alert["slice"] or {}, found.alert["first_seen_ms"]
    found.unit = "observed less predicted"
    for number, monitor in outcome_plan(pipeline):
        if not isinstance(monitor, PredictionBias) or pipeline.kind == "regression":
            continue
        found.bucket_ms = monitor.bucket_ms
        told = _Log("bias", number, monitor.bucket_ms)
        since: dict[str, Any] = {}
        for start_ms, parts in told.read(records, lambda _name, _at: True):
            for name, rows in parts.items():
                if name.startswith("="):  # no slice: the sample
                    continue
                if (orjson.loads(name) if name else {}) == wanted:
                    n, observed, predicted = _totals(combined_outcomes(rows))
                    found.points.append(Point(start_ms, (observed - predicted) / n))
                if start_ms >= first_ms:
                    known = [since[name]] if name in since else []
                    since[name] = combined_outcomes([*known, *rows])
        found.known_from_ms = told.first_ms
        slices = [(name, *_totals(row)) for name, row in sorted(since.items())]
        found.slices = sorted(slices, key=lambda each: -abs(each[2] - each[3]))[:MOST_SLICES]


def _totals(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return how many outcomes a row has, how many are yes, and how many were predicted."""
    n, yes, steps = (sum(each) for each in zip(*row["bins"].values(), strict=True))
    return n, yes, steps / PROBABILITY_STEPS


def series_of(alert: Alert) -> str:
    """Return the name of a drift alert's series in the log of sums.

    >>> series_of({"kind": "prior_drift", "subject": "score", "slice": {"class": "a"}})
    '=score/a'
    >>> series_of({"kind": "covariate_drift", "subject": "amount", "slice": {"country": "NL"}})
    'amount|{"country":"NL"}'
    """
    if alert["kind"] == "prior_drift":
        of_class = (alert["slice"] or {}).get("class")
        if alert["subject"] == "decision":
            return DECISION
        return f"{SCORE}/{of_class}" if of_class else SCORE
    if alert["slice"]:
        return of_slice(alert["subject"], orjson.dumps(alert["slice"]).decode())
    together = (alert["subject"] + " ").startswith(SUBJECT + " ")
    return SAMPLE if together else alert["subject"]


def _has(series: Any, name: str) -> bool:
    if name == SAMPLE:
        return len(series.numbers) + len(series.texts) > 1
    if name.startswith("="):
        return bool(series.score)
    return name.partition(IN_SLICE)[0] in series.numbers + series.texts


class _Log:
    """Reads a monitor's buckets in order of time; knows when they begin, and how many series."""

    def __init__(self, stage: str, monitor: int, bucket_ms: int) -> None:
        self.first_ms: int | None = None
        self._names: set[str] = set()
        self._stage = stage
        self._monitor = monitor
        self._bucket_ms = bucket_ms

    @property
    def series(self) -> int:
        """How many series share the monitor's false alarms."""
        return max(len(self._names), 1)

    def read(
        self, records: Iterable[Mapping[str, Any]], wanted: Callable[[str, int], bool]
    ) -> Iterator[tuple[int, dict[str, list[Any]]]]:
        """Yield each bucket's parts of the series that are wanted, when all partitions passed it.

        A bucket is held for a day of buckets, whatever they say, for what comes late.
        """
        held: dict[int, dict[str, list[Any]]] = {}
        passed: dict[int, int] = {}
        done_ms = newest_ms = -(1 << 62)
        for record in records:
            if record.get("stage") != self._stage:
                continue
            passed[record["partition"]] = record["watermark_ms"]
            for bucket in record["buckets"]:
                start_ms = bucket["bucket_ms"]
                if bucket["monitor"] != self._monitor or start_ms <= done_ms:
                    continue
                newest_ms = max(newest_ms, start_ms)
                self._names.update(bucket["series"])
                parts = held.setdefault(start_ms, {})
                for name, row in bucket["series"].items():
                    if wanted(name, start_ms):
                        parts.setdefault(name, []).append(row)
            until_ms = min(newest_ms - _HELD * self._bucket_ms, min(passed.values()))
            if len(held) <= _HELD:
                continue
            for start_ms in sorted(start for start in held if start < until_ms):
                done_ms = start_ms
                yield self._begun(start_ms), held.pop(start_ms)
        for start_ms, parts in sorted(held.items()):
            yield self._begun(start_ms), parts

    def _begun(self, start_ms: int) -> int:
        self.first_ms = start_ms if self.first_ms is None else self.first_ms
        return start_ms
