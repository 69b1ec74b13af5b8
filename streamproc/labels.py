"""Predictions that wait for their label, and labels that wait for their event."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Any, Generic, NamedTuple, TypeVar

from streamproc.errors import BadRecord

HELD_LABELS = 100_000
"""How many labels of unknown events are held at once; beyond that the oldest is given up."""

R = TypeVar("R")


class Waiting(NamedTuple):
    """A published prediction: key, time, its JSON, and its slices as JSON (empty for none)."""

    key: bytes
    event_time_ms: int
    prediction: bytes
    slices: bytes


class EarlyLabel(NamedTuple, Generic[R]):
    """A label that came before its event, with the record it came in."""

    label: Any
    label_time_ms: int
    record: R


class PendingLabels(Generic[R]):
    """Joins each prediction with its label, once, while both are younger than the horizon.

    Every id is remembered until its event is ``horizon_ms`` behind the watermark, so that a
    repeated id and a second label are told apart from new ones.

    >>> pending = PendingLabels(horizon_ms=1000)
    >>> pending.check_new("a")
    >>> pending.add("a", Waiting(b"k", 0, b'{"id":"a"}', b""))
    >>> pending.join("a", 1, 5, record=None)
    Waiting(key=b'k', event_time_ms=0, prediction=b'{"id":"a"}', slices=b'')
    >>> pending.join("a", 0, 6, record=None)
    Traceback (most recent call last):
    streamproc.errors.BadRecord: second_label: the event 'a' has its label already
    """

    def __init__(self, horizon_ms: int) -> None:
        self.horizon_ms = horizon_ms
        self.unlabelled = 0
        self._seen: dict[str, Waiting | None] = {}
        self._by_age: deque[tuple[int, str]] = deque()
        self._early: dict[str, EarlyLabel[R]] = {}
        self._early_by_age: list[tuple[int, str]] = []
        self.waiting = 0

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._seen

    def check_new(self, record_id: str) -> None:
        """Raise :class:`BadRecord` where the id was seen inside the horizon."""
        if record_id in self._seen:
            raise BadRecord("repeated_id", f"the event {record_id!r} was scored already")

    def add(self, record_id: str, waiting: Waiting) -> None:
        """Let a prediction wait for its label."""
        self._seen[record_id] = waiting
        self._by_age.append((waiting.event_time_ms, record_id))
        self.waiting += 1

    def remember(self, record_id: str, event_time_ms: int) -> None:
        """Remember an id that waits for no label, or has it already."""
        self._seen[record_id] = None
        self._by_age.append((event_time_ms, record_id))

    def join(self, record_id: str, label: Any, label_time_ms: int, record: R) -> Waiting | None:
        """Return the prediction this label is for, or hold the label where there is none yet.

        Raises :class:`BadRecord` for a second label.
        """
        if record_id in self._seen:
            waiting = self._seen[record_id]
            if waiting is None:
                raise BadRecord("second_label", f"the event {record_id!r} has its label already")
            self._seen[record_id] = None
            self.waiting -= 1
            return waiting
        if record_id in self._early:
            raise BadRecord(
                "second_label", f"a label for {record_id!r} waits for its event already"
            )
        self._early[record_id] = EarlyLabel(label, label_time_ms, record)
        heappush(self._early_by_age, (label_time_ms, record_id))
        return None

    def early(self, record_id: str) -> EarlyLabel[R] | None:
        """Take the label that came before this event, if one did."""
        return self._early.pop(record_id, None)

    @property
    def held(self) -> int:
        """The number of labels that wait for their event."""
        return len(self._early)

    def expire(self, watermark_ms: int) -> list[EarlyLabel[R]]:
        """Forget what is older than the horizon; return the labels whose event never came."""
        floor = watermark_ms - self.horizon_ms
        by_age = self._by_age
        while by_age and by_age[0][0] < floor:
            if self._seen.pop(by_age.popleft()[1]) is not None:
                self.unlabelled += 1
                self.waiting -= 1
        given_up = []
        while self._early_by_age and self._early_by_age[0][0] < floor:
            time_ms, record_id = heappop(self._early_by_age)
            label = self._early.get(record_id)
            if label is not None and label.label_time_ms == time_ms:  # it was not joined since
                given_up.append(self._early.pop(record_id))
        while len(self._early) > HELD_LABELS:
            given_up.append(self._early.pop(next(iter(self._early))))
        return given_up
