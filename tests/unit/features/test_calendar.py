"""Parts of a time against datetime, in any zone and across its changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import cos, pi, sin
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import BadRecord, DefinitionError
from streamproc.eventtime import parse_time_ms
from streamproc.features import Calendar, Cyclical, FeatureSet
from streamproc.features.calendar import CALENDAR_PARTS, CYCLES

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = (
    "UTC",
    "Europe/Brussels",
    "America/New_York",
    "Asia/Kathmandu",  # 5:45 ahead
    "Australia/Lord_Howe",  # summer time of half an hour
    "Africa/Monrovia",  # 44 minutes and 30 seconds behind until 1972
)
SUMMER_MS = parse_time_ms("2024-03-31T01:00:00Z")  # 02:00 becomes 03:00 in Brussels
WINTER_MS = parse_time_ms("2024-10-27T01:00:00Z")  # 03:00 becomes 02:00


def expected_parts(time_ms: int, zone: str) -> dict[str, int]:
    """Return all parts of a time, from datetime alone."""
    local = (EPOCH + timedelta(milliseconds=time_ms)).astimezone(ZoneInfo(zone))
    return {
        "is_weekend": int(local.isoweekday() in (6, 7)),
        "is_night": int(local.hour <= 6),
        "minute": local.minute,
        "hour": local.hour,
        "weekday": local.weekday(),
        "day": local.day,
        "month": local.month,
        "quarter": 1 + (local.month - 1) // 3,
    }


def computed(spec: Any, *times_ms: int) -> list[dict[str, Any]]:
    """Return the features at each time, by one set that goes on."""
    features = FeatureSet([spec], "at", 0)
    return [features.compute({}, "1", "k", time_ms) for time_ms in times_ms]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("parts", [CALENDAR_PARTS, tuple(set(CALENDAR_PARTS) - {"minute"})])
@given(st.lists(st.integers(-(6 * 10**13), 2 * 10**14), max_size=5))
def test_parts_are_those_of_datetime(
    zone: str, parts: tuple[str, ...], times_ms: list[int]
) -> None:
    """Every part, at any time, before the epoch and under zones long gone too."""
    everything = [expected_parts(time_ms, zone) for time_ms in times_ms]
    expected = [{part: each[part] for part in parts} for each in everything]
    assert expected == computed(Calendar("at", parts, zone), *times_ms)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("change_ms", [SUMMER_MS, WINTER_MS, parse_time_ms("2024-04-06T15:00:00Z")])
def test_parts_follow_the_clocks(zone: str, change_ms: int) -> None:
    """Every five minutes around a change of the clocks, by one reader that remembers."""
    times_ms = range(change_ms - 10_800_000, change_ms + 10_800_000, 299_999)
    parts = tuple(part for part in CALENDAR_PARTS if part != "minute")
    everything = [expected_parts(time_ms, zone) for time_ms in times_ms]
    expected = [{part: each[part] for part in parts} for each in everything]
    assert expected == computed(Calendar("at", parts, zone), *times_ms)


def test_the_hour_that_comes_twice_and_the_one_that_does_not() -> None:
    """Brussels in 2024: no hour 2 on 31 March, two of them on 27 October."""
    spec, hour_ms = Calendar("at", ("hour",), zone="Europe/Brussels"), 3_600_000
    spring = computed(spec, *range(SUMMER_MS - hour_ms, SUMMER_MS + hour_ms, hour_ms))
    autumn = computed(spec, *range(WINTER_MS - hour_ms, WINTER_MS + 2 * hour_ms, hour_ms))
    assert [each["hour"] for each in spring] == [1, 3]
    assert [each["hour"] for each in autumn] == [2, 2, 3]


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Amsterdam", "1937-06-30T23:40:28Z"),  # until then 19 minutes and 32 seconds ahead
        ("America/St_Johns", "2007-03-11T03:31:00Z"),  # at a minute past midnight
    ],
)
@pytest.mark.parametrize("first", [-1, 1])
def test_a_change_within_a_quarter_of_an_hour_is_seen(zone: str, change: str, first: int) -> None:
    """Both sides are right, whichever the reader sees first."""
    change_ms = parse_time_ms(change)
    parts = tuple(part for part in CALENDAR_PARTS if part != "minute")
    times_ms = [change_ms + first * gap_ms for gap_ms in (1_000, -1_000, 1, -1)]
    everything = [expected_parts(time_ms, zone) for time_ms in times_ms]
    expected = [{part: each[part] for part in parts} for each in everything]
    assert expected == computed(Calendar("at", parts, zone), *times_ms)


@pytest.mark.parametrize("zone", ZONES)
def test_parts_on_a_circle(zone: str) -> None:
    """Sine and cosine of each part's share of its turn; January and Monday are at its top."""
    time_ms = SUMMER_MS + 12_345_678
    parts = expected_parts(time_ms, zone)
    periods = {"minute": 60, "hour": 24, "weekday": 7, "month": 12}
    (found,) = computed(Cyclical("at", CYCLES, zone), time_ms)
    expected: dict[str, float] = {}
    for part in CYCLES:
        angle = 2 * pi * ((parts[part] - (part == "month")) / periods[part])
        expected |= {f"{part}_sin": sin(angle), f"{part}_cos": cos(angle)}
    assert expected == found
    assert list(found) == list(Cyclical("at", CYCLES, zone).names)


