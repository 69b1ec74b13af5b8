"""What several partitions send, merged by event time, whatever order it comes in.

Each source sends its items in an order of its own. Each has an :data:`Order`, the greatest of the
events up to it in its source, so that these rise; the source's own, up to which it has come, is
its watermark. An item goes on once no other source can send one that goes before it: its watermark
has passed, or it was asked and has nothing more. What goes on is thus in one order, whatever part
of it a partition sees. (Compare low watermarks in MillWheel, Akidau et al., VLDB 2013.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

from streamproc.eventtime import Order
from streamproc.features.rekeyed import Item
from streamproc.tasks.merge import AT_ONCE

QUIET_MS = 30
"""A source that has said nothing for so long is asked whether it has more."""

ASK_AGAIN_MS = 250
"""After how long it is asked again."""

SILENT_MS = 20_000
"""How long a source that doesn't answer is waited for: its owner may be changing."""

SENT_AGAIN = 1 << 14
"""How far back, in offsets, a source may send again: above what it sends ahead."""

FIRST: Order = (AT_ONCE, 0, "")
"""Before all else."""

Bound = tuple[Order, bool, int]
"""Before what nothing more of a source comes: see :class:`Source`; and which it is."""

_EVER: Bound = ((1 << 62, 0, ""), True, 0)
_QUESTIONS = 16


class Sent(NamedTuple):
    """An item, its place among those of its kind in the source's log, and where it goes."""

    place: int
    order: Order
    item: Item


class Seen:
    """Which places came already: all before ``floor``, and ``places``.

    A source that starts again sends again what it had not scored, not always in the same order.

    >>> seen = Seen()
    >>> [seen.add(place) for place in (7, 3, 7)]
    [True, True, False]
    """

    def __init__(self, floor: int = 0, places: Iterable[int] = (), again: int = SENT_AGAIN) -> None:
        self.floor, self._again = floor, again
        self.places = set(places)
        self._newest = max(self.places, default=floor)

    def add(self, place: int) -> bool:
        """Note a place; return whether it is new."""
        if place < self.floor or place in self.places:
            return False
        self.places.add(place)
        self._newest = max(self._newest, place)
        if self._newest - self.floor > 2 * self._again:
            self.floor = self._newest - self._again
            self.places = {each for each in self.places if each >= self.floor}
        return True


@dataclass
class Source:
    """One partition: what it sent that has not gone on, and what is known of what is to come.

    Nothing that goes before ``passed`` will come; with it is whether what goes there is past, too.
    """

    queue: deque[Sent] = field(default_factory=deque)
    events: Seen = field(default_factory=Seen)
    labels: Seen = field(default_factory=Seen)
    early: Seen = field(default_factory=Seen)
    """Of labels that came before their events, and are sent behind these, at their places."""
    passed: tuple[Order, bool] = (FIRST, False)
    heard_ms: int = AT_ONCE
    asked: dict[int, Order] = field(default_factory=dict)
    asked_ms: int = AT_ONCE
    missed_ms: int | None = None
    absent: bool = False

    def take(self, sent: Sent) -> bool:
        """Take an item in, unless it came before; return whether it did not."""
        of_labels = self.early if sent.item.late else self.labels
        seen = self.events if sent.item.is_event else of_labels
        if not seen.add(sent.place):
            return False
        self.queue.append(sent)
        return True


