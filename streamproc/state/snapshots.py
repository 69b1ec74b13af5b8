"""Snapshots of one task: which files, for which offsets, and whether they can be trusted.

A snapshot is a manifest that names tables written earlier and the one written with it. Its name is
made of the offsets it covers, and these alone say which is newer. A manifest is written last, so
one that is there names files that are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any

import orjson

from streamproc.errors import StreamprocError
from streamproc.state.files import Files
from streamproc.state.tables import Floor, Table, decode, encode, merge

FORMAT = 1
"""What manifests are written in. One release after a new one is read it may be written, too:
in a rolling restart a partition may move back to older code."""

KEPT = 3
"""How many snapshots are kept; the older ones for when a newer one is damaged."""

FANOUT = 16
"""How many files of one level are merged into one; a level has so many times the rows."""

_LEVEL_ROWS = 1_000

_MANIFEST = re.compile(r"(\d{16})-(\d{16})\.json")
_TABLES = re.compile(r"(\d{16})-(\d{16})-[0-9a-f]{16}\.tables")

Offsets = tuple[int, int]
"""Of the two inputs of a task, the offsets of the first records a snapshot does not cover."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of tables; ``level`` goes by how many rows they have."""

    name: str
    size_bytes: int
    sha256: str
    level: int


@dataclass(frozen=True)
class Snapshot:
    """What a task was at some offsets.

    ``tables`` are stacks, oldest first, by name; ``meta`` what else the task kept; ``tails`` where
    other topics stood at some time before, by name.
    """

    name: str
    offsets: Offsets
    meta: Mapping[str, Any]
    floors: Mapping[str, Floor]
    tails: Mapping[str, int]
    tables: Mapping[str, list[Table]]
    files: tuple[File, ...]