def test_neighbours_on_the_circle_are_equally_far() -> None:
    """From 23 to 0 o'clock it is as far as from 0 to 1, and from December to January too."""
    hours = computed(Cyclical("at", ("hour",)), *(hour * 3_600_000 for hour in (23, 24, 25)))
    gaps = [
        (left["hour_sin"] - right["hour_sin"]) ** 2 + (left["hour_cos"] - right["hour_cos"]) ** 2
        for left, right in pairwise(hours)
    ]
    assert gaps[0] == pytest.approx(gaps[1])
    months = computed(Cyclical("at", ("month",)), *map(parse_time_ms, ("2024-01-05T00:00:00Z",)))
    assert months == [{"month_sin": 0.0, "month_cos": 1.0}]


def test_a_time_of_another_field_has_a_zone_too() -> None:
    """What a booking's local hour was, null where nothing is booked."""
    features = FeatureSet([Calendar("booked_at", ("hour",), "Asia/Kathmandu")], "at", 0)
    booked = {"booked_at": "2024-01-01T00:30:00Z"}
    assert features.compute(booked, "1", "k", 0) == {"hour": 6}
    assert features.compute({}, "2", "k", 0) == {"hour": None}


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"])
def test_the_ends_of_time_are_refused_where_the_zone_is_beyond(time: str) -> None:
    """The first hour of year 1 is in year 0 in New York: a dead letter, and no crash."""
    beyond = "America/New_York" if time < "1" else "Asia/Tokyo"
    within = "Asia/Tokyo" if time < "1" else "America/New_York"
    time_ms = parse_time_ms(time)
    with pytest.raises(BadRecord, match="time_not_valid"):
        computed(Calendar("at", ("hour",), beyond), time_ms)
    expected = {"month": expected_parts(time_ms, within)["month"]}
    assert [expected] == computed(Calendar("at", ("month",), within), time_ms)


def test_the_memory_of_times_is_bounded() -> None:
    """A stream that jumps through the years keeps some thousands of steps, no more."""
    features = FeatureSet([Calendar("at", ("hour", "minute"))], "at", 0)
    for number in range(10_000):
        features.compute({}, "1", "k", number * 86_400_000)
    (reader,) = features.readers
    caches = [each.cell_contents for each in reader.__closure__ or ()]
    assert [4_096 >= len(cache) > 0 for cache in caches if isinstance(cache, dict)] == [True]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Calendar("at", ("hour",), "Europe/Brusels"), "zone 'Europe/Brusels' is not known"),
        (lambda: Calendar("at", ("hour",), "../etc"), "is not known; write a name of the IANA"),
        (lambda: Calendar("at", ("hour",), "Europe"), "is not known; write a name of the IANA"),
        (lambda: Calendar("at", ("hour",), ""), "zone: '' is no name; write zone='Europe/Brus"),
        (lambda: Calendar("at", ("hour",), 1), "zone: 1 is no name; write zone='Europe/Brus"),  # type: ignore[arg-type]
        (lambda: Cyclical("at", ("is_night",)), "part 'is_night' is not known; choose from minute"),
        (lambda: Cyclical("at", ()), "Cyclical: name at least one part, such as 'hour'"),
        (lambda: Cyclical("", ("hour",)), "Cyclical: time must name a field"),
        (lambda: Cyclical("at", ("hour",), "Mars"), "Cyclical: zone 'Mars' is not known; write"),
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_be_names_the_remedy(make: Any, message: str) -> None:
    """What is wrong is told where it is written, with what to write."""
    with pytest.raises(DefinitionError, match=message):
        make()
