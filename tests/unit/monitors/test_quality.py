"""Data quality: each fault found and named, none where nothing is wrong, no crash on bad input."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from streamproc.monitors.finding import Finding
from streamproc.monitors.quality import QualityMonitor
from streamproc.monitors.quality_fold import QualityFold, read_dead_letter
from streamproc.monitors.quality_spec import DataQuality
from streamproc.monitors.unseen import Known

HOUR, DAY = 3_600_000, 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY
COUNTRIES = [f"{letter}{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
NAMES = ("amount", "level", "seldom")
PIPELINE: Any = SimpleNamespace(
    feature_names=(*NAMES, "country", "plan", "session"),
    number_fields=NAMES,
    ranges={"amount": (0, None), "level": (None, 1e6)},
    categories={"country": None, "plan": ("free", "paid"), "session": None},
)
SPEC = DataQuality(reference="3d")
Message = dict[str, Any]
Change = Callable[[Message, int, random.Random], Message | None]


def stream(days: int, change: Change = lambda m, hour, rng: m, an_hour: int = 80) -> list[Message]:
    """Return predictions whose amount varies, whose level is 7 often, and one is null at times."""
    rng = random.Random(3)
    found = []
    for hour in range(24 * days):
        for n in range(an_hour):
            at_ms = T0 + hour * HOUR + n * HOUR // an_hour
            features: dict[str, Any] = {
                "amount": rng.expovariate(0.02),
                "level": 7.0 if rng.random() < 0.9 else rng.random(),
                "seldom": rng.random() if rng.random() < 0.3 else None,
                "country": COUNTRIES[min(int(rng.expovariate(0.7)), 25)],
                "plan": "paid" if rng.random() < 0.1 else "free",
                "session": f"{rng.random()}",
            }
            message = {"event_time_ms": at_ms, "scored_at_ms": at_ms + 40, "features": features}
            changed = change(message, hour, rng)
            if changed is not None:
                found.append(changed)
    return found


def found_in(messages: list[Message], partitions: int = 1) -> list[Finding]:
    """Fold by partition, add up, and judge each bucket."""
    folds = [QualityFold(0, SPEC, PIPELINE) for _ in range(partitions)]
    for at, message in enumerate(messages):
        folds[at % partitions].update([message])
    monitor = QualityMonitor(SPEC, PIPELINE, alarm_ms=30.0 * DAY)
    buckets: dict[int, dict[str, list[Any]]] = {}
    for fold in folds:
        for bucket in fold.take():
            rows = buckets.setdefault(bucket["bucket_ms"], {})
            for name, row in bucket["series"].items():
                rows.setdefault(name, []).append(row)
    found = []
    for start_ms, series in sorted(buckets.items()):
        whole = {name: monitor.combined(parts) for name, parts in series.items()}
        found += monitor.update(start_ms, whole)
    return found


def steps(found: list[Finding]) -> Iterator[tuple[str, bool, int]]:
    """Yield what opened and what ended, and the day it is said to have begun."""
    is_open: set[str] = set()
    for each in found:
        if each.ongoing and each.subject not in is_open:
            is_open.add(each.subject)
            yield each.subject, True, (each.first_seen_ms - T0) // DAY
        elif not each.ongoing:
            is_open.discard(each.subject)
            yield each.subject, False, (each.first_seen_ms - T0) // DAY


def dead(message: Message, reason: str, error: str) -> Message | None:
    """Return what a fold makes of the dead letter of an event."""
    told = {"stage": "score", "reason": reason, "error": error}
    headers = {name: value.encode() for name, value in told.items()}
    return read_dead_letter({**headers, "watermark_ms": b"%d" % message["event_time_ms"]})


def setting(name: str, value: Any, share: float = 1.0) -> Change:
    """Return what gives a feature another value on the ninth day."""

    def change(message: Message, hour: int, rng: random.Random) -> Message:
        if hour // 24 == 9 and rng.random() < share:
            message["features"][name] = value(rng) if callable(value) else value
        return message

    return change


def refused(reason: str, error: str, share: float) -> Change:
    """Return what refuses a share of the ninth day's events."""

    def change(message: Message, hour: int, rng: random.Random) -> Message | None:
        wrong = hour // 24 == 9 and rng.random() < share
        return dead(message, reason, error) if wrong else message

    return change


