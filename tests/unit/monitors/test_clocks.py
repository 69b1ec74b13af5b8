"""Clocks of producers: one that is off is named, and no network, batch or backlog is taken for one.

Each test draws what really happened: when an event was, and when its record came. What is told is
held against that, whatever the folds and the judge made of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from streamproc.errors import DefinitionError
from streamproc.monitors.clocks import LIMIT, MOST_PRODUCERS, Clocks, combined, delays
from streamproc.monitors.finding import Finding
from streamproc.monitors.growing import Span
from streamproc.monitors.quality import QualityMonitor
from streamproc.monitors.quality_fold import QualityFold
from streamproc.monitors.quality_spec import CLOCK, DataQuality

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY
PIPELINE: Any = SimpleNamespace(feature_names=(), number_fields=(), ranges={}, categories={})
SPEC = DataQuality(reference="1d", producer="till")
Message = dict[str, Any]
When = Callable[[int, str, random.Random], tuple[int, int]]
"""Returns the time that an event says, and that of its record, of when it was and whose it is."""


def live(at_ms: int, till: str, rng: random.Random) -> tuple[int, int]:
    """Come within seconds."""
    return at_ms, at_ms + int(rng.expovariate(1 / 3_000))


def stream(
    when: When = live, hours: int = 44, tills: int = 20, an_hour: int = 60
) -> Iterator[Message]:
    """Yield predictions of tills, each with so many an hour, in order of when they were."""
    rng = random.Random(7)
    for hour in range(hours):
        for n in range(an_hour * tills):
            at_ms = T0 + hour * HOUR + n * HOUR // (an_hour * tills)
            till = f"t{n % tills:02}"
            event_ms, record_ms = when(at_ms, till, rng)
            yield {
                "event_time_ms": event_ms,
                "record_time_ms": record_ms,
                "scored_at_ms": record_ms,
                "features": {},
                "slices": {"till": till},
            }


def found_in(
    messages: Iterator[Message],
    partitions: int = 1,
    spec: DataQuality = SPEC,
    accept_at: tuple[int, str] | None = None,
) -> list[tuple[int, Finding]]:
    """Return what is told of clocks, with the hour; what others tell is none of this."""
    folds = [QualityFold(0, spec, PIPELINE) for _ in range(partitions)]
    batches: list[list[Message]] = [[] for _ in folds]
    for at, message in enumerate(messages):
        batches[at * 7 % 11 % partitions].append(message)
    for fold, batch in zip(folds, batches, strict=True):
        for at in range(0, len(batch), 500):
            fold.update(batch[at : at + 500])
    monitor = QualityMonitor(spec, PIPELINE, alarm_ms=30.0 * DAY)
    parts: dict[int, dict[str, list[Any]]] = {}
    for fold in folds:
        for bucket in fold.take():
            for name, row in bucket["series"].items():
                parts.setdefault(bucket["bucket_ms"], {}).setdefault(name, []).append(row)
    found = []
    for start_ms, series in sorted(parts.items()):
        hour = (start_ms - T0) // HOUR
        if accept_at is not None and hour == accept_at[0]:
            assert monitor.relearn(accept_at[1])
        rows = {name: monitor.combined(some) for name, some in series.items()}
        found += [(hour, each) for each in monitor.update(start_ms, rows) if each.subject == CLOCK]
    return found


def steps(found: list[tuple[int, Finding]]) -> list[tuple[str, bool, int]]:
    """Return whose clock was told or over, and at which hour; not that it goes on."""
    told, is_open = [], dict[str, bool]()
    for hour, each in found:
        key = each.key.removeprefix("data_quality/")
        if is_open.get(key, False) != each.ongoing:
            is_open[key] = each.ongoing
            told.append((key, each.ongoing, hour))
    return told


def off(minutes: int, whose: str = "t07", from_hour: int = 30, to_hour: int = 40) -> When:
    """Return what sets one till's clock ``minutes`` back for some hours."""

    def when(at_ms: int, till: str, rng: random.Random) -> tuple[int, int]:
        event_ms, record_ms = live(at_ms, till, rng)
        wrong = till == whose and from_hour <= (at_ms - T0) // HOUR < to_hour
        return event_ms - wrong * minutes * MINUTE, record_ms

    return when


