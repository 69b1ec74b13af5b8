"""All monitors together, on input as bad as it gets: no crash, no false page, a finding where due.

The path is that of production, from records to alerts, with no broker.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from math import exp
from typing import Any

import orjson
import pytest
from river import compose, linear_model, preprocessing

from streamproc import (
    Calibration,
    ConceptDrift,
    DataQuality,
    Drift,
    Events,
    Field,
    Health,
    Labels,
    LabelShift,
    Performance,
    Pipeline,
    PredictionBias,
    Reactions,
    Replay,
)
from streamproc.tasks.records import Output
from streamproc.timeline import Entry

pytestmark = pytest.mark.timeout(300)  # all monitors at once, with as many slices as there may be

HOUR, DAY = 3_600_000, 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY
AN_HOUR = 24
DAYS, TURN = 16, 12
"""How many days, and from which one on input turns bad where it wasn't from the beginning."""

ZERO_RULE = "performance/zero_rule"
NEVER_THERE = [f"data_quality/{name}, never there" for name in ("amount", "level", "country")]
NEVER_VARIED = [f"data_quality/{name}, never varied" for name in ("amount", "level")]

Row = dict[str, Any]
Change = Callable[[Row, random.Random], None]


def pipeline() -> Pipeline:
    """Return a pipeline that watches all that can be watched."""
    return Pipeline(
        name="shop",
        events=Events("shop.orders", id="id", key="card", time="at"),
        labels=Labels("shop.labels", id="id", value="fraud", horizon="90d"),
        features=[Field("amount", most=1e6), Field("level"), Field("country", "text")],
        model=compose.Discard("country")
        | preprocessing.StandardScaler()
        | linear_model.LogisticRegression(),
        monitors=[
            Drift(reference="3d"),
            PredictionBias(slices=("country",)),
            Calibration(),
            LabelShift(),
            ConceptDrift(),
            Performance(window="3d", slices=("country",)),
            DataQuality(bucket="3h", reference="3d"),
            Health(),
            Reactions("shop.overrides", id="id", value="wrong", reference="3d"),
        ],
        publish_every=500,
        false_alarms="1 per 1000d",  # so that what is told has a reason
    )


def entries(change: Change, from_day: int, days: int, an_hour: int) -> Iterator[Entry]:
    """Yield orders, their labels a day late, and of one in ten that it was overridden."""
    rng, waiting = random.Random(7), list[tuple[int, int, Entry]]()
    for n in range(days * 24 * an_hour):
        at_ms = T0 + n * HOUR // an_hour
        amount = rng.gauss(0, 1)
        row: Row = {
            "id": n,
            "card": "c",
            "at": at_ms,
            "amount": 50 + 10 * amount,
            "level": rng.random(),
            "country": rng.choice(("NL", "BE", "DE")),
            "fraud": int(rng.random() < 1 / (1 + exp(2 - amount))),
            "late_ms": DAY,
        }
        if at_ms >= T0 + from_day * DAY:
            change(row, rng)
        label, late_ms = row.pop("fraud"), row.pop("late_ms")
        while waiting and waiting[0][0] <= at_ms:
            yield heappop(waiting)[2]
        yield Entry("event", at_ms, b"c", orjson.dumps(row))
        if label is not None:
            said = orjson.dumps({"id": n, "fraud": label})
            due = Entry("label", at_ms + late_ms, b"c", said)
            heappush(waiting, (due.time_ms, n, due))
        if rng.random() < 0.1 and abs(row["amount"] or 0) < 1e100:
            said = orjson.dumps({"id": n, "wrong": True})
            yield Entry("reaction", at_ms, b"c", said, "shop.overrides")
    yield from (each for _, _, each in sorted(waiting))


def told_of(
    change: Change, from_day: int, days: int = DAYS, an_hour: int = AN_HOUR
) -> list[dict[str, Any]]:
    """Return all steps of alerts."""
    told: list[dict[str, Any]] = []

    def take(output: Output) -> None:
        told.extend(orjson.loads(out["value"] or b"") for out in output.records.get("alerts", ()))

    Replay(pipeline(), T0 + 400 * DAY, take).run(entries(change, from_day, days, an_hour))
    return told


