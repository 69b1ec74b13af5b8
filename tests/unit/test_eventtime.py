"""Times and durations, read as the design allows and not a form more; and the merged order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import BadRecord, DefinitionError
from streamproc.eventtime import format_time, order_of, parse_duration_ms, parse_time_ms
from streamproc.features.texts import read_times_ms

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(-62_135_000_000_000_000, 253_402_000_000_000_000).map(
    lambda microseconds: EPOCH + timedelta(microseconds=microseconds)
)
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))


def exact_ms(moment: datetime) -> int:
    """Return milliseconds since the epoch by whole numbers alone."""
    gone = moment - EPOCH
    return (gone.days * 86_400 + gone.seconds) * 1000 + gone.microseconds // 1000


@given(MOMENTS, OFFSETS)
def test_rfc_3339_is_read_to_the_millisecond(moment: datetime, zone: timezone) -> None:
    """Any moment, written in any zone, is the same milliseconds; finer parts are cut off."""
    try:
        written = moment.astimezone(zone).isoformat()
    except OverflowError:  # a year beyond 9999, or before 1, over there
        return
    assert exact_ms(moment) == parse_time_ms(written)


@given(MOMENTS)
def test_naive_text_is_utc_and_a_space_will_do(moment: datetime) -> None:
    """Text without a zone is UTC; a space or a small t may stand between date and time."""
    text = moment.replace(tzinfo=None).isoformat()
    expected = exact_ms(moment)
    assert [expected] * 3 == [parse_time_ms(text.replace("T", t)) for t in "T t"]


@given(MOMENTS)
def test_whole_seconds_in_utc_are_read_as_any_other_time(moment: datetime) -> None:
    """Every second of a minute, whichever of them comes first."""
    minute = moment.replace(microsecond=0, tzinfo=None)
    for second in (moment.second, 0, 59, moment.second):
        moment = minute.replace(second=second)
        expected = exact_ms(moment.replace(tzinfo=UTC))
        assert [expected] * 2 == [parse_time_ms(moment.isoformat() + z) for z in "Zz"]


@given(MOMENTS)
def test_what_is_written_is_read_again(moment: datetime) -> None:
    """A time that is written for people reads back as itself."""
    time_ms = exact_ms(moment)
    assert time_ms == parse_time_ms(format_time(time_ms))


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        ("1969-12-31T23:59:59.9999Z", -1),  # the last millisecond begun, as after the epoch
        ("1970-01-01T00:00:00.0019Z", 1),
        ("1970-01-01T00:00:00.123456789Z", 123),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2000-02-29T00:00:00Z", 951_782_400_000),
    ],
)
def test_edges_of_text(text: str, expected_ms: int) -> None:
    """Around the epoch and on leap days the count is right, and cut off downward."""
    assert expected_ms == parse_time_ms(text)


def test_integers_are_milliseconds_between_the_years_1_and_9999() -> None:
    """The first and the last millisecond are taken, those next to them are not."""
    first, last = exact_ms(datetime(1, 1, 1, tzinfo=UTC)), 253_402_300_799_999
    assert [first, 0, last] == [parse_time_ms(value) for value in (first, 0, last)]
    for beyond in (first - 1, last + 1):
        with pytest.raises(BadRecord, match="time_not_valid"):
            parse_time_ms(beyond)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 1.5, float("nan"), [], {}, "", "now", "1530403231", "2018-07-01",
        "2018-07-01T00:00", "2018-13-01T00:00:00Z", "2018-02-30T00:00:00Z", "2018-07-01T24:00:00Z",
        "2018-07-01T00:00:60Z", "2018-07-01T00:00:00+2", "2018-07-01T00:00:00+0200",
        "2018-07-01T00:00:00+25:00", "2018-07-01T00:00:00.Z", "20180701T000000Z",
        " 2018-07-01T00:00:00Z", "2018-07-01T00:00:00Z\n",
        "2018-07-01T00:00:00Z".replace("0", "\N{ARABIC-INDIC DIGIT ZERO}"),
        "0000-01-01T00:00:00Z", "2018-07-01T00:00:00,5Z", "2018-W26-7T00:00:00Z", b"2018",
        "20180701T000000.5:31Z", "2018-07-01T00:00:00Z:31Z", "2018-07-01T23:60:31Z", ":31Z",
    ],
)  # fmt: skip
def test_anything_else_is_no_time(value: object) -> None:
    """Dates alone, seconds, floats, other forms and dates that don't exist are refused."""
    for _ in range(2):  # the same again, whatever was remembered of the first
        with pytest.raises(BadRecord) as refused:
            parse_time_ms(value)
        assert refused.value.reason == "time_not_valid"
        assert refused.value.detail.startswith(repr(value)[:80])


