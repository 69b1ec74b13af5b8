"""Data quality and health from events to alerts: the tasks that a worker runs, with no broker."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from river import linear_model

from streamproc import DataQuality, Events, Field, Health, Labels, Pipeline, Reactions, Replay
from streamproc.errors import BadRecord
from streamproc.models.scoring import Learner
from streamproc.state.files import Files
from streamproc.state.snapshots import Snapshots
from streamproc.tasks.judging import thawed
from streamproc.tasks.records import Output
from streamproc.timeline import Entry
from tests.unit.tasks.judging_kit import keep, plain

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
DAYS = 8
LINEAR: Any = linear_model.LinearRegression


def made(**changed: Any) -> Pipeline:
    """Return a pipeline that learns a number."""
    definition: dict[str, Any] = {
        "name": "tank",
        "events": Events("tank.readings", id="id", key="tank", time="at"),
        "labels": Labels("tank.levels", id="id", value="level", time="at"),
        "features": [Field("heat", least=-50, most=150), Field("flow")],
        "model": LINEAR(),
        "monitors": [DataQuality(reference="2d"), Health()],
        "publish_every": 100,
    }
    return Pipeline(**{**definition, **changed})


def entries(change: Callable[[dict[str, Any], int], None]) -> Iterator[Entry]:
    """Yield an event a minute, and of each the label half an hour later."""
    rng = random.Random(5)
    for n in range(DAYS * 24 * 60):
        fields = {"id": n, "tank": "t", "at": n * MINUTE, "heat": rng.gauss(20, 5)}
        fields["flow"] = rng.random()
        change(fields, n * MINUTE // DAY)
        yield Entry("event", n * MINUTE, b"t", orjson.dumps(fields))
        if n >= 30:
            known = {"id": n - 30, "level": rng.random(), "at": n * MINUTE}
            yield Entry("label", n * MINUTE, b"t", orjson.dumps(known))


def alerts(
    change: Callable[[dict[str, Any], int], None], **changed: Any
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Return what a replay alerts, and how much it wrote by role."""
    return alerts_in(entries(change), **changed)


def alerts_in(stream: Iterator[Entry], **changed: Any) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Return what a replay of a stream alerts, and how much it wrote by role."""
    found: list[dict[str, Any]] = []
    written: Counter[str] = Counter()

    def take(output: Output) -> None:
        for role, outs in output.records.items():
            written[role] += len(outs)
        found.extend(orjson.loads(out["value"] or b"") for out in output.records.get("alerts", ()))

    Replay(made(**changed), DAYS * DAY, take).run(stream)
    return found, written


def test_text_in_place_of_numbers_is_found_by_its_dead_letters() -> None:
    """A tenth of a day's readings: named, dated, and resolved when it is over."""

    def change(fields: dict[str, Any], day: int) -> None:
        if day == 5 and fields["id"] % 10 == 0:
            fields["heat"] = "20.5"

    found, written = alerts(change)
    assert written["dead_letters"] > 100
    assert {each["key"] for each in found} == {
        "data_quality/dead letters, field_not_number of heat"
    }
    assert [each["status"] for each in found] == ["open", "resolved"]
    assert found[0]["first_seen_ms"] // DAY == 5
    assert 0.08 < found[0]["observed"] < 0.12


