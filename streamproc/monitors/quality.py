"""Data quality: what is missing, refused, out of range, late, stuck, or comes too often or seldom.

Every count is a share of the events of its bucket, tested by the recursion that tests all else; the
rate of events is one by itself. What needs no statistics has none: a feature that is there no more,
half of all events refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Any, Protocol

from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms
from streamproc.monitors.counts import CountTest
from streamproc.monitors.edetector import EDetector
from streamproc.monitors.finding import Finding, when
from streamproc.monitors.growing import Span
from streamproc.monitors.series import Limits, SeriesTest
from streamproc.monitors.tilts import Rate

EVENTS, LATE, FUTURE, REPEATED = "events", "late", "future", "repeated_id"
NULL, RANGE, ONE, DEAD = "null/", "range/", "one/", "dead/"

LEAST = 50
"""Rules that need no statistics look at buckets of so many events."""

MOST_SERIES = 1_000
REASONS = 20
"""For how many kinds of dead letters the false alarms are shared out."""

RATE, STUCK, REFUSED = "rate of events", ", stuck", "dead letters"
"""Subjects of findings; of a number that is stuck, how it ends."""

_REMEMBERED = 1_024
_MOST_ONE_IN = 3.0


@dataclass(frozen=True)
class DataQuality:
    """Watches what comes in: missing, refused, out of range, late, stuck, too little or too much.

    Each feature's share of nulls, and, where a `Field` declares ``least`` or ``most``, of values
    beyond; numbers that vary no more; dead letters by reason and field; late and future events; the
    rate of events, by the hour of the week. ``bucket`` is a span of event time, ``reference`` how
    long it takes to know what is usual, ``weight`` the monitor's part of the false alarms.

    >>> DataQuality(bucket="6h").bucket_ms
    21600000
    """

    bucket: str = "1h"
    reference: str = "7d"
    tolerance: float = 0.1
    weight: float = 1.0

    def __post_init__(self) -> None:
        if parse_duration_ms(self.bucket, "DataQuality, bucket") == 0:
            raise DefinitionError("DataQuality, bucket: a bucket of 0 holds nothing; write '1h'")
        parse_duration_ms(self.reference, "DataQuality, reference")
        if not 0 <= self.tolerance < 100:
            raise DefinitionError("DataQuality: tolerance is a part of what is usual, such as 0.1")
        if not 0 < self.weight < inf:
            raise DefinitionError("DataQuality: weight must be a number above 0, such as 1.0")

    @property
    def bucket_ms(self) -> int:
        """How much event time a bucket spans."""
        return parse_duration_ms(self.bucket, "DataQuality, bucket")

    @property
    def span(self) -> Span:
        """How much the first reference holds."""
        return Span(parse_duration_ms(self.reference, "DataQuality, reference"))


class Checked(Protocol):
    """What is known of a pipeline here; `streamproc.Pipeline` is one."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of all features."""

    @property
    def number_fields(self) -> tuple[str, ...]:
        """Those that are numbers of the event: a sensor may get stuck."""

    @property
    def ranges(self) -> Mapping[str, tuple[float | None, float | None]]:
        """The least and the most of those that declare them."""


Row = list[Any]


def quality_series(pipeline: Checked) -> int:
    """Return over how many series the false alarms of data quality are shared out."""
    numbers = len(pipeline.number_fields)
    return 3 + len(pipeline.feature_names) + numbers + len(pipeline.ranges) + REASONS


