"""Silences and maintenance windows: which alerts are not to be delivered, and until when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from streamproc.alerts.cases import Case, Trouble
from streamproc.alerts.commands import Command, Match

MOST = 1_000
"""How many are kept; beyond that the one that ends first makes way."""

SETTLES_BUCKETS = 8
"""So many buckets after maintenance what began in it is told, if it is not over."""

KEPT_MS = 60 * 86_400_000
"""How long maintenance is remembered after its end, since outcomes are judged late."""

Clock = Callable[[str], int]


@dataclass(frozen=True)
class _Silence:
    """Of an alert, or of what matches; a maintenance window is in event time, from ``from_ms``."""

    alert_id: str | None
    match: Match | None
    from_ms: int | None
    until_ms: int

    @property
    def planned(self) -> bool:
        return self.from_ms is not None

    def about(self) -> tuple[str | None, Match | None, int | None]:
        return self.alert_id, self.match, self.from_ms


class Silences:
    """What is silent: by the clock of the log for silences, by event time for maintenance.

    An alert is silenced if all that it is about is: what matches, and what is explained by what
    matches. So a silence never hides what it does not name.
    """

    def __init__(self) -> None:
        self._all: list[_Silence] = []

    def begin(self, command: Command) -> None:
        """Begin what a command declares; one about the same is replaced."""
        match = command.match
        if command.command == "maintenance":
            match = match or Match()
        planned_ms = command.from_ms if command.command == "maintenance" else None
        made = _Silence(command.alert_id, match, planned_ms, command.until_ms or 0)
        self._add(made)

    def end(self, command: Command) -> None:
        """End those that are about what a command names, maintenance windows too.

        Where it is about maintenance, those alone: what it names, or all.
        """
        if command.maintenance:
            about = command.match
            self._all = [
                each
                for each in self._all
                if not each.planned or (about is not None and each.match != about)
            ]
            return
        named = (command.alert_id, command.match)
        self._all = [each for each in self._all if (each.alert_id, each.match) != named]

    def go_on(self, alert_id: str, other_id: str) -> None:
        """Let what is silent of one alert be so of another that was a part of it."""
        for each in [each for each in self._all if each.alert_id == alert_id]:
            self._add(replace(each, alert_id=other_id))

    def _add(self, made: _Silence) -> None:
        self._all = [each for each in self._all if each.about() != made.about()]
        self._all.append(made)
        if len(self._all) > MOST:
            self._all.remove(min(self._all, key=lambda each: each.until_ms))

    def forget(self, now_ms: int, passed_ms: int) -> None:
        """Forget those that have ended, of maintenance by what is judged last of all."""
        self._all = [
            each
            for each in self._all
            if (each.until_ms > passed_ms - KEPT_MS if each.planned else each.until_ms > now_ms)
        ]

    def edges(self, trouble: Trouble) -> Iterator[int]:
        """Yield the times at which maintenance begins or ends to be a reason for silence."""
        for each in self._all:
            if each.from_ms is not None:
                bucket_ms = trouble.finding.bucket_ms
                yield each.from_ms + 1
                yield each.until_ms + bucket_ms
                yield each.until_ms + SETTLES_BUCKETS * bucket_ms

    def until_ms(self, case: Case, now_ms: int, clock: Clock) -> int | None:
        """Return until when an alert is silenced; None where it is not.

        ``clock`` tells up to when a stage is judged.
        """
        if not self._all:
            return None
        ends: list[int] = []
        members = {each.key: each for each in case.members}
        for each in case.ongoing or case.members:
            until_ms = self._of(each, members, case.alert_id, now_ms, clock)
            if until_ms is None:
                return None
            ends.append(until_ms)
        return min(ends)

    def _of(
        self, trouble: Trouble, members: dict[str, Trouble], id_: str, now_ms: int, clock: Clock
    ) -> int | None:
        """Return until when one thing is silenced, by itself or by what explains it."""
        chain = [trouble]
        while chain[-1].because in members and len(chain) <= len(members):
            chain.append(members[chain[-1].because or ""])
        ends = [
            until_ms
            for each in self._all
            if (until_ms := _ends(each, trouble, now_ms, clock)) is not None
            and (
                each.alert_id == id_
                or (each.match is not None and any(each.match.fits(it.finding) for it in chain))
            )
        ]
        return max(ends, default=None)


def _ends(silence: _Silence, trouble: Trouble, now_ms: int, clock: Clock) -> int | None:
    """Return until when a silence is one of a trouble; None where it is not, or no longer.

    Of maintenance all buckets are that have a part in it. What is found in one of these may last
    for some more: a test takes a few to see that it is over.
    """
    if silence.from_ms is None:
        return silence.until_ms if silence.until_ms > now_ms else None
    passed_ms, bucket_ms = clock(trouble.finding.stage), trouble.finding.bucket_ms
    last_ms = silence.until_ms + bucket_ms
    if silence.from_ms < trouble.found_ms < last_ms:
        last_ms = silence.until_ms + SETTLES_BUCKETS * bucket_ms
    return last_ms if silence.from_ms < passed_ms < last_ms else None
