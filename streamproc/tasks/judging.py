"""The judge's state on its way into a snapshot, and back.

It is pickled, with each monitor's own classes: what reads it asks for nothing but these, plain
Python, numpy's arrays and River's detectors; see ``streamproc.models.allowed``.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any

from streamproc import alerts, messages, monitors
from streamproc.errors import StreamprocError
from streamproc.models.versions import PICKLE_PROTOCOL, dumps, loads
from streamproc.monitors.bias import BiasTests
from streamproc.monitors.calibration import CalibrationTest
from streamproc.monitors.counts import CountTest
from streamproc.monitors.detectors import DetectorTest
from streamproc.monitors.distribution import DistributionTest
from streamproc.monitors.judge import Judge
from streamproc.monitors.performance import Window
from streamproc.monitors.series import SeriesTest
from streamproc.monitors.spec import Watched
from streamproc.state.snapshots import Snapshot
from streamproc.state.tables import Rows
from streamproc.tasks.frozen import Frozen
from streamproc.tasks.judge import JudgeTask

FORMAT = 11
"""Of what judges, their monitors and their alerts keep. Raise it with each change to that: what an
older version wrote is passed over then, and the log of sums is read again instead."""

PACKED_BYTES = 100_000
"""From how many bytes on the rest of the state waits for the next round."""

_TABLE = "judge"
_APART = (
    *(DistributionTest, DetectorTest, SeriesTest, CountTest),
    *(BiasTests, CalibrationTest, Window),
)


class JudgeFreezer:
    """Takes the judge's state, all of it each time: a row for what tests a series, a few a round.

    Meanwhile the task judges nothing; what comes waits.
    """

    def __init__(self, task: JudgeTask) -> None:
        self._task = task
        self._apart: list[Any] = []
        self._packed = 0
        self._rows = Rows()

    def begin(self, everything: bool = False) -> None:
        """Freeze what the judge is now."""
        self._task.held = True
        self._apart, self._packed, self._rows = [], 0, Rows()
        file = io.BytesIO()
        _Pickler(file, self._apart).dump(self._task.judge)
        self._rows.append(_TABLE, 0, 0, file.getvalue())

    def pack(self) -> bool:
        """Pack some of it; return whether that was all."""
        packed_bytes = 0
        while self._packed < len(self._apart) and packed_bytes < PACKED_BYTES:
            self._packed += 1
            blob = pickle.dumps(self._apart[self._packed - 1], PICKLE_PROTOCOL)
            self._rows.append(str(self._packed), 0, self._packed, blob)
            packed_bytes += len(blob)
        self._task.held = self._packed < len(self._apart)
        return not self._task.held

    def take(self) -> Frozen:
        """Return what was packed."""
        table, self._apart, self._rows = self._rows.table(), [], Rows()
        return Frozen({_TABLE: table}, {}, {}, everything=True)

    def too_many_changes(self) -> bool:
        """Return that each snapshot is of everything anyway."""
        return False


class _Pickler(pickle.Pickler):
    """Leaves out what is packed by itself, and puts it into a list; its place there is kept."""

    def __init__(self, file: io.BytesIO, apart: list[Any]) -> None:
        super().__init__(file, PICKLE_PROTOCOL)
        self._apart = apart
        self._places: dict[int, int] = {}

    def persistent_id(self, value: Any) -> int | None:
        if type(value) not in _APART:
            return None
        if id(value) not in self._places:
            self._places[id(value)] = len(self._apart)
            self._apart.append(value)
        return self._places[id(value)]


def thawed(snapshot: Snapshot) -> Judge:
    """Return the judge in a snapshot; raise :class:`StreamprocError` where it can't be read."""
    (table,) = snapshot.tables[_TABLE]
    starts = [0, *table.ends.tolist()]
    whole, *apart = (bytes(table.blob[at:end]) for at, end in pairwise(starts))
    try:
        found = loads(whole, allowed(), [loads(each, allowed()) for each in apart])
    except StreamprocError as error:
        raise StreamprocError(f"the judge in {snapshot.name} cannot be read: {error}") from error
    if not isinstance(found, Judge):
        raise StreamprocError(f"{snapshot.name} holds no judge")
    return found


def check_kept(pipeline: Watched) -> None:
    """Raise :class:`StreamprocError` where a judge could not be read back: by its detectors."""
    loads(dumps(tuple(pipeline.monitors)), allowed())


def judge_fingerprint(pipeline: Watched, partitions: int) -> str:
    """Return twelve hex digits that change with what is watched and with :data:`FORMAT`."""
    watched = (pipeline.monitors, pipeline.kind, pipeline.classes, pipeline.learns)
    names = (*pipeline.numeric_features, *pipeline.categorical_features)
    features = [(name, pipeline.warmup_ms(name)) for name in names]
    checked = (pipeline.feature_names, pipeline.number_fields, sorted(pipeline.ranges.items()))
    texts = sorted(pipeline.categories.items())
    rest = (pipeline.lateness_ms, pipeline.budget, pipeline.made_of, partitions, checked, texts)
    parts = (FORMAT, *watched, features, *rest)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@cache
def allowed() -> frozenset[str]:
    """Return what a judge may be made of that is ours: classes and functions of monitors, alerts.

    >>> {"streamproc.monitors.sealing.Sealer", "streamproc.alerts.book.AlertBook"} <= allowed()
    True
    """
    modules = [
        import_module(each.name)
        for package in (monitors, alerts)
        for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    ]
    return frozenset(name for module in (messages, *modules) for name in _own(module))


def _own(module: Any) -> Iterator[str]:
    """Yield the names of what a module defines itself."""
    for name, thing in vars(module).items():
        if isinstance(thing, type | Callable) and thing.__module__ == module.__name__:
            yield f"{module.__name__}.{name}"