@pytest.mark.parametrize("minutes", [10, -10, LIMIT + 1, 180, 345])
def test_one_clock_of_twenty_that_is_off_is_named_until_it_is_mended(minutes: int) -> None:
    """Behind or ahead, by minutes or by a time zone: told within hours, by how much, and over."""
    found = found_in(stream(off(minutes)))

    opened, over = steps(found)
    assert (opened[:2], over[:2]) == (("clock/till=t07", True), ("clock/till=t07", False))
    assert opened[2] in (31, 32)  # the third bucket that has none of its right events
    assert over[2] in (40, 41)
    first = found[0][1]
    assert (first.slice, first.ongoing) == ({"till": "t07"}, True)
    assert first.observed - first.expected == minutes
    assert f"{abs(minutes)} min too {'early' if minutes > 0 else 'late'}" in first.summary


def test_a_clock_that_was_always_off_is_told_and_may_be_accepted() -> None:
    """It needs no past: it is held against the others. What is accepted is told no more."""
    always = off(12, from_hour=0, to_hour=99)

    found = found_in(stream(always, hours=24), accept_at=(12, "data_quality/clock/till=t07"))
    assert {hour for hour, _ in found} == set(range(3, 12))


def test_a_clock_that_is_off_by_less_than_the_limit_is_not() -> None:
    """Nor is one that is off for one hour and then another."""
    assert found_in(stream(off(LIMIT - 1, from_hour=0))) == []
    assert found_in(stream(off(10, to_hour=31))) == []


def test_all_clocks_at_once_are_held_against_what_is_usual() -> None:
    """A service that reads times in another zone: told once, of no producer."""

    def when(at_ms: int, till: str, rng: random.Random) -> tuple[int, int]:
        event_ms, record_ms = live(at_ms, till, rng)
        return event_ms - (at_ms >= T0 + 40 * HOUR) * HOUR, record_ms

    assert steps(found_in(stream(when)))[0][:2] == ("clock", True)
    found = found_in(stream(when), spec=DataQuality(reference="1d"))  # nor if none is named
    assert {each.key for _, each in found} == {"data_quality/clock"}
    assert (found[0][1].expected, found[0][1].observed) == (0.0, 60.0)


def batches(longest: int, whose: str = "") -> When:
    """Return what delivers with any delay up to ``longest`` minutes; of one till, or of all."""

    def when(at_ms: int, till: str, rng: random.Random) -> tuple[int, int]:
        event_ms, record_ms = live(at_ms, till, rng)
        return event_ms, record_ms + (whose in till) * int(rng.random() * longest * MINUTE)

    return when


@pytest.mark.parametrize("whose", ["", "t07"])
@pytest.mark.parametrize("longest", [30, 120])
def test_batches_are_no_clock(longest: int, whose: str) -> None:
    """All tills deliver any time up to half an hour later, or two hours, or one does so."""
    assert found_in(stream(batches(longest, whose), hours=100, tills=12, an_hour=50)) == []


def test_delays_that_spread_are_no_clock_by_chance() -> None:
    """Fifty of each of twenty producers, even over two hours: no least one of them is for long."""
    rng = random.Random(11)
    clocks = Clocks("till", HOUR, Span(DAY))
    for hour in range(2_000):
        minutes = [rng.randrange(121) for _ in range(20 * 50)]
        row = delays(minutes, [f"t{n % 20:02}" for n in range(20 * 50)])
        assert clocks.update(hour * HOUR, row) == []


def test_a_clock_that_is_off_shows_through_batches() -> None:
    """Its least delay is longer, and all others by as much."""
    late = batches(30)

    def when(at_ms: int, till: str, rng: random.Random) -> tuple[int, int]:
        event_ms, record_ms = late(at_ms, till, rng)
        return event_ms - (till == "t07" and at_ms >= T0 + 30 * HOUR) * 15 * MINUTE, record_ms

    (opened,) = steps(found_in(stream(when, an_hour=120)))
    assert opened[:2] == ("clock/till=t07", True)


