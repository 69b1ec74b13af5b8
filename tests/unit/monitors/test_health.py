"""Health: a page where a worker doesn't keep up, none while it starts, catches up or is moved."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import numpy as np
import pytest

from streamproc.errors import DefinitionError
from streamproc.monitors.finding import Finding
from streamproc.monitors.health import HealthWatch
from streamproc.monitors.health_spec import REPORT_MS, Health

T0 = 1_700_000_000_000
MINUTE = 60_000
DAY = 86_400_000


class Told:
    """A watch and what it said: per report, findings that open or end something."""

    def __init__(self, **limits: Any) -> None:
        self.watch = HealthWatch(Health(**limits))
        self.now_ms = T0
        self.all: list[Finding] = []

    def report(self, minutes: float, name: str = "w1", **values: Any) -> Told:
        """Let a worker report the same, or what functions of the time make of it, for a while."""
        for _ in range(int(minutes * MINUTE / REPORT_MS)):
            self.one(name, **values)
            self.now_ms += REPORT_MS
        return self

    def one(self, name: str = "w1", leaves: bool = False, **values: Any) -> None:
        """Let a worker report once."""
        said = {k: v(self.now_ms - T0) if callable(v) else v for k, v in values.items()}
        record = {"stage": "health", "instance": name, "at_ms": self.now_ms, "values": said}
        self.all += self.watch.update(record | ({"leaves": True} if leaves else {}))

    @property
    def steps(self) -> list[tuple[str, str]]:
        """What became of each thing, as an alert would say it: opened once, resolved once."""
        found, is_open = [], set()
        for finding in self.all:
            if finding.ongoing and finding.key not in is_open:
                is_open.add(finding.key)
                found.append((finding.key, "open"))
            elif not finding.ongoing:
                assert finding.key in is_open, "what was never open ended"
                is_open.remove(finding.key)
                found.append((finding.key, "resolved"))
        return found


LAG = "health/lag/instance=w1"


def test_a_worker_that_stays_behind_is_told_of_once_and_resolved() -> None:
    """A backlog that grows pages after the limit and a minute, and ends a minute after it does."""
    told = Told().report(5, behind_ms=0, waiting=0)
    told.report(10, behind_ms=lambda t: t - 5 * MINUTE, waiting=lambda t: t)
    assert told.steps == [(LAG, "open")]
    first = next(each for each in told.all if each.ongoing)
    assert T0 + 6 * MINUTE <= first.first_seen_ms <= T0 + 6 * MINUTE + REPORT_MS
    assert "Worker w1" in first.summary
    told.report(5, behind_ms=0, waiting=0)
    assert told.steps == [(LAG, "open"), (LAG, "resolved")]


def test_a_replay_that_is_worked_off_is_no_finding() -> None:
    """Hours behind, old timestamps, and a tenth fewer records each minute."""
    told = Told().report(
        60,
        behind_ms=lambda t: t,
        waiting=lambda t: int(1e7 * 0.88 ** (t / MINUTE)),
        latency_ms=400 * DAY,
    )
    assert told.steps == []


def test_latency_counts_where_there_is_no_backlog_and_times_are_of_now() -> None:
    """In a replay by a producer timestamps are of long ago, and say nothing."""
    assert Told().report(9, behind_ms=0, waiting=0, latency_ms=300 * DAY).steps == []
    assert Told().report(9, behind_ms=9_000, waiting=1, latency_ms=9_000).steps == []
    assert Told(latency="10s").report(9, behind_ms=0, waiting=0, latency_ms=9_000).steps == []
    told = Told().report(9, behind_ms=0, waiting=0, latency_ms=9_000)
    assert told.steps == [("health/latency/instance=w1", "open")]


def test_values_that_swing_about_the_limit_flap_nothing() -> None:
    """Beyond for less than a minute is nothing; once open, it takes a minute well below."""
    told = Told().report(30, behind_ms=0, latency_ms=lambda t: 9_000 if t // 30_000 % 2 else 100)
    assert told.steps == []
    told = Told().report(3, behind_ms=0, latency_ms=9_000)
    told.report(30, behind_ms=0, latency_ms=lambda t: 4_000 if t // 30_000 % 2 else 6_000)
    assert len(told.steps) == 1


def test_a_break_in_the_reports_is_no_evidence() -> None:
    """A worker that was stopped for an hour, and is behind at first, pages for nothing."""
    told = Told()
    told.one(behind_ms=120_000, waiting=100)
    told.now_ms += 3_600_000
    told.report(0.9, behind_ms=120_000, waiting=100).report(3, behind_ms=0, waiting=0)
    assert told.steps == []


def test_a_worker_that_falls_silent_is_missed_and_one_that_leaves_is_not() -> None:
    """While another reports; and it is over when it is back, or has been gone for a day."""
    told = Told()
    for _ in range(20):
        told.one("w2", behind_ms=0, waiting=0)
        told.one("w3", behind_ms=0, waiting=0)
        told.report(REPORT_MS / MINUTE, behind_ms=0, waiting=0)
    told.one("w3", leaves=True)
    told.report(5, behind_ms=0, waiting=0)
    silent = "health/worker/instance=w2"
    assert told.steps == [(silent, "open")]
    told.one("w2", behind_ms=0, waiting=0)
    assert told.steps == [(silent, "open"), (silent, "resolved")]
    told.report(5)
    told.now_ms += DAY  # all are down: nobody is missed the longer for it
    told.report(DAY / MINUTE - 10)
    assert told.steps == [(silent, "open"), (silent, "resolved"), (silent, "open")]
    told.report(10)
    assert told.steps == [(silent, "open"), (silent, "resolved")] * 2


@pytest.mark.parametrize("ahead_ms", [-DAY * 2, -10 * MINUTE, 10 * MINUTE, DAY * 2])
def test_a_worker_whose_clock_is_off_makes_no_other_look_silent(ahead_ms: int) -> None:
    """What passes between two reports of one clock counts; a clock that is set counts little."""
    told = Told()
    for at in range(60):
        told.one("w2", behind_ms=0, waiting=0)
        told.one("w1", behind_ms=0, waiting=0)
        told.now_ms += ahead_ms
        told.one("w3", behind_ms=0, waiting=0)
        told.now_ms += REPORT_MS - ahead_ms
        if at == 30:  # all clocks are set
            told.now_ms += 7 * MINUTE
    assert told.steps == []
    for _ in range(15):  # and w2 is missed by the clock that is off, too
        told.now_ms += ahead_ms
        told.one("w3", behind_ms=0, waiting=0)
        told.now_ms += REPORT_MS - ahead_ms
        told.one("w1", behind_ms=0, waiting=0)
    assert told.steps == [("health/worker/instance=w2", "open")]


def test_a_worker_that_returns_after_all_were_down_misses_nobody_at_once() -> None:
    """The others have a minute to come back, too."""
    told = Told()
    told.one("w1", behind_ms=0)
    told.one("w2", behind_ms=0)
    told.now_ms += 3_600_000
    told.report(0.5, "w1", behind_ms=0)
    told.report(0.4, "w2", behind_ms=0)
    assert told.steps == []


def test_a_lone_worker_that_is_away_is_not_missed() -> None:
    """There is nobody to say so: when it is back there is nothing to tell."""
    told = Told().report(2, behind_ms=0, waiting=0)
    told.now_ms += 7 * DAY
    assert told.report(5, behind_ms=0, waiting=0).steps == []


def test_what_is_accepted_is_told_again_when_it_comes_again() -> None:
    """A limit learns nothing: it is silent until it was kept, and the same for other things."""
    told = Told().report(5, behind_ms=0, waiting=0)
    told.report(5, behind_ms=120_000, waiting=9)
    assert told.steps == [(LAG, "open")]
    said = len(told.all)
    assert told.watch.relearn(LAG)
    assert not told.watch.relearn("health/lag/instance=w9")
    told.report(60, behind_ms=120_000, waiting=9).report(5, behind_ms=0, waiting=0)
    assert len(told.all) == said
    told.report(5, behind_ms=120_000, waiting=9)
    assert len(told.all) > said


def test_versions_that_are_held_back_can_be_accepted() -> None:
    """Until three in a row are sound."""
    watch = HealthWatch(Health())
    held = {"why": "weights has 2e+198", "features": [], "outcomes": 9}
    said = []
    for at, trouble in enumerate([held, held, held, None, None, None, held]):
        told = {"stage": "model", "version": 7, "at_ms": at, "held_back": trouble}
        found = watch.update(told)
        assert all(each.models == ("main@7",) for each in found)
        said.append(len(found))
        if at == 1:
            assert watch.relearn("health/model")
    assert said == [1, 1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(("speed", "minutes"), [(1440, 20), (100_000, 3)])
def test_labels_that_come_once_a_day_are_overdue_after_days(speed: int, minutes: int) -> None:
    """What is usual is learnt in a week of event time, live or in a replay; then they stop."""
    told = Told()

    def event_ms(t: int) -> int:
        return t * speed

    told.report(minutes, watermark_ms=event_ms, label_ms=lambda t: event_ms(t) // DAY * DAY)
    assert told.steps == []
    last = event_ms(told.now_ms - T0) // DAY * DAY
    told.report(8, watermark_ms=event_ms, label_ms=last)
    assert told.steps == [("health/labels", "open")]


def test_labels_sixty_days_late_are_none_overdue() -> None:
    """As long as they come."""
    told = Told().report(
        60, watermark_ms=lambda t: t * 1440, label_ms=lambda t: t * 1440 - 60 * DAY
    )
    assert told.steps == []


def test_events_that_come_no_more_are_missed_by_the_clock() -> None:
    """After the limit that is given, or three times the longest pause of a week."""
    told = Told(silence="10m").report(5, watermark_ms=lambda t: t)
    told.report(9, watermark_ms=5 * MINUTE)
    assert told.steps == []
    told.report(5, watermark_ms=5 * MINUTE).report(5, watermark_ms=lambda t: t)
    assert told.steps == [("health/events", "open"), ("health/events", "resolved")]
    told = Told().report(8 * 1440, watermark_ms=lambda t: t // (2 * 60 * MINUTE))
    assert told.steps == []
    told.report(3 * 60, watermark_ms=0)
    assert told.steps == []
    told.report(3 * 60, watermark_ms=0)
    assert told.steps == [("health/events", "open")]


def version(number: int, held: bool, at_ms: int) -> dict[str, Any]:
    """Return what the learner says of a version."""
    trouble = {"why": "weights has 1e+210", "features": ["amount"], "outcomes": 1000}
    told = {"stage": "model", "version": number, "at_ms": at_ms, "label_time_ms": at_ms}
    return {**told, "held_back": trouble if held else None}


def test_a_version_held_back_is_told_of_until_three_are_sound() -> None:
    """It says what to look at; told twice after a restart it is the same."""
    told = Told()
    for number, held in enumerate([0, 0, 1, 0, 1, 1, 0, 0, 0, 0], 1):
        told.all += told.watch.update(version(number, bool(held), T0 + number))
    assert told.steps == [("health/model", "open"), ("health/model", "resolved")]
    severities = [each.severity for each in told.all if each.ongoing]
    assert severities == ["warning", "warning", "critical"]
    assert "look at amount first" in told.all[0].summary


@pytest.mark.parametrize(
    "wrong", [{"lag": "0s"}, {"latency": "soon"}, {"learner_lag": 0}, {"learner_lag": "5s"}]
)
def test_a_limit_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """With the name of the field."""
    with pytest.raises(DefinitionError, match=f"Health, {next(iter(wrong))}"):
        Health(**wrong)


def test_quiet_nights_are_usual_after_a_week() -> None:
    """Events from 7 to 23 h, labels from 9 to 17 h: it is told when they stay away for longer."""
    watch = HealthWatch(Health())
    events = [at for at in range(20 * 24 * 60) if 7 <= at // 60 % 24 < 23]
    labels = [at for at in events if 9 <= at // 60 % 24 < 17]
    told: list[tuple[str, int]] = []
    for minute in np.arange(7 * 60, 22 * 24 * 60, 0.5).tolist():
        newest = {
            "watermark_ms": max(events[0], events[bisect_right(events, minute) - 1]) * 60_000,
            "label_ms": labels[max(0, bisect_right(labels, minute) - 1)] * 60_000,
        }
        record = {
            "stage": "health",
            "instance": "w",
            "at_ms": int(minute * 60_000),
            "values": newest,
        }
        told += [(each.subject, minute / 60) for each in watch.update(record) if each.ongoing]
    silent_h = events[-1] / 60
    assert {subject for subject, _ in told} == {"events"}
    assert 24 <= min(hour for _, hour in told) - silent_h <= 26


@pytest.mark.parametrize("what", ["learner_records", "behind_ms", "latency_ms"])
def test_what_a_worker_no_longer_has_is_over(what: str) -> None:
    """The learner, or the partitions, moved to another worker; it reports on, without the value."""
    watch = HealthWatch(Health())
    told: list[tuple[int, bool]] = []
    for at_ms in range(0, 600_000, REPORT_MS):
        values = {"waiting": 9, what: 90_000} if at_ms < 300_000 else {}
        record = {"stage": "health", "instance": "w", "at_ms": at_ms, "values": values}
        told += [(at_ms, each.ongoing) for each in watch.update(record)]
    assert told[0] == (60_000, True)
    assert [at_ms for at_ms, ongoing in told if not ongoing] == [360_000]
