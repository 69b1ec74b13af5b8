"""Looking rows up: the tables that enrich events, and which row each event was given.

What a table says of an entity follows from the newest record of its key alone, whatever came
before and whoever asks: a row that cannot be used says nothing, rather than what was said before
it. So all workers agree, those that read the whole topic anew among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from streamproc.errors import BadRecord, DefinitionError
from streamproc.features.entities import LONGEST_ID, text_of
from streamproc.features.spec import Field, LabelWindow, Lookup, Window
from streamproc.features.values import LARGEST, describe
from streamproc.messages import Features

if TYPE_CHECKING:
    from streamproc.tasks.records import Record

Row = tuple[Any, ...]
"""The partition and the offset that a row was read at, and the values of its columns."""

Versions = dict[str, str | None]
"""By table (``customers.profile by customer_id``), the row that was looked up; None for no row."""

Find = Callable[[Lookup, str, int], Row | None]
"""Returns the row of an entity for an event of some time (ms)."""

_NOW_MS = 1 << 62

Decode = Callable[[str, bytes | None], dict[str, Any]]


class RowReader:
    """Reads the rows of one topic, as far as anything is looked up there.

    >>> reader = RowReader([Lookup("profiles", "card", ("age", Field("segment", "text")))])
    >>> reader.read(0, 7, {"age": 31, "segment": "gold", "name": "not asked for"})
    ((0, 7, 31, 'gold'), None)
    >>> reader.read(0, 8, {"age": "old"})
    ((0, 8, None, None), "field 'age' is text ('old'), not a number")
    """

    def __init__(self, lookups: Iterable[Lookup]) -> None:
        self.columns = list(dict.fromkeys(each for one in lookups for each in one.columns))
        self.nothing: tuple[None, ...] = (None,) * len(self.columns)

    def places(self, lookup: Lookup) -> list[tuple[str, int]]:
        """Return the features of a lookup, each with its place in a row."""
        columns = zip(lookup.names, lookup.columns, strict=True)
        return [(name, 2 + self.columns.index(column)) for name, column in columns]

    def read(
        self, partition: int, offset: int, fields: Mapping[str, Any]
    ) -> tuple[Row, str | None]:
        """Return the row that these fields are, and what is wrong with the first that is wrong.

        A value that is wrong is null in the row.
        """
        values: list[Any] = [partition, offset]
        wrong = None
        for column in self.columns:
            value = fields.get(column.name)
            if value is not None and not _FITS[column.type](value):
                wrong = wrong or _misfit(column, value)
                value = None
            values.append(value)
        return tuple(values), wrong


class Lookups:
    """Looks up what a pipeline declares, for its events; ``find`` is where the rows are.

    >>> lookup = Lookup("profiles", by="card", fields=("age",))
    >>> lookups = Lookups([lookup])
    >>> lookups.find = lambda lookup, entity, time_ms: (0, 7, 31) if entity == "c1" else None
    >>> features = {"age_of_card": None}
    >>> lookups.read({"card": "c1"}, 0, features), features
    ({'profiles by card': '0@7'}, {'age_of_card': 31})
    >>> lookups.read({"card": "c2"}, 0, features)
    {'profiles by card': None}
    """

    def __init__(self, lookups: Sequence[Lookup]) -> None:
        readers = row_readers(lookups)
        self._each = [(each, each.table, readers[each.topic].places(each)) for each in lookups]
        self.find: Find = lambda lookup, entity, time_ms: None

    def read(self, fields: dict[str, Any], time_ms: int, features: Features) -> Versions:
        """Put what is looked up for an event into its features; return which rows it was.

        An event without an entity is given no row. Raises :class:`BadRecord` where the entity is
        neither text nor an integer.
        """
        versions: Versions = {}
        for lookup, table, places in self._each:
            row = None
            if fields.get(lookup.by) is not None:
                row = self.find(lookup, text_of(fields, lookup.by, "entity"), time_ms)
            if row is None:
                versions[table] = None
                continue
            versions[table] = version_of(row)
            for name, place in places:
                features[name] = row[place]
        return versions

    def current(self, entity: str, by: tuple[str, ...]) -> Features:
        """Return what is looked up of an entity by this field just now; nothing without a row."""
        found: Features = {}
        for lookup, _, places in self._each:
            row = self.find(lookup, entity, _NOW_MS) if by == (lookup.by,) else None
            found |= {} if row is None else {name: row[place] for name, place in places}
        return found


def read_record(
    record: Record, reader: RowReader, decode: Decode
) -> tuple[str | None, Row | None, str | None]:
    """Return a record's entity, its row, and what is wrong with it.

    No row is a record that takes one away. A value that is no object is a row of nulls.
    """
    entity, wrong = _entity_of(record.key())
    if entity is None:
        return None, None, wrong
    value = record.value()
    if value is None:
        return entity, None, None
    partition, offset = record.partition(), record.offset()
    try:
        fields = decode(record.topic(), value)
    except BadRecord as bad:
        return entity, (partition, offset, *reader.nothing), bad.detail
    return entity, *reader.read(partition, offset, fields)


def version_of(row: Row) -> str:
    """Return the place of a row in its topic, as a prediction has it: ``partition@offset``."""
    return f"{row[0]}@{row[1]}"


def topics_of(lookups: Iterable[Lookup]) -> tuple[str, ...]:
    """Return the topics that are looked up in, each once."""
    return tuple(dict.fromkeys(each.topic for each in lookups))


def row_readers(lookups: Sequence[Lookup]) -> dict[str, RowReader]:
    """Return what reads the rows of each topic."""
    return {
        topic: RowReader(each for each in lookups if each.topic == topic)
        for topic in topics_of(lookups)
    }


def check_lookups(features: Iterable[Any], taken: Iterable[str | None]) -> None:
    """Raise :class:`DefinitionError` for lookups that can't be; ``taken`` are the other topics."""
    declared = list(features)
    lookups = [each for each in declared if isinstance(each, Lookup)]
    seen: set[str] = set()
    for each in lookups:
        where = f"Lookup({each.topic!r}, by={each.by!r})"
        if each.topic in taken:
            raise DefinitionError(f"{where}: topic is one of the pipeline's own; name another")
        if each.table in seen:
            raise DefinitionError(f"{where} is declared twice; name all fields in one")
        seen.add(each.table)
    looked_up = {name for each in lookups for name in each.names}
    for each in declared:
        if isinstance(each, Window | LabelWindow):
            reads = {*each.entity, *([each.value] if isinstance(each, Window) else [])}
            if found := sorted(reads & looked_up):
                raise DefinitionError(
                    f"{type(each).__name__}(by={each.by!r}): {found[0]!r} is looked up, and "
                    "windows are of the event's fields; send it in the event, or leave it out"
                )


def _entity_of(key: bytes | None) -> tuple[str | None, str | None]:
    if not key:
        return None, "it has no key"
    try:
        entity = key.decode()
    except UnicodeDecodeError:
        return None, "its key is no UTF-8"
    if len(entity) > LONGEST_ID:
        return None, f"its key has over {LONGEST_ID} characters"
    return entity, None


def _is_number(value: object) -> bool:
    return (type(value) is float or type(value) is int) and -LARGEST <= value <= LARGEST


_FITS: dict[str, Callable[[Any], bool]] = {
    "number": _is_number,
    # Predictions hold it: a longer one could make them too large to be published.
    "text": lambda value: type(value) is str and len(value) <= LONGEST_ID,
    "bool": lambda value: type(value) is bool,
}


def _misfit(column: Field, value: object) -> str:
    due = {
        "number": "a number",
        "text": f"text of up to {LONGEST_ID} characters",
        "bool": "true or false",
    }
    return f"field {column.name!r} is {describe(value)}, not {due[column.type]}"
