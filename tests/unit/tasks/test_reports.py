"""Reports of performance: told once, in order of time, whatever restarts there are."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from streamproc.alerts import new_judge
from streamproc.codec import JsonCodec
from streamproc.models.versions import dumps, loads
from streamproc.monitors import Performance, Ranking, outcome_fold
from streamproc.tasks.judge import JudgeTask
from streamproc.tasks.judging import allowed, check_kept
from streamproc.tasks.records import PlainRecord
from tests.unit.monitors.streams import HOUR_MS, Facts, sent

BUCKETS = "shop.buckets"
FACTS = Facts(
    monitors=[
        Performance(
            window="1d",
            slices=("country",),
            baseline=lambda features: features["amount"] / 100,
            ranking=Ranking("country", k=3),
        )
    ],
    lateness_ms=0,
)


def log_of(hours: int) -> list[PlainRecord]:
    """Return a log of sums: two records an hour."""
    rng = random.Random(3)
    fold = outcome_fold(FACTS)
    assert fold is not None
    records = []
    for half in range(2 * hours):
        at_ms = half * HOUR_MS // 2
        fold.update([outcome(at_ms + i, rng) for i in range(30)])
        value = orjson.dumps(sent("bias", 0, fold))
        records.append(PlainRecord(BUCKETS, half, at_ms, None, value))
    return records


def outcome(time_ms: int, rng: random.Random) -> dict[str, Any]:
    """Return an outcome of a model with some skill."""
    p = rng.random()
    return {
        "event_time_ms": time_ms, "label_time_ms": time_ms, "features": {"amount": 50 * p},
        "score": p, "decision": p > 0.5, "model": "main@2", "label": int(rng.random() < p),
        "slices": {"country": rng.choice("ab")},
    }  # fmt: skip


def task_of(judge: Any, begins_at: int = 0) -> JudgeTask:
    """Return the task of a judge."""
    return JudgeTask(judge, BUCKETS, JsonCodec(), begins_at)


def told(task: JudgeTask, records: list[PlainRecord]) -> list[tuple[bytes | None, bytes | None]]:
    """Take records in, and return what reports there are."""
    task.take(BUCKETS, records, False, 0)
    return [(out["key"], out["value"]) for out in task.process(0).records.get("metrics", ())]


LOG = log_of(60)
ALL = told(task_of(new_judge(FACTS, 1)), LOG)


def test_there_is_a_report_a_bucket_and_of_slices_some() -> None:
    """All of it is told by the hour, and each slice as often."""
    keys = [key for key, _ in ALL]
    assert keys.count(b"outcomes") == keys.count(b"outcomes/country=a") == 59
    ends = [orjson.loads(value or b"")["to_ms"] for _, value in ALL]
    assert ends == sorted(ends)


@pytest.mark.parametrize("cut", [0, 1, 47, 90, 120])
@pytest.mark.parametrize("by_snapshot", [False, True])
def test_a_restart_repeats_no_report_and_loses_none(cut: int, by_snapshot: bool) -> None:
    """Read from the log again, or from a snapshot: what follows is the same to the bit."""
    task = task_of(new_judge(FACTS, 1))
    found = told(task, LOG[:cut])
    if by_snapshot:
        judge = loads(dumps(task.judge), allowed())
        again = task_of(judge, cut)
    else:
        again = task_of(new_judge(FACTS, 1), cut)
        again.replay(LOG[:cut])
    assert found + told(again, LOG[cut:]) == ALL


def test_a_function_of_the_users_stops_no_snapshot() -> None:
    """Only folds call it: what judges knows its name."""
    check_kept(FACTS)
    (monitor,) = loads(dumps(tuple(FACTS.monitors)), allowed())
    assert monitor.baseline == monitor.baseline_name
    assert monitor.window_ms == 24 * HOUR_MS
