"""Training data: features as they were at each event, and the labels known by a certain time.

The features are those that the worker computes, by the same code, so a model trained in batch on
these files gets in production what it was trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import orjson

from streamproc.codec import Codec
from streamproc.dataset import Data, Folder, Span
from streamproc.eventtime import format_time
from streamproc.features import LabelWindow, Window
from streamproc.features.lookup import Find
from streamproc.features.shared import definitions
from streamproc.files import Row, RowFile
from streamproc.pipeline import Pipeline
from streamproc.replay import Replay, without_model
from streamproc.tasks.feeding import InputCodec, event_place, feed, label_place, merged
from streamproc.tasks.records import Record
from streamproc.tasks.score import ScoreTask
from streamproc.timeline import Entry

MANIFEST = "manifest.json"


class SourceFiles:
    """Files read one after the other, and what the manifest says of them.

    Iterating yields the rows of all; :attr:`described` then has each file's name, SHA-256 and the
    number of its rows.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self._files = [RowFile(path) for path in paths]
        self.described: list[dict[str, Any]] = []

    def __iter__(self) -> Iterator[Row]:
        self.described = []
        for each in self._files:
            with each.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            rows = 0
            for row in each:
                yield row
                rows += 1
            self.described.append({"name": each.path.name, "sha256": digest, "rows": rows})


def export(
    pipeline: Pipeline,
    source: SourceFiles,
    entries: Iterable[Entry],
    span: Span,
    folder: Path,
    how: dict[str, Any],
    find: Find | None = None,
) -> dict[str, Any]:
    """Write features and labels into a new folder, and return the manifest beside them.

    ``entries`` are made of ``source``; those after the span's end are left out, those before its
    beginning fill the windows. ``how`` is what the manifest is to say of the way files were read,
    ``find`` returns the rows that are looked up. Raises :class:`StreamprocError` where nothing can
    be written.
    """

    def run(bare: Pipeline, data: Data) -> int:
        replay = Replay(bare, span.to_ms, data.add, find)
        replay.run(entry for entry in entries if _inside(entry, span.to_ms))
        return replay.score.late

    return _written(pipeline, span, folder, run, lambda: {"files": source.described, "read": how})


class Logs(Protocol):
    """The topics of a pipeline's events and labels, up to some offsets.

    ``read_ms`` is when they were read; an event whose time is far beyond that is a dead letter.
    """

    codec: Codec
    partitions: int
    read_ms: int

    def events(self, partition: int) -> Iterator[Record]:
        """Yield a partition's events."""

    def labels(self, partition: int) -> Iterator[Record]:
        """Yield a partition's labels."""

    @property
    def described(self) -> dict[str, Any]:
        """What the manifest says of them: enough to read the same again."""


def export_logs(
    pipeline: Pipeline, logs: Logs, span: Span, folder: Path, find: Find | None = None
) -> dict[str, Any]:
    """Write features and labels of what is on topics; as :func:`export` does of files.

    Partitions are read one after the other, each as the worker that owns it scores it. With a
    window by something else than the events' key they are merged by time, as if it were one.
    """

    def run(bare: Pipeline, data: Data) -> int:
        late = 0
        for events, labels in _tasks(bare, logs):
            task = ScoreTask(bare, 0, InputCodec(logs.codec))
            if find is not None:
                task.look_up(find)
            for output in feed(task, events, labels, logs.read_ms):
                data.add(output)
            data.finish()
            late += task.late
        return late

    return _written(pipeline, span, folder, run, lambda: logs.described)


def _tasks(pipeline: Pipeline, logs: Logs) -> Iterator[tuple[Iterator[Record], Iterator[Record]]]:
    """Yield the events and labels that belong together."""
    numbers = range(logs.partitions)
    key = (pipeline.events.key,)
    if all(each.entity == key for each in pipeline.features if isinstance(each, _WINDOWS)):
        for number in numbers:
            yield logs.events(number), logs.labels(number)
        return
    reader = ScoreTask(pipeline, 0, InputCodec(logs.codec))

    yield (
        merged(map(logs.events, numbers), lambda each: event_place(reader, each, logs.read_ms)),
        merged(map(logs.labels, numbers), lambda each: label_place(reader, each)),
    )


_WINDOWS = (Window, LabelWindow)


def history_ms(pipeline: Pipeline) -> tuple[int, int]:
    """Return for how long before an event its features need the events, and the labels.

    A label in a window may be of an event as much older as the horizon is.

    >>> from river import linear_model
    >>> from streamproc import Events, Labels
    >>> windows = [Window("x", "card", "5d", "count"), LabelWindow(by="card", over=("1d", "2d"))]
    >>> events = Events("t", id="id", key="card", time="at")
    >>> labels = Labels("labels", id="id", value="fraud", horizon="7d")
    >>> made = Pipeline("p", events, windows, linear_model.LogisticRegression(), labels)
    >>> [ms // 86_400_000 for ms in history_ms(made)]
    [9, 2]
    """
    events = [max(each.spans_ms) for each in pipeline.features if isinstance(each, Window)]
    labels = [max(each.spans_ms) for each in pipeline.features if isinstance(each, LabelWindow)]
    of_labels = max(labels) + pipeline.horizon_ms if labels else 0
    return max([0, of_labels, *events]), max([0, *labels])


def _written(
    pipeline: Pipeline,
    span: Span,
    folder: Path,
    run: Callable[[Pipeline, Data], int],
    described: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """Write what ``run`` puts into the data, and the manifest, which says what is ``described``.

    ``run`` returns the number of late events.
    """
    bare = without_model(pipeline)
    with Folder(folder) as beside:
        data = Data(bare, span, beside)
        late = run(bare, data)
        data.finish()
        manifest = {
            "pipeline": pipeline.name,
            "fingerprint": pipeline.fingerprint,
            "shared": definitions(pipeline.shared),
            **described(),
            **_times(span),
            "rows": data.counts,
            "without_label": data.without_label,
            "late": late,
            "dead_letters": dict(sorted(data.dead_letters.items())),
            "columns": [{"name": each.name, "type": str(each.type)} for each in data.schema],
            "versions": _versions(),
            "parts": data.parts,
        }
        text = orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        (beside / MANIFEST).write_bytes(text)
    return manifest


def _inside(entry: Entry, to_ms: int) -> bool:
    return entry.time_ms < to_ms or (entry.kind == "label" and entry.time_ms == to_ms)


def _times(span: Span) -> dict[str, str | None]:
    split_ms = span.split_ms
    return {
        "from": format_time(span.from_ms),
        "to": format_time(span.to_ms),
        "split": None if split_ms is None else format_time(split_ms),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in ("streamproc", "river", "numpy", "pyarrow"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed: run from its source"
    return found
