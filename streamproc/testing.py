"""Tests of features, as people write them: a stream as a table, time drawn downwards.

The table goes through the path of production: the score task that a worker runs, with no broker.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from river import dummy, stats

from streamproc.errors import BadRecord, DefinitionError
from streamproc.events import Events, Labels
from streamproc.eventtime import format_time, parse_duration_ms, parse_time_ms
from streamproc.features import Feature, LabelWindow, Lookup, Window
from streamproc.features.lookup_tables import PastTables
from streamproc.features.shared import flattened
from streamproc.pipeline import Pipeline
from streamproc.replay import Replay
from streamproc.tasks.records import Output
from streamproc.timeline import Entry

TOLERANCE = 1e-9
"""How far a float may be from what is expected, relative to it, and near 0 absolutely."""

FIRST_DAY = "2024-01-01"
"""The day of a clock time in the first row: a Monday."""

_CELL = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
_PAIR = re.compile(r'[^\s="]+="(?:[^"\\]|\\.)*"|\S+')
_CLOCK = re.compile(r"\d\d:\d\d(:\d\d(\.\d{1,3})?)?")
_ANYTHING, _NULL = "...", "-"
_DAY_MS = 86_400_000
_NO_RECORD = -1
"""The offset of a line that is neither event nor label."""


def assert_features(features: Pipeline | Sequence[Feature], table: str) -> None:
    """Run the events of a table through a pipeline, and compare the features that come out.

    One row is one event. The first column is its time; then come fields of the event, a bar, and
    the features expected of it:

    - A time is RFC 3339 text, a clock time (of the day of the row above), or relative to the row
      above: ``+1d``, ``+90s``, ``-5m``.
    - A value is as in JSON, or else text; ``-`` is null. Text with spaces is put in quotes.
    - Expected: a float to 1e-9, ``-`` for null, ``...`` for whatever it is; nothing right of the
      bar is whatever they all are. ``dead letter: REASON`` expects that the event is refused.
    - A row ``TIME label: ID VALUE`` is a label that becomes known then. Events have the ids 1, 2,
      and so on, unless there is a column for them.
    - A row ``TIME lookup: TOPIC ENTITY FIELD=VALUE ...`` is the row of an entity from then on;
      without fields, it is taken away.

    Features alone stand for a pipeline whose events have the fields ``id`` and ``at``, and for a
    key the field that the windows, or else lookups, go by. Raises :class:`AssertionError`, which
    shows the table with what came out, and :class:`DefinitionError` for a table that says nothing
    clear.

    >>> from streamproc import Window
    >>> assert_features([Window("amount", by="card", over="1d", aggregates=("count", "mean"))], '''
    ...     at     card  amount | amount_count_1d_by_card  amount_mean_1d_by_card
    ...     00:00  a     10     | 1                        10
    ...     00:05  b     -      | 0                        -
    ...     +1d    a     30     | 1                        30
    ... ''')
    """
    __tracebackhide__ = True
    read = _read(features, table)
    found = _run(read)
    if any(row.differs(found) for row in read.rows):
        raise AssertionError(_drawn(read, found))


@dataclass
class _Row:
    """A line of the table; ``offset`` is its place among the events, or among the labels."""

    number: int
    cells: list[str]
    offset: int
    entry: Entry
    expected: dict[str, str] = field(default_factory=dict)
    dead: str | None = None

    def differs(self, found: _Found) -> list[str]:
        """Return the names of the features that are not as expected; a reason is named so."""
        refused = found.dead.get((self.entry.kind, self.offset))
        if (refused.reason if refused else None) != self.dead:
            return ["dead letter"]
        if self.dead or self.entry.kind == "label":
            return []
        came = found.features[self.offset]
        return [name for name, text in self.expected.items() if not _matches(text, came[name])]


@dataclass
class _Table:
    pipeline: Pipeline
    names: list[str]
    expects: list[str]
    rows: list[_Row]
    looked_up: PastTables


@dataclass
class _Found:
    """What came out: features by the event's place, what was refused by kind and place."""

    features: dict[int, dict[str, Any]] = field(default_factory=dict)
    dead: dict[tuple[str, int], BadRecord] = field(default_factory=dict)


