"""The judge's state on its way into a snapshot, and back.

It is pickled, with each monitor's own classes: what reads it asks for nothing but these, plain
Python, numpy's arrays and River's detectors; see ``streamproc.models.allowed``.
"""

from __future__ import annotations

import hashlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any

from streamproc import alerts, messages, monitors
from streamproc.errors import StreamprocError
from streamproc.models.versions import dumps, loads
from streamproc.monitors.judge import Judge
from streamproc.monitors.spec import Watched
from streamproc.state.snapshots import Snapshot
from streamproc.state.tables import Rows
from streamproc.tasks.frozen import Frozen

FORMAT = 1
"""Of what judges, their monitors and their alerts keep. Raise it with each change to that: what an
older version wrote is passed over then, and the log of sums is read again instead."""

_TABLE = "judge"


class JudgeFreezer:
    """Takes the judge's state: all of it each time, since it is small.

    ``pack`` and ``too_many_changes`` are for those who take a little at a time.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._blob = b""

    def begin(self, everything: bool = False) -> None:
        """Freeze what the judge is now."""
        self._blob = dumps(self._judge)

    def pack(self) -> bool:
        """Return that all is packed."""
        return True

    def take(self) -> Frozen:
        """Return what was packed."""
        rows = Rows()
        rows.append(_TABLE, 0, 0, self._blob)
        self._blob = b""
        return Frozen({_TABLE: rows.table()}, {}, {}, everything=True)

    def too_many_changes(self) -> bool:
        """Return that each snapshot is of everything anyway."""
        return False


def thawed(snapshot: Snapshot) -> Judge:
    """Return the judge in a snapshot; raise :class:`StreamprocError` where it can't be read."""
    (table,) = snapshot.tables[_TABLE]
    try:
        found = loads(bytes(table.blob), allowed())
    except StreamprocError as error:
        raise StreamprocError(f"the judge in {snapshot.name} cannot be read: {error}") from error
    if not isinstance(found, Judge):
        raise StreamprocError(f"{snapshot.name} holds no judge")
    return found


def judge_fingerprint(pipeline: Watched, partitions: int) -> str:
    """Return twelve hex digits that change with what is watched and with :data:`FORMAT`."""
    watched = (pipeline.monitors, pipeline.kind, pipeline.classes, pipeline.learns)
    names = (*pipeline.numeric_features, *pipeline.categorical_features)
    features = [(name, pipeline.warmup_ms(name)) for name in names]
    parts = (FORMAT, *watched, pipeline.lateness_ms, pipeline.budget, features, partitions)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@cache
def allowed() -> frozenset[str]:
    """Return what a judge may be made of that is ours: classes and functions of the monitors.

    >>> {"streamproc.monitors.sealing.Sealer", "streamproc.alerts.AlertBook"} <= allowed()
    True
    """
    found = pkgutil.iter_modules(monitors.__path__, f"{monitors.__name__}.")
    modules = [import_module(each.name) for each in found]
    return frozenset(name for module in (alerts, messages, *modules) for name in _own(module))


def _own(module: Any) -> Iterator[str]:
    """Yield the names of what a module defines itself."""
    for name, thing in vars(module).items():
        if isinstance(thing, type | Callable) and thing.__module__ == module.__name__:
            yield f"{module.__name__}.{name}"
