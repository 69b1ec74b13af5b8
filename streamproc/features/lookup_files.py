"""Rows to look up from files: what a backtest has in place of a compacted topic."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamproc.errors import BadRecord, DefinitionError, StreamprocError
from streamproc.eventtime import parse_time_ms
from streamproc.features.entities import text_of
from streamproc.features.lookup import topics_of
from streamproc.features.lookup_tables import PastTables
from streamproc.features.spec import Lookup
from streamproc.files import Row, RowFile

KNOWN_AT = "known_at"
"""The column that says from when on a row is known; without it a row always was."""

KEY = "key"
"""The column of the entity, where none has the name that lookups go by."""

_ALWAYS_MS = -(1 << 62)


@dataclass(frozen=True)
class LookupFile:
    """What was read for a topic: ``timed`` says whether rows tell since when they are known.

    ``bad`` counts rows with a field that is null since it has another type than declared, and
    ``first_bad`` says where and why the first is.
    """

    topic: str
    name: str
    sha256: str
    rows: int
    timed: bool
    bad: int
    first_bad: str | None

    @property
    def notes(self) -> list[str]:
        """What whoever reads the result should know, in one line each."""
        found = []
        if not self.timed:
            found.append(
                f"{self.name} has no column {KNOWN_AT}: events of any time are given its rows, "
                "also those from before a row was known"
            )
        if self.bad:
            found.append(f"{self.name}: {self.bad:,} rows have a wrong field; {self.first_bad}")
        return found

    @property
    def described(self) -> dict[str, Any]:
        """What a manifest says of it."""
        kept = ("name", "sha256", "rows", "timed", "bad")
        return {name: value for name, value in asdict(self).items() if name in kept}


def read_tables(
    lookups: Sequence[Lookup], files: Mapping[str, Path]
) -> tuple[PastTables, list[LookupFile]]:
    """Return the tables that files hold, by topic, and what was read of each.

    An event of time ``t`` is given the last row of its entity with ``known_at <= t``; of equal
    times the one further down. Raises :class:`DefinitionError` where a topic has no file, or a file
    no topic, and :class:`StreamprocError`, which names the row, for an entity or a time that is
    none.

    >>> import tempfile
    >>> lookup = Lookup("profiles", by="card", fields=("age",))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "profiles.csv")
    ...     _ = path.write_text("card,age,known_at\\n7,30,2024-01-01T00:00:00Z\\n")
    ...     tables, _ = read_tables([lookup], {"profiles": path})
    >>> new_year_ms = 1_704_067_200_000
    >>> tables.find(lookup, "7", new_year_ms - 1), tables.find(lookup, "7", new_year_ms)
    (None, (0, 0, 30))
    """
    topics = topics_of(lookups)
    for topic in files:
        if topic not in topics:
            known = ", ".join(topics) or "none"
            raise DefinitionError(
                f"--lookup: nothing is looked up in {topic!r:.60}; the pipeline's topics for that: "
                f"{known}"
            )
    for topic in topics:
        if topic not in files:
            raise DefinitionError(
                f"rows of {topic} are looked up; give them by --lookup {topic}=FILE"
            )
    tables = PastTables(lookups)
    return tables, [_read(tables, lookups, topic, files[topic]) for topic in topics]


def _read(tables: PastTables, lookups: Sequence[Lookup], topic: str, path: Path) -> LookupFile:
    file, reader = RowFile(path), tables.readers[topic]
    by = [each.by for each in lookups if each.topic == topic]
    bad, first_bad, rows, timed = 0, None, 0, False
    for number, fields in enumerate(file):
        try:
            entity = text_of(fields, _key_column(fields, by, path), KEY)
            timed = KNOWN_AT in fields
            known_ms = parse_time_ms(fields[KNOWN_AT]) if timed else _ALWAYS_MS
        except BadRecord as error:
            where = f"{path}, row {number + 1}"
            raise StreamprocError(f"{where}: {error.detail}; mend the row") from None
        row, wrong = reader.read(0, number, fields)
        if wrong is not None:
            bad += 1
            first_bad = first_bad or f"row {number + 1}: {wrong}"
        tables.add(topic, entity, known_ms, row)
        rows += 1
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return LookupFile(topic, path.name, digest, rows, timed, bad, first_bad)


def _key_column(fields: Row, by: Sequence[str], path: Path) -> str:
    for name in (*by, KEY):
        if name in fields:
            return name
    raise StreamprocError(
        f"{path} has no column {' or '.join(map(repr, by))} of the entity, nor {KEY!r}; name it so"
    )