def test_a_learner_that_refuses_all_outcomes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model bears no label of the sixth day: events are scored, and none of them is learnt."""
    learn, refused = Learner.learn, set[float]()

    def fail(learner: Learner, features: Any, label: Any) -> None:
        if label in refused:
            raise BadRecord("model_failed", "ValueError: cannot bear this")
        learn(learner, features, label)

    monkeypatch.setattr(Learner, "learn", fail)

    def stream() -> Iterator[Entry]:
        for entry in entries(lambda fields, day: None):
            if entry.kind == "label" and entry.time_ms // DAY == 5:
                refused.add(orjson.loads(entry.value)["level"])
            yield entry

    found, written = alerts_in(stream())
    assert written["dead_letters"] == 24 * 60
    assert [(each["key"], each["status"]) for each in found] == [
        ("data_quality/dead letters, learn model_failed", "open"),
        ("data_quality/dead letters, learn model_failed", "resolved"),
    ]
    assert found[0]["first_seen_ms"] // DAY == 5
    assert 0.9 < found[0]["observed"] <= 1


def test_what_is_out_of_its_range_is_scored_and_found() -> None:
    """Another unit for a day."""

    def change(fields: dict[str, Any], day: int) -> None:
        if day == 5:
            fields["heat"] += 273.15

    found, written = alerts(change)
    assert written["predictions"] == DAYS * 24 * 60
    assert [each["status"] for each in found] == ["open", "resolved"]
    assert found[0]["key"] == "data_quality/heat, out of range"
    assert "-50..150" in found[0]["summary"]


def test_a_model_that_explodes_is_an_alert_and_scores_go_on() -> None:
    """One reading of 1e140 in a day: it is refused by no rule, and no score is lost."""

    def change(fields: dict[str, Any], day: int) -> None:
        if fields["id"] == 5 * 24 * 60:
            fields["flow"] = 1e140

    found, written = alerts(change)
    assert written["dead_letters"] == 0
    assert written["predictions"] == DAYS * 24 * 60
    (opened, resolved) = found
    assert (opened["kind"], opened["key"], opened["status"]) == ("health", "health/model", "open")
    assert "look at flow first" in opened["summary"]
    assert resolved["status"] == "resolved"


def test_the_judge_of_all_this_is_read_back_from_a_snapshot() -> None:
    """With what is open, and what it knows to be usual."""

    def change(fields: dict[str, Any], day: int) -> None:
        if day == DAYS - 1:
            fields["heat"] += 273.15

    monitors = [*made().monitors, Reactions("tank.notes", id="id", value="stars")]
    replay = Replay(made(monitors=monitors), DAYS * DAY, lambda output: None)
    replay.run(entries(change))
    task: Any = replay._down["buckets"][0]
    assert [each["status"] for each in task.judge.open_alerts()] == ["open"]
    files = Files(f"memory://{uuid.uuid4()}")
    snapshots = Snapshots(files, "judge", {}, lambda name, why: None)
    keep(snapshots, task, 5)
    snapshot = snapshots.newest((5, 0))
    assert snapshot is not None
    assert plain(thawed(snapshot)) == plain(task.judge)


def test_where_all_is_well_nothing_is_said() -> None:
    """Eight days of it."""
    found, _ = alerts(lambda fields, day: None)
    assert found == []


def test_a_clock_that_is_off_is_told_by_its_producer_from_events_to_alerts() -> None:
    """Its events say ten minutes before they came; that of a file is the event's own time."""

    def stream(from_file: bool) -> Iterator[Entry]:
        for n in range(DAYS * 24 * 200):
            at_ms, pump = n * 18_000, f"p{n % 4}"
            said_ms = at_ms - 10 * MINUTE * (pump == "p2" and at_ms // DAY == 5)
            fields = {"id": n, "tank": "t", "at": said_ms, "pump": pump, "heat": 20.0 + n % 7}
            yield Entry("event", said_ms if from_file else at_ms, b"t", orjson.dumps(fields))

    monitors = [DataQuality(reference="2d", producer="pump")]
    changed: Any = {"features": [Field("heat")], "monitors": monitors}
    found, written = alerts_in(stream(from_file=False), **changed)
    assert written["predictions"] == DAYS * 24 * 200
    assert [(each["key"], each["status"]) for each in found] == [
        ("data_quality/clock/pump=p2", "open"),
        ("data_quality/clock/pump=p2", "resolved"),
    ]
    assert found[0]["first_seen_ms"] // DAY == 5
    in_order = sorted(stream(from_file=True), key=lambda entry: entry.time_ms)
    assert alerts_in(iter(in_order), **changed)[0] == []
