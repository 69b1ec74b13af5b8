"""Partitions that say nothing: how long the judge waits for them, by the clock.

A wait that is over becomes a record of the log, which seals; so the clock is in the log, and who
reads it again seals at the same places.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from streamproc.monitors.sealing import Sealer

IDLE_MS = 200
"""How long a partition that said it had caught up is silent before it may be idle."""

WAIT_MS = 300_000
"""How long any other is waited for: a worker that crashed is back before, or another took over."""

AGAIN_MS = 200
"""After how long at least silent partitions are looked at again."""

Place = tuple[str, int]
"""A stage's name and a partition."""


class Idle(Protocol):
    """Says which partitions have nothing on its way to the judge; may take its time."""

    def ask(self, places: Collection[Place]) -> None:
        """Begin to look; what was asked before is forgotten."""

    def answer(self) -> frozenset[Place] | None:
        """Return which of the places asked for had nothing on its way then; None: not known yet."""


class Believed:
    """Believes a partition that says it has caught up: where nothing crashes, as in a replay.

    >>> idle = Believed()
    >>> idle.ask([("drift", 0)])
    >>> idle.answer()
    frozenset({('drift', 0)})
    """

    def __init__(self) -> None:
        self._asked: frozenset[Place] = frozenset()

    def ask(self, places: Collection[Place]) -> None:
        """Begin to look."""
        self._asked = frozenset(places)

    def answer(self) -> frozenset[Place]:
        """Return all."""
        return self._asked


class Waits:
    """Decides which silent partitions are waited for no longer; writes records that say so.

    One that said it had caught up and is silent for :data:`IDLE_MS` is looked at: its worker may
    have stopped, with records on their way. What is sealed without it is what all others had passed
    when the look began, so that nothing of it can come later. Any other is given up after
    :data:`WAIT_MS`; what it has to say then comes too late.
    """

    def __init__(self, sealer: Sealer, idle: Idle) -> None:
        self._sealer = sealer
        self._idle = idle
        self._started_ms: int | None = None
        self._heard_ms: dict[Place, int] = {}
        self._looks: list[_Look] = []
        self._again_ms = 0

    def heard(self, stage: str, partition: int, now_ms: int) -> None:
        """Hear that a partition said something."""
        self._heard_ms[stage, partition] = now_ms

    def seals(self, now_ms: int) -> list[dict[str, Any]]:
        """Return the records that seal without those that are waited for no longer."""
        if self._started_ms is None:
            self._started_ms = now_ms
        if not self._looks:
            self._begin(now_ms)
        if not self._looks or (idle := self._idle.answer()) is None:
            return []
        looks, self._looks = self._looks, []
        self._again_ms = now_ms + AGAIN_MS
        return [record for look in looks if (record := look.seal(self._sealer, idle))]

    def _begin(self, now_ms: int) -> None:
        """Look at the partitions without which something could be sealed."""
        if now_ms < self._again_ms:
            return
        looks = [self._look(stage, now_ms) for stage in self._sealer.sources]
        self._looks = [look for look in looks if look.seal(self._sealer, look.places)]
        if self._looks:
            self._idle.ask([place for look in self._looks for place in sorted(look.places)])

    def _look(self, stage: str, now_ms: int) -> _Look:
        sources = self._sealer.sources[stage]
        silent_ms = [
            now_ms - self._heard_ms.get((stage, n), self._started_ms or 0)
            for n in range(len(sources))
        ]
        given_up = frozenset(n for n, ms in enumerate(silent_ms) if ms >= WAIT_MS)
        places = frozenset(
            (stage, n)
            for n, source in enumerate(sources)
            if source.caught_up and silent_ms[n] >= IDLE_MS
        )
        return _Look(stage, [source.watermark_ms for source in sources], places, given_up)


@dataclass(frozen=True)
class _Look:
    """A look at the silent partitions of a stage, and what all had passed when it began."""

    stage: str
    passed_ms: list[int]
    places: frozenset[Place]
    given_up: frozenset[int]

    def seal(self, sealer: Sealer, idle: frozenset[Place]) -> dict[str, Any] | None:
        """Return the record that seals without those given up and those that are idle."""
        found = {partition for stage, partition in idle & self.places if stage == self.stage}
        without = self.given_up | found
        return sealer.seal_without(self.stage, without, self.passed_ms) if without else None
