"""Clocks of producers: how much later than its event's time a record came, and whose clock is off.

An event's delay is its record's timestamp less its own time, in minutes. Networks, queues and
batches make delays longer, each by another bit. A clock that is off makes all of them longer, or
shorter, by the same bit, the least one too. So the least delays tell a clock, as in NTP's filter
(RFC 5905, section 10): the 5 % point, since a time may be wrong by itself; and it is a clock's only
where the median is off by the same. It has to stay so, as what a backlog is late by does not.

A rule, no test: so far off, in buckets of so many events and so often in a row, is no chance.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median_low
from typing import Any

from streamproc.monitors.finding import Finding, when
from streamproc.monitors.growing import Span
from streamproc.monitors.quality_rule import Rule
from streamproc.monitors.quality_spec import CLOCK, LEAST
from streamproc.monitors.quality_words import made
from streamproc.monitors.sketch import hashed

MINUTE_MS, HOUR_MS = 60_000, 3_600_000

LIMIT = 5
"""A clock that is off by fewer minutes is not."""

BUCKETS = 3
"""It is told where it is off by as much in so many buckets in a row, and for an hour at least."""

LONGEST = 14 * 60
"""Longer delays, in minutes, are a backlog's: time zones are so far from UTC at most."""

MOST_PRODUCERS = 50
"""So many are told apart, those whose names have the least hashes; the others are together."""

LEAST_PRODUCERS = 3
"""Of fewer nobody knows which is off."""

GONE_BUCKETS = 24
"""After so many buckets in which a producer can't be judged, what was told of it is over."""

MOSTLY = 0.75
"""What is usual of all clocks is known where in this part of the buckets it was nearly the same."""

_MOST_USUAL = 1_024

Delays = dict[str, int]
"""How many events have each delay, in minutes as text."""

Row = list[Any]
"""The delays of a bucket: those of no producer that is told apart, and of each that is."""


def delays(minutes: Sequence[int], producers: Sequence[str | None]) -> Row:
    """Return the delays of events; a producer is None where it is not known.

    >>> delays([0, 0, 10, 5_000], ["a", "a", None, "a"])
    [{'10': 1}, {'a': {'0': 2}}]
    """
    rest: Delays = {}
    known: dict[str, Delays] = {}
    for (producer, minute), n in Counter(zip(producers, minutes, strict=True)).items():
        if abs(minute) <= LONGEST:
            of = rest if producer is None else known.setdefault(producer, {})
            of[str(minute)] = n
    return _bounded(rest, known)


def combined(parts: Sequence[Row]) -> Row:
    """Return the delays of several parts of one bucket, whatever their order.

    >>> combined([[{"0": 1}, {"a": {"0": 2}}], [{}, {"a": {"0": 1, "10": 3}}]])
    [{'0': 1}, {'a': {'0': 3, '10': 3}}]
    """
    names = dict.fromkeys(name for _, known in parts for name in known)
    known = {name: summed(part[1].get(name, {}) for part in parts) for name in names}
    return _bounded(summed(part[0] for part in parts), known)


def summed(parts: Iterable[Mapping[str, int]]) -> Delays:
    """Return the sum of counts."""
    found: Counter[str] = Counter()
    for part in parts:
        found.update(part)
    return dict(found)


def _bounded(rest: Delays, known: dict[str, Delays]) -> Row:
    if len(known) > MOST_PRODUCERS:
        names = sorted(known, key=lambda name: (hashed(name), name))
        rest = summed((rest, *(known[name] for name in names[MOST_PRODUCERS:])))
        known = {name: known[name] for name in names[:MOST_PRODUCERS]}
    return [rest, known]


