"""What an alert is made of: the evidence over time, then and now, examples, what else changed.

Everything is read off the log of sums that the judge reads, so it is as exact as the verdict, and
is there as far back as that log goes. The series in question is tested again by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    read,
)
from streamproc.monitors.sample import Row, unpacked
from streamproc.monitors.sketch import Sketch, added
from streamproc.monitors.spec import Drift, Watched, bias_plan, drift_plan
from streamproc.monitors.sums import add_rows, rounded
from streamproc.monitors.together import SUBJECT

EXAMPLES, MOST_SLICES, MOST_OTHERS = 5, 10, 8
AROUND_BUCKETS = 6
"""What changed within so many buckets of the beginning is told of."""

_Parts = dict[int, dict[str, list[Any]]]


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
    buckets = _buckets(records, "drift", number)
    found.bucket_ms, found.known_from_ms = monitor.bucket_ms, min(buckets, default=None)
    names = {each for parts in buckets.values() for each in parts} - {SCORE}
    share = shares({i: each.weight for i, each in enumerate(pipeline.monitors)})[number]
    alarm_ms = pipeline.budget.alarm_ms(share) * max(len(names), 1)
    test = DriftMonitor(monitor, series, pipeline, alarm_ms)
    for start_ms, parts in sorted(buckets.items()):
        own = {name: combined(parts[name])} if name in parts else {}
        test.update(start_ms, own)
        evidence = test.evidence(name)
        if evidence is not None and isfinite(evidence[0]):
            least = log(monitor.bucket_ms)
            share_of_it = (evidence[0] - least) / max(evidence[1] - least, 1e-9)
            found.points.append(Point(start_ms, max(share_of_it, 0.0)))
    _compare(found, buckets, name)
    _sampled(found, buckets, name, monitor)


def _compare(found: Explanation, buckets: _Parts, name: str) -> None:
    """Compare the distribution before the alert's first time with that since."""
    if name == SAMPLE:
        return
    told = [
        (start, read(combined(parts[name]))) for start, parts in buckets.items() if name in parts
    ]
    then, now = (
        [sketch for start, (sketch, _) in told if (start >= found.alert["first_seen_ms"]) == since]
        for since in (False, True)
    )
    if not then or not now:
        return
    texts: dict[int, str] = {}
    for _, (_, some) in told:
        texts |= some
    both: tuple[Sketch, Sketch] = added(then), added(now)
    found.bars = categories_compared(*both, texts) if texts else numbers_compared(*both)


def _sampled(found: Explanation, buckets: _Parts, name: str, monitor: Drift) -> None:
    """Take examples of what is new, and the versions that scored before and since."""
    first_ms = found.alert["first_seen_ms"]
    then: set[str] = set()
    now: list[Row] = []
    for start_ms, parts in sorted(buckets.items()):
        if SAMPLE not in parts or start_ms < first_ms - AROUND_BUCKETS * monitor.bucket_ms:
            continue
        sample = unpacked(combined(parts[SAMPLE]))
        if start_ms < first_ms:
            then |= {row.model for row in sample.rows}
        else:
            now += sample.rows
            found.names = sample.names
    found.models_then, found.models_now = sorted(then), sorted({row.model for row in now})
    grown = max(found.bars, key=lambda bar: bar.now_share - bar.then_share, default=None)
    if grown is not None and name in found.names:
        at = found.names.index(name)
        now = [row for row in now if grown.holds(row.values[at])] or now
    found.examples = now[:EXAMPLES]


def _of_bias(found: Explanation, pipeline: Watched, records: Iterable[Mapping[str, Any]]) -> None:
    for number, monitor in bias_plan(pipeline):
        buckets = _buckets(records, "bias", number)
        found.bucket_ms, found.known_from_ms = monitor.bucket_ms, min(buckets, default=None)
        found.unit = "observed less predicted"
        wanted = found.alert["slice"] or {}
        since: dict[str, list[Any]] = {}
        for start_ms, parts in sorted(buckets.items()):
            for name, rows in parts.items():
                if (orjson.loads(name) if name else {}) == wanted:
                    n, left, *_ = rounded(add_rows(rows))
                    found.points.append(Point(start_ms, left / n))
                if start_ms >= found.alert["first_seen_ms"]:
                    since.setdefault(name, []).extend(rows)
        for name, rows in sorted(since.items()):
            n, left, _, predicted, _ = rounded(add_rows(rows))
            found.slices.append((name, n, left + predicted, predicted))
        found.slices.sort(key=lambda each: -abs(each[2] - each[3]))
        found.slices = found.slices[:MOST_SLICES]


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
    return SAMPLE if alert["subject"] == SUBJECT else alert["subject"]


def _has(series: Any, name: str) -> bool:
    if name == SAMPLE:
        return len(series.numbers) + len(series.texts) > 1
    if name.startswith("="):
        return bool(series.score)
    return name.partition(IN_SLICE)[0] in series.numbers + series.texts


def _buckets(records: Iterable[Mapping[str, Any]], stage: str, number: int) -> _Parts:
    """Return the parts of a monitor's series by bucket."""
    found: _Parts = {}
    for record in records:
        if record.get("stage") != stage:
            continue
        for bucket in record["buckets"]:
            if bucket["monitor"] == number:
                parts = found.setdefault(bucket["bucket_ms"], {})
                for name, row in bucket["series"].items():
                    parts.setdefault(name, []).append(row)
    return found


def newest(alerts: Sequence[Alert]) -> list[Alert]:
    """Return the newest message of each alert, in the order in which they were first told."""
    return list({alert["alert_id"]: alert for alert in alerts}.values())