def _read(features: Pipeline | Sequence[Feature], table: str) -> _Table:
    lines = [line for line in table.splitlines() if line.strip()]
    if not lines:
        raise DefinitionError("assert_features: the table is empty; begin with a row of names")
    left, _, right = lines[0].partition("|")
    names, expects = left.split(), right.split()
    if not names:
        raise DefinitionError("assert_features: the first row names the columns, the time first")
    chosen = _pipeline(features, names)
    unknown = [name for name in expects if name not in chosen.feature_names]
    if unknown:
        raise DefinitionError(
            f"assert_features: {unknown[0]!r} is no feature; there are "
            f"{', '.join(chosen.feature_names)}"
        )
    names[0] = chosen.events.time
    rows: list[_Row] = []
    now_ms = parse_time_ms(f"{FIRST_DAY}T00:00:00Z")
    counts = {"event": 0, "label": 0}
    tables = PastTables(chosen.lookups)
    for number, line in enumerate(lines[1:], 1):
        row = _lookup(tables, number, line, now_ms) or _row(
            chosen, names, expects, number, line, now_ms, counts
        )
        now_ms = row.entry.time_ms
        rows.append(row)
    return _Table(chosen, names, expects, rows, tables)


def _pipeline(features: Pipeline | Sequence[Feature], names: list[str]) -> Pipeline:
    """Return the pipeline itself, or one made around features."""
    if isinstance(features, Pipeline):
        if names[0] not in ("at", features.events.time):
            raise DefinitionError(
                f"assert_features: the first column is {names[0]!r}; let it be the time, "
                f"{features.events.time!r} or 'at'"
            )
        return features
    spec = flattened(features if isinstance(features, list | tuple) else [features])
    windows = [each for each in spec if isinstance(each, Window | LabelWindow)]
    keys = [field for each in windows for field in each.entity]
    keys += [each.by for each in spec if isinstance(each, Lookup)]
    return Pipeline(
        name="tested",
        events=Events("tested.events", id="id", key=keys[0] if keys else "key", time=names[0]),
        labels=Labels("tested.labels", id="id", value="label", horizon="36500d"),
        features=spec,
        model=dummy.StatisticRegressor(stats.Mean()),
    )


def _lookup(tables: PastTables, number: int, line: str, now_ms: int) -> _Row | None:
    """Let a row be looked up, if this line is one; None for other lines."""
    time, *cells = _PAIR.findall(line) or [""]
    if cells[:1] != ["lookup:"]:
        return None
    time_ms = _time_ms(time, now_ms, number)
    topic, entity, *given = [*cells[1:], "", ""][: max(2, len(cells) - 1)]
    reader = tables.readers.get(topic)
    if reader is None or not entity or not all("=" in each for each in given):
        known = ", ".join(tables.readers) or "none"
        raise DefinitionError(
            f"assert_features, row {number}: write 'TIME lookup: TOPIC ENTITY FIELD=VALUE'; topics "
            f"that are looked up: {known}"
        )
    fields = {name: _value(text) for name, _, text in (each.partition("=") for each in given)}
    row, wrong = reader.read(0, number, fields)
    if wrong is not None:
        raise DefinitionError(f"assert_features, row {number}: {wrong}")
    tables.add(topic, entity, time_ms, row if given else None)
    return _Row(number, [time, *cells], _NO_RECORD, Entry("label", time_ms, b"", b""))


def _row(
    pipeline: Pipeline,
    names: list[str],
    expects: list[str],
    number: int,
    line: str,
    now_ms: int,
    counts: dict[str, int],
) -> _Row:
    given, _, wanted = line.partition("|")
    cells, right = _CELL.findall(given), _CELL.findall(wanted)
    time_ms = _time_ms(cells[0] if cells else "", now_ms, number)
    if cells[1:2] == ["label:"]:
        entry = _label(pipeline, cells[2:], time_ms, number)
    elif len(cells) != len(names):
        raise DefinitionError(
            f"assert_features, row {number}: {len(cells)} values for the {len(names)} columns "
            f"{' '.join(names)}; write '-' for null"
        )
    else:
        fields: dict[str, Any] = {names[0]: format_time(time_ms)}
        fields |= {name: _value(text) for name, text in zip(names[1:], cells[1:], strict=True)}
        events = pipeline.events
        fields.setdefault(events.id, counts["event"] + 1)
        fields.setdefault(events.key, "key")
        entry = Entry("event", time_ms, str(fields[events.key]).encode(), orjson.dumps(fields))
    row = _Row(number, [*cells, "|", *right], counts[entry.kind], entry)
    counts[entry.kind] += 1
    if right[:2] == ["dead", "letter:"] and len(right) == 3:
        row.dead = right[2]
    elif right and len(right) != len(expects):
        raise DefinitionError(
            f"assert_features, row {number}: {len(right)} values for the {len(expects)} features "
            f"{' '.join(expects)}; write '...' for whatever it is"
        )
    elif right:
        row.expected = dict(zip(expects, right, strict=True))
    return row


