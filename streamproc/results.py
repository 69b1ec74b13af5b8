"""Predictions as a Parquet file: one row an event, with its features and its label."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
import pyarrow as arrow
from pyarrow import parquet

from streamproc.errors import StreamprocError
from streamproc.features import type_of
from streamproc.pipeline import Pipeline
from streamproc.tasks.records import Output

CHUNK_ROWS = 20_000
"""How many rows are written at once."""

_FIRST = ("id", "key", "event_time_ms", "score", "decision", "model")
_LAST = ("label", "label_time_ms")
_TYPES = {"number": arrow.float64(), "text": arrow.string(), "bool": arrow.bool_()}


class PredictionsFile:
    """Writes what a replay puts out to a Parquet file, whole or not at all.

    The columns are ``id, key, event_time_ms, score, decision, model``, one for each feature under
    its own name (``features.NAME`` where one of these has it), then ``label`` and
    ``label_time_ms``, null where none came. The score and the decision of a multiclass model are
    text, the score being a JSON map of a class to its probability.

    Rows are held until their label came or the pipeline's horizon passed. Used in a ``with`` block,
    whose failure leaves no file. Raises :class:`StreamprocError` where it cannot be written.
    """

    def __init__(self, path: str | Path, pipeline: Pipeline) -> None:
        self.path = Path(path)
        self.rows = 0
        self._beside = self.path.with_name(f".{self.path.name}.part")
        self._multiclass = pipeline.kind == "multiclass"
        self._names = pipeline.feature_names
        self._horizon_ms = pipeline.labels.horizon_ms if pipeline.labels else None
        self._schema = _schema(pipeline)
        self._to_label = label_reader(self._schema.field("label").type)
        self._chunks: deque[_Chunk] = deque()
        self._chunk_of: dict[str, tuple[_Chunk, int]] = {}
        self._watermark_ms = -(1 << 62)
        self._writer: Any = None

    def __enter__(self) -> PredictionsFile:
        try:
            self._writer = parquet.ParquetWriter(self._beside, self._schema)
        except OSError as error:
            raise self._trouble(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._write_settled(all_of_them=True)
            self._writer.close()
            if kind is None:
                self._beside.replace(self.path)
        except OSError as failed:
            raise self._trouble(failed) from failed
        finally:
            with contextlib.suppress(OSError):
                self._beside.unlink(missing_ok=True)

    def add(self, output: Output) -> None:
        """Take in a task's output: its predictions, then its outcomes."""
        chunks = len(self._chunks)
        for out in output.records.get("predictions", ()):
            self._predicted(orjson.loads(out["value"] or b"{}"))
        for out in output.records.get("outcomes", ()):
            outcome = orjson.loads(out["value"] or b"{}")
            self._labelled(outcome["id"], outcome["label"], outcome["label_time_ms"])
        if len(self._chunks) > chunks:  # not before: one output may span more than the horizon
            self._write_settled()

    def _predicted(self, prediction: dict[str, Any]) -> None:
        if not self._chunks or self._chunks[-1].full:
            self._chunks.append(_Chunk())
        score, decision = prediction["score"], prediction["decision"]
        if self._multiclass:
            score, decision = orjson.dumps(score).decode(), str(decision)
        features = prediction["features"]
        time_ms = prediction["event_time_ms"]
        chunk = self._chunks[-1]
        chunk.append(
            (prediction["id"], prediction["key"], time_ms, score, decision, prediction["model"]),
            [features[name] for name in self._names],
        )
        if self._horizon_ms is not None:
            self._chunk_of[prediction["id"]] = (chunk, len(chunk.first) - 1)
        chunk.newest_ms = max(chunk.newest_ms, time_ms)
        self._watermark_ms = max(self._watermark_ms, time_ms)
        self.rows += 1

    def _labelled(self, event_id: str, label: Any, label_time_ms: int) -> None:
        place = self._chunk_of.pop(event_id, None)
        if place is not None:
            chunk, row = place
            chunk.labels[row] = self._to_label(label)
            chunk.label_times_ms[row] = label_time_ms
            chunk.waiting -= 1

    def _write_settled(self, all_of_them: bool = False) -> None:
        """Write the chunks, oldest first, for whose rows no label can come any more."""
        horizon_ms = self._horizon_ms
        while self._chunks:
            chunk = self._chunks[0]
            settled = (
                all_of_them
                or horizon_ms is None
                or not chunk.waiting
                or chunk.newest_ms < self._watermark_ms - horizon_ms
            )
            if not settled:
                return
            try:
                self._writer.write_table(self._table(chunk))
            except OSError as error:
                raise self._trouble(error) from error
            self._chunks.popleft()
            for row in chunk.first:
                self._chunk_of.pop(row[0], None)

    def _table(self, chunk: _Chunk) -> Any:
        columns: list[Sequence[Any]] = [
            *zip(*chunk.first, strict=True),
            *zip(*chunk.features, strict=True),
            chunk.labels,
            chunk.label_times_ms,
        ]
        pairs = zip(columns, self._schema, strict=True)
        arrays = [as_array(column, field.type) for column, field in pairs]
        return arrow.Table.from_arrays(arrays, schema=self._schema)

    def _trouble(self, error: OSError) -> StreamprocError:
        said = error.strerror or " ".join(str(error).split())
        return StreamprocError(f"{self.path}: cannot be written ({said}); choose another file")


