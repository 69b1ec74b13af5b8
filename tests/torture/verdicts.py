"""The verdicts of monitors, held against the same predictions and outcomes judged in one piece.

Whatever number of partitions they were spread over, and whatever was killed meanwhile, each step in
the life of each alert is to be the same to the bit. (The time it was detected at is the log's.)
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from streamproc.alerts import new_judge
from streamproc.monitors import outcome_fold, prediction_fold
from streamproc.pipeline import Pipeline
from tests.kafka.topic_reader import read_all
from tests.torture.avro import decoded
from tests.torture.field import Field

Lives = dict[str, list[dict[str, Any]]]
"""The steps in the lives of alerts, in order, by what they are about."""

_DAYS_A_ROUND = 8
_DAYS_AT_MOST = 120
_DAY_MS = 86_400_000
_SETTLE_S = 90.0


def for_verdicts(pipeline: str) -> str:
    """Return the text of a pipeline file with a day's lateness, watched by what can be judged here.

    A day goes by in two seconds, and a partition's broker may be a moment behind another's. Data
    quality and health are about what is in neither predictions nor outcomes.

    >>> for_verdicts("pipeline = Pipeline(\\n    monitors=[DataQuality(), Drift(), Health()])")
    "pipeline = Pipeline(\\n    lateness='1d',\\n    monitors=[Drift(), ])"
    """
    pipeline = re.sub(r"\b(DataQuality|Health)\(\)(,\s*)?", "", pipeline)
    return pipeline.replace("= Pipeline(\n", "= Pipeline(\n    lateness='1d',\n")


def killings(field: Field) -> float:
    """Kill one worker or all with -9, again and again, while eight days of payments go by.

    It goes on until there is an alert to compare. How many days that takes is the monitors' affair:
    the first amounts that are too high come on the fifth, before much is known of the usual ones.
    """
    began_ms, slowest_s = _event_time_ms(field), 0.0
    while (days := _days_since(began_ms, field)) < _DAYS_A_ROUND or not _told(field):
        assert days < _DAYS_AT_MOST, f"no alert in {days:.0f} days"
        field.wait(0.2, 4.0)
        names = sorted(field.workers)
        dead = names if field.chance.random() < 0.3 else [field.any()]
        for name in dead:
            field.kill(name)
        field.wait(0.0, 2.0)
        began_s = time.monotonic()
        for name in dead:
            field.start(name)
        slowest_s = max(slowest_s, field.recovered(began_s))
    return slowest_s


def _told(field: Field) -> Lives:
    return told(field.kafka.address, field.name)


def _event_time_ms(field: Field) -> int:
    assert field.watcher is not None
    newest = field.watcher.newest
    assert newest is not None, "workers score before a round begins"
    time_ms: int = decoded(newest, "prediction")["event_time_ms"]
    return time_ms


def _days_since(began_ms: int, field: Field) -> float:
    return (_event_time_ms(field) - began_ms) / _DAY_MS


def same_verdicts(field: Field) -> tuple[list[str], list[str]]:
    """Say how many steps there are, and which differ once all is judged."""
    address, name = field.kafka.address, field.name
    expected = judged(Pipeline.load(field.pipeline), address, name)
    until_s = time.monotonic() + _SETTLE_S
    while (found := told(address, name)) != expected and time.monotonic() < until_s:
        time.sleep(0.5)
    steps = sum(map(len, expected.values()))
    faults = differences(found, expected)
    if not any(life[0]["status"] == "open" for life in expected.values()):
        faults.append("no alert was to be told of: nothing is shown")
    partitions = field.setup.partitions
    return [f"{steps} steps of {len(expected)} alerts, {partitions} partitions as one"], faults


def told(address: str, name: str) -> Lives:
    """Return what is on the topic of alerts."""
    return lives(read_all(address, f"{name}.alerts", lambda message: decoded(message, "alert")))


def judged(pipeline: Pipeline, address: str, name: str) -> Lives:
    """Return what follows from the predictions and outcomes there are, folded at once."""
    judge, alerts = new_judge(pipeline, 1), []
    for stage, fold, topic, kind in (
        ("drift", prediction_fold(pipeline), "predictions", "prediction"),
        ("bias", outcome_fold(pipeline), "outcomes", "outcome"),
    ):
        assert fold is not None
        fold.update(read_all(address, f"{name}.{topic}", partial(decoded, kind=kind)))
        sums = {
            "stage": stage,
            "partition": 0,
            "watermark_ms": fold.watermark_ms,
            "caught_up": True,
            "buckets": fold.take(),
        }
        alerts += judge.update([sums], 0)
    return lives(alerts)


def lives(alerts: Iterable[Mapping[str, Any]]) -> Lives:
    """Return steps by what they are about, but for when they were detected.

    >>> lives([{"key": "x", "status": "open", "detected_at_ms": 5}])
    {'x': [{'key': 'x', 'status': 'open'}]}
    """
    found: Lives = {}
    for alert in alerts:
        step = {name: value for name, value in alert.items() if name != "detected_at_ms"}
        found.setdefault(alert["key"], []).append(step)
    return found


def differences(found: Lives, expected: Lives) -> list[str]:
    """Return in words where lives differ.

    >>> differences({"x": [{"status": "open"}]}, {"x": [{"status": "open"}]})
    []
    >>> differences({"x": [{"status": "open"}]}, {})
    ["x: [{'status': 'open'}] was told, where [] was due"]
    """
    keys = sorted({*found, *expected})
    pairs = [(key, found.get(key, []), expected.get(key, [])) for key in keys]
    return [
        f"{key}: {_brief(ours, due)} was told, where {_brief(due, ours)} was due"
        for key, ours, due in pairs
        if ours != due
    ]


def _brief(steps: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first step that the others lack."""
    return [step for step in steps if step not in others][:1]