def missing(row: Row, rng: random.Random) -> None:
    """All values are null."""
    row |= {"amount": None, "level": None, "country": None}


def constant(row: Row, rng: random.Random) -> None:
    """All values are the same."""
    row |= {"amount": 42.0, "level": 0.5, "country": "NL"}


def huge(row: Row, rng: random.Random) -> None:
    """Most amounts are near the largest float."""
    if rng.random() < 0.7:
        row["amount"] = rng.choice((1e308, -1e308))


def a_million_values(row: Row, rng: random.Random) -> None:
    """A category has another value each time."""
    row["country"] = f"{rng.randrange(1_000_000)}"


def no_labels(row: Row, rng: random.Random) -> None:
    """No label comes."""
    row["fraud"] = None


def one_class(row: Row, rng: random.Random) -> None:
    """All labels are alike."""
    row["fraud"] = 0


def sixty_days_late(row: Row, rng: random.Random) -> None:
    """Labels take two months."""
    row["late_ms"] = 60 * DAY


def time_stands_still(row: Row, rng: random.Random) -> None:
    """All events are of one moment."""
    row["at"] = T0 + TURN * DAY


def features_of(alert: dict[str, Any]) -> set[str]:
    """Return what an alert is about."""
    return {f"{each['kind']}/{each['subject']}" for each in (alert, *alert["members"])}


@pytest.mark.parametrize(
    ("change", "due"),
    [
        (missing, {ZERO_RULE, *NEVER_THERE}),  # as is true of a model that is given nothing
        (constant, {ZERO_RULE, *NEVER_VARIED}),
        (huge, {"data_quality/dead letters"}),
        (a_million_values, set()),
        (no_labels, set()),
        (time_stands_still, set()),
    ],
)
def test_what_was_always_so_is_no_page(change: Change, due: set[str]) -> None:
    """From the first event on; what needs nothing usual to compare with may be told."""
    assert {each["key"] for each in told_of(change, 0)} <= due


@pytest.mark.parametrize(
    ("change", "due", "explained"),
    [
        (missing, {"amount, missing", "level, missing", "country, missing"},
         {"amount", "level", "country"}),
        (constant, {"amount, stuck", "level, stuck"}, set()),
        (huge, {"dead letters, number_out_of_range of amount"}, set()),
        (a_million_values, {"country, unseen category"}, {"country"}),
    ],
)  # fmt: skip
def test_what_turns_bad_is_a_finding_of_data_quality(
    change: Change, due: set[str], explained: set[str]
) -> None:
    """It is one alert, and has the drift that it causes; no other is open at the end but drift."""
    told = {each["key"]: each for each in told_of(change, TURN)}
    (fault,) = (each for each in told.values() if each["kind"] == "data_quality")
    assert {f"data_quality/{each}" for each in due} <= features_of(fault)
    assert {f"covariate_drift/{each}" for each in explained} <= features_of(fault)
    assert fault["first_seen_ms"] // DAY == T0 // DAY + TURN
    still = {each["kind"] for each in told.values() if each["status"] != "resolved"}
    worse = {"prior_drift", "concept_drift"}  # of a model that knows less
    assert still <= worse | ({"data_quality"} if explained else {"data_quality", "covariate_drift"})


def test_labels_that_are_all_alike_are_one_alert_in_the_end() -> None:
    """With what they make labels show; but for the scores of a model that learns from them."""
    told = told_of(one_class, TURN)
    of_labels = {"data_quality/labels, all one class", "label_shift/labels"}
    assert {each["key"] for each in told} == of_labels | {"prior_drift/score"}
    assert told[-1]["key"] == "data_quality/labels, all one class"
    assert of_labels <= features_of(told[-1])


@pytest.mark.parametrize("change", [no_labels, time_stands_still])
def test_what_stops_is_no_page_of_what_is_measured(change: Change) -> None:
    """Nothing is known then; health tells, by the clock, that nothing comes."""
    assert told_of(change, TURN) == []


def test_labels_two_months_late_are_no_page() -> None:
    """They are judged when they come."""
    assert told_of(sixty_days_late, 0, days=72, an_hour=4) == []