@given(st.integers(0, 36_500), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_durations(count: int, unit: str) -> None:
    """A whole number and a unit is that many milliseconds."""
    unit_of = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    expected = timedelta(**{unit_of[unit]: count}) // timedelta(milliseconds=1)
    assert expected == parse_duration_ms(f"{count}{unit}")


@pytest.mark.parametrize("text", ["", "7", "d", "7 d", "-7d", "1.5h", "7D", "7w", "7d\n", 7, None])
def test_a_bad_duration_names_its_field_and_the_remedy(text: object) -> None:
    """The error says which field, what it held and what to write."""
    with pytest.raises(DefinitionError, match=r"Labels, horizon: .* such as '30s'"):
        parse_duration_ms(text, "Labels, horizon")  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 10**30))))
def test_the_order_is_time_then_id_as_integers(places: list[tuple[int, int]]) -> None:
    """Ids in decimal sort as the integers do, whatever their length."""
    shuffled = random.Random(1).sample(places, len(places))
    ordered = sorted(shuffled, key=lambda place: order_of(place[0], str(place[1])))
    assert sorted(places) == ordered


TIMES = st.one_of(
    MOMENTS.map(lambda moment: moment.isoformat(timespec="seconds")[:19] + "Z"),
    MOMENTS.map(lambda moment: moment.isoformat(timespec="milliseconds")[:23] + "Z"),
)


@given(st.lists(TIMES, max_size=40), st.lists(st.one_of(TIMES, st.integers(0, 10**12)), max_size=3))
def test_many_times_at_once_are_each_of_them(plain: list[str], others: list[str | int]) -> None:
    """Compiled or not, whatever else is among them."""
    for values in (plain, plain + others, [*others, *plain]):
        assert [parse_time_ms(value) for value in values] == read_times_ms(values)


@pytest.mark.parametrize("filler", ["2018-07-01T00:00:31Z", "2018-07-01T00:00:31.250Z"])
@pytest.mark.parametrize("replaced", [(at, by) for at in range(24) for by in "/:0a9\n\u0660Z"])
def test_one_that_is_no_time_among_many_is_refused(filler: str, replaced: tuple[int, str]) -> None:
    """A character of it changed: it is read, or refused, as it is by itself."""
    at, by = replaced
    changed = filler[:at] + by + filler[at + 1 :]
    values = [filler] * 10 + [changed] + [filler] * 10
    try:
        expected = parse_time_ms(changed)
    except BadRecord:
        with pytest.raises(BadRecord, match="time_not_valid"):
            read_times_ms(values)
    else:
        assert read_times_ms(values)[10] == expected


@pytest.mark.parametrize("year", [0, 1, 1900, 2000, 2023, 2024, 9999])
def test_days_that_do_not_exist_are_refused_among_many(year: int) -> None:
    """Leap years by the Gregorian rule, and no year 0."""
    for month in range(14):
        for day in (0, 1, 28, 29, 30, 31, 32):
            text = f"{year:04}-{month:02}-{day:02}T23:59:59.999Z"
            try:
                expected = [exact_ms(datetime(year, month, day, 23, 59, 59, 999_000, UTC))] * 20
            except ValueError:
                with pytest.raises(BadRecord):
                    read_times_ms([text] * 20)
            else:
                assert expected == read_times_ms([text] * 20)