class QualityMonitor:
    """Tests the buckets that the folds of data quality fill.

    ``alarm_ms`` is the mean time between false alarms of all its series together.
    """

    def __init__(self, spec: DataQuality, pipeline: Checked, alarm_ms: float) -> None:
        self._alarm_ms = alarm_ms * quality_series(pipeline)
        self._limits = Limits(self._alarm_ms, spec.bucket_ms, spec.tolerance, spec.span)
        self._bucket_ms = spec.bucket_ms
        self._rate = CountTest(self._alarm_ms, spec.bucket_ms, spec.span, spec.tolerance)
        self._shares: dict[str, SeriesTest] = {}
        self._rules: dict[str, _Rule] = {}
        self._stuck: dict[str, _Stuck] = {}
        self._past: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._ranges = dict(pipeline.ranges)
        self.overflowed = 0

    def combined(self, parts: Sequence[Row]) -> Row:
        """Return one row for several of one series and bucket, whatever their order."""
        if len(parts[0]) == 1:
            return [sum(part[0] for part in parts)]
        there = [part for part in parts if part[0]]
        values = {part[1] for part in there}
        varied = any(part[2] for part in there) or len(values) > 1
        value = None if varied or not values else values.pop()
        return [sum(part[0] for part in parts), value, int(varied)]

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a sealed bucket's rows by series; return what there is to say."""
        events = rows.get(EVENTS, [0])[0]
        refused = sum(row[0] for name, row in rows.items() if name.startswith(DEAD))
        total = events + refused
        found = self._of_rate(start_ms, total)
        found += self._of_refused(start_ms, refused, total)
        seen = {name for name, row in rows.items() if len(row) == 1 and name != EVENTS}
        for name in sorted({*seen, *self._shares}):
            of = total if name.startswith(DEAD) else events
            found += self._of_share(name, start_ms, rows.get(name, [0])[0], of)
        for name in sorted(name for name, row in rows.items() if len(row) == 3):
            found += self._of_value(name, start_ms, rows[name])
        self._past.append((start_ms, total))
        return found

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual for what a finding's key is about; return whether it is here."""
        subject = key.removeprefix("data_quality/")
        if subject == REFUSED:
            rule = self._rules.get(DEAD)
            if rule is not None:
                rule.accepted = rule.open
            return True
        if subject == RATE:
            spec = self._limits
            self._rate = CountTest(self._alarm_ms, self._bucket_ms, spec.span, spec.tolerance)
            return True
        stuck = f"{ONE}{subject.removesuffix(STUCK)}"
        if subject.endswith(STUCK) and self._stuck.pop(stuck, None) is not None:
            return True
        names = [each for each in self._shares if described(each, self._ranges)[0] == subject]
        for name in names:
            self._shares[name].relearn()
            self._rules.pop(name, None)
        return bool(names)

    # ---------------------------------------------------------------- how many

    def _of_rate(self, start_ms: int, total: float) -> list[Finding]:
        test = self._rate
        said = test.update(start_ms, total)
        if said is None:
            return []
        over = said == "over"
        ratio = total / max(test.usual, 0.5)
        way = "more" if ratio > 1 else "fewer"
        summary = (
            f"{total:,.0f} events came in the bucket of {when(start_ms)}, where {test.usual:,.0f} "
            f"are usual at that time of the week: {way} since {when(test.since_ms)}; look at the "
            f"producers first{', and for events sent twice' if ratio > 1 else ''}."
        )
        if over:
            summary = f"As many events as usual come again ({total:,.0f} in the last bucket)."
        stopped = not over and ratio < 0.05
        effect = abs(log(max(ratio, 1e-3)))
        rates = test.usual, total
        return [_finding(RATE, not over, effect, _tested(test.detector), rates,
                         int(total), test.since_ms, summary, stopped)]  # fmt: skip

    def _of_refused(self, start_ms: int, refused: float, total: float) -> list[Finding]:
        rule = self._rules.setdefault(DEAD, _Rule())
        share = refused / total if total else 0.0
        enough = total >= LEAST
        said = rule.step(start_ms, enough and share >= 0.5, enough and share < 0.25)
        if said is None:
            return []
        summary = (
            f"{share:.0%} of what came is refused since {when(rule.since_ms)} ({refused:,.0f} dead "
            "letters in the last bucket); look at their header `error`: streamproc watch "
            "dead-letters."
            if said
            else f"Less than a quarter of what comes is refused again ({share:.1%})."
        )
        return [_finding(REFUSED, said, share, (share, 0.5), (0.0, share), int(total),
                         rule.since_ms, summary, said)]  # fmt: skip

    # ---------------------------------------------------------------- shares

    def _of_share(self, name: str, start_ms: int, count: float, of: float) -> list[Finding]:
        test = self._shares.get(name)
        if test is None:
            if len(self._shares) >= MOST_SERIES:
                self.overflowed += 1
                return []
            test = self._shares[name] = SeriesTest(Rate(1), self._limits)
            for past_ms, n in self._past:  # till now there were none
                test.update(past_ms, test.bins.counts(0.0, n))  # type: ignore[attr-defined]
        if of <= 0:
            return []
        gone = self._gone(name, start_ms, count, of)
        said = test.update(start_ms, test.bins.counts(count, of))  # type: ignore[attr-defined]
        if gone is not None and said is None:
            return gone
        if said is None:
            return []
        over = said == "over"
        usual = float(test.usual[1])
        n = float(test.found.sum())
        observed = float(test.found[1]) / n if n else count / of
        if over:
            observed = count / of
        subject, what, look_at = described(name, self._ranges)
        summary = (
            f"{observed:.2%} of the events {what} since {when(test.since_ms)}, where {usual:.2%} "
            f"is usual; {look_at}."
        )
        if over:
            summary = f"As few events as usual {what} again ({observed:.2%})."
        effect = min(observed / max(usual, 1e-4), 1e3)
        return [_finding(subject, not over, effect,
                         _tested(test.detector), (usual, observed),
                         int(n), test.since_ms, summary, not over and observed >= 0.5)]  # fmt: skip

    def _gone(self, name: str, start_ms: int, count: float, of: float) -> list[Finding] | None:
        """Return what a rule says of a feature that is there no more, or None.

        It needs no reference: there were 200 events at least, with 9 of 10 values there, and now
        none in a bucket of 50 or more. The share's own test says the same later, under one key.
        """
        if not name.startswith(NULL):
            return None
        rule = self._rules.setdefault(name, _Rule())
        usual = rule.count / rule.of if rule.of else 1.0
        known = rule.of >= 4 * LEAST and usual <= 0.1
        said = rule.step(start_ms, known and of >= LEAST and count == of, count < of / 2)
        if not rule.open:
            rule.count, rule.of = rule.count + count, rule.of + of
        if said is None:
            return None
        subject, what, look_at = described(name, self._ranges)
        summary = f"All events {what} since {when(rule.since_ms)}, {usual:.1%} before; {look_at}."
        if not said:
            summary = f"Not all events {what} any more."
        return [_finding(subject, said, 1 / max(usual, 1e-3), (1.0, 1.0), (usual, count / of),
                         int(of), rule.since_ms, summary, said)]  # fmt: skip

    def _of_value(self, name: str, start_ms: int, row: Row) -> list[Finding]:
        """Test whether a number varies no more."""
        stuck = self._stuck.setdefault(name, _Stuck())
        said = stuck.step(start_ms, row, log(self._alarm_ms / self._bucket_ms))
        if said is None:
            return []
        feature = name.removeprefix(ONE)
        summary = (
            f"{feature} is {row[1]!r} in all of {stuck.n:,} events since {when(stuck.since_ms)}; "
            f"it varied in each of {stuck.varied:,} buckets before. Look at the sensor or service "
            "that gives it."
            if said
            else f"{feature} varies again."
        )
        return [_finding(f"{feature}{STUCK}", said, 1.0,
                         (stuck.evidence, log(self._alarm_ms / self._bucket_ms)), (0.0, 1.0),
                         stuck.n, stuck.since_ms, summary, False)]  # fmt: skip


