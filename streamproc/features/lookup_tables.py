"""Tables that are looked up in: as they are now, as they were known, as predictions name them."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from streamproc.features.lookup import (
    Decode,
    Row,
    RowReader,
    read_record,
    row_readers,
    topics_of,
)
from streamproc.features.spec import Lookup

if TYPE_CHECKING:
    from streamproc.tasks.records import Record


class LatestRows:
    """The newest row of each entity in one topic.

    One thread calls :meth:`take`; others may look rows up meanwhile.

    >>> rows = LatestRows("profiles", [Lookup("profiles", "card", ("age",))])
    >>> rows.put("c1", (0, 7, 31))
    >>> rows.get("c1"), len(rows), rows.size_bytes > 100
    ((0, 7, 31), 1, True)
    """

    def __init__(self, topic: str, lookups: Iterable[Lookup]) -> None:
        self.topic = topic
        self.bad = 0
        self._reader = RowReader(lookups)
        self._rows: dict[str, Row] = {}
        self._held_bytes = 0
        self.get = self._rows.get

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size_bytes(self) -> int:
        """About how much memory the rows take."""
        return self._held_bytes + sys.getsizeof(self._rows)

    def put(self, entity: str, row: Row) -> None:
        """Put a row in place of the one before."""
        before = self._rows.get(entity)
        self._rows[entity] = row  # at once: who looks meanwhile sees one or the other
        self._held_bytes += _size_of(entity, row) - (_size_of(entity, before) if before else 0)

    def remove(self, entity: str) -> None:
        """Take a row away, if there is one."""
        row = self._rows.pop(entity, None)
        if row is not None:
            self._held_bytes -= _size_of(entity, row)

    def take(self, record: Record, decode: Decode) -> str | None:
        """Take a record in; return what is wrong with it, which is counted, or None.

        What ``decode`` raises is a fault of the record if it is :class:`BadRecord`; nothing was
        taken in where it raises anything else.
        """
        entity, row, wrong = read_record(record, self._reader, decode)
        if entity is not None:
            if row is None:
                self.remove(entity)
            else:
                self.put(entity, row)
        self.bad += wrong is not None
        return wrong


class LatestTables:
    """The tables of a worker: of each topic the newest rows, shared by all its tasks."""

    def __init__(self, lookups: Sequence[Lookup]) -> None:
        self.by_topic = {
            topic: LatestRows(topic, [each for each in lookups if each.topic == topic])
            for topic in topics_of(lookups)
        }

    def find(self, lookup: Lookup, entity: str, time_ms: int) -> Row | None:
        """Return the newest row of an entity, whatever the event's time."""
        return self.by_topic[lookup.topic].get(entity)


class PastTables:
    """Tables as they became known: what a backtest looks up.

    >>> lookup = Lookup("profiles", by="card", fields=("age",))
    >>> tables = PastTables([lookup])
    >>> tables.add("profiles", "c1", known_ms=10, row=(0, 0, 30))
    >>> tables.add("profiles", "c1", known_ms=20, row=(0, 1, 31))
    >>> [tables.find(lookup, "c1", time_ms) for time_ms in (9, 10, 19, 20)]
    [None, (0, 0, 30), (0, 0, 30), (0, 1, 31)]
    """

    def __init__(self, lookups: Sequence[Lookup]) -> None:
        self.readers = row_readers(lookups)
        self._known: dict[tuple[str, str], tuple[list[int], list[Row | None]]] = {}

    def add(self, topic: str, entity: str, known_ms: int, row: Row | None) -> None:
        """Add a row, known from a time on; None takes the one before away."""
        times_ms, rows = self._known.setdefault((topic, entity), ([], []))
        at = bisect_right(times_ms, known_ms)
        times_ms.insert(at, known_ms)
        rows.insert(at, row)

    def find(self, lookup: Lookup, entity: str, time_ms: int) -> Row | None:
        """Return the row that was known at an event's time: never one that came later."""
        times_ms, rows = self._known.get((lookup.topic, entity), ([], []))
        at = bisect_right(times_ms, time_ms)
        return rows[at - 1] if at else None


class NamedRows:
    """Rows as past predictions name them, for making their features again.

    ``predictions`` are by id. ``rows`` holds, by topic and version, a row behind its entity. A row
    that is named and not there has been compacted away: it is made of the features published then,
    and told of in ``gone``.

    >>> lookup = Lookup("profiles", by="card", fields=("age",))
    >>> said = {"features": {"age_of_card": 31}, "lookups": {"profiles by card": "0@7"}}
    >>> rows = NamedRows([lookup], {"a": said}, {})
    >>> rows.begin("a")
    >>> rows.find(lookup, "c1", 0), rows.gone
    ((0, 7, 31), ['0@7 of profiles'])
    """

    def __init__(
        self,
        lookups: Sequence[Lookup],
        predictions: Mapping[str, Mapping[str, Any]],
        rows: Mapping[tuple[str, str], tuple[str | None, Row]],
    ) -> None:
        self.gone: list[str] = []
        self._readers = row_readers(lookups)
        self._predictions, self._rows = predictions, rows
        self._said: Mapping[str, Any] = {}

    def begin(self, event_id: str) -> None:
        """Find, from now on, the rows of this event."""
        self._said = self._predictions.get(event_id, {})
        self.gone = []

    def find(self, lookup: Lookup, entity: str, time_ms: int) -> Row | None:
        """Return the row that the prediction names; None for one of another entity."""
        version = (self._said.get("lookups") or {}).get(lookup.table)
        if version is None:
            return None
        found = self._rows.get((lookup.topic, version))
        if found is not None:
            own, row = found
            return row if own == entity else None
        self.gone.append(f"{version} of {lookup.topic}")
        partition, _, offset = version.partition("@")
        reader = self._readers[lookup.topic]
        values: list[Any] = [int(partition), int(offset), *reader.nothing]
        for name, place in reader.places(lookup):
            values[place] = self._said["features"].get(name)
        return tuple(values)


def named_rows(
    predictions: Iterable[Mapping[str, Any]], topics: Collection[str]
) -> dict[tuple[str, int], set[int]]:
    """Return, by topic and partition, the offsets of the rows that predictions name.

    >>> named_rows([{"lookups": {"profiles by card": "2@7", "shops by shop": None}}], ["profiles"])
    {('profiles', 2): {7}}
    """
    found: dict[tuple[str, int], set[int]] = {}
    for said in predictions:
        for table, version in (said.get("lookups") or {}).items():
            topic = table.split(" ", 1)[0]  # no topic's name has a space
            if version is not None and topic in topics:
                partition, _, offset = version.partition("@")
                found.setdefault((topic, int(partition)), set()).add(int(offset))
    return found


def _size_of(entity: str, row: Row) -> int:
    values = sum(map(sys.getsizeof, row))
    return sys.getsizeof(entity) + sys.getsizeof(row) + values
