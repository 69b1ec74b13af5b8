"""What score tasks and the learner tell each other."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from streamproc.tasks.merge import AT_ONCE
from streamproc.tasks.records import Out

LEARNER_SILENT_MS = 10_000
"""How long a learner that says nothing is waited for; it may itself wait for a partition."""

_LEARN_BYTES = 500_000
_TELL_EVERY_MS = 50


class News:
    """What a score task tells the learner: its outcomes, and how far in time it has come.

    The learner merges all partitions by time, so it has to know what each has still to send. What
    it answers, by :meth:`heard`, keeps a task that works off a backlog from leaving it behind.
    """

    def __init__(self, partition: int, epoch: int, ahead: int | None) -> None:
        self.partition = partition
        self.epoch = epoch
        self.outcomes_sent = 0
        self.merged_ms = AT_ONCE
        self.scored_ms = AT_ONCE
        """The newest event scored; labels may be further."""
        self.passed_ms = AT_ONCE
        self._ahead = ahead
        self._learnt = 0
        self._heard_ms = 0
        self._blocked_ms: int | None = None
        self._told: tuple[int, bool, int] = (AT_ONCE, False, AT_ONCE)

    def heard(self, epoch: int, learnt: int, now_ms: int) -> None:
        """Hear from the learner how many of this run's outcomes it knows."""
        if epoch == self.epoch and learnt > self._learnt:
            self._learnt, self._heard_ms = learnt, now_ms

    def too_far_ahead(self, outcomes: int, now_ms: int) -> bool:
        """Say whether to wait for the learner, with so many outcomes more than were sent.

        A learner that is silent for :data:`LEARNER_SILENT_MS` is not waited for.
        """
        if self._ahead is None or self.outcomes_sent + outcomes - self._learnt < self._ahead:
            self._blocked_ms = None
            return False
        if self._blocked_ms is None:
            self._blocked_ms = now_ms
        return now_ms - max(self._blocked_ms, self._heard_ms) < LEARNER_SILENT_MS

    def tell(self, outcomes: list[bytes], caught_up: bool, now_ms: int) -> Iterator[Out]:
        """Yield the records for the learner: nothing, where there is nothing new to tell."""
        told_merged_ms, told_caught_up, told_at_ms = self._told
        advanced = self.merged_ms > told_merged_ms and (
            not caught_up or now_ms - told_at_ms >= _TELL_EVERY_MS
        )
        if not outcomes and not advanced and caught_up == told_caught_up:
            return
        before_ms, self._told = told_merged_ms, (self.merged_ms, caught_up, now_ms)
        pieces = list(_in_pieces(outcomes))
        for piece in pieces:
            self.outcomes_sent += len(piece)
            last = piece is pieces[-1]
            news = {
                "partition": self.partition,
                "epoch": self.epoch,
                "outcomes_sent": self.outcomes_sent,
                "watermark_ms": self.merged_ms if last else before_ms,
                "scored_ms": self.scored_ms,
                "caught_up": caught_up and last,
                "outcomes": [orjson.Fragment(outcome) for outcome in piece],
            }
            yield Out(key=b"%d" % self.partition, value=orjson.dumps(news))


def _in_pieces(outcomes: list[bytes]) -> Iterator[list[bytes]]:
    """Cut outcomes into lists that fit a record each; one empty list where there are none."""
    piece: list[bytes] = []
    size = 0
    for outcome in outcomes:
        if piece and size + len(outcome) > _LEARN_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(outcome)
        size += len(outcome)
    yield piece
