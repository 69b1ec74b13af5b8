"""Past predictions made again: equal where nothing was changed, and told where something was."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from river import linear_model

from agents.restore import without
from streamproc.audit import END, Rebuilt, explain, rebuild, same, verify
from streamproc.codec import JsonCodec
from streamproc.features import Field, LabelWindow, Log, Lookup, Window
from streamproc.features.lookup_tables import LatestTables, NamedRows
from streamproc.models.scoring import Scorer
from streamproc.pipeline import Pipeline
from streamproc.tasks.bounds import Bounds
from streamproc.tasks.records import Record
from tests.unit.tasks.kit import EVENTS, LABELS, Scoring, event, label, pipeline, record

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
    left = without({EVENTS: refused or set()}, events)
    return list(rebuild(pipeline(), JsonCodec(), left))


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


def test_a_window_that_tumbles_says_what_came_since_its_boundary() -> None:
    """Of the card's payments at 100, 130 and 135 ms, those from 120 on."""
    windows = Window("amount", by="card", over=("60ms",), aggregates=("count", "sum"), every="60ms")
    tumbling = pipeline(features=[windows])
    predictions, events = ran()
    events_made = rebuild(tumbling, JsonCodec(), events, set())
    found = explain(tumbling, predictions[3], events_made, scorer_of)
    assert dict(found.windows) == {name: [1, 3] for name in windows.names}
    assert found.rebuilt is not None
    assert found.rebuilt.features == dict(zip(windows.names, (2, 6.0), strict=True))


def test_same_means_the_type_too() -> None:
    """JSON tells 1 from 1.0 and true."""
    assert not any((same(1, True), same(1.0, 1), same({"a": 1}, {"b": 1}), same(None, 0)))
    assert same({"a": {"b": 0.1}}, {"a": {"b": 0.1}})


class Choosy(linear_model.LogisticRegression):
    """A model that makes nothing of some events."""

    def predict_proba_one(self, x: Any, **kwargs: Any) -> Any:
        """Raise for amounts that are whole tens."""
        if x["amount"] % 10 == 0:
            raise ValueError("cannot bear this")
        return super().predict_proba_one(x)  # type: ignore[no-untyped-call]


def over_labels() -> Pipeline:
    """Return a pipeline with windows over labels, and a model that fails now and then."""
    return pipeline(
        model=Choosy(),
        features=[
            Field("amount"),
            Window("amount", by="card", over=("200ms",), aggregates=("count", "mean")),
            LabelWindow(by="card", over=("50ms", "300ms"), aggregates=("count", "mean")),
        ],
    )


class Journalled(Scoring):
    """A task with labels that are on their way for a while, and the journal of its transactions."""

    def __init__(self, seed: int) -> None:
        super().__init__(over_labels())
        self.task.bounds = bounds = Bounds()
        self.task.take_up(Scorer(Choosy(), "binary", None, 0.5, "main@1"))
        self.logs: dict[str, list[Record]] = {EVENTS: [], LABELS: []}
        self.steps: list[tuple[int, int]] = []
        self.commits: list[tuple[int, int]] = []
        draw, clock_ms, known = random.Random(seed), 1_000, list[tuple[int, int]]()
        for number in range(400):
            clock_ms += draw.randrange(4)
            at = clock_ms - draw.choice((0, 0, 0, 15, 40))
            self.keep(EVENTS, event(number, at, draw.randrange(3), float(draw.randrange(1, 60))))
            known.append((clock_ms + draw.choice((-5, 0, 30, 1_200)), number))
            while known and draw.random() < 0.5:  # it comes after events that are later than it
                known_ms, of = known.pop(draw.randrange(len(known)))
                self.keep(LABELS, label(of if draw.random() < 0.95 else 10_000 + of, known_ms))
            if draw.random() < 0.4:
                self.run(most=draw.choice((3, 500)))
                if draw.random() < 0.5:
                    self.commit(bounds)
        self.run()
        self.commit(bounds)

    def commit(self, bounds: Bounds) -> None:
        """Write the journal: where the task is in its inputs, and was between its batches."""
        at = self.task.positions()
        self.commits.append((at[EVENTS], at.get(LABELS, 0)))
        self.steps += [*bounds.take(), self.commits[-1]]

    def keep(self, topic: str, value: Any) -> None:
        """Append to a log, and remember it."""
        self.logs[topic].append(record(topic, self.offsets[topic], value))
        self.put(topic, value)


@pytest.mark.parametrize("seed", range(5))
def test_windows_over_labels_are_what_they_were(seed: int) -> None:
    """Each label is where it came in, by the journal; by the times alone some are elsewhere."""
    live = Journalled(seed)
    wanted = {each["id"]: each["features"] for each in live.said("predictions")}
    failed = {str(n) for n in range(400)} - wanted.keys()
    assert (len(failed) > 10, set(live.reasons()) > {"model_failed"}) == (True, True)

    def again(steps: Sequence[tuple[int, int]], unscored: set[str]) -> dict[str, Any]:
        found = rebuild(
            over_labels(), JsonCodec(), live.logs[EVENTS], live.logs[LABELS], steps, unscored
        )
        return {each.id: each.features for each in found if each.id in wanted}

    assert again(live.steps, failed) == wanted
    assert sum(each["label_count_300ms_by_card"] > 0 for each in wanted.values()) > 200
    assert again([END], failed) != wanted
    assert again(live.commits, failed) != wanted
    assert again(live.steps, set()) != wanted


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
    again = rebuild(made, JsonCodec(), events, rows=named)
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