def _time_ms(text: str, now_ms: int, number: int) -> int:
    where = f"assert_features, row {number}"
    if text[:1] in ("+", "-") and len(text) > 1:
        sign = -1 if text[0] == "-" else 1
        return now_ms + sign * parse_duration_ms(text[1:], f"{where}, time")
    if _CLOCK.fullmatch(text):
        seconds = text if len(text) > len("00:00") else f"{text}:00"
        text = f"{format_time(now_ms // _DAY_MS * _DAY_MS)[:10]}T{seconds}Z"
    try:
        return parse_time_ms(text)
    except BadRecord:
        raise DefinitionError(
            f"{where}: {text!r} is no time; write 00:05, +1d or 2024-01-01T00:05:00Z"
        ) from None


def _label(pipeline: Pipeline, cells: list[str], time_ms: int, number: int) -> Entry:
    names = pipeline.labels
    if names is None or len(cells) != 2:
        remedy = "declare labels=Labels(...)" if names is None else "write 'TIME label: ID VALUE'"
        raise DefinitionError(f"assert_features, row {number}: no label can be read; {remedy}")
    fields = {names.id: _value(cells[0]), names.value: _value(cells[1])}
    if names.time is not None:
        fields[names.time] = format_time(time_ms)
    return Entry("label", time_ms, b"", orjson.dumps(fields))


def _value(text: str) -> Any:
    """Return what a cell says: JSON, or else the text itself.

    >>> [_value(text) for text in ("-", "1.5", "true", "NL", "007", '"a b"')]
    [None, 1.5, True, 'NL', '007', 'a b']
    """
    if text == _NULL:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _run(table: _Table) -> _Found:
    found, topics = _Found(), table.pipeline.topics
    rows = {(row.entry.kind, row.offset): row for row in table.rows}
    kinds = {topics.events.encode(): "event", (topics.labels or "").encode(): "label"}
    places: dict[str, int] = {}
    for (kind, offset), row in rows.items():
        if kind == "event":
            record_id = orjson.loads(row.entry.value)[table.pipeline.events.id]
            places.setdefault(str(record_id), offset)

    def take(output: Output) -> None:
        for out in output.records.get("predictions", ()):
            prediction = orjson.loads(out["value"] or b"")
            found.features[places[prediction["id"]]] = prediction["features"]
        for out in output.records.get("dead_letters", ()):
            told = dict(out.get("headers", ()))
            if told["stage"] == b"score":
                place = (kinds[told["source_topic"]], int(told["source_offset"]))
                found.dead[place] = BadRecord(told["reason"].decode(), told["error"].decode())

    entries = [row.entry for row in table.rows if row.offset != _NO_RECORD]
    newest_ms = max((entry.time_ms for entry in entries), default=0)
    Replay(table.pipeline, newest_ms, take, table.looked_up.find).run(entries)
    return found


def _matches(expected: str, came: Any) -> bool:
    if expected == _ANYTHING:
        return True
    wanted = _value(expected)
    numbers = all(isinstance(each, int | float) for each in (wanted, came))
    if numbers:
        return math.isclose(wanted, came, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(wanted == came)


def _drawn(table: _Table, found: _Found) -> str:
    """Return the table as it should be, with what came out below each row that differs."""
    lines = [[*table.names, "|", *table.expects]]
    notes: dict[int, str] = {}
    wrong: list[int] = []
    for row in table.rows:
        lines.append(row.cells)
        differing = row.differs(found)
        if not differing:
            continue
        wrong.append(row.number)
        refused = found.dead.get((row.entry.kind, row.offset))
        if differing == ["dead letter"]:
            came = f"dead letter: {refused}" if refused else "no dead letter"
            notes[len(lines) - 1] = f"  <- {came}"
            continue
        features = found.features[row.offset]
        actual = [_written(features[name]) if name in differing else "" for name in table.expects]
        lines.append(["" for _ in table.names] + ["!", *actual])
    widths: dict[int, int] = {}
    for cells in lines:
        if len(cells) == len(lines[0]):
            widths |= {at: max(widths.get(at, 0), len(cell)) for at, cell in enumerate(cells)}
    drawn = []
    for number, cells in enumerate(lines):
        padded = "  ".join(cell.ljust(widths.get(at, 0)) for at, cell in enumerate(cells))
        drawn.append(f"    {padded}".rstrip() + notes.get(number, ""))
    rows = ", ".join(map(str, wrong))
    said = f"row{'s' * (len(wrong) > 1)} {rows}: not as expected (! is what came out)"
    return "\n".join([said, *drawn])


def _written(value: Any) -> str:
    return _NULL if value is None else orjson.dumps(value).decode()