def unlearnt(message: Message, hour: int, rng: random.Random) -> Message | None:
    """Have the learner refuse outcomes, one for each five events of the ninth day."""
    if hour // 24 == 9 and rng.random() < 0.2:
        told = {"stage": b"learn", "reason": b"model_failed", "error": b"ValueError: no"}
        return read_dead_letter({**told, "watermark_ms": b"%d" % message["event_time_ms"]})
    return message


def ahead(message: Message, hour: int, rng: random.Random) -> Message:
    """Put a clock of one producer in twenty wrong."""
    if hour // 24 == 9 and rng.random() < 0.05:
        message["scored_at_ms"] -= 5 * 60_000
    return message


def late(message: Message, hour: int, rng: random.Random) -> Message:
    """Let one event in twenty come late."""
    if hour // 24 == 9 and rng.random() < 0.05:
        return {"late_by_ms": 5, "watermark_ms": message["event_time_ms"]}
    return message


def fewer(message: Message, hour: int, rng: random.Random) -> Message | None:
    """Lose two events of three."""
    return None if hour // 24 == 9 and rng.random() < 0.67 else message


NOT_NUMBER = ("field_not_number", "field 'amount' is text ('12'), not a number")


def test_dead_letters_that_are_accepted_are_told_again_when_they_come_again() -> None:
    """A rule learns nothing: it is silent until it was right once."""
    monitor = QualityMonitor(SPEC, PIPELINE, alarm_ms=1e30)

    def said(hour: int, refused: int) -> list[bool]:
        rows: dict[str, list[Any]] = {"events": [100 - refused], "dead/not_json": [refused]}
        found = monitor.update(T0 + hour * HOUR, rows)
        return [each.ongoing for each in found if each.subject == "dead letters"]

    assert [said(0, 2), said(1, 60), said(2, 70)] == [[], [True], [True]]
    assert monitor.relearn("data_quality/dead letters")
    assert [said(3, 70), said(4, 10), said(5, 10), said(6, 60)] == [[], [], [], [True]]


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        (setting("amount", None, 0.05), "amount, missing"),
        (setting("amount", None), "amount, missing"),
        (setting("seldom", None), "seldom, missing"),
        (setting("amount", lambda rng: -rng.random(), 0.1), "amount, out of range"),
        (setting("level", 1e7 + 0.1, 0.1), "level, out of range"),
        (setting("level", 1e308, 0.1), "level, out of range"),
        (setting("amount", 42.0), "amount, stuck"),
        (setting("country", "a new one", 0.02), "country, unseen category"),
        (setting("plan", "gratis", 0.02), "plan, unseen category"),
        (refused(*NOT_NUMBER, 0.1), "dead letters, field_not_number of amount"),
        (refused(*NOT_NUMBER, 0.9), "dead letters"),
        (refused("repeated_id", "the event 'a' was scored already", 0.1),
         "dead letters, repeated_id"),
        (unlearnt, "dead letters, learn model_failed"),
        (ahead, "event times ahead"),
        (late, "late events"),
    ],
)  # fmt: skip
def test_a_fault_of_a_day_is_found_named_and_over(change: Change, subject: str) -> None:
    """And nothing beside it but what it is made of."""
    found = found_in(stream(12, change, an_hour=60))
    life = [each for each in steps(found) if each[0] == subject]
    assert [each[1] for each in life] == [True, False]
    assert life[0][2] == 9
    beside = {each[0] for each in steps(found)} - {subject}
    assert not {one for one in beside if not one.startswith(("dead letters", "rate", "amount, "))}