class Sources:
    """Merges what all sources send.

    >>> from streamproc.eventtime import order_of
    >>> sources = Sources(2)
    >>> def event(place: int, record_id: str, time_ms: int) -> Sent:
    ...     item = Item(0, "shop", time_ms, record_id, False, [1.0])
    ...     return Sent(place, order_of(time_ms, record_id), item)
    >>> sources.hear(0, order_of(20, "c"), [event(0, "a", 10), event(1, "c", 20)], now_ms=0)
    >>> sources.release()  # the other may have something before
    []
    >>> sources.hear(1, order_of(12, "b"), [event(0, "b", 12)], now_ms=0)
    >>> [sent.item.record_id for _, sent, _ in sources.release()]
    ['a', 'b']
    """

    def __init__(self, count: int, entities: int = 1) -> None:
        again = SENT_AGAIN * entities  # each has a place of its own at an offset
        self.all = [
            Source(events=Seen(again=again), labels=Seen(again=again), early=Seen(again=again))
            for _ in range(count)
        ]
        self.released = FIRST
        """The greatest order of what went on."""
        self.expired_waits = 0
        self.overtaken = 0
        """How many items came when others had gone on that belonged behind them."""

    @property
    def waiting(self) -> int:
        """The number of items that have not gone on."""
        return sum(len(source.queue) for source in self.all)

    def hear(
        self,
        number: int,
        watermark: Order,
        items: list[Sent],
        now_ms: int,
        complete: int | None = None,
    ) -> None:
        """Take in what a source says: items, how far it has come, which question it answers."""
        source = self.all[number]
        for sent in items:
            if source.take(sent) and sent.order < self.released:
                self.overtaken += 1
        source.passed = max(source.passed, (watermark, False))
        if complete is not None and complete in source.asked:
            source.passed = max(source.passed, (source.asked[complete], True))
            source.asked = {n: upto for n, upto in source.asked.items() if n > complete}
        source.heard_ms, source.missed_ms, source.absent = now_ms, None, False

    def release(self, most: int = 1_000) -> list[tuple[int, Sent, bool]]:
        """Return up to ``most`` items that may go on, in their order.

        With each comes the number of its source, and whether one was left out that does not answer
        and may have had something before.
        """
        found: list[tuple[int, Sent, bool]] = []
        heads = [(source.queue[0].order, n) for n, source in enumerate(self.all) if source.queue]
        heapify(heads)
        bound, sure = self._bounds()
        while heads and len(found) < most:
            order, number = heads[0]
            if (order, False, number) >= bound:
                break
            source = self.all[number]
            found.append((number, self._pop(source), (order, False, number) >= sure))
            if source.queue:
                heapreplace(heads, (source.queue[0].order, number))
            else:  # now it is to be known what it still may send
                heappop(heads)
                bound, sure = self._bounds()
        return found

    def _pop(self, source: Source) -> Sent:
        sent = source.queue.popleft()
        self.released = max(self.released, sent.order)
        return sent

    def _bounds(self) -> tuple[Bound, Bound]:
        """Return before what nothing more comes: of those that answer, and of all.

        Of one order, as the same id may come in two partitions, the first partition's goes first.
        """
        empty = [(each, n) for n, each in enumerate(self.all) if not each.queue]
        answering = [(*source.passed, n) for source, n in empty if not source.absent]
        every = [(*source.passed, n) for source, n in empty]
        return min(answering, default=_EVER), min(every, default=_EVER)

    def ask(self, now_ms: int) -> list[int]:
        """Return the sources to be asked whether they have more; the question is ``now_ms``.

        Those are waited for, and have been quiet for a while. One that stays silent for
        :data:`SILENT_MS` is waited for no longer, until it is heard.
        """
        queued = [source.queue for source in self.all if source.queue]
        if not queued:
            return []
        first = min(
            (each.queue[0].order, False, n) for n, each in enumerate(self.all) if each.queue
        )
        found = []
        for number, source in enumerate(self.all):
            if source.queue or source.absent or (*source.passed, number) > first:
                continue
            if source.missed_ms is None:
                source.missed_ms = now_ms
            if now_ms - source.missed_ms >= SILENT_MS:
                source.absent = True
                self.expired_waits += 1
            elif now_ms - source.heard_ms >= QUIET_MS and now_ms - source.asked_ms >= ASK_AGAIN_MS:
                source.asked = dict(list(source.asked.items())[-_QUESTIONS:])
                source.asked[now_ms] = max(queue[-1].order for queue in queued)
                source.asked_ms = now_ms
                found.append(number)
        return found

    def drain(self, number: int, but: int) -> list[Sent]:
        """Return the items of a source that went on before: all but so many, the last."""
        source, found = self.all[number], []
        while len(source.queue) > but:
            found.append(self._pop(source))
        return found
