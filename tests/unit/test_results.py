"""Predictions as Parquet: every row once, in order, with the label that came for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from pyarrow import parquet
from river import linear_model, tree

from streamproc import Calendar, Events, Field, Labels, Pipeline, StreamprocError, results
from streamproc.results import PredictionsFile
from streamproc.tasks.records import Out, Output

DAY_MS = 86_400_000


def pipeline(model: Any = None, **more: Any) -> Pipeline:
    """Return a pipeline with a feature of each type."""
    labels = {"horizon": "2d", **more}
    return Pipeline(
        name="cards",
        events=Events("cards.events", id="id", key="card", time="at"),
        labels=Labels("cards.labels", id="id", value="fraud", **labels),
        features=[
            Field("amount"),
            Field("label_time_ms", type="text"),
            Field("chip", type="bool"),
            Calendar("at", ("hour",)),
        ],
        model=model or linear_model.LogisticRegression(),
    )


def prediction(number: int, **more: Any) -> dict[str, Any]:
    """Return the prediction for event ``number``, a day after the one before."""
    features = {"amount": 2**60 + 1, "label_time_ms": "x", "chip": None, "hour": 3}
    said = {"score": 0.25, "decision": False, "model": "main@1", "features": features}
    return {"id": str(number), "key": "c", "event_time_ms": number * DAY_MS, **said, **more}


def output(role: str, *messages: dict[str, Any]) -> Output:
    """Return a task's output."""
    return Output({role: [Out(key=b"", value=orjson.dumps(it)) for it in messages]})


def outcome(number: int, label: Any, **more: Any) -> dict[str, Any]:
    """Return an outcome, known a minute after the event."""
    known = {"label": label, "label_time_ms": number * DAY_MS + 60_000}
    return {**prediction(number, **more), **known}


def test_a_row_has_the_prediction_its_features_and_its_label(tmp_path: Path) -> None:
    """Each under its own name, but for a feature that is called like a column of ours."""
    path = tmp_path / "p.parquet"
    with PredictionsFile(path, pipeline()) as file:
        file.add(output("predictions", prediction(1), prediction(2)))
        file.add(output("outcomes", outcome(2, 1)))
    first = {"id": "1", "key": "c", "event_time_ms": DAY_MS, "score": 0.25, "decision": False}
    first |= {"model": "main@1", "amount": float(2**60 + 1), "features.label_time_ms": "x"}
    first |= {"chip": None, "hour": 3.0, "label": None, "label_time_ms": None}
    second = {**first, "id": "2", "event_time_ms": 2 * DAY_MS, "label": 1}
    second["label_time_ms"] = 2 * DAY_MS + 60_000
    assert [first, second] == parquet.read_table(path).to_pylist()
    assert list(first) == parquet.read_schema(path).names


def test_rows_are_written_once_no_label_can_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is bounded by the horizon, the order is kept, a label beyond it is too late."""
    monkeypatch.setattr(results, "CHUNK_ROWS", 2)
    path = tmp_path / "p.parquet"
    waiting = []
    with PredictionsFile(path, pipeline()) as file:
        for number in range(1, 21):
            file.add(output("predictions", prediction(number)))
            if number == 8:
                file.add(output("outcomes", outcome(7, 1), outcome(1, 1)))
            waiting.append(len(file._chunk_of))
        assert max(waiting) <= 6
    rows = parquet.read_table(path).to_pylist()
    assert [str(number) for number in range(1, 21)] == [row["id"] for row in rows]
    labels = {row["id"]: row["label"] for row in rows if row["label"] is not None}
    assert labels == {"7": 1}


def test_a_label_counts_though_its_output_goes_on_beyond_the_horizon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task may put out, at once, a prediction, its outcome, and predictions of weeks later."""
    monkeypatch.setattr(results, "CHUNK_ROWS", 1)
    path = tmp_path / "p.parquet"
    predictions = output("predictions", *map(prediction, (1, 5, 9)))
    outcomes = output("outcomes", outcome(1, 1))
    with PredictionsFile(path, pipeline()) as file:
        file.add(Output({**predictions.records, **outcomes.records}))
    assert [row["label"] for row in parquet.read_table(path).to_pylist()] == [1, None, None]


def test_the_score_of_a_multiclass_model_is_json(tmp_path: Path) -> None:
    """A probability a class, the decision as text, the label as it was declared."""
    path = tmp_path / "p.parquet"
    chosen = pipeline(tree.HoeffdingTreeClassifier(), classes=("a", "b", "c"))
    said = {"score": {"a": 0.5, "b": 0.25, "c": 0.25}, "decision": "a"}
    with PredictionsFile(path, chosen) as file:
        file.add(output("predictions", prediction(1, **said)))
        file.add(output("outcomes", outcome(1, "b", **said)))
    (row,) = parquet.read_table(path).to_pylist()
    assert (row["score"], row["decision"]) == ('{"a":0.5,"b":0.25,"c":0.25}', "a")
    assert row["label"] == "b"


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    """The file of the run before is not replaced by half a one."""
    path = tmp_path / "p.parquet"
    path.write_text("before")
    file = PredictionsFile(path, pipeline()).__enter__()
    file.add(output("predictions", prediction(1)))
    assert len(list(tmp_path.iterdir())) == 2
    file.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert [path] == list(tmp_path.iterdir())
    assert path.read_text() == "before"


def test_where_it_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The message names the file and what to do."""
    path = tmp_path / "none" / "p.parquet"
    with pytest.raises(StreamprocError, match=r"none/p\.parquet: cannot be written .*; choose"):
        PredictionsFile(path, pipeline()).__enter__()
