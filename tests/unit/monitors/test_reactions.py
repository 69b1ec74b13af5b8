"""Reactions: more, fewer and other ones are found; none is counted twice or lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.codec import JsonCodec
from streamproc.errors import DefinitionError
from streamproc.monitors import Reactions
from streamproc.monitors.finding import Finding
from streamproc.monitors.reactions import ReactionMonitor
from streamproc.monitors.sketch import Sketch, unpacked
from streamproc.tasks.fold import predictions_task
from streamproc.tasks.records import PlainRecord
from tests.unit.tasks.kit import NOW_MS, headers_of, outcome, pipeline

HOUR, DAY = 3_600_000, 86_400_000
CLICKS = Reactions("shop.clicks", id="order", value="stars", time="at", reference="3d")
PREDICTIONS, TOPIC = "shop.predictions", "shop.clicks"


def found_in(
    rate: Callable[[int], float], value: Callable[[int, random.Random], float], days: int = 14
) -> list[Finding]:
    """Judge 200 predictions an hour, some of which are reacted to."""
    rng = random.Random(4)
    monitor, found = ReactionMonitor(CLICKS, alarm_ms=30.0 * DAY), []
    for hour in range(24 * days):
        values = [value(hour // 24, rng) for _ in range(200) if rng.random() < rate(hour // 24)]
        rows: dict[str, Any] = {"predictions": [200]}
        if values:
            rows["values"] = Sketch.of(np.array(values)).packed()
        found += monitor.update(hour * HOUR, rows)
    return found


@pytest.mark.parametrize(
    ("rate", "value", "subject"),
    [
        (lambda day: 0.2 if day == 9 else 0.1, lambda day, rng: 1.0, "shop.clicks, how many"),
        (lambda day: 0.02 if day == 9 else 0.1, lambda day, rng: 1.0, "shop.clicks, how many"),
        (lambda day: 0.0 if day == 9 else 0.1, lambda day, rng: 1.0, "shop.clicks, how many"),
        (lambda day: 0.1, lambda day, rng: rng.gauss(3.0 + (day == 9), 1), "shop.clicks, stars"),
        (lambda day: 0.1, lambda day, rng: float(rng.random() < (0.6 if day == 9 else 0.3)),
         "shop.clicks, stars"),
    ],
)  # fmt: skip
def test_a_day_of_other_reactions_is_found_and_over(rate: Any, value: Any, subject: str) -> None:
    """Named by topic and value, from the day on, and resolved."""
    found = found_in(rate, value)
    assert {each.subject for each in found} == {subject}
    assert found[0].first_seen_ms // DAY == 9
    assert (found[0].ongoing, found[-1].ongoing) == (True, False)


def test_usual_reactions_are_no_finding() -> None:
    """For a month."""
    assert found_in(lambda day: 0.1, lambda day, rng: rng.gauss(3.0, 1), 30) == []


def records(topic: str, values: list[Any], first: int = 0) -> list[PlainRecord]:
    """Return a topic's records."""
    return [
        PlainRecord(topic, first + at, 7 * HOUR, b"k", orjson.dumps(value))
        for at, value in enumerate(values)
    ]


TIMES = st.lists(st.integers(0, 5 * HOUR), min_size=1, max_size=30)


