"""What a worker reports of itself, and when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from agents.reporting import PROMPT_MS, Reporter
from streamproc.monitors.health_spec import REPORT_MS
from streamproc.tasks.records import Out
from tests.unit.tasks.kit import EVENTS, LABELS, NOW_MS, Scoring, event, label

T0 = 1_700_000_000_000
AT_REST: Any = SimpleNamespace(at_rest=True, written_s=0.0)


def reporter(ends: dict[str, int] | None = None) -> Reporter:
    """Return one that knows where the logs end."""
    return Reporter("w1", lambda topic, partition: (ends or {}).get(topic))


def told(outs: list[Out]) -> dict[str, Any]:
    """Return the one record that was told."""
    (out,) = outs
    found: dict[str, Any] = orjson.loads(out["value"] or b"")
    assert (found["stage"], found["instance"]) == ("health", "w1")
    return found


@pytest.mark.parametrize("standby", [False, True])
def test_it_reports_every_few_seconds(standby: bool) -> None:
    """Not at once at a start; in standby, too, since a worker that is there is not missed."""
    tasks: Any = {} if standby else {("score", 0): Scoring().task}
    one = reporter()
    times = [T0 + ms for ms in range(0, 4 * REPORT_MS + 1, 500) if one.look(tasks, [], T0 + ms)]
    assert times == [T0 + n * REPORT_MS for n in range(1, 5)]


def test_it_says_how_far_behind_a_task_is_and_what_waits() -> None:
    """From when it last had caught up; the slowest batch counts once."""
    scoring = Scoring().put(EVENTS, event(1, 100)).put(LABELS, label(1, 130)).run()
    tasks: Any = {("score", 0): scoring.task}
    made = reporter({EVENTS: 41, LABELS: 3})
    made.look(tasks, [AT_REST], T0)
    scoring.put(EVENTS, event(2, 120), caught_up=False)
    made.look(tasks, [AT_REST], T0 + 1000)
    made.saw(700)
    made.saw(300)
    report = told(made.look(tasks, [AT_REST], T0 + REPORT_MS))
    assert report["at_ms"] == T0 + REPORT_MS
    assert report["values"] == {
        "behind_ms": REPORT_MS,
        "waiting": 40 + 2,
        "watermark_ms": 100,
        "label_ms": 130,
        "latency_ms": 700,
        "snapshot_ms": 0,
    }
    scoring.put(EVENTS, caught_up=True).run()
    again = told(made.look(tasks, [AT_REST], T0 + 2 * REPORT_MS))["values"]
    assert again["behind_ms"] == 0
    assert "latency_ms" not in again


@pytest.mark.parametrize(("age_ms", "behind"), [(PROMPT_MS // 2, False), (2 * PROMPT_MS, True)])
def test_a_busy_task_whose_events_are_young_is_not_behind(age_ms: int, behind: bool) -> None:
    """It may never be seen to have caught up, as the next events have come by then."""
    scoring = Scoring()
    tasks: Any = {("score", 0): scoring.task}
    made = reporter()
    made.look(tasks, [], NOW_MS)
    scoring.put(EVENTS, event(1, 100), caught_up=False)
    scoring.task.oldest_ms = NOW_MS + REPORT_MS - age_ms
    report = told(made.look(tasks, [], NOW_MS + REPORT_MS))
    assert (report["values"]["behind_ms"] > 0) is behind


def test_it_says_goodbye() -> None:
    """So that nobody misses it."""
    assert told(reporter().leaves(T0))["leaves"] is True
