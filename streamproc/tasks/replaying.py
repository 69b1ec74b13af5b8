"""Bringing a score task to where it had come, by its log, without emitting anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from streamproc.tasks.intake import Event, Label
from streamproc.tasks.records import Record
from streamproc.tasks.score import ScoreTask

T = TypeVar("T", bound=Event | Label)

Step = tuple[int, int]
"""Up to which offset of the events and of the labels one transaction had consumed."""


def replay(
    task: ScoreTask,
    events: Iterable[Record],
    labels: Iterable[Record],
    predictions: Mapping[str, bytes],
    steps: Iterable[Step],
    now_ms: int,
) -> None:
    """Replay events and labels, step after step, each merged by time as it was when it was live.

    ``predictions`` holds what was published of these events, by id.
    """
    event_queue = _Ahead(filter(None, (task.read_event(each, now_ms) for each in events)))
    label_queue = _Ahead(filter(None, map(task.read_label, labels)))
    for events_to, labels_to in steps:
        while True:
            event, label = event_queue.first(events_to), label_queue.first(labels_to)
            if label is not None and (event is None or label.time_ms <= event.time_ms):
                task.replay_label(label)
                label_queue.pop()
            elif event is not None:
                task.replay_event(event, predictions)
                event_queue.pop()
            else:
                break


class _Ahead(Generic[T]):
    """An iterator whose next item can be looked at."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items: Iterator[T] = items
        self._next: T | None = next(items, None)

    def first(self, to: int) -> T | None:
        """Return the next item, if its record lies before this offset."""
        item = self._next
        return item if item is not None and item.record.offset() < to else None

    def pop(self) -> None:
        """Go on to the one after it."""
        self._next = next(self._items, None)