@dataclass
class _Rule:
    """A rule without statistics: what it saw before, and whether it is open.

    It learns nothing: what is ``accepted`` as normal is not told until it was right again.
    """

    open: bool = False
    since_ms: int = 0
    count: float = 0.0
    of: float = 0.0
    accepted: bool = False

    def step(self, start_ms: int, wrong: bool, right: bool) -> bool | None:
        """Return whether it is open, where there is something to say."""
        if self.open:
            told = not self.accepted
            if right:
                self.open = self.accepted = False
                return False if told else None
            return True if told else None
        if not wrong:
            return None
        self.open, self.since_ms = True, start_ms
        return True


@dataclass
class _Stuck:
    """Buckets of a number in which it varied, and those since it does no more.

    Of m buckets none was constant: a constant one has a chance of 3/m at most, by a bound that
    holds 19 times of 20. So each constant bucket in a row is worth log(m / 3).
    """

    varied: int = 0
    constant: int = 0
    evidence: float = 0.0
    since_ms: int = 0
    n: int = 0
    open: bool = False

    def step(self, start_ms: int, row: Row, threshold: float) -> bool | None:
        """Take in a bucket; return whether it is stuck, where there is something to say."""
        n, _, varied = row
        if n < LEAST:
            return None
        if varied:
            was, self.open = self.open, False
            self.varied += 1
            if not was:
                self.constant += self.n > 0  # it was for a while, and that was nothing
            self.evidence, self.n = 0.0, 0
            return False if was else None
        if self.n == 0:
            self.since_ms = start_ms
        self.n += n
        self.evidence += log(max(self.varied / (_MOST_ONE_IN + 2 * self.constant), 1.0))
        if self.open or (self.evidence >= threshold and self.varied > 0):
            self.open = True
            return True
        return None