def test_a_backlog_of_late_events_is_a_share_of_all_that_came() -> None:
    """Three hours of 5,000 late events, where 300 come in time: 94 %, and over by itself."""
    rng = random.Random(1)
    monitor = QualityMonitor(DataQuality(), PIPELINE, alarm_ms=30.0 * DAY)
    found = []
    for hour in range(24 * 40):
        late = 5_000 if 480 <= hour < 483 else rng.randrange(3)
        rows = {"events": [300 + rng.randrange(-10, 10)], "late": [late]}
        found += monitor.update(T0 + hour * HOUR, rows)
    assert {each.subject for each in found} == {"late events"}
    assert [each.ongoing for each in found].index(False) == len(found) - 1
    assert max(each.observed for each in found) == pytest.approx(5_000 / 5_300, abs=0.003)


@pytest.mark.parametrize(
    "change",
    [
        setting("amount", 42.0),
        refused(*NOT_NUMBER, 0.1),
        setting("country", "a new one", 0.02),
        setting("country", lambda rng: f"{rng.randrange(10_000)}"),
    ],
)
def test_what_is_found_is_the_same_on_any_number_of_partitions(change: Change) -> None:
    """To the bit; a constant is one only where every partition has the same value."""
    messages = stream(12, change, an_hour=60)
    found = found_in(messages)
    assert found
    assert found_in(messages, 4) == found_in(messages, 16) == found


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    """A month: nulls at their usual share, a level that is mostly 7, a few dead letters."""

    def some(message: Message, hour: int, rng: random.Random) -> Message | None:
        return dead(message, *NOT_NUMBER) if rng.random() < 0.002 else message

    assert found_in(stream(20, some)) == []


def test_a_new_category_is_named_until_it_is_accepted() -> None:
    """It is told of as long as it comes; accepted as normal, it is known."""

    def change(message: Message, hour: int, rng: random.Random) -> Message:
        if hour // 24 >= 5 and rng.random() < 0.02:
            message["features"]["country"] = "a new one"
        return message

    fold = QualityFold(0, SPEC, PIPELINE)
    fold.update(stream(12, change))
    monitor, told = QualityMonitor(SPEC, PIPELINE, alarm_ms=30.0 * DAY), []
    for bucket in fold.take():
        day = (bucket["bucket_ms"] - T0) // DAY
        if bucket["bucket_ms"] == T0 + 9 * DAY:
            assert monitor.relearn("data_quality/country, unseen category")
        told += [(day, found) for found in monitor.update(bucket["bucket_ms"], bucket["series"])]
    assert {day for day, _ in told} == {5, 6, 7, 8}
    assert all("'a new one'" in found.summary for _, found in told)


def test_a_flood_of_new_categories_is_counted_as_far_as_it_is_listed() -> None:
    """A text of a hundred values that has thousands in an hour; one that always had is none."""
    known, odd = Known(DAY), Known(DAY)
    usual = {f"{n}": 5 for n in range(100)}
    for hour in range(48):
        known.unseen(T0 + hour * HOUR, usual)
        assert odd.unseen(T0 + hour * HOUR, {}) is None
    assert known.unseen(T0 + 48 * HOUR, {}) == 901
    flood = usual | {f"new {n}": 1 for n in range(900)}
    assert [known.unseen(T0 + hour * HOUR, flood) for hour in (49, 50)] == [900, 900]
    assert (odd.too_many, known.too_many) == (True, False)


def test_a_text_that_slowly_has_too_many_values_is_tested_no_more() -> None:
    """A catalogue of 900 that grows by four a day, all alike: no alert, and nothing is kept."""
    rng = random.Random(2)
    monitor = QualityMonitor(SPEC, PIPELINE, alarm_ms=30.0 * DAY)
    for hour in range(24 * 60):
        size = 900 + hour // 6
        counts = Counter(f"p{rng.randrange(size)}" for _ in range(200))
        rows = {"events": [200], "values/country": dict(counts)}
        assert monitor.update(T0 + hour * HOUR, rows) == []
    assert monitor._known["values/country"].too_many


