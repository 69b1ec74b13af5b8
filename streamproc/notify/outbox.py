"""What a sink has still to tell: steps of alerts as they are read from their topic, in order.

An alert that has gone on while nobody could be told is told once, as it is by then. While it is
silenced nothing is told of it, but the end of what was told before; once somebody has taken it up,
only that it is graver, and its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streamproc.messages import Alert

OVER: frozenset[str] = frozenset({"resolved"})
"""The statuses in which there is nothing to wake anybody for."""

ALWAYS: frozenset[str | None] = frozenset({"graver", "unsilenced", "acknowledged"})
"""The reasons of an update that are told of what somebody has taken up, too."""

REPEAT_OVER_MS = 15 * 60_000
"""How long the end of an alert is repeated, as Prometheus does: a receiver may have crashed."""

GIVE_UP_MS = 3 * 86_400_000
"""What is over for so long, and could not be told, is told no more: a long weekend."""

MOST_OVER = 1_000
"""So many alerts that are over may wait to be told; of more, the oldest are not."""


@dataclass(slots=True)
class News:
    """What there is to tell of one alert, and what of it was told last, if anything.

    ``offset`` is that of the first step not told, which came at ``since_ms``; it is None where all
    was told, and is only repeated.
    """

    alert: Alert
    before: Alert | None
    offset: int | None
    since_ms: int
    time_ms: int
    first: bool = False
    attempts: int = 0
    due_s: float = float("-inf")


@dataclass(slots=True)
class _Life:
    """The newest step of a key, and what was told of its alert."""

    alert: Alert
    offset: int
    time_ms: int
    told: Alert | None


class Outbox:
    """What has to be told, one entry an alert, the oldest first.

    ``told_until`` is the offset before which all was told by an earlier run. Where there was none
    (None), what was over before the beginning is of no interest; what is open is told.

    >>> outbox = Outbox(told_until=1)
    >>> def step(status):
    ...     return {"key": "k", "alert_id": "a1", "status": status}
    >>> for offset, status in enumerate(["open", "update", "resolved"]):
    ...     outbox.take(step(status), offset, time_ms=5)
    >>> outbox.begin(end=3)
    >>> [(news.alert["status"], news.before["status"]) for news in outbox.due(0.0, most=9)]
    [('resolved', 'open')]
    >>> outbox.dealt_with
    1
    """

    def __init__(self, told_until: int | None, repeats: bool = False) -> None:
        self.begun = False
        self._told_until = told_until
        self._repeats = repeats
        self._next_offset = 0
        self._lives: dict[str, _Life] = {}
        self._waiting: dict[str, News] = {}

    def take(self, alert: Alert, offset: int, time_ms: int) -> None:
        """Take in the next step on the topic, which was written at ``time_ms``."""
        self._next_offset = offset + 1
        life = self._lives.get(alert["key"])
        told = life.told if life and life.alert["alert_id"] == alert["alert_id"] else None
        known = not self.begun and (self._told_until is None or offset < self._told_until)
        was_told = alert.get("reason") == "silenced"  # by a step that may be compacted away
        if known and (self._is_news(alert, told) or (told is None and was_told)):
            told = alert
        self._lives[alert["key"]] = made = _Life(alert, offset, time_ms, told)
        if not known:
            self._tell(made)

    def forget(self, key: str, offset: int) -> None:
        """Forget a key whose record was taken away."""
        self._next_offset = offset + 1
        life = self._lives.pop(key, None)
        if life is not None:
            self._waiting.pop(life.alert["alert_id"], None)

    def begin(self, end: int) -> None:
        """Begin to tell: all that was there has been taken in, up to before the offset ``end``."""
        self.begun = True
        self._next_offset = max(self._next_offset, end)
        if self._told_until is None or self._told_until > end:  # or the topic was made anew
            for life in sorted(self._lives.values(), key=lambda each: each.offset):
                if not self._is_over(life.alert):
                    life.told = None
                    self._tell(life, first=True)
        if not self._repeats:
            over = [key for key, each in self._lives.items() if self._is_done(each)]
            for key in over:
                del self._lives[key]

    def due(self, now_s: float, most: int) -> list[News]:
        """Return what to tell now, at most so many."""
        due = [news for news in self._waiting.values() if news.due_s <= now_s]
        return due[:most]

    def repeat(self, now_ms: int) -> None:
        """Tell what is open again, and for a while what is over."""
        for key, life in list(self._lives.items()):
            if life.alert["alert_id"] in self._waiting:
                continue
            over = self._is_over(life.alert)
            if over and (life.told is None or now_ms - life.time_ms > REPEAT_OVER_MS):
                del self._lives[key]
                continue
            news = News(life.alert, life.told, None, now_ms, life.time_ms)
            self._waiting[life.alert["alert_id"]] = news

    def settle(self, news: Iterable[News], told: bool) -> None:
        """Wait with these no more: they were told, or never will be."""
        for each in news:
            self._waiting.pop(each.alert["alert_id"], None)
            key = each.alert["key"]
            life = self._lives.get(key)
            if life is None or life.alert is not each.alert:
                continue
            if told:
                life.told = each.alert
            if not self._repeats and each.alert["status"] in OVER:
                del self._lives[key]

    def put_off(self, news: Iterable[News], due_s: float) -> None:
        """Tell these later, and others before them."""
        for each in news:
            each.due_s = due_s
            del self._waiting[each.alert["alert_id"]]
            self._waiting[each.alert["alert_id"]] = each

    def give_up(self, now_ms: int) -> list[News]:
        """Settle, and return, what is over for too long to be told, or is too much of it."""
        over = [each for each in self._waiting.values() if self._is_over(each.alert)]
        real = [each for each in over if each.offset is not None]
        old = [each for each in real if now_ms - each.time_ms > GIVE_UP_MS]
        kept = [each for each in real if now_ms - each.time_ms <= GIVE_UP_MS]
        old += sorted(kept, key=lambda each: each.since_ms)[: max(0, len(kept) - MOST_OVER)]
        self.settle(old, told=False)
        return old

    @property
    def dealt_with(self) -> int | None:
        """The offset before which all was told.

        It is None while what was open at the very beginning waits: it is no beginning yet.
        """
        if not self.begun or any(news.first for news in self._waiting.values()):
            return None
        return min(self._untold, default=self._next_offset)

    @property
    def _untold(self) -> list[int]:
        return [news.offset for news in self._waiting.values() if news.offset is not None]

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest step came that is not told, in milliseconds; None where all are."""
        waiting = self._waiting.values()
        return min((news.since_ms for news in waiting if news.offset is not None), default=None)

    def _tell(self, life: _Life, first: bool = False) -> None:
        alert_id = life.alert["alert_id"]
        waiting, is_news = self._waiting.get(alert_id), self._is_news(life.alert, life.told)
        if waiting is None:
            if is_news:
                made = News(life.alert, life.told, life.offset, life.time_ms, life.time_ms, first)
                self._waiting[alert_id] = made
            return
        if not is_news and (self._is_over(life.alert) or life.alert.get("silenced")):
            del self._waiting[alert_id]  # silenced before anybody could be told
            return
        waiting.alert, waiting.time_ms = life.alert, life.time_ms
        waiting.attempts, waiting.due_s = 0, float("-inf")
        if waiting.offset is None and is_news:
            waiting.offset, waiting.since_ms = life.offset, life.time_ms

    def _is_news(self, alert: Alert, told: Alert | None) -> bool:
        """Whether a step is to be told, after what was told of its alert last."""
        if alert.get("silenced") or alert["status"] in OVER:
            if told is None:
                return not alert.get("silenced")
            return self._is_over(alert) and not self._is_over(told)
        if self._repeats or told is None or alert.get("reason") in ALWAYS:
            return True
        return not alert.get("acknowledged_by")

    def _is_over(self, alert: Alert) -> bool:
        """Whether an alert has ended for the sink: one that keeps a state has no silence in it."""
        return alert["status"] in OVER or (self._repeats and bool(alert.get("silenced")))

    def _is_done(self, life: _Life) -> bool:
        return life.alert["status"] in OVER and life.alert["alert_id"] not in self._waiting