def test_a_queue_that_holds_one_producer_up_by_the_hour_is_no_clock() -> None:
    """Its events come at twenty past the next hour: none comes at once, and no two wait alike."""

    def when(at_ms: int, till: str, rng: random.Random) -> tuple[int, int]:
        event_ms, record_ms = live(at_ms, till, rng)
        if till == "t07":
            record_ms = (at_ms // HOUR + 1) * HOUR + 20 * MINUTE
        return event_ms, record_ms

    assert found_in(stream(when)) == []


@pytest.mark.parametrize(("bucket", "speed"), [("1h", 0), ("1h", 10), ("5m", 0), ("5m", 1.5)])
def test_a_backlog_that_is_replayed_tells_nothing(bucket: str, speed: float) -> None:
    """A day and a half in no time, or in a part of theirs: and then live events, all of them right.

    By the hour, one till has its events in the last minutes of each, all others in the first.
    """
    from_ms = T0 + 36 * HOUR

    def when(at_ms: int, till: str, rng: random.Random) -> tuple[int, int]:
        hour_ms = at_ms // HOUR * HOUR
        squeezed_ms = hour_ms + (at_ms - hour_ms) // 20
        if bucket == "1h":
            at_ms = squeezed_ms + (till == "t04") * 19 * HOUR // 20
        event_ms, record_ms = live(at_ms, till, rng)
        replayed_ms = from_ms + (int((at_ms - T0) / speed) if speed else 0)
        return event_ms, max(record_ms, replayed_ms)

    hours = 130 if speed == 1.5 else 60
    spec = DataQuality(bucket=bucket, reference="12h", producer="till")
    an_hour = 60 if bucket == "1h" else 600
    assert found_in(stream(when, hours, tills=5, an_hour=an_hour), spec=spec) == []


@pytest.mark.parametrize("speed", [1e9, 1.5])
def test_one_producer_that_was_offline_and_sends_its_queue_is_no_clock(speed: float) -> None:
    """Ten hours come at once, or in part of that time; each event is late by less than the last."""
    from_ms, online_ms = T0 + 26 * HOUR, T0 + 36 * HOUR

    def when(at_ms: int, till: str, rng: random.Random) -> tuple[int, int]:
        event_ms, record_ms = live(at_ms, till, rng)
        offline = till == "t03" and from_ms <= at_ms < online_ms
        return event_ms, online_ms + int((at_ms - from_ms) / speed) if offline else record_ms

    spec = DataQuality(bucket="5m", reference="1d", producer="till")
    assert found_in(stream(when, 37, tills=4, an_hour=600), spec=spec) == []


def test_a_producer_has_to_be_off_in_buckets_in_a_row() -> None:
    """Off in three hours, but not there in those between: nobody knows of what."""
    clocks = Clocks("till", HOUR, Span(DAY))
    others = {f"t{n}": {"0": 60} for n in range(4)}
    for hour in range(1, 9):
        off = {"t9": {"10": 60}} if hour % 2 else {}
        assert clocks.update(hour * HOUR, [{}, {**others, **off}]) == []


def by_till(**least: int) -> list[Any]:
    """Return a bucket in which each till has sixty events with one delay."""
    return [{}, {till: {str(minute): 60} for till, minute in least.items()}]


def told_by(clocks: Clocks, hours: range, row: list[Any]) -> list[Finding]:
    """Return what is told where each of some hours is the same."""
    return [each for hour in hours for each in clocks.update(hour * HOUR, row)]


def test_of_what_is_accepted_of_most_the_others_are_not_blamed() -> None:
    """Three are twelve minutes late on their way, as people know; the four others close for a day.

    Neither those, nor all of them, nor the four when they are back are told.
    """
    clocks = Clocks("till", HOUR, Span(12 * HOUR))
    right, late = dict.fromkeys("abcd", 0), dict.fromkeys("efg", 12)
    told = [
        each for hour in range(6) for each in clocks.update(hour * HOUR, by_till(**right, **late))
    ]
    assert {each.key.rpartition("=")[2] for each in told} == {"e", "f", "g"}
    assert all(clocks.accept(f"{CLOCK}/till={name}") for name in late)
    for hours, there in (((6, 40), right | late), ((40, 64), late), ((64, 90), right | late)):
        assert told_by(clocks, range(*hours), by_till(**there)) == []


def test_one_that_comes_back_mended_after_it_was_accepted_is_right() -> None:
    """It was off and went away; how it will come back nobody could say."""
    clocks = Clocks("till", HOUR, Span(DAY))
    others = dict.fromkeys("abc", 0)
    assert told_by(clocks, range(5), by_till(**others, d=10))
    assert clocks.update(5 * HOUR, by_till(**others)) == []
    assert clocks.accept(f"{CLOCK}/till=d")
    assert told_by(clocks, range(6, 20), by_till(**others, d=0)) == []


def test_a_clock_that_is_off_is_not_over_where_its_delays_spread_for_once() -> None:
    """An outage makes most of them long; the least are off by as much as before."""
    clocks = Clocks("till", HOUR, Span(DAY))
    row = by_till(a=0, b=0, c=0, d=10)
    assert told_by(clocks, range(5), row)
    row[1]["d"] = {"10": 24, "130": 12, "150": 12, "170": 12}
    (still,) = clocks.update(5 * HOUR, row)
    assert still.ongoing


def test_what_can_no_longer_be_judged_is_over_in_the_end() -> None:
    """A producer that is gone, or sends next to nothing, leaves no alert open for ever."""
    clocks = Clocks("till", HOUR, Span(DAY))
    others = dict.fromkeys("abc", 0)
    assert told_by(clocks, range(5), by_till(**others, d=10))
    told = told_by(clocks, range(5, 60), by_till(**others))
    assert [(each.ongoing, each.slice) for each in told] == [(False, {"till": "d"})]


def test_of_two_halves_none_is_blamed() -> None:
    """Two of four are ahead of the two others: which are right nobody knows."""
    clocks = Clocks("till", HOUR, Span(DAY))
    assert told_by(clocks, range(20), by_till(a=0, b=0, c=-10, d=-10)) == []


def test_one_of_most_events_whose_clock_is_off_is_told_alone() -> None:
    """Not all clocks, though nearly all of the events are its."""
    clocks = Clocks("till", HOUR, Span(12 * HOUR))
    told = []
    for hour in range(40):
        row = by_till(a=0, b=0, c=0)
        row[1]["d"] = {"-10" if hour >= 20 else "0": 900}
        told += clocks.update(hour * HOUR, row)
    assert {each.key.rpartition("/")[2] for each in told} == {"till=d"}


def test_what_has_no_timestamp_or_comes_from_a_file_tells_nothing() -> None:
    """In a backtest a record's time is its event's, or there is none."""

    def when(at_ms: int, till: str, rng: random.Random) -> tuple[int, int]:
        return at_ms, at_ms

    assert found_in(stream(when)) == []
    bare = ({k: v for k, v in it.items() if k != "record_time_ms"} for it in stream(off(10)))
    assert found_in(bare) == []


@pytest.mark.parametrize("partitions", [4, 16])
def test_what_is_told_is_the_same_on_any_number_of_partitions(partitions: int) -> None:
    """To the bit, with more producers than are told apart."""
    many = MOST_PRODUCERS + 10
    found = found_in(stream(off(10), 36, tills=many))
    all_alike = found_in(stream(off(10), 36, tills=many), partitions)
    assert found == all_alike
    assert found


def test_parts_add_up_in_any_order_where_producers_are_too_many() -> None:
    """Those with the least hashes are told apart in the sum, the rest is counted together."""
    rng = random.Random(4)
    events = [
        (rng.randrange(-9, 30), f"p{rng.randrange(4 * MOST_PRODUCERS)}") for _ in range(5_000)
    ]
    whole = delays(*zip(*events, strict=True))
    parts = [delays(*zip(*events[at::7], strict=True)) for at in range(7)]
    rng.shuffle(parts)

    assert combined(parts) == combined([combined(parts[:3]), combined(parts[3:])]) == whole
    assert len(whole[1]) == MOST_PRODUCERS
    assert sum(whole[0].values()) + sum(sum(it.values()) for it in whole[1].values()) == 5_000


def test_a_producer_has_to_be_the_name_of_a_field() -> None:
    """Anything else is a mistake that is told at once."""
    with pytest.raises(DefinitionError, match="producer is the name of a field"):
        DataQuality(producer="")
