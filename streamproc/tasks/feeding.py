"""Logs read through a score task to their ends, with nothing else running."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush, heappushpop, heapreplace
from itertools import islice
from typing import Any

from streamproc.codec import Codec, JsonCodec
from streamproc.tasks.merge import AT_ONCE
from streamproc.tasks.records import Output, Record
from streamproc.tasks.score import ScoreTask

CHUNK = 1_000
"""How many records of a log are taken in at once, at most."""

DISORDER = 50_000
"""How many labels are held to bring them into the order of their times."""

Place = tuple[int, str]
"""Where a record belongs among those of other partitions: its event time, and its id."""

AT_ONCE_PLACE: Place = (AT_ONCE, "")
"""That of a record that can't be read: nothing waits for it."""


class InputCodec(JsonCodec):
    """Reads a pipeline's inputs as another codec does; what comes of them is JSON."""

    def __init__(self, inputs: Codec) -> None:
        self._inputs = inputs

    def decode_input(self, topic: str, data: bytes | None) -> dict[str, Any]:
        """Return the fields of an event or a label."""
        return self._inputs.decode_input(topic, data)


def feed(
    task: ScoreTask, events: Iterable[Record], labels: Iterable[Record], now_ms: int
) -> Iterator[Output]:
    """Yield what a task puts out for the events and labels of one log, merged by time.

    So would an infinitely fast worker have seen them. Labels that enter windows are known from
    their time on, also where they lie in the log behind later ones. No more than :data:`CHUNK`
    records of a log are held at once, and :data:`DISORDER` labels.
    """
    topics = task.pipeline.topics
    left = {topics.events: iter(events)}
    if topics.labels is not None:
        ordered = in_order(labels, lambda record: label_place(task, record))
        left[topics.labels] = ordered if task.features.over_labels else iter(labels)
    while left or any(task.waiting().values()):
        for topic, records in list(left.items()):
            if task.waiting()[topic] < CHUNK:
                chunk = list(islice(records, CHUNK))
                if ended := len(chunk) < CHUNK:
                    del left[topic]
                task.take(topic, chunk, ended, now_ms)
        yield task.process(now_ms)


def event_place(task: ScoreTask, record: Record, now_ms: int) -> Place:
    """Return where an event belongs."""
    event = task.read_event(record, now_ms)
    return (event.time_ms, event.id) if event else AT_ONCE_PLACE


def label_place(task: ScoreTask, record: Record) -> Place:
    """Return where a label belongs."""
    label = task.read_label(record)
    return (label.time_ms, label.id) if label else AT_ONCE_PLACE


def in_order(
    records: Iterable[Record], place_of: Callable[[Record], Place], most: int = DISORDER
) -> Iterator[Record]:
    """Yield records by their places, where none is more than ``most`` records behind its own.

    >>> records = [(3, "a"), (1, "b"), (2, "c"), (5, "d"), (4, "e")]
    >>> [id for _, id in in_order(records, lambda it: it, most=2)]  # type: ignore[arg-type, misc]
    ['b', 'c', 'a', 'e', 'd']
    """
    held: list[tuple[Place, int, Record]] = []
    for number, record in enumerate(records):
        place = (place_of(record), number, record)
        if len(held) < most:
            heappush(held, place)
        else:
            yield heappushpop(held, place)[-1]
    while held:
        yield heappop(held)[-1]


def merged(
    partitions: Iterable[Iterable[Record]], place_of: Callable[[Record], Place]
) -> Iterator[Record]:
    """Merge the logs of partitions by time: of those that are next, the earliest goes first.

    Inside a partition the order is that of its log, so that a record is as late as it was there.

    >>> logs = [[(1, "a"), (5, "b")], [(2, "c"), (1, "d"), (7, "e")]]
    >>> [id for _, id in merged(logs, lambda record: record)]  # type: ignore[arg-type, misc]
    ['a', 'c', 'd', 'b', 'e']
    """
    logs = [iter(log) for log in partitions]
    heads = []
    for number, log in enumerate(logs):
        if (record := next(log, None)) is not None:
            heads.append((place_of(record), number, record))
    heapify(heads)
    while heads:
        _, number, record = heads[0]
        yield record
        following = next(logs[number], None)
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (place_of(following), number, following))
