"""Predictions that wait for their label, and labels that wait for their event."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from streamproc.errors import BadRecord, StreamprocError
from streamproc.state.tables import GONE, Floor, Rows, Stack, Table

HELD_LABELS = 100_000
"""How many labels of unknown events are held at once; beyond that the oldest is given up."""

_LENGTHS = struct.Struct("<HII")

R = TypeVar("R")


class Waiting(NamedTuple):
    """A published prediction: key, time, its JSON, and its slices as JSON (empty for none).

    ``number`` counts the ids that were remembered before it; ``entities`` is a JSON list of those
    whose windows take its label in (empty for none).
    """

    key: bytes
    event_time_ms: int
    prediction: bytes
    slices: bytes
    number: int = 0
    entities: bytes = b""


class EarlyLabel(NamedTuple, Generic[R]):
    """A label that came before its event, with the record it came in."""

    label: Any
    label_time_ms: int
    record: R
    number: int = 0


class PendingLabels(Generic[R]):
    """Joins each prediction with its label, once, while both are younger than the horizon.

    Every id is remembered until its event is ``horizon_ms`` behind the watermark, so that a
    repeated id and a second label are told apart from new ones.

    >>> pending = PendingLabels(horizon_ms=1000)
    >>> pending.check_new("a")
    >>> pending.add("a", Waiting(b"k", 0, b'{"id":"a"}', b""))
    >>> pending.join("a", 1, 5, record=None)
    Waiting(key=b'k', event_time_ms=0, prediction=b'{"id":"a"}', slices=b'', number=0, entities=b'')
    >>> pending.join("a", 0, 6, record=None)
    Traceback (most recent call last):
    streamproc.errors.BadRecord: second_label: the event 'a' has its label already
    """

    def __init__(self, horizon_ms: int, track: bool = False) -> None:
        self.horizon_ms = horizon_ms
        self.unlabelled = 0
        self._seen: dict[str, Waiting | int | None] = {}  # an int is a row of _stored
        self._by_age: deque[tuple[int, str]] = deque()
        self._early: dict[str, EarlyLabel[R]] = {}
        self._early_by_age: list[tuple[int, str]] = []
        self.waiting = 0
        self.number = self._early_number = 0  # of the next that is added
        self._track = track
        self._changed: dict[str, tuple[int, int] | Waiting] = {}
        self._early_changed: dict[str, None] = {}
        self._frozen: deque[tuple[str, tuple[int, int] | Waiting]] = deque()
        self._frozen_oldest = 0
        self._rows, self._early_rows = Rows(), Rows()
        self._stored: Stack | None = None
        self._stored_by_age: tuple[list[int], list[str]] = ([], [])  # newest first, all before

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._seen

    def check_new(self, record_id: str) -> None:
        """Raise :class:`BadRecord` where the id was seen inside the horizon."""
        if record_id in self._seen:
            raise BadRecord("repeated_id", f"the event {record_id!r} was scored already")

    def add(self, record_id: str, waiting: Waiting) -> None:
        """Let a prediction wait for its label; its number is :attr:`number`."""
        self._seen[record_id] = waiting
        self._by_age.append((waiting.event_time_ms, record_id))
        self.waiting += 1
        self.number += 1
        if self._track:
            self._changed[record_id] = waiting

    def remember(self, record_id: str, event_time_ms: int) -> None:
        """Remember an id that waits for no label, or has it already."""
        self._seen[record_id] = None
        self._by_age.append((event_time_ms, record_id))
        if self._track:
            self._changed[record_id] = (event_time_ms, self.number)
        self.number += 1

    def join(self, record_id: str, label: Any, label_time_ms: int, record: R) -> Waiting | None:
        """Return the prediction this label is for, or hold the label where there is none yet.

        Raises :class:`BadRecord` for a second label.
        """
        if record_id in self._seen:
            waiting = self._seen[record_id]
            if waiting is None:
                raise BadRecord("second_label", f"the event {record_id!r} has its label already")
            if type(waiting) is int:
                waiting = self._read(waiting)
            assert type(waiting) is Waiting
            self._seen[record_id] = None
            self.waiting -= 1
            if self._track:
                self._changed[record_id] = (waiting.event_time_ms, waiting.number)
            return waiting
        if record_id in self._early:
            raise BadRecord(
                "second_label", f"a label for {record_id!r} waits for its event already"
            )
        self._early[record_id] = EarlyLabel(label, label_time_ms, record, self._early_number)
        self._early_number += 1
        heappush(self._early_by_age, (label_time_ms, record_id))
        self._note_early(record_id)
        return None

    def peek(self, record_id: str) -> Waiting | None:
        """Return what waits for a label, and lets it wait."""
        waiting = self._seen.get(record_id)
        return self._read(waiting) if type(waiting) is int else waiting  # type: ignore[return-value]

    def holds(self, record_id: str) -> bool:
        """Say whether a label waits for this event."""
        return record_id in self._early

    def early(self, record_id: str) -> EarlyLabel[R] | None:
        """Take the label that came before this event, if one did."""
        found = self._early.pop(record_id, None)
        if found is not None:
            self._note_early(record_id)
        return found

    def _note_early(self, record_id: str) -> None:
        if self._track:
            self._early_changed[record_id] = None

    @property
    def held(self) -> int:
        """The number of labels that wait for their event."""
        return len(self._early)

    def expire(self, watermark_ms: int) -> list[EarlyLabel[R]]:
        """Forget what is older than the horizon; return the labels whose event never came."""
        floor = watermark_ms - self.horizon_ms
        (times_ms, ids), by_age = self._stored_by_age, self._by_age
        while times_ms and times_ms[-1] < floor:
            times_ms.pop()
            self._forget(ids.pop())
        if not times_ms:
            self._stored = None  # nothing is read from it any more
            while by_age and by_age[0][0] < floor:
                self._forget(by_age.popleft()[1])
        given_up = []
        while self._early_by_age and self._early_by_age[0][0] < floor:
            time_ms, record_id = heappop(self._early_by_age)
            label = self._early.get(record_id)
            if label is not None and label.label_time_ms == time_ms:  # it was not joined since
                given_up.append(self._give_up(record_id))
        while len(self._early) > HELD_LABELS:
            given_up.append(self._give_up(next(iter(self._early))))
        return given_up

    def _forget(self, record_id: str) -> None:
        if self._seen.pop(record_id) is not None:
            self.unlabelled += 1
            self.waiting -= 1

    def _give_up(self, record_id: str) -> EarlyLabel[R]:
        self._note_early(record_id)
        return self._early.pop(record_id)

    # ---------------------------------------------------------------- what outlives the process

    @property
    def _oldest(self) -> int:
        """The number of the oldest id that is remembered."""
        return self.number - len(self._by_age) - len(self._stored_by_age[0])

    def freeze(self, everything: bool, pack: Callable[[EarlyLabel[R]], bytes]) -> None:
        """Let :meth:`pack` give what changed since the last time, or all there is, as it is now.

        ``pack`` writes a held label's value and record.

        >>> pending = PendingLabels(horizon_ms=1000, track=True)
        >>> pending.add("a", Waiting(b"k", 0, b'{"id":"a"}', b""))
        >>> pending.freeze(False, pack=lambda label: b"")
        >>> pending.pack(100)
        0
        >>> stacks = {name: Stack([table], Floor()) for name, table in pending.packed().items()}
        >>> again = PendingLabels(horizon_ms=1000)
        >>> again.thaw(stacks, number=1, unpack=lambda payload: None)
        >>> again.join("a", 1, 5, record=None).prediction
        b'{"id":"a"}'
        """
        changed = self._everything() if everything else self._changed
        early_changed = dict.fromkeys(self._early) if everything else self._early_changed
        self._changed, self._early_changed = {}, {}
        self._frozen, self._frozen_oldest = deque(changed.items()), self._oldest
        self._rows, self._early_rows = Rows(), Rows()
        for record_id in early_changed:
            label = self._early.get(record_id)
            if label is None:
                self._early_rows.append(record_id, 0, GONE, b"")
            else:
                row = (label.label_time_ms, label.number, pack(label))
                self._early_rows.append(record_id, *row)

    def pack(self, most: int) -> int:
        """Pack up to ``most`` of the ids that were frozen; return how many are left."""
        frozen, oldest = self._frozen, self._frozen_oldest
        for _ in range(min(most, len(frozen))):
            record_id, value = frozen.popleft()
            if type(value) is Waiting:
                row = (value.event_time_ms, value.number, _packed(value))
            else:
                row = (value[0], value[1], b"")  # type: ignore[assignment]
            if row[1] >= oldest:
                self._rows.append(record_id, *row)
        return len(frozen)

    def packed(self) -> dict[str, Table]:
        """Return the tables of what was frozen, now that none is left to pack."""
        return {"remembered": self._rows.table(), "held_labels": self._early_rows.table()}

    @property
    def floors(self) -> dict[str, Floor]:
        """What of these tables need not be remembered."""
        return {"remembered": Floor(number=self._oldest), "held_labels": Floor()}

    def _everything(self) -> dict[str, tuple[int, int] | Waiting]:
        times_ms, ids = self._stored_by_age
        stored = zip(reversed(times_ms), reversed(ids), strict=True)
        all_by_age = [*stored, *self._by_age]
        found: dict[str, tuple[int, int] | Waiting] = {}
        for number, (time_ms, record_id) in enumerate(all_by_age, self._oldest):
            value = self._seen[record_id]
            if type(value) is int:
                value = self._read(value)
            found[record_id] = value if type(value) is Waiting else (time_ms, number)
        return found

    @property
    def changes(self) -> int:
        """The number of changes since they were last taken."""
        return len(self._changed) + len(self._early_changed)

    def forget_changes(self) -> None:
        """Let go of what changed: next, everything is to be taken."""
        self._changed.clear()
        self._early_changed.clear()

    def thaw(
        self,
        stacks: Mapping[str, Stack],
        number: int,
        unpack: Callable[[memoryview], tuple[Any, R]],
    ) -> None:
        """Become what was frozen; a prediction's bytes are looked at when its label comes.

        Raises :class:`StreamprocError` where ids are missing.
        """
        stored, early = stacks["remembered"], stacks["held_labels"]
        rows = np.fromiter(stored.rows.values(), np.int64, len(stored.rows))
        numbers = stored.numbers[rows]
        if len(rows) and int(numbers.min()) + len(rows) != number:
            raise StreamprocError(f"{len(rows)} ids are there, of those up to number {number}")
        newest_first = np.argsort(-numbers)
        ids = np.array(list(stored.rows), object)[newest_first].tolist()
        self._stored_by_age = (stored.times_ms[rows[newest_first]].tolist(), ids)
        self._stored, self._seen, self.number = stored, {**stored.rows}, number
        joined = np.flatnonzero(stored.lengths[rows[newest_first]] == 0).tolist()
        self._seen.update(dict.fromkeys([ids[i] for i in joined]))
        self.waiting = len(rows) - len(joined)
        for record_id, row in sorted(early.rows.items(), key=lambda item: early.numbers[item[1]]):
            label, record = unpack(early.payload(row))
            time_ms, self._early_number = int(early.times_ms[row]), int(early.numbers[row])
            self._early[record_id] = EarlyLabel(label, time_ms, record, self._early_number)
            self._early_by_age.append((time_ms, record_id))
        self._early_number += 1
        heapify(self._early_by_age)

    def _read(self, row: int) -> Waiting:
        assert self._stored is not None
        stored = self._stored
        return _unpacked(stored.payload(row), int(stored.times_ms[row]), int(stored.numbers[row]))


def _packed(waiting: Waiting) -> bytes:
    key, _, prediction, slices, _, entities = waiting
    lengths = _LENGTHS.pack(len(key), len(prediction), len(slices))
    return b"".join((lengths, key, prediction, slices, entities))


def _unpacked(payload: memoryview, event_time_ms: int, number: int) -> Waiting:
    key, prediction, slices = _LENGTHS.unpack_from(payload)
    parts = payload[_LENGTHS.size :].tobytes()
    return Waiting(
        parts[:key],
        event_time_ms,
        parts[key : key + prediction],
        parts[key + prediction : key + prediction + slices],
        number,
        parts[key + prediction + slices :],
    )