@settings(max_examples=25, deadline=None)
@given(TIMES, TIMES, st.lists(st.integers(1, 9), min_size=2), st.sets(st.integers(0, 9)))
def test_each_is_counted_once_wherever_it_is_cut(
    predicted: list[int], reacted: list[int], sizes: list[int], crashes: set[int]
) -> None:
    """A restart goes on, on both topics, from where sums were sent."""
    made = pipeline(monitors=[CLICKS])
    logs = {
        PREDICTIONS: records(
            PREDICTIONS, [{**outcome(n, t), "event_time_ms": t} for n, t in enumerate(predicted)]
        ),
        TOPIC: records(TOPIC, [{"order": 1, "stars": 3, "at": t} for t in reacted]),
    }
    task, at = predictions_task(made, 0, JsonCodec()), dict.fromkeys(logs, 0)
    committed, sent = dict(at), list[dict[str, Any]]()
    for round_ in range(45):
        for number, (topic, log) in enumerate(logs.items()):
            size = sizes[(round_ + number) % len(sizes)]
            part = log[at[topic] : at[topic] + size]
            at[topic] += len(part)
            task.take(topic, part, at[topic] == len(log), NOW_MS)
        output = task.process(NOW_MS + round_ * 200)
        sent += [orjson.loads(out["value"] or b"") for out in output.records.get("buckets", ())]
        committed |= task.positions()
        if round_ in crashes:
            task, at = predictions_task(made, 0, JsonCodec()), dict(committed)
    buckets = [bucket["series"] for each in sent for bucket in each["buckets"]]
    assert sum(rows.get("predictions", [0])[0] for rows in buckets) == len(predicted)
    assert sum(unpacked(rows["values"]).n for rows in buckets if "values" in rows) == len(reacted)


def test_sums_wait_for_a_topic_that_is_behind() -> None:
    """The watermark told is that of the slower one, until it is read to its end."""
    task = predictions_task(pipeline(monitors=[CLICKS]), 0, JsonCodec())
    task.take(TOPIC, records(TOPIC, [{"order": 1, "stars": 3, "at": 2 * HOUR}]), False, NOW_MS)
    late = [{**outcome(1, 5), "event_time_ms": 9 * HOUR}]
    task.take(PREDICTIONS, records(PREDICTIONS, late), True, NOW_MS)
    (out,) = task.process(NOW_MS).records["buckets"]
    told = orjson.loads(out["value"] or b"")
    assert (told["watermark_ms"], told["caught_up"]) == (2 * HOUR, False)
    task.take(TOPIC, [], True, NOW_MS)
    (out,) = task.process(NOW_MS + 1000).records["buckets"]
    told = orjson.loads(out["value"] or b"")
    assert (told["watermark_ms"], told["caught_up"]) == (9 * HOUR, True)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"stars": 3, "at": 1}, "missing_id"),
        ({"order": 1, "at": 1}, "field_not_number"),
        ({"order": 1, "stars": "3", "at": 1}, "field_not_number"),
        ({"order": 1, "stars": 1e200, "at": 1}, "field_not_number"),
        ({"order": 1, "stars": 3}, "missing_time"),
        ({"order": 1, "stars": 3, "at": "soon"}, "time_not_valid"),
        ({"order": 1, "stars": 3, "at": "9999-01-01T00:00:00Z"}, "time_in_future"),
        ([], "not_an_object"),
    ],
)
def test_a_reaction_that_says_nothing_is_a_dead_letter(value: Any, reason: str) -> None:
    """And the others are counted."""
    task = predictions_task(pipeline(monitors=[CLICKS]), 0, JsonCodec())
    task.take(TOPIC, records(TOPIC, [value, {"order": 2, "stars": True, "at": 5}]), True, NOW_MS)
    output = task.process(NOW_MS)
    (letter,) = output.records["dead_letters"]
    assert (headers_of(letter)["reason"], headers_of(letter)["stage"]) == (reason, "drift")
    (out,) = output.records["buckets"]
    (bucket,) = orjson.loads(out["value"] or b"")["buckets"]
    assert unpacked(bucket["series"]["values"]).values.tolist() == [1.0]


def test_a_topic_that_is_declared_twice_is_refused() -> None:
    """As that of the events would be."""
    for topic in (CLICKS.topic, "shop.orders"):
        with pytest.raises(DefinitionError, match="declared twice"):
            pipeline(monitors=[CLICKS, Reactions(topic, id="order", value="stars")])
    with pytest.raises(DefinitionError, match="Reactions: value"):
        Reactions("shop.clicks", id="order", value="")
