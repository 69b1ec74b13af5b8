"""What is looked up on an event's way: in its prediction, in its outcome, and never in a window."""

from __future__ import annotations

from typing import Any

from streamproc.codec import JsonCodec
from streamproc.features import Field, Lookup
from streamproc.features.lookup_tables import LatestTables
from streamproc.tasks.records import PlainRecord
from tests.unit.tasks.kit import EVENTS, LABELS, Scoring, event, label, pipeline

PROFILE = Lookup("profiles", by="card", fields=("age", Field("segment", "text")))
DECODE = JsonCodec().decode_input


def scoring(**changed: Any) -> tuple[Scoring, LatestTables]:
    """Return a task that looks cards up, and the table it looks in."""
    made = Scoring(pipeline(features=[Field("amount"), PROFILE], **changed))
    tables = LatestTables([PROFILE])
    made.task.look_up(tables.find)
    return made, tables


def put(tables: LatestTables, offset: int, key: bytes, value: bytes | None) -> None:
    """Let a table take a record in."""
    tables.by_topic["profiles"].take(PlainRecord("profiles", offset, 0, key, value), DECODE)


def test_a_prediction_says_which_row_it_was_made_with() -> None:
    """The row as of when the event was scored, by its place; null where there was none."""
    made, tables = scoring()
    put(tables, 41, b"7", b'{"age": 30, "segment": "basic"}')
    made.put(EVENTS, event(1, 10), event(2, 11, card=8)).run()
    put(tables, 42, b"7", b'{"age": 31, "segment": "gold"}')
    made.put(EVENTS, event(3, 9), event(4, 12)).run()
    put(tables, 43, b"7", None)
    made.put(EVENTS, event(5, 13)).run()
    said = made.said("predictions")
    assert [each["lookups"]["profiles by card"] for each in said] == [
        "0@41", None, "0@42", "0@42", None,
    ]  # fmt: skip
    assert [each["features"]["age_of_card"] for each in said] == [30, None, 31, 31, None]
    assert [each["features"]["segment_of_card"] for each in said] == [
        "basic", None, "gold", "gold", None,
    ]  # fmt: skip


def test_an_outcome_keeps_the_row_of_its_prediction() -> None:
    """What was looked up then, whatever the table says by the time the label comes."""
    made, tables = scoring()
    put(tables, 1, b"7", b'{"age": 30}')
    made.put(EVENTS, event(1, 10)).run()
    put(tables, 2, b"7", b'{"age": 99}')
    made.put(LABELS, label(1, 20)).run()
    (outcome,) = made.said("outcomes")
    assert outcome["lookups"] == {"profiles by card": "0@1"}
    assert outcome["features"]["age_of_card"] == 30


def test_a_pipeline_that_looks_nothing_up_says_nothing_of_it() -> None:
    """Its messages are what they were."""
    (said,) = Scoring().put(EVENTS, event(1, 10)).run().said("predictions")
    assert "lookups" not in said


def test_a_bad_row_kills_no_event() -> None:
    """The event is scored, without what the row should have said."""
    made, tables = scoring()
    put(tables, 1, b"7", b"{oops")
    made.put(EVENTS, event(1, 10)).run()
    (said,) = made.said("predictions")
    assert said["features"] == {"amount": 5.0, "age_of_card": None, "segment_of_card": None}
    assert said["lookups"] == {"profiles by card": "0@1"}
    assert made.reasons() == []