@dataclass(frozen=True)
class Seen:
    """The delays of a bucket in numbers: the 5 % point and the median, in minutes, of ``n``.

    >>> Seen.of({"0": 5, "10": 95, "-3": 4})
    Seen(low=0, middle=10, n=104)
    """

    low: int
    middle: int
    n: int

    @classmethod
    def of(cls, counts: Mapping[str, int], least: int = LEAST) -> Seen | None:
        """Return what is seen of delays, or None where there are fewer than ``least``."""
        n = sum(counts.values())
        if n < least:
            return None
        found = []
        ranks, passed = [-(-n // 20), -(-n // 2)], 0
        for minute in sorted(map(int, counts)):
            passed += counts[str(minute)]
            while ranks and passed >= ranks[0]:
                found.append(minute)
                del ranks[0]
        return cls(found[0], found[1], n)


@dataclass
class Run:
    """Follows how far one clock is off; ``normal`` is how far it may be, by what people say."""

    rule: Rule = field(default_factory=Rule)
    normal: int = 0
    off: int = 0
    first: int = 0
    room: int = LIMIT
    since_ms: int = 0
    buckets: int = 0
    unjudged: int = 0

    def step(self, start_ms: int, bucket_ms: int, seen: Seen, usual: Seen) -> bool | None:
        """Take in a bucket; return whether it is off, where there is something to say."""
        self.off = seen.low - usual.low - self.normal
        apart = seen.middle - usual.middle - self.normal - self.off
        room = max(LIMIT, (seen.middle - seen.low) // 3)
        wrong = abs(self.off) >= room >= abs(apart)
        if not wrong or abs(self.off - self.first) > room:
            self.buckets = 0
        self.unjudged = 0
        if wrong:
            if not self.buckets:
                self.first, self.since_ms = self.off, start_ms
                self.room = min(room, self.room) if self.rule.open else room
            self.buckets += 1
        lasted = start_ms + bucket_ms - self.since_ms >= HOUR_MS and self.buckets >= BUCKETS
        return self.rule.step(self.since_ms, lasted, 2 * abs(self.off) < self.room)

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to remember of it."""
        return not (self.rule.open or self.buckets or self.normal)


class Clocks:
    """Tells whose clock is off: a ``producer``'s, by the field that names it, or all of them.

    A producer is held against the others of its bucket, all of them against what is usual.

    >>> clocks = Clocks("till", HOUR_MS, Span(HOUR_MS))
    >>> right = {"0": 60}
    >>> [found.slice for hour in range(4) for found in clocks.update(
    ...     hour * HOUR_MS, [{}, {"a": right, "b": right, "c": right, "d": {"10": 60}}])]
    [{'till': 'd'}]
    """

    def __init__(self, producer: str | None, bucket_ms: int, span: Span) -> None:
        self._producer = producer
        self._bucket_ms = bucket_ms
        self._reference_ms = span.least_ms
        self._runs: dict[str, Run] = {}
        self._all = Run()
        self._begun_ms: int | None = None
        buckets = max(span.least_ms // bucket_ms, 1)
        self._usual: deque[tuple[int, int]] = deque(maxlen=min(buckets, _MOST_USUAL))
        self._before: int | None = None

    def update(self, start_ms: int, row: Row | None) -> list[Finding]:
        """Take in the delays of a bucket; return what there is to say."""
        rest, known = row or ({}, {})
        judged, usual = self._judged(known)
        found = []
        for name, one in judged.items():
            run = self._runs.setdefault(name, Run())
            said = run.step(start_ms, self._bucket_ms, one, usual)
            if said is not None:
                found.append(self._made(name, run, one, usual, said))
        found += self._unjudged(judged)
        self._runs = {name: run for name, run in self._runs.items() if not run.quiet}
        right = [self._shifted(name, of) for name, of in known.items() if not self._is_off(name)]
        return found + self._of_all(start_ms, Seen.of(summed((rest, *right))))

    def _judged(self, known: Mapping[str, Delays]) -> tuple[dict[str, Seen], Seen]:
        """Return what is seen of the producers that can be held against the others, and of those.

        As far off as a producer may be, by what people say, it counts as right among the others.
        """
        each = {name: Seen.of(known[name]) for name in sorted(known)}
        judged = {name: seen for name, seen in each.items() if seen is not None}
        if len(judged) < LEAST_PRODUCERS:
            judged = {}
        normals = map(self._normal, judged)
        pairs = [
            (it.low - normal, it.middle - normal)
            for it, normal in zip(judged.values(), normals, strict=True)
        ]
        usual, before = _middle(pairs), self._before
        self._before = usual.low if judged else None
        lows, half = sorted(low for low, _ in pairs), len(pairs) // 2
        parted = len(lows) > 1 and len(lows) % 2 == 0 and lows[half] - lows[half - 1] > LIMIT
        if before is None or abs(usual.low - before) > LIMIT or parted:
            judged = {}  # a backlog says nothing of clocks; nor do two halves of each other
        return judged, usual

    def _unjudged(self, judged: Mapping[str, Seen]) -> list[Finding]:
        """Let runs of producers that can't be judged wait, and end what has waited for long."""
        found = []
        for name, run in self._runs.items():
            if name in judged:
                continue
            run.buckets = 0  # no more in a row
            run.unjudged += 1
            if run.rule.open and run.unjudged >= GONE_BUCKETS:
                found.append(self._gone(name, run))
                run.rule = Rule()
        return found

    def _is_off(self, name: str) -> bool:
        run = self._runs.get(name)
        return run is not None and (run.rule.open or run.buckets > 0)

    def _normal(self, name: str) -> int:
        run = self._runs.get(name)
        return 0 if run is None else run.normal

    def _shifted(self, name: str, counts: Delays) -> Delays:
        """Return delays less what is normal of their producer."""
        normal = self._normal(name)
        return {str(int(minute) - normal): n for minute, n in counts.items()} if normal else counts

    def accept(self, subject: str) -> bool:
        """Take how far a clock is off as usual, by its finding's subject and slice.

        Return whether that is one.
        """
        runs = {f"{CLOCK}/{self._producer}={name}": run for name, run in self._runs.items()}
        run = self._all if subject == CLOCK else runs.get(subject)
        if run is None:
            return False
        if not run.unjudged:  # of one that is gone nobody knows how it comes back
            run.normal += run.off
        run.rule, run.buckets = Rule(), 0
        return True

    def _of_all(self, start_ms: int, seen: Seen | None) -> list[Finding]:
        """Return what there is to say of all whose clocks are as those of others."""
        if seen is None:
            self._all.buckets = 0
            return []
        if self._begun_ms is None:
            self._begun_ms = start_ms
        run, usual, said = self._all, _middle(self._usual), None
        alike = sum(abs(low - usual.low) <= LIMIT for low, _ in self._usual)
        known = alike >= MOSTLY * len(self._usual)  # else there was a backlog, or no usual is
        if known and start_ms >= self._begun_ms + self._reference_ms:
            said = run.step(start_ms, self._bucket_ms, seen, usual)
        if not run.buckets and not run.rule.open:
            self._usual.append((seen.low - run.normal, seen.middle - run.normal))
        return [] if said is None else [self._made(None, run, seen, usual, said)]

    def _gone(self, name: str, run: Run) -> Finding:
        summary = (
            f"For {GONE_BUCKETS} buckets there were too few events of {self._producer}={name}, or "
            "of others, to tell its clock by."
        )
        return self._finding(name, run, False, (0, run.off), 0, summary)

    def _made(self, name: str | None, run: Run, seen: Seen, usual: Seen, said: bool) -> Finding:
        whose = "all events" if name is None else f"the events of {self._producer}={name}"
        others = f"{usual.low + run.normal} min is usual"
        if name is not None and not run.normal:
            others = f"that of others is {usual.low} min"
        way = "early" if run.off > 0 else "late"
        summary = (
            f"The times of {whose} are {abs(run.off)} min too {way} since "
            f"{when(run.rule.since_ms)}: the least delay up to their records' timestamps is "
            f"{seen.low} min, where {others}; look at the clock that gives them, and its time zone."
        )
        if not said:
            summary = f"The delays of {whose} are as usual again ({seen.low} min at the least)."
        lows = usual.low + run.normal, seen.low
        return self._finding(name, run, said, lows, seen.n, summary)

    def _finding(
        self, name: str | None, run: Run, said: bool, lows: tuple[int, int], n: int, summary: str
    ) -> Finding:
        """Return it, with the least delays that were expected and observed."""
        off, numbers = float(abs(run.off)), (float(lows[0]), float(lows[1]))
        found = made(CLOCK, said, off / LIMIT, (off, float(LIMIT)), numbers, n,
                     run.rule.since_ms, summary, False)  # fmt: skip
        return found if name is None else replace(found, slice={str(self._producer): name})


def _middle(some: Sequence[tuple[int, int]]) -> Seen:
    """Return the median of each of the two, 0 of none."""
    if not some:
        return Seen(0, 0, 0)
    return Seen(median_low(low for low, _ in some), median_low(mid for _, mid in some), len(some))