@dataclass
class Snapshots:
    """The snapshots of one task, in a folder of a store.

    ``of`` says whose they are, and what must be equal for them to be read again: the pipeline, the
    task, and the topics with their ids, which change when a topic is made anew. Where a file cannot
    be used ``told`` hears which, and why.

    >>> from streamproc.state.tables import Rows
    >>> rows = Rows(); rows.append("card-7", 5, 1, b"...")
    >>> kept = Snapshots(Files("memory://doc-snapshots"), "shop/score-0", {"task": "shop/score-0"})
    >>> kept.write((10, 3), {"windows": rows.table()}, meta={}, floors={}, tails={})
    >>> kept.newest((12, 3)).offsets, kept.newest((9, 3))
    ((10, 3), None)
    """

    files: Files
    folder: str
    of: Mapping[str, Any]
    told: Callable[[str, str], None] = lambda name, why: None
    chain: list[File] = field(default_factory=list)

    def newest(self, committed: Offsets) -> Snapshot | None:
        """Return the newest that can be used and covers nothing beyond ``committed``.

        What is written next goes on from it. Raises :class:`StreamprocError` where the store
        cannot be listed.
        """
        names = [name for name in self.files.names(self.folder) if _MANIFEST.fullmatch(name)]
        for name in reversed(names):
            if not _at_most(_offsets(name), committed):
                continue
            try:
                found = self._load(name)
            except StreamprocError as error:
                self.told(self.files.full(f"{self.folder}/{name}"), str(error))
                continue
            self.chain = list(found.files)
            return found
        self.chain = []
        return None

    def _load(self, name: str) -> Snapshot:
        manifest = self._manifest(name)
        if manifest["format"] != FORMAT:
            raise StreamprocError(
                f"it has format {manifest['format']}, and this version reads {FORMAT}: start the "
                "version that wrote it, or a later one"
            )
        for what, ours in self.of.items():
            if manifest["of"].get(what) != ours:
                raise StreamprocError(f"it is of {what} {manifest['of'].get(what)!r}, not {ours!r}")
        files = tuple(File(*each) for each in manifest["files"])
        tables: dict[str, list[Table]] = {}
        for file in files:
            for table_name, table in self._tables(file).items():
                tables.setdefault(table_name, []).append(table)
        return Snapshot(
            name,
            _offsets(name),
            manifest["meta"],
            {each: Floor(*floor) for each, floor in manifest["floors"].items()},
            manifest["tails"],
            tables,
            files,
        )

    def _manifest(self, name: str) -> dict[str, Any]:
        blob = self.files.get(f"{self.folder}/{name}")
        sha256, _, body = blob.partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != sha256:
            raise StreamprocError("the manifest is damaged or cut off")
        manifest: dict[str, Any] = orjson.loads(body)
        return manifest

    def _tables(self, file: File) -> dict[str, Table]:
        blob = self.files.get(f"{self.folder}/{file.name}")
        if len(blob) != file.size_bytes or hashlib.sha256(blob).hexdigest() != file.sha256:
            raise StreamprocError(
                f"{file.name} is damaged ({len(blob)} bytes of {file.size_bytes}, or another hash)"
            )
        return decode(blob)

    def whole(self) -> bool:
        """Say whether all that the next snapshot builds on is still there."""
        there = set(self.files.names(self.folder))
        return all(file.name in there for file in self.chain)

    def write(
        self,
        offsets: Offsets,
        tables: Mapping[str, Table],
        meta: Mapping[str, Any],
        floors: Mapping[str, Floor],
        tails: Mapping[str, int],
    ) -> None:
        """Write a snapshot on top of the one before; let go of those no longer needed.

        Raises :class:`StreamprocError` where the store fails; then it may be called again.
        """
        chain = [*self.chain]
        if any(table.keys for table in tables.values()):
            chain.append(self._put(offsets, tables, least=0))
        while (several := _to_merge(chain)) is not None:
            chain[several:] = [self._merged(offsets, chain[several:], floors, several == 0)]
        body = orjson.dumps(
            {
                "format": FORMAT,
                "of": self.of,
                "meta": meta,
                "floors": {name: [each.time_ms, each.number] for name, each in floors.items()},
                "tails": tails,
                "files": [[each.name, each.size_bytes, each.sha256, each.level] for each in chain],
            }
        )
        blob = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
        self.files.put(f"{self.folder}/{_name(offsets)}.json", blob)
        self.chain = chain
        self._prune(offsets)

    def _put(self, offsets: Offsets, tables: Mapping[str, Table], least: int) -> File:
        rows = sum(len(table.keys) for table in tables.values())
        level = max(least, int(log(max(1.0, rows / _LEVEL_ROWS), FANOUT)))
        blob = encode(tables)
        sha256 = hashlib.sha256(blob).hexdigest()
        file = File(f"{_name(offsets)}-{sha256[:16]}.tables", len(blob), sha256, level)
        self.files.put(f"{self.folder}/{file.name}", blob)
        return file

    def _merged(
        self, offsets: Offsets, files: list[File], floors: Mapping[str, Floor], lowest: bool
    ) -> File:
        """Write files as one; what says that a key is gone stays while there are older files."""
        if not lowest:
            floors = {
                name: Floor(floor.time_ms, floor.number or -1) for name, floor in floors.items()
            }
        tables = merge([self._tables(file) for file in files], floors)
        return self._put(offsets, tables, least=files[-1].level + 1)

    def _prune(self, offsets: Offsets) -> None:
        """Delete all but the newest snapshots up to ``offsets``, and the files that none names.

        A file that another owner has only just written, its manifest to come, covers more than the
        oldest that is kept, and stays.
        """
        names = self.files.names(self.folder)
        ours = [n for n in names if _MANIFEST.fullmatch(n) and _at_most(_offsets(n), offsets)]
        old = set(ours[:-KEPT])
        for name in old:
            self.files.remove(f"{self.folder}/{name}")
        named: set[str] = set()
        for name in set(filter(_MANIFEST.fullmatch, names)) - old:
            try:
                named.update(each[0] for each in self._manifest(name)["files"])
            except StreamprocError:
                continue  # what a damaged one named, nobody can tell
        oldest = _offsets(ours[-KEPT:][0])
        for name in filter(_TABLES.fullmatch, names):
            if name not in named and _at_most(_offsets(name), oldest):
                self.files.remove(f"{self.folder}/{name}")


def _to_merge(chain: list[File]) -> int | None:
    """Return from which file on the last ones are to be merged, or None.

    Those on top that are of no higher level than the last belong together.
    """
    if not chain:
        return None
    alike = 0
    while alike < len(chain) and chain[-1 - alike].level <= chain[-1].level:
        alike += 1
    return len(chain) - alike if alike >= FANOUT else None


def _name(offsets: Offsets) -> str:
    return f"{offsets[0]:016d}-{offsets[1]:016d}"


def _offsets(name: str) -> Offsets:
    first, second = name.replace(".", "-").split("-")[:2]
    return int(first), int(second)


def _at_most(offsets: Offsets, most: Offsets) -> bool:
    return offsets[0] <= most[0] and offsets[1] <= most[1]