def test_a_flood_that_is_over_makes_no_text_one_of_too_many_values() -> None:
    """A thousand odd values for a day are told, forgotten, and told again the next time."""
    monitor = QualityMonitor(SPEC, PIPELINE, alarm_ms=30.0 * DAY)
    told = set()
    for hour in range(24 * 40):
        day = hour // 24
        counts = {f"{n}": 5 for n in range(100)}
        if day in (9, 30):
            counts |= {f"{hour} {n}": 1 for n in range(850)}
        rows = {"events": [sum(counts.values())], "values/country": counts}
        for each in monitor.update(T0 + hour * HOUR, rows):
            if each.subject == "country, unseen category" and each.ongoing:
                told.add(day)
    assert told <= {9, 10, 30, 31}
    assert {9, 30} <= told


def test_too_many_values_that_are_accepted_are_tested_no_more() -> None:
    """A text that became an id: who accepts that has no alert on each new one again."""
    known = Known(DAY)
    for hour in range(48):
        known.unseen(T0 + hour * HOUR, {f"{n}": 5 for n in range(100)})
    flood = {f"new {n}": 1 for n in range(1_000)}
    assert known.unseen(T0 + 48 * HOUR, flood) == 1_000
    assert known.unseen(T0 + 49 * HOUR, flood, T0 + 48 * HOUR) == 1_000
    known.accept()
    assert known.unseen(T0 + 50 * HOUR, {"another": 7}) is None


def test_fewer_events_are_a_finding_once_two_references_have_passed() -> None:
    """Named as such, with how many are usual."""
    (opened, over) = steps(found_in(stream(12, fewer, an_hour=60)))
    assert opened[:2] == ("rate of events", True)
    assert over[:2] == ("rate of events", False)


def always(name: str, value: Any) -> Change:
    """Return what gives a feature one value for ever."""

    def change(message: Message, hour: int, rng: random.Random) -> Message:
        message["features"][name] = value
        return message

    return change


@pytest.mark.parametrize(
    "change",
    [
        always("level", 1e308),
        always("amount", float("nan")),
        always("amount", "x"),
        always("amount", 10**400),
    ],
)
def test_what_was_always_so_is_no_finding(change: Change) -> None:
    """1e308, or no number at all, from the first event on: the model is what may tell."""
    assert found_in(stream(5, change, an_hour=55)) == []


@pytest.mark.parametrize(
    ("name", "value", "subject", "says"),
    [
        ("amount", None, "amount, never there", "amount has had no value in any of the first"),
        (
            "country",
            None,
            "country, never there",
            "country has had no value in any of the first",
        ),
        ("amount", 3.0, "amount, never varied", "amount is 3.0 in all of the first"),
    ],
)
def test_what_was_so_of_all_events_is_told_until_it_is_not(
    name: str, value: Any, subject: str, says: str
) -> None:
    """All missing or constant, once the reference is over; never again once it was otherwise."""

    def change(message: Message, hour: int, rng: random.Random) -> Message:
        if hour < 96 or hour // 24 == 5:
            message["features"][name] = value
        return message

    found = [each for each in found_in(stream(6, change, an_hour=55)) if each.subject == subject]
    assert [each.ongoing for each in found] == [True] * 24 + [False]
    assert {(each.severity, each.first_seen_ms) for each in found} == {("warning", T0)}
    assert found[0].summary.startswith(f"{says} 4,015 events")
    assert found[0].samples == 73 * 55
    assert found[0].fields == (name,)


def test_what_was_always_so_is_told_no_more_once_it_is_accepted() -> None:
    """It may be so on purpose, for good; and of few events nothing is told."""

    def told(events: int, accept: bool = False) -> int:
        monitor, found = QualityMonitor(SPEC, PIPELINE, alarm_ms=30.0 * DAY), 0
        for hour in range(24 * 8):
            if accept and hour == 24 * 4:
                assert monitor.relearn("data_quality/seldom, never there")
            rows = {"events": [events], "null/seldom": [events]}
            found += len(monitor.update(T0 + hour * HOUR, rows))
        return found

    assert (told(55), told(55, accept=True), told(10)) == (24 * 5, 24, 0)


