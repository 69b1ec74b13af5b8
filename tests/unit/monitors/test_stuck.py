"""A number that varies no more: found where it is stuck, and not where it rests by season."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import log
from types import SimpleNamespace
from typing import Any

import pytest

from streamproc.monitors.quality import QualityMonitor
from streamproc.monitors.quality_spec import DataQuality
from streamproc.monitors.stuck import RECENT_MS, Stuck

HOUR, DAY = 3_600_000, 86_400_000
KEY = "data_quality/light, stuck"
PIPELINE: Any = SimpleNamespace(
    feature_names=("light",), number_fields=("light",), ranges={}, categories={}
)
Varies = Callable[[int], bool]


def told(varies: Varies, days: int, accept_day: int | None = None) -> list[tuple[int, str]]:
    """Return the hours at which a number is told as stuck, and as stuck no more."""
    monitor = QualityMonitor(DataQuality(), PIPELINE, alarm_ms=30.0 * DAY)
    found, is_open = [], False
    for hour in range(24 * days):
        row = [60, None, 1] if varies(hour) else [60, 0.0, 0]
        if accept_day is not None and hour == 24 * accept_day:
            assert monitor.relearn(KEY)
            is_open = False
        for each in monitor.update(hour * HOUR, {"events": [60], "one/light": row}):
            assert each.subject == "light, stuck"
            if each.ongoing != is_open:
                is_open = each.ongoing
                found.append((hour, "open" if is_open else "over"))
    return found


def by_day(hour: int) -> bool:
    """Sunlight: 0 from eight in the evening to six."""
    return 6 <= hour % 24 < 20


def by_week(hour: int) -> bool:
    """A line that rests at night and at weekends."""
    return hour // 24 % 7 < 5 and by_day(hour)


def at_promotions(hour: int) -> bool:
    """A discount on two days of seven, each at another time: 0 for four to six days."""
    day = hour // 24
    return (day - day // 7 * 7 - random.Random(day // 7).randrange(3)) in (0, 1)


@pytest.mark.parametrize("varies", [by_day, by_week, at_promotions])
def test_a_number_that_rests_by_season_is_not_stuck(varies: Varies) -> None:
    """Each night, weekend, or time between promotions, of six weeks."""
    assert told(varies, 42) == []


def test_a_number_that_rests_at_night_is_stuck_in_the_middle_of_the_day_after() -> None:
    """Nights have ten hours: twice that, and some hours more, is no night."""
    stuck = range(24 * 30 + 20, 24 * 33)
    (opened, over) = told(lambda hour: by_day(hour) and hour not in stuck, 42)
    assert over == (24 * 33 + 6, "over")
    assert opened[1] == "open"
    assert 24 <= opened[0] - stuck[0] < 36


def test_a_number_that_always_varied_is_stuck_within_hours() -> None:
    """After 39 days of hours: log(936 / 3) each, against the odds of a false alarm in its time."""
    series = 3 + 1 + 1 + 20
    needed = log(30 * 24 * series) / log(24 * 39 / 3)
    (opened, over) = told(lambda hour: not 24 * 39 <= hour < 24 * 41, 42)
    assert opened == (24 * 39 + int(needed), "open")
    assert int(needed) < 24 * 0.2
    assert over == (24 * 41, "over")


def test_nothing_is_told_before_the_reference_is_over() -> None:
    """A number that is constant from the sixth day of the first week on: after two weeks."""
    assert told(lambda hour: not 24 * 5 <= hour < 24 * 6, 7) == []
    ((hour, what),) = told(lambda hour: hour < 24 * 5, 20)
    assert what == "open"
    assert 0 <= hour - 24 * 14 < 12


def test_what_is_accepted_is_not_told_again() -> None:
    """A sensor that is taken in each month for three days; on the second day it is accepted."""

    def varies(hour: int) -> bool:
        return not 24 * 20 <= hour % (24 * 30) < 24 * 23

    assert [what for _, what in told(varies, 60)] == ["open", "over"] * 2
    assert [what for _, what in told(varies, 60, accept_day=22)] == ["open"]


def test_what_was_told_three_times_is_usual() -> None:
    """And what was told once is not: a sensor that is stuck again is found as fast as before."""

    def varies(hour: int) -> bool:
        return not 24 * 4 <= hour % (24 * 7) < 24 * 5 or hour < 24 * 14

    found = told(varies, 70)
    assert [hour // 24 for hour, _ in found] == [18, 19, 25, 26, 32, 33]
    assert {hour % 24 for hour, what in found if what == "open"} <= {1, 2, 3}


def test_few_events_that_vary_end_a_run() -> None:
    """A bucket of two events tells nothing of a constant, but shows that it is none."""
    stuck = Stuck(reference_ms=0, threshold=1e9)
    for ms in range(10):
        stuck.step(ms, [60, None, 1])
    stuck.step(10, [60, 1.0, 0])
    stuck.step(11, [2, 1.0, 0])
    assert stuck.run == 1
    stuck.step(12, [2, None, 1])
    assert (stuck.run, stuck.varied) == (0, 10)


def test_long_runs_are_forgotten_and_what_is_kept_is_bounded() -> None:
    """The longest run of recent weeks, by a plain look at all of them; some dozens are kept."""
    rng, stuck = random.Random(5), Stuck(reference_ms=0, threshold=1e9)
    runs: list[tuple[int, int]] = []
    hour = 0
    while hour < 24 * 7 * 40:
        length = int(rng.paretovariate(0.8)) % 400
        for _ in range(length):
            stuck.step(hour * HOUR, [60, 0.0, 0])
            hour += 1
        began = (hour - length) * HOUR
        recent = [run for ended, run in runs if ended >= began - RECENT_MS]
        if length:
            assert stuck.longest == max(recent, default=0)
            runs.append((hour * HOUR, length))
        for _ in range(rng.randrange(1, 9)):
            stuck.step(hour * HOUR, [60, None, 1])
            hour += 1
    assert len(runs) > 300
    assert len(stuck._usual) < 60
