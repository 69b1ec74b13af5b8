"""Past predictions made again: equal where nothing was changed, and told where something was."""

from __future__ import annotations

from typing import Any

import pytest

from streamproc.audit import Rebuilt, explain, rebuild, same, verify
from streamproc.codec import JsonCodec
from streamproc.features import Field, Log, Lookup
from streamproc.features.lookup_tables import LatestTables, NamedRows
from streamproc.models.scoring import Scorer
from streamproc.pipeline import Pipeline
from streamproc.tasks.records import Record
from tests.unit.tasks.kit import EVENTS, Scoring, event, pipeline, record

CARDS = (7, 7, 8, 7, 7, 8)
TIMES_MS = (100, 130, 140, 135, 60, 330)  # the fifth is later than the 20 ms allowed


def ran() -> tuple[list[dict[str, Any]], list[Record]]:
    """Return the predictions of a few events, one of them late, and the events."""
    events = [
        event(n, at, card=card, amount=float(n))
        for n, (at, card) in enumerate(zip(TIMES_MS, CARDS, strict=True), 1)
    ]
    scoring = Scoring().put(EVENTS, *events).run()
    return scoring.said("predictions"), [record(EVENTS, n, each) for n, each in enumerate(events)]


def scorer_of(name: str) -> Scorer:
    """Return the model that had learnt nothing."""
    made = pipeline()
    return Scorer(made.new_model(), made.kind, made.classes, made.threshold, name)


def rebuilt(events: list[Record], refused: set[int] | None = None) -> list[Rebuilt]:
    """Make events again."""
    return list(rebuild(pipeline(), JsonCodec(), events, refused or set()))


def test_a_log_as_it_was_gives_what_was_published() -> None:
    """Late events too, each once, and nothing differs."""
    predictions, events = ran()
    wanted = {each["id"]: each for each in predictions}
    found = list(verify(wanted, rebuilt(events), scorer_of))
    assert [each.prediction["id"] for each in found] == ["1", "2", "3", "4", "5", "6"]
    assert [each.differences for each in found] == [[]] * 6
    assert [each.rebuilt.late for each in found if each.rebuilt] == [False] * 4 + [True, False]


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"score": 0.25}, ["score"]),
        ({"decision": False}, ["decision"]),
        ({"features": {"amount": 2}}, ["amount"]),
    ],
)
def test_what_was_changed_is_named(change: dict[str, Any], differs: list[str]) -> None:
    """A score, a decision, a feature, and an integer in place of the float of its value."""
    predictions, events = ran()
    said = {**predictions[1], **change, "features": dict(predictions[1]["features"])}
    said["features"] |= change.get("features", {})
    (found,) = verify({"2": said}, rebuilt(events), scorer_of)
    assert found.differences == differs


def test_an_event_that_is_gone_is_told_of() -> None:
    """Its prediction can't be made again, and those after it are not what they were."""
    predictions, events = ran()
    found = list(verify({each["id"]: each for each in predictions}, rebuilt(events[1:]), scorer_of))
    assert found[-1].differences == ["event"]
    assert found[-1].prediction["id"] == "1"
    assert "amount_count_200ms_by_card" in found[0].differences


def test_an_event_that_was_refused_then_stays_out() -> None:
    """Its time may have come since."""
    _, events = ran()
    assert [each.offset for each in rebuilt(events, refused={1})] == [0, 2, 3, 4, 5]


def test_each_window_says_which_records_were_in_it() -> None:
    """By offset: of the same card, inside the span, at that moment; a late one in none."""
    predictions, events = ran()
    found = explain(pipeline(), predictions[3], iter(rebuilt(events)), scorer_of)
    assert found.differences == []
    assert found.windows["amount_count_50ms_by_card"] == [0, 1, 3]
    late = explain(pipeline(), predictions[4], iter(rebuilt(events)), scorer_of)
    assert late.windows["amount_sum_50ms_by_card"] == [4]
    for name, offsets in found.windows.items():
        if "_count_" in name:
            assert len(offsets) == predictions[3]["features"][name]


def test_same_means_the_type_too() -> None:
    """JSON tells 1 from 1.0 and true."""
    assert not any((same(1, True), same(1.0, 1), same({"a": 1}, {"b": 1}), same(None, 0)))
    assert same({"a": {"b": 0.1}}, {"a": {"b": 0.1}})


PROFILE = Lookup("profiles", by="card", fields=("age", Field("segment", "text")))


def looked_up() -> tuple[Pipeline, list[dict[str, Any]], list[Record]]:
    """Return a pipeline that looks cards up, its predictions, and their events.

    The row of card 7 is another one from the second event on; card 8 has none.
    """
    made = pipeline(features=[Field("amount"), PROFILE, Log("age_of_card")])
    events = [event(n, 100 + n, card=card) for n, card in enumerate((7, 7, 8))]
    scoring = Scoring(made)
    tables = LatestTables([PROFILE])
    scoring.task.look_up(tables.find)
    rows = tables.by_topic["profiles"]
    rows.put("7", (1, 40, 30, "basic"))
    scoring.put(EVENTS, events[0]).run()
    rows.put("7", (1, 41, 31, "gold"))
    scoring.put(EVENTS, *events[1:]).run()
    records: list[Record] = [record(EVENTS, n, each) for n, each in enumerate(events)]
    return made, scoring.said("predictions"), records


ROWS = {
    ("profiles", "1@40"): ("7", (1, 40, 30, "basic")),
    ("profiles", "1@41"): ("7", (1, 41, 31, "gold")),
}


def remade(
    rows: dict[tuple[str, str], tuple[str, tuple[Any, ...]]], **change: Any
) -> tuple[list[list[str]], list[tuple[str, ...]]]:
    """Return what differs of each prediction, made again with these rows, and which were gone."""
    made, predictions, events = looked_up()
    wanted = {each["id"]: each | change for each in predictions}
    named = NamedRows(made.lookups, wanted, rows)
    again = rebuild(made, JsonCodec(), events, (), named)
    scorer = Scorer(made.new_model(), made.kind, made.classes, made.threshold, "main@0")
    found = list(verify(wanted, again, lambda name: scorer))
    return [each.differences for each in found], [
        each.rebuilt.gone for each in found if each.rebuilt
    ]


def test_a_prediction_is_made_again_with_the_row_that_it_names() -> None:
    """Not with the newest: that came later. What an encoder made of it is the same as well."""
    assert remade(ROWS) == ([[], [], []], [(), (), ()])


def test_a_row_that_was_compacted_away_is_told_of_and_taken_as_published() -> None:
    """What stands on it is computed, so that a model's fault would still be seen."""
    only_newest = {("profiles", "1@41"): ROWS["profiles", "1@41"]}
    assert remade(only_newest) == ([[], [], []], [("1@40 of profiles",), (), ()])


def test_a_row_that_says_something_else_is_a_difference() -> None:
    """In its values, or since it is of another entity; what an encoder makes of it too."""
    other = {**ROWS, ("profiles", "1@41"): ("7", (1, 41, 99, "gold"))}
    assert remade(other)[0] == [[], ["age_of_card", "age_of_card_log"], []]
    foreign = {**ROWS, ("profiles", "1@41"): ("8", (1, 41, 31, "gold"))}
    assert remade(foreign)[0] == [[], ["age_of_card", "segment_of_card", "age_of_card_log"], []]