def refusing(
    share: Callable[[int], float], days: int, accept_day: int = -1
) -> list[tuple[int, bool]]:
    """Return on which days it begins and ends to be told that the learner refuses outcomes."""
    monitor, found, is_open = QualityMonitor(DataQuality(), PIPELINE, alarm_ms=1e30), [], False
    for hour in range(24 * days):
        refused = round(60 * share(hour))
        rows: dict[str, Any] = {"events": [60]} | ({"learn/odd": [refused]} if refused else {})
        if hour == 24 * accept_day:
            assert monitor.relearn("data_quality/dead letters, learn odd")
            is_open = False
        for each in monitor.update(T0 + hour * HOUR, rows):
            assert each.subject == "dead letters, learn odd"
            if each.ongoing != is_open:
                is_open = each.ongoing
                found.append((hour // 24, is_open))
    return found


def test_a_learner_that_refused_all_from_the_first_outcome_on_is_told() -> None:
    """Though that is usual: labels come a day late, and for nine events of ten."""

    def share(hour: int) -> float:
        return 0.9 if hour >= 24 and (hour < 24 * 15 or hour >= 24 * 25) else 0.0

    assert refusing(share, 15) == [(1, True)]
    assert refusing(share, 25) == [(1, True), (16, False)]
    assert refusing(share, 30, accept_day=5) == [(1, True), (26, True)]


def test_what_a_learner_refuses_that_is_behind_is_counted_where_events_are() -> None:
    """Buckets before may be sealed; what is refused of events has its own."""
    fold = QualityFold(0, SPEC, PIPELINE)
    fold.update(stream(1, an_hour=1)[:6])
    told = {"reason": "odd", "watermark_ms": T0}
    fold.update([{**told, "series": "learn/"}, {**told, "series": "dead/"}])
    counted = {bucket["bucket_ms"]: bucket["series"] for bucket in fold.take()}
    assert (counted[T0]["dead/odd"], counted[T0 + 5 * HOUR]["learn/odd"]) == ([1], [1])
    assert "learn/odd" not in counted[T0]


def test_a_learner_that_refuses_some_of_a_days_labels_at_once_is_not() -> None:
    """They are as many as a bucket has events, and a twentieth of the day's."""
    assert refusing(lambda hour: 1.2 if hour % 24 == 3 else 0.0, 6) == []


def test_event_time_that_stands_still_is_one_bucket() -> None:
    """A hundred thousand events of one moment: nothing to say."""
    messages = stream(1, an_hour=2_000)
    for message in messages:
        message["event_time_ms"] = T0
    assert found_in(messages) == []


def test_dead_letters_of_a_million_kinds_fill_no_memory() -> None:
    """What is in a record never names a series without end."""
    messages: list[Message] = [
        {"reason": f"odd {n}", "series": "dead/", "watermark_ms": T0 + n % 5 * HOUR}
        for n in range(20_000)
    ]
    fold = QualityFold(0, SPEC, PIPELINE)
    fold.update(messages)
    assert max(len(bucket["series"]) for bucket in fold.take()) <= 1_000
    found_in(messages)


@pytest.mark.parametrize(
    "headers",
    [{}, {"stage": b"drift", "reason": b"not_json", "watermark_ms": b"5"},
     {"stage": b"learn", "reason": b"model_failed"},
     {"stage": b"score", "reason": b"unknown_id", "watermark_ms": b"5"},
     {"stage": b"score", "reason": b"not_json"}],
)  # fmt: skip
def test_dead_letters_of_no_event_are_not_counted(headers: dict[str, bytes]) -> None:
    """Those of labels and of other stages, and those from before they said a time."""
    assert read_dead_letter(headers) is None


@pytest.mark.parametrize("days", [1, 9])
def test_a_field_that_was_always_there_and_goes_is_told_at_once(days: int) -> None:
    """Never null before, then in all events: within two buckets, the reference over or not."""

    def gone(message: Message, hour: int, rng: random.Random) -> Message:
        if hour >= 24 * days:
            message["features"]["amount"] = None
        return message

    told = [each for each in found_in(stream(days + 1, gone)) if each.subject == "amount, missing"]
    assert T0 + days * DAY <= told[0].first_seen_ms <= T0 + days * DAY + HOUR
    assert told[0].severity == "critical"
