"""A file's rows as what a broker would have seen: events, and each label when it was due."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any, Literal, NamedTuple

import orjson

from streamproc.errors import BadRecord, StreamprocError
from streamproc.eventtime import format_time, parse_time_ms

Kind = Literal["event", "label", "reaction"]


class Entry(NamedTuple):
    """One record to come: ``time_ms`` is its timestamp, ``value`` JSON.

    ``topic`` is that of a reaction; of events and labels there is one each.
    """

    kind: Kind
    time_ms: int
    key: bytes
    value: bytes
    topic: str = ""


class LabelColumns(NamedTuple):
    """What the label's message is made of, as `Labels` in the pipeline file names it.

    ``value`` is also the column of the file that holds the label.
    """

    id: str
    value: str
    time: str | None = None


def timeline(
    rows: Iterable[Mapping[str, Any]],
    *,
    id: str,
    key: str,
    time: str,
    labels: LabelColumns | None = None,
    label_delay_ms: int = 0,
    start_ms: int | None = None,
    every_ms: int | None = None,
    number_rows: bool = False,
    leave_out: Sequence[str] = (),
) -> Iterator[Entry]:
    """Merge the events of a file with their labels, each due ``label_delay_ms`` after its event.

    ``id``, ``key`` and ``time`` name columns. Events keep the order of the file. A label comes
    before the first event that is not earlier than it, and after its own; the labels left at the
    end follow in the order they are due. It has its event's key, is never in the event, and a row
    whose label is None has none.

    A file without times gets them from ``start_ms`` on, ``every_ms`` apart; ``number_rows`` puts
    the row's number, from 0, in the column ``id``. ``leave_out`` names columns to drop.

    Raises `StreamprocError`, which names the row, for a missing id or key and a time that is none.

    >>> rows = [{"id": 1, "card": 7, "at": 1000, "fraud": 0}, {"id": 2, "card": 8, "at": 3000}]
    >>> for entry in timeline(
    ...     rows, id="id", key="card", time="at",
    ...     labels=LabelColumns("id", "fraud"), label_delay_ms=2000,
    ... ):
    ...     print(entry.kind, entry.time_ms, entry.key, entry.value)
    event 1000 b'7' b'{"id":1,"card":7,"at":1000}'
    label 3000 b'7' b'{"id":1,"fraud":0}'
    event 3000 b'8' b'{"id":2,"card":8,"at":3000}'
    """
    if (start_ms is None) != (every_ms is None):
        raise StreamprocError("a start needs an interval and the other way round; give both")
    if every_ms is not None and every_ms <= 0:
        raise StreamprocError("the interval between rows must be above 0 ms; write e.g. '30m'")
    if label_delay_ms < 0:
        raise StreamprocError("a label cannot be due before its event; give a delay of 0 or more")
    stamped = _stamped(rows, id, time, start_ms, every_ms, number_rows, leave_out)
    return _merged(stamped, id, key, time, labels, label_delay_ms)


def reactions(topic: str, rows: Iterable[Mapping[str, Any]], time: str) -> Iterator[Entry]:
    """Yield the reactions of a file's rows, in its order; ``time`` names the column of their time.

    Raises `StreamprocError`, which names the row, where that is none.

    >>> list(reactions("clicks", [{"id": 7, "clicked": True, "at": 5}], "at"))[0][1:]
    (5, b'', b'{"id":7,"clicked":true,"at":5}', 'clicks')
    """
    for number, row in enumerate(rows, 1):
        if time not in row:
            raise _missing(time, row, number)
        try:
            time_ms = parse_time_ms(row[time])
        except BadRecord as error:
            raise StreamprocError(f"row {number}: {error.detail}; mend the row") from None
        yield Entry("reaction", time_ms, b"", orjson.dumps(dict(row)), topic)


def with_reactions(entries: Iterable[Entry], came: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries with reactions among them, each behind all that is as early as it is.

    Reactions are put in order of time, in memory.

    >>> events = [Entry("event", at, b"", b"") for at in (1, 3)]
    >>> came = [Entry("reaction", at, b"", b"", "clicks") for at in (4, 1)]
    >>> [(entry.kind, entry.time_ms) for entry in with_reactions(events, came)]
    [('event', 1), ('reaction', 1), ('event', 3), ('reaction', 4)]
    """
    waiting = deque(sorted(came, key=lambda entry: entry.time_ms))
    for entry in entries:
        while waiting and waiting[0].time_ms < entry.time_ms:
            yield waiting.popleft()
        yield entry
    yield from waiting


def _stamped(
    rows: Iterable[Mapping[str, Any]],
    id: str,
    time: str,
    start_ms: int | None,
    every_ms: int | None,
    number_rows: bool,
    leave_out: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """Copy each row, and give it the id and the time that the file lacks."""
    for number, row in enumerate(rows):
        own = dict(row)
        for column in leave_out:
            own.pop(column, None)
        if number_rows:
            own[id] = number
        if start_ms is not None and every_ms is not None:
            own[time] = format_time(start_ms + number * every_ms)
        yield own


def _merged(
    rows: Iterable[dict[str, Any]],
    id: str,
    key: str,
    time: str,
    labels: LabelColumns | None,
    label_delay_ms: int,
) -> Iterator[Entry]:
    column = labels.value if labels else ""
    waiting: list[tuple[int, int, bytes, bytes]] = []
    now_ms = -(1 << 62)
    dumps, entry_of, order = orjson.dumps, Entry, count()
    for number, row in enumerate(rows, 1):
        try:
            key_text = _text(row[key])
            time_ms = parse_time_ms(row[time])
            event_id = row[id]
            if event_id is None:
                raise _missing(id, row, number)
        except KeyError as error:
            raise _missing(error.args[0], row, number) from None
        except (BadRecord, ValueError) as error:
            detail = error.detail if isinstance(error, BadRecord) else f"column {key!r}: {error}"
            raise StreamprocError(f"row {number}: {detail}; mend the row") from None
        label = row.pop(column, None)
        # The newest time seen is what time it is: a late event does not turn the clock back.
        now_ms = max(now_ms, time_ms)
        while waiting and waiting[0][0] <= now_ms:
            due_ms, _, due_key, value = heappop(waiting)
            yield entry_of("label", due_ms, due_key, value)
        yield entry_of("event", time_ms, key_text, dumps(row))
        if labels is not None and label is not None:
            due_ms = time_ms + label_delay_ms
            message = {labels.id: event_id, column: label}
            if labels.time is not None:
                message[labels.time] = format_time(due_ms)
            heappush(waiting, (due_ms, next(order), key_text, dumps(message)))
    while waiting:
        due_ms, _, due_key, value = heappop(waiting)
        yield entry_of("label", due_ms, due_key, value)


def _text(value: object) -> bytes:
    if type(value) is int:
        return b"%d" % value
    if isinstance(value, str) and value:
        return value.encode()
    raise ValueError(f"{value!r} cannot be a key; it must be an integer or a text")


def _missing(column: str, row: Mapping[str, Any], number: int) -> StreamprocError:
    there = ", ".join(row)
    return StreamprocError(
        f"row {number} has no {column!r}, which the pipeline names; the columns are {there}"
    )