class _Chunk:
    """Rows that are written together."""

    def __init__(self) -> None:
        self.first: list[tuple[Any, ...]] = []
        self.features: list[list[Any]] = []
        self.labels: list[Any] = []
        self.label_times_ms: list[int | None] = []
        self.waiting = 0
        self.newest_ms = -(1 << 62)

    @property
    def full(self) -> bool:
        return len(self.first) >= CHUNK_ROWS

    def append(self, first: tuple[Any, ...], features: list[Any]) -> None:
        self.first.append(first)
        self.features.append(features)
        self.labels.append(None)
        self.label_times_ms.append(None)
        self.waiting += 1


def column_names(pipeline: Pipeline) -> tuple[str, ...]:
    """Return the names of the file's columns, in their order.

    >>> from river import linear_model
    >>> from streamproc import Events, Field, Pipeline
    >>> column_names(Pipeline(
    ...     name="demo",
    ...     events=Events("demo.events", id="id", key="card", time="at"),
    ...     features=[Field("amount"), Field("key", type="text")],
    ...     model=linear_model.LogisticRegression(),
    ... ))[5:]
    ('model', 'amount', 'features.key', 'label', 'label_time_ms')
    """
    features = feature_columns(pipeline, (*_FIRST, *_LAST))
    return (*_FIRST, *(name for name, _ in features), *_LAST)


def feature_columns(pipeline: Pipeline, taken: Sequence[str]) -> list[tuple[str, Any]]:
    """Return each feature's column and Arrow type; one whose name is taken is `features.NAME`."""
    return [
        (
            f"features.{name}" if name in taken else name,
            _TYPES[type_of(feature, name)],
        )
        for feature in pipeline.features
        for name in feature.names
    ]


def _schema(pipeline: Pipeline) -> Any:
    score = arrow.string() if pipeline.kind == "multiclass" else arrow.float64()
    decision = {"multiclass": arrow.string(), "regression": arrow.float64()}.get(
        pipeline.kind, arrow.bool_()
    )
    first = (arrow.string(), arrow.string(), arrow.int64(), score, decision, arrow.string())
    features = (kind for _, kind in feature_columns(pipeline, ()))
    types = (*first, *features, label_type(pipeline), arrow.int64())
    return arrow.schema(list(zip(column_names(pipeline), types, strict=True)))


def label_type(pipeline: Pipeline) -> Any:
    """Return the Arrow type of a pipeline's labels."""
    if pipeline.kind == "regression":
        return arrow.float64()
    kinds = {type(each) for each in pipeline.classes or (0, 1)}
    return {bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64()}.get(
        kinds.pop() if len(kinds) == 1 else str, arrow.string()
    )


def label_reader(kind: Any) -> Any:
    """Return what makes a label fit its column."""
    return str if kind == arrow.string() else float if kind == arrow.float64() else lambda it: it


def as_array(column: Sequence[Any], kind: Any) -> Any:
    """Return values as an Arrow array of a type; an integer becomes a float where one is due."""
    if kind == arrow.float64():  # arrow refuses integers that a float does not hold exactly
        column = [None if each is None else float(each) for each in column]
    return arrow.array(column, kind)
