"""A score task's state on its way into a snapshot, and back.

What changed is frozen between two records, packed a little at a time while the task goes on, and
comes out as tables; see ``streamproc.state``.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from streamproc.errors import StreamprocError
from streamproc.features import Window
from streamproc.features.windows import KeyedWindow
from streamproc.labels import EarlyLabel
from streamproc.pipeline import Pipeline
from streamproc.state.snapshots import Snapshot
from streamproc.state.tables import Floor, Stack, Table
from streamproc.tasks.records import PlainRecord, Record
from streamproc.tasks.rekeyed import RekeyedTask
from streamproc.tasks.score import ScoreTask

PACKED_AT_ONCE = 200
"""How many rows are packed between two rounds: a fraction of a millisecond."""

MOST_CHANGES = 500_000
"""With more changes that no snapshot took, they are let go of: the next one is of everything."""


class UnfitError(StreamprocError):
    """A snapshot without a window that the pipeline file defines now."""


@dataclass(frozen=True)
class Frozen:
    """What a task was at some moment: what changed since the last, or ``everything``."""

    tables: Mapping[str, Table]
    floors: Mapping[str, Floor]
    meta: Mapping[str, Any]
    everything: bool


class Freezer:
    """Takes a task's state; one at a time."""

    def __init__(self, task: ScoreTask | RekeyedTask) -> None:
        self._task = task
        self._pending = task.pending if isinstance(task, ScoreTask) else None
        self._windows = windows_of(task)
        self._everything = True
        self._meta: dict[str, Any] = {}
        self._floors: dict[str, Floor] = {}

    def begin(self, everything: bool = False) -> None:
        """Freeze what the task is now."""
        task, pending = self._task, self._pending
        self._everything = everything
        if pending is not None:
            pending.freeze(everything, _packed_label)
        for window in self._windows.values():
            window.freeze(everything)
        self._floors = {
            **(pending.floors if pending is not None else {}),
            **{name: window.floor for name, window in self._windows.items()},
        }
        self._meta = {
            **_meta(task),
            "newest_ms": {
                declared_name(task.pipeline, window, spec): window.newest_ms
                for window in self._windows.values()
                for spec in window.specs
            },
        }

    def pack(self, most: int = PACKED_AT_ONCE) -> bool:
        """Pack some of it; return whether that was all."""
        left = self._pending.pack(most) if self._pending is not None else 0
        for window in self._windows.values():
            if not left:
                left = window.pack(most)
        return not left

    def take(self) -> Frozen:
        """Return what was packed."""
        tables = {name: window.packed() for name, window in self._windows.items()}
        if self._pending is not None:
            tables = {**self._pending.packed(), **tables}
        return Frozen(tables, self._floors, self._meta, self._everything)

    def too_many_changes(self) -> bool:
        """Say whether so much changed that it was let go of: what comes next is everything."""
        if self._pending is None or self._pending.changes <= MOST_CHANGES:
            return False
        self._pending.forget_changes()
        return True


def _meta(task: ScoreTask | RekeyedTask) -> dict[str, Any]:
    """Return what a task keeps besides tables."""
    if isinstance(task, RekeyedTask):
        return task.meta()
    return {
        "watermark_ms": task.watermark_ms,
        "late": task.late,
        "unlabelled": task.pending.unlabelled,
        "number": task.pending.number,
    }


def windows_of(task: ScoreTask | RekeyedTask) -> dict[str, KeyedWindow]:
    """Return a task's windows by the names of their tables."""
    windows = task.features.windows if isinstance(task, ScoreTask) else task.state.windows
    return {name_of(task.pipeline, window): window for window in windows}


def name_of(pipeline: Pipeline, window: KeyedWindow) -> str:
    """Return the name of a table: that of its records, whatever is computed of them."""
    first = window.specs[0]
    what = "labels" if window.over_labels else "records"
    return _named(what, first.by, first.value, window.lateness_ms, pipeline.events)


def declared_name(pipeline: Pipeline, window: KeyedWindow, spec: Window) -> str:
    """Return the name of one declared window: another one where it would need other records."""
    what = "label-window" if window.over_labels else "window"
    return _named(what, spec, window.lateness_ms, pipeline.events)


def _named(what: str, *parts: object) -> str:
    return f"{what}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}"


def thaw(task: ScoreTask | RekeyedTask, snapshot: Snapshot) -> None:
    """Bring a new task to what a snapshot says.

    Raises :class:`UnfitError` where that lacks a window; one that is no longer declared is left.
    """
    windows, meta, pipeline = windows_of(task), snapshot.meta, task.pipeline
    newest_ms: dict[str, int] = {}
    for name, window in windows.items():
        for spec in window.specs:
            declared = declared_name(pipeline, window, spec)
            if declared not in meta["newest_ms"]:
                over = "labels" if window.over_labels else repr(spec.value)
                every = "" if spec.every is None else f", every {spec.every},"
                raise UnfitError(
                    f"the state has no window of {over} by {spec.by!r} over "
                    f"{', '.join(spec.over)}{every} as the pipeline file defines it now"
                )
            newest_ms[name] = meta["newest_ms"][declared]
    if isinstance(task, ScoreTask):
        _thaw_pending(task, snapshot)
    elif meta["plan"] != task.plan.signature:
        by = ", ".join("and".join(each) for each in task.plan.entities)
        raise UnfitError(f"the state is of other re-keyed windows (by {by}) than are defined now")
    else:
        task.restore(meta)
    for name, window in windows.items():
        # Before there were tables of records, each window had one of its own.
        longest = max(window.specs, key=lambda spec: max(spec.spans_ms))
        stack = _stack(snapshot, declared_name(pipeline, window, longest), name)
        window.thaw(stack, newest_ms[name])


def _thaw_pending(task: ScoreTask, snapshot: Snapshot) -> None:
    meta = snapshot.meta
    stacks = {name: _stack(snapshot, name) for name in ("remembered", "held_labels")}
    task.pending.thaw(stacks, meta["number"], lambda payload: _unpacked_label(payload, task))
    task.pending.unlabelled = meta["unlabelled"]
    task.watermark_ms, task.late = meta["watermark_ms"], meta["late"]


def _stack(snapshot: Snapshot, *names: str) -> Stack:
    """Return the tables of some names, those of the first below, as one."""
    tables = [table for name in names for table in snapshot.tables.get(name, ())]
    return Stack(tables, snapshot.floors.get(names[-1], Floor()))


def _packed_label(label: EarlyLabel[Record]) -> bytes:
    record = label.record
    headers = [(name, _text(value)) for name, value in record.headers() or ()]
    place = (record.offset(), *record.timestamp())
    return orjson.dumps((label.label, place, _text(record.key()), _text(record.value()), headers))


def _unpacked_label(payload: memoryview, task: ScoreTask) -> tuple[Any, Record]:
    label, (offset, time_type, time_ms), key, value, headers = orjson.loads(payload)
    topic = task.pipeline.topics.labels
    assert topic is not None  # else no label would have been held
    record = PlainRecord(
        topic,
        offset,
        time_ms,
        _bytes(key),
        _bytes(value),
        [(name, _bytes(each)) for name, each in headers] or None,  # type: ignore[misc]
        task.partition,
        time_type,
    )
    return label, record


def _text(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