_REASONS = {
    "field_not_number": "hold no number in {field}",
    "number_out_of_range": "hold an impossible number in {field}",
    "field_not_category": "hold no category in {field}",
    "repeated_id": "have an id that was there before",
    "late": "are refused for coming too late",
    "time_in_future": "are refused for a time over an hour ahead",
    "not_json": "are no JSON",
}


def described(
    name: str, ranges: Mapping[str, tuple[float | None, float | None]]
) -> tuple[str, str, str]:
    """Return a series' subject, what events do that it counts, and what to look at.

    >>> described("null/amount", {})[:2]
    ('amount, missing', 'lack amount')
    """
    if name.startswith(NULL):
        feature = name.removeprefix(NULL)
        return (f"{feature}, missing", f"lack {feature}",
                "see whether the field is there in new events, and who writes it")  # fmt: skip
    if name.startswith(RANGE):
        feature = name.removeprefix(RANGE)
        least, most = ranges.get(feature, (None, None))
        bounds = f"{'' if least is None else least}..{'' if most is None else most}"
        return (f"{feature}, out of range", f"have {feature} outside {bounds}",
                "see whether its unit changed, and which producer sends it")  # fmt: skip
    if name == LATE:
        return ("late events", "come later than the lateness allows",
                "see `streamproc watch late`, and what delays the producer")  # fmt: skip
    if name == FUTURE:
        return ("event times ahead", "have a time over a minute ahead of the worker's clock",
                "look at the clocks of the producers")  # fmt: skip
    reason, _, field = name.removeprefix(DEAD).partition(" ")
    what = _REASONS.get(reason, "are refused as {reason}").format(field=field, reason=reason)
    subject = f"dead letters, {reason}" + (f" of {field}" if field else "")
    return subject, what, "see the header `error` of the dead letters, and who writes them"


def _tested(detector: EDetector) -> tuple[float, float]:
    """Return the evidence and the threshold; there is none where a detector begins anew."""
    return max(detector.evidence, 0.0), detector.threshold


def _finding(
    subject: str,
    ongoing: bool,
    effect: float,
    tested: tuple[float, float],
    shares: tuple[float, float],
    samples: int,
    since_ms: int,
    summary: str,
    critical: bool,
) -> Finding:
    (statistic, threshold), (expected, observed) = tested, shares
    return Finding("data_quality", subject, None, ongoing, "critical" if critical else "warning",
                   effect, statistic, threshold, expected, observed, samples, since_ms,
                   summary)  # fmt: skip
