"""Producing: when each entry is to go, by a clock of the test's own."""

from __future__ import annotations

import math

import pytest

from streamproc.errors import StreamprocError
from streamproc.kafka.producing import Pace
from streamproc.timeline import Entry, Kind


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.sleeps_s: list[float] = []

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.sleeps_s.append(seconds)
        self.now_s += seconds


def sent_at_s(pace: Pace, clock: Clock, entries: list[Entry]) -> list[float]:
    """Return at what second after the start each entry went."""
    start_s, times_s = clock.now_s, []
    for entry in entries:
        pace.wait(entry)
        times_s.append(clock.now_s - start_s)
    return times_s


def entry(time_ms: int, kind: Kind = "event") -> Entry:
    """Return an entry of that time."""
    return Entry(kind, time_ms, b"", b"")


def test_at_full_speed_nothing_waits() -> None:
    """Whatever the event times, nothing sleeps."""
    clock = Clock()
    pace = Pace(clock=clock, sleep=clock.sleep)
    sent_at_s(pace, clock, [entry(0), entry(10**12)])
    assert clock.sleeps_s == []


def test_at_a_rate_events_are_evenly_apart_and_labels_ride_along() -> None:
    """Ten a second: 0.1 s from event to event; labels wait for nothing and count for nothing."""
    clock = Clock()
    pace = Pace(events_per_s=10, clock=clock, sleep=clock.sleep)
    entries = [entry(0), entry(1), entry(2, "label"), entry(3, "label"), entry(4), entry(5)]
    assert sent_at_s(pace, clock, entries) == pytest.approx([0, 0.1, 0.1, 0.1, 0.2, 0.3])


def test_a_rate_is_kept_after_a_delay() -> None:
    """After a second lost, events go at once until the rate is met again."""
    clock = Clock()
    pace = Pace(events_per_s=10, clock=clock, sleep=clock.sleep)
    pace.wait(entry(0))
    clock.now_s += 0.25
    times_s = sent_at_s(pace, clock, [entry(0)] * 4)
    assert times_s == pytest.approx([0, 0, 0.05, 0.15])


def test_at_a_speed_events_and_labels_go_at_their_time() -> None:
    """An hour of event time a second: both kinds go by their own time since the first."""
    clock = Clock()
    pace = Pace(speed=3_600, clock=clock, sleep=clock.sleep)
    hour_ms = 3_600_000
    entries = [entry(7 * hour_ms), entry(9 * hour_ms, "label"), entry(10 * hour_ms)]
    assert sent_at_s(pace, clock, entries) == pytest.approx([0, 2, 3])


def test_a_late_event_goes_at_once() -> None:
    """An event older than the one before does not wait, and the next keeps its time."""
    clock = Clock()
    pace = Pace(speed=1, clock=clock, sleep=clock.sleep)
    assert sent_at_s(pace, clock, [entry(0), entry(2_000), entry(500), entry(3_000)]) == (
        pytest.approx([0, 2, 2, 3])
    )


def test_a_long_wait_is_cut_so_that_deliveries_are_served() -> None:
    """No sleep is longer than 0.1 s, and something is done before each."""
    clock = Clock()
    pace = Pace(speed=1, clock=clock, sleep=clock.sleep)
    served: list[float] = []
    pace.wait(entry(0))
    pace.wait(entry(1_000), meanwhile=lambda: served.append(clock.now_s))
    assert max(clock.sleeps_s) <= 0.1
    assert len(served) == len(clock.sleeps_s) >= 10


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"events_per_s": 1.0, "speed": 1.0}, "give one"),
        ({"events_per_s": 0.0}, "rate of 0.0"),
        ({"speed": -1.0}, "speed of -1.0"),
        ({"speed": math.nan}, "speed of nan"),
        ({"events_per_s": math.inf}, "rate of inf"),
    ],
)
def test_a_pace_that_is_none_is_refused(options: dict[str, float], told: str) -> None:
    """The message says what to give."""
    with pytest.raises(StreamprocError, match=told):
        Pace(**options)  # type: ignore[arg-type]
