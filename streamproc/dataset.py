"""Training data on its way to disk: rows by the day of their event, in a folder that is whole."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
import pyarrow as arrow
from pyarrow import parquet

from streamproc.errors import DefinitionError, StreamprocError
from streamproc.eventtime import format_time
from streamproc.pipeline import Pipeline
from streamproc.results import as_array, feature_columns, label_reader, label_type
from streamproc.tasks.records import Output

PARTITION = "event_day"

_FIRST = ("id", "key", "event_time_ms")
_LAST = ("label", "label_time_ms")
_DAY_MS = 86_400_000
_NO_TIME_MS = -(1 << 62)


@dataclass(frozen=True)
class Span:
    """Which rows are exported, by event time in milliseconds: from ``from_ms`` up to ``to_ms``.

    A label is known where its time is not after ``to_ms``. ``split_ms`` parts training from test:
    a row trains where its label was known by then. Raises :class:`DefinitionError` for times in
    another order.

    >>> Span(0, 100, 50).part_of(10, 40), Span(0, 100, 50).part_of(10, 60)
    ('train', None)
    """

    from_ms: int
    to_ms: int
    split_ms: int | None = None

    def __post_init__(self) -> None:
        if self.from_ms >= self.to_ms:
            raise DefinitionError("--to: must be after --from; nothing lies between them")
        if self.split_ms is not None and not self.from_ms < self.split_ms < self.to_ms:
            raise DefinitionError("--split: must lie between --from and --to")

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders that are written."""
        return ("data",) if self.split_ms is None else ("train", "test")

    def part_of(self, time_ms: int, label_time_ms: int | None) -> str | None:
        """Return the folder of a row; None in the gap, where its label came after the split."""
        if self.split_ms is None:
            return "data"
        if time_ms >= self.split_ms:
            return "test"
        known = label_time_ms is not None and label_time_ms <= self.split_ms
        return "train" if known else None


@dataclass
class _Day:
    """The rows of a day that wait for their labels."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    label_times_ms: list[int | None] = field(default_factory=list)


class Data:
    """Gathers rows by the day of their event, and writes a day once no label can come for it."""

    def __init__(self, pipeline: Pipeline, span: Span, folder: Path) -> None:
        self._span, self._folder = span, folder
        taken = (*_FIRST, *_LAST, PARTITION)
        kinds = (arrow.string(), arrow.string(), arrow.int64())
        last = (label_type(pipeline), arrow.int64())
        self.schema = arrow.schema(
            [
                *zip(_FIRST, kinds, strict=True),
                *feature_columns(pipeline, taken),
                *zip(_LAST, last, strict=True),
            ]
        )
        self._to_label = label_reader(last[0])
        self._names = pipeline.feature_names
        self._wait_ms = max(pipeline.horizon_ms, pipeline.lateness_ms)
        self._days: dict[int, _Day] = {}
        self._place: dict[str, tuple[_Day, int]] = {}
        self._watermark_ms = _NO_TIME_MS
        self.parts: list[dict[str, Any]] = []
        self.counts = dict.fromkeys(
            span.parts if span.split_ms is None else (*span.parts, "gap"), 0
        )
        self.without_label = 0
        self.dead_letters: Counter[str] = Counter()

    def add(self, output: Output) -> None:
        """Take in what a task put out: its predictions, then the labels of any of them."""
        day = self._watermark_ms // _DAY_MS
        for out in output.records.get("predictions", ()):
            self._row(orjson.loads(out["value"] or b"{}"))
        for out in output.records.get("outcomes", ()):
            outcome = orjson.loads(out["value"] or b"{}")
            place = self._place.pop(outcome["id"], None)
            if place is not None and outcome["label_time_ms"] <= self._span.to_ms:
                held, row = place
                held.labels[row] = self._to_label(outcome["label"])
                held.label_times_ms[row] = outcome["label_time_ms"]
        for out in output.records.get("dead_letters", ()):
            self.dead_letters[dict(out.get("headers", ()))["reason"].decode()] += 1
        if self._watermark_ms // _DAY_MS > day:
            self.write_settled()

    def _row(self, said: dict[str, Any]) -> None:
        time_ms = said["event_time_ms"]
        if not self._span.from_ms <= time_ms < self._span.to_ms:
            return
        self._watermark_ms = max(self._watermark_ms, time_ms)
        held = self._days.setdefault(time_ms // _DAY_MS, _Day())
        self._place[said["id"]] = (held, len(held.rows))
        features = said["features"]
        held.rows.append((said["id"], said["key"], time_ms, *[features[n] for n in self._names]))
        held.labels.append(None)
        held.label_times_ms.append(None)

    def write_settled(self, all_of_them: bool = False) -> None:
        """Write the days for which no label can come any more, and let go of them."""
        for number in sorted(self._days):
            if not all_of_them and (number + 1) * _DAY_MS >= self._watermark_ms - self._wait_ms:
                return
            day = self._days.pop(number)
            self._write(format_time(number * _DAY_MS)[:10], day)
            for row in day.rows:
                self._place.pop(row[0], None)

    def finish(self) -> None:
        """Write all there is; what comes next is of another log, and may begin earlier."""
        self.write_settled(all_of_them=True)
        self._watermark_ms = _NO_TIME_MS

    def _write(self, day: str, held: _Day) -> None:
        chosen: dict[str | None, list[int]] = {}
        for row, label_time_ms in enumerate(held.label_times_ms):
            part = self._span.part_of(held.rows[row][2], label_time_ms)
            chosen.setdefault(part, []).append(row)
        for part, rows in sorted(chosen.items(), key=str):
            self.counts[part or "gap"] += len(rows)
            if part is None:
                continue
            self.without_label += sum(held.label_times_ms[row] is None for row in rows)
            self._write_part(self._folder / part / f"{PARTITION}={day}", held, rows)

    def _write_part(self, folder: Path, held: _Day, rows: list[int]) -> None:
        columns: list[Sequence[Any]] = [
            *zip(*[held.rows[row] for row in rows], strict=True),
            [held.labels[row] for row in rows],
            [held.label_times_ms[row] for row in rows],
        ]
        pairs = zip(columns, self.schema, strict=True)
        arrays = [as_array(column, each.type) for column, each in pairs]
        folder.mkdir(parents=True, exist_ok=True)
        # A day has more than one file where events came so late that it had been written.
        path = folder / f"part-{len(list(folder.iterdir()))}.parquet"
        parquet.write_table(arrow.Table.from_arrays(arrays, schema=self.schema), path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        name = path.relative_to(self._folder).as_posix()
        self.parts.append({"path": name, "rows": len(rows), "sha256": digest})


class Folder:
    """A folder that is there whole, or not at all: it is made beside and renamed."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DefinitionError(f"--out: {folder} is there already; name a new folder")
        self._folder = folder.resolve()
        self._beside = self._folder.with_name(f".{self._folder.name}.part")

    def __enter__(self) -> Path:
        try:
            shutil.rmtree(self._beside, ignore_errors=True)
            self._beside.mkdir(parents=True)
        except OSError as error:
            raise self._trouble(error) from error
        return self._beside

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._beside.replace(self._folder)
        except OSError as failed:
            raise self._trouble(failed) from failed
        finally:
            shutil.rmtree(self._beside, ignore_errors=True)
        if isinstance(error, OSError):
            raise self._trouble(error) from error

    def _trouble(self, error: OSError) -> StreamprocError:
        said = error.strerror or " ".join(str(error).split())
        return StreamprocError(f"{self._folder}: cannot be written ({said}); choose another folder")
