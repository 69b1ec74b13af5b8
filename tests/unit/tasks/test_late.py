"""Events later than the lateness allows: scored or put aside, and each reported."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from streamproc.codec import JsonCodec
from streamproc.errors import DefinitionError
from streamproc.events import Labels
from streamproc.features import Field
from streamproc.models.scoring import Scorer
from streamproc.tasks.replaying import replay
from streamproc.tasks.score import ScoreTask
from tests.unit.tasks.kit import (
    EVENTS,
    LABELS,
    NOW_MS,
    Recorder,
    Scoring,
    event,
    headers_of,
    label,
    pipeline,
    record,
)

TIMES_MS = (100, 80, 79, 130, 100, 109)
"""The third is 1 ms later than the 20 ms allowed, the fifth 10 and the last 1."""

LATE_BY_MS = {"3": 1, "5": 10, "6": 1}


def scored(late: str, **changed: Any) -> Scoring:
    """Run the events through a pipeline that does this with late ones."""
    events = [event(n, at, amount=float(n)) for n, at in enumerate(TIMES_MS, 1)]
    return Scoring(pipeline(late=late, **changed)).put(EVENTS, *events).run()


@pytest.mark.parametrize("late", ["score", "dead_letter"])
def test_each_late_event_is_reported(late: str) -> None:
    """By how much it was too late, by which watermark, where it is, and what became of it."""
    made = scored(late)
    watermarks_ms = {"3": 100, "5": 130, "6": 130}
    assert made.said("late") == [
        {
            "id": record_id,
            "key": "7",
            "event_time_ms": TIMES_MS[int(record_id) - 1],
            "watermark_ms": watermarks_ms[record_id],
            "late_by_ms": by_ms,
            "source_topic": EVENTS,
            "source_partition": 0,
            "source_offset": int(record_id) - 1,
            "scored": late == "score",
        }
        for record_id, by_ms in LATE_BY_MS.items()
    ]
    assert [out["key"] for out in made.out["late"]] == [b"7"] * 3
    assert made.task.late == 3


def test_late_events_are_scored_and_marked_unless_asked_otherwise() -> None:
    """The default: a prediction each, and no dead letter."""
    made = scored("score")
    marked = [headers_of(out) for out in made.out["predictions"]]
    assert marked == [{}, {}, {"late": "true"}, {}, {"late": "true"}, {"late": "true"}]
    assert made.reasons() == []
    assert pipeline().late == "score"


def test_a_late_event_that_is_not_scored_is_a_dead_letter() -> None:
    """With its bytes; no prediction is of it, and no other is another one for it."""
    made = scored("dead_letter")
    assert made.reasons() == ["late"] * 3
    assert [orjson.loads(out["value"] or b"")["order"] for out in made.out["dead_letters"]] == [
        3, 5, 6,
    ]  # fmt: skip
    others = scored("score").said("predictions")
    assert made.said("predictions") == [said for said in others if said["id"] not in LATE_BY_MS]


def test_a_late_event_that_was_put_aside_uses_up_no_id() -> None:
    """It may be sent again, and its label finds no event meanwhile."""
    made = scored("dead_letter", labels=Labels(LABELS, "order", "fraud", "50ms", time="known_at"))
    made.put(LABELS, label(3, 130)).put(EVENTS, event(3, 131), event(9, 400)).run()
    assert "repeated_id" not in made.reasons()
    assert [said["id"] for said in made.said("predictions")] == ["1", "2", "4", "3", "9"]
    assert [said["id"] for said in made.said("outcomes")] == ["3"]


def test_a_late_event_that_the_model_fails_on_is_reported_as_not_scored() -> None:
    """It is a dead letter for what the model did, and late as well."""
    made = Scoring(pipeline(features=[Field("amount")], model=Recorder()))
    made.put(EVENTS, event(1, 100)).run()

    class Failing(Recorder):
        def predict_proba_one(self, x: Any, **kwargs: Any) -> dict[Any, float]:
            raise ValueError("cannot bear this")

    made.task.take_up(Scorer(Failing(), "binary", None, 0.5, "main@1"))
    made.put(EVENTS, event(2, 70)).run()
    assert made.reasons() == ["model_failed"]
    assert [(said["id"], said["scored"]) for said in made.said("late")] == [("2", False)]


def test_a_restart_knows_what_was_put_aside() -> None:
    """Replayed, the task is where it was: the same ids known, the same windows, the same count."""
    live = scored("dead_letter")
    again = ScoreTask(live.pipeline, 0, JsonCodec())
    events = [
        record(EVENTS, n, event(n + 1, at, amount=float(n + 1))) for n, at in enumerate(TIMES_MS)
    ]
    predictions = {
        orjson.loads(out["value"] or b"")["id"]: out["value"] or b""
        for out in live.out["predictions"]
    }
    replay(
        again, events, (), lambda made: predictions.get(made.id), iter([(len(events), 0)]), NOW_MS
    )
    for task in (live.task, again):
        ids = [number for number in range(1, 7) if str(number) in task.pending]
        assert (ids, task.late, task.watermark_ms) == ([1, 2, 4], 3, 130)
        assert task.features.window_entries == 3


def test_what_else_becomes_of_them_is_told_before_the_start() -> None:
    """In one line with the two that there are."""
    with pytest.raises(DefinitionError, match="late must be 'score' or 'dead_letter', not 'drop'"):
        pipeline(late="drop")
