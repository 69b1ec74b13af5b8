"""Bringing a score task to where it had come, by its log, without emitting anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from streamproc.messages import Features
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
    published: Callable[[Event], bytes | None],
    steps: Iterable[Step],
    now_ms: int,
) -> None:
    """Replay events and labels, step after step, each merged by time as it was when it was live.

    ``published`` returns the prediction that was published of an event, or None.
    """
    for _ in replayed(task, events, labels, published, steps, now_ms):
        pass


def replayed(
    task: ScoreTask,
    events: Iterable[Record],
    labels: Iterable[Record],
    published: Callable[[Event], bytes | None],
    steps: Iterable[Step],
    now_ms: int,
) -> Iterator[tuple[Event, Features, bool]]:
    """Replay, and yield each event with its features and whether it was late; see :func:`replay`.

    What was a dead letter is none of them.
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
                said = published(event)
                found = task.replay_event(event, {} if said is None else {event.id: said})
                event_queue.pop()
                if found is not None:
                    yield event, *found
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
