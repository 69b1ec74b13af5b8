"""Data quality: what is missing, refused, out of range, late, stuck, or comes too often or seldom.

Every count is a share of the events of its bucket, tested by the recursion that tests all else; the
rate of events is one by itself. What needs no statistics has none: a feature that is there no more,
half of all events refused, a feature that never had a value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from math import log

from streamproc.monitors import clocks
from streamproc.monitors.always import NEVER, Always
from streamproc.monitors.counts import CountTest
from streamproc.monitors.finding import Finding, when
from streamproc.monitors.quality_rule import Rule
from streamproc.monitors.quality_spec import (
    DEAD,
    DELAYS,
    EVENTS,
    LEARN,
    LEAST,
    MOST_SERIES,
    NULL,
    ONE,
    VALUES,
    Checked,
    DataQuality,
    Row,
    out_of,
    quality_series,
)
from streamproc.monitors.quality_words import (
    always_subject,
    always_words,
    evidence_of,
    made,
    stuck_words,
    words_of,
)
from streamproc.monitors.season import DAY_MS
from streamproc.monitors.series import Limits, SeriesTest
from streamproc.monitors.stuck import Stuck
from streamproc.monitors.tilts import Rate
from streamproc.monitors.unseen import Counts, Known, together

RATE, STUCK, REFUSED = "rate of events", ", stuck", "dead letters"
"""Subjects of findings; of a number that is stuck, how it ends."""

_REMEMBERED = 1_024


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
        self._rules: dict[str, Rule] = {}
        self._stuck: dict[str, Stuck] = {}
        self._always = {
            name: Always(spec.span.least_ms)
            for name in (
                *(NULL + each for each in pipeline.feature_names),
                *(ONE + each for each in pipeline.number_fields),
            )
        }
        self._past: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._ranges = dict(pipeline.ranges)
        self._known: dict[str, Known] = {}
        self._clocks = clocks.Clocks(spec.producer, spec.bucket_ms, spec.span)
        self._wait_ms = spec.span.least_ms // 2
        self.overflowed = 0

    def combined(self, parts: Sequence[Row]) -> Row:
        """Return one row for several of one series and bucket, whatever their order."""
        if isinstance(parts[0], dict):
            return together(parts)
        if len(parts[0]) == 1:
            return [sum(part[0] for part in parts)]
        if len(parts[0]) == 2:
            return clocks.combined(parts)
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
        texts = sorted(name for name in rows if name.startswith(VALUES))
        for name in texts:
            found += self._of_values(name, start_ms, rows[name], events)
        rows = {name: row for name, row in rows.items() if name not in texts}
        seen = {name for name, row in rows.items() if len(row) == 1 and name != EVENTS}
        known = {name for name in self._shares if not name.startswith(VALUES)}
        for name in sorted({*seen, *known}):
            count = rows.get(name, [0])[0]
            found += self._of_share(name, start_ms, count, out_of(name, count, events, refused))
        for name in sorted(name for name, row in rows.items() if len(row) == 3):
            found += self._of_value(name, start_ms, rows[name])
        found += self._of_always(start_ms, rows, events)
        found += self._clocks.update(start_ms, rows.get(DELAYS))
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
        if self._clocks.accept(subject):
            return True
        stuck = self._stuck.get(f"{ONE}{subject.removesuffix(STUCK)}")
        if subject.endswith(STUCK) and stuck is not None:
            stuck.accept()
            return True
        for name, always in self._always.items():
            if subject == always_subject(name):
                always.accept()
                return True
        names = [each for each in self._shares if words_of(each, self._ranges)[0] == subject]
        for name in names:
            if name in self._known:
                self._known[name].accept()
            self._shares[name].relearn()
            rule = self._rules.get(name)
            if rule is not None and name.startswith(LEARN):  # it is wrong by itself
                rule.accepted = rule.open
            elif rule is not None:
                self._rules[name] = Rule()
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
        return [made(RATE, not over, effect, evidence_of(test.detector), rates,
                         int(total), test.since_ms, summary, stopped)]  # fmt: skip

    def _of_refused(self, start_ms: int, refused: float, total: float) -> list[Finding]:
        rule = self._rules.setdefault(DEAD, Rule())
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
        return [made(REFUSED, said, share, (share, 0.5), (0.0, share), int(total),
                         rule.since_ms, summary, said)]  # fmt: skip

    # ---------------------------------------------------------------- shares

    def _of_share(self, name: str, start_ms: int, count: float, of: float) -> list[Finding]:
        test = self._shares.get(name)
        if test is None:
            if len(self._shares) >= MOST_SERIES:
                self.overflowed += 1
                return []
            test = self._shares[name] = SeriesTest(Rate(1), self._limits)
            past = () if name in self._known else self._past
            for past_ms, n in past:  # till now there were none
                test.update(past_ms, test.bins.counts(0.0, n))  # type: ignore[attr-defined]
        if of <= 0:
            return []
        ruled = self._gone(name, start_ms, count, of)
        if name.startswith(LEARN):
            ruled = self._unlearnt(name, start_ms, count, of)
        said = test.update(start_ms, test.bins.counts(count, of))  # type: ignore[attr-defined]
        if said is None:
            return ruled or []
        over = said == "over"
        if over and name.startswith(LEARN):
            self._rules.pop(name, None)
        usual = float(test.usual[1])
        n = float(test.found.sum())
        observed = float(test.found[1]) / n if n else count / of
        if over:
            observed = count / of
        subject, what, look_at = words_of(name, self._ranges)
        summary = (
            f"{observed:.2%} of the events {what} since {when(test.since_ms)}, where {usual:.2%} "
            f"is usual; {look_at}."
        )
        if over:
            summary = f"As few events as usual {what} again ({observed:.2%})."
        effect = min(observed / max(usual, 1e-4), 1e3)
        return [made(subject, not over, effect,
                         evidence_of(test.detector), (usual, observed),
                         int(n), test.since_ms, summary, not over and observed >= 0.5)]  # fmt: skip

    def _of_values(self, name: str, start_ms: int, counts: Counts, of: float) -> list[Finding]:
        """Test how many events have a value of a text that was never seen."""
        known = self._known.setdefault(name, Known(self._wait_ms))
        test = self._shares.get(name)
        open_ms = test.since_ms if test is not None and test.open else None
        unseen = known.unseen(start_ms, counts, open_ms)
        found = [] if unseen is None else self._of_share(name, start_ms, unseen, of)
        new = ", ".join(map(repr, known.names))
        if not new or not any(each.ongoing for each in found):
            return found
        return [replace(found[0], summary=f"{found[0].summary[:-1]}: {new}.")]

    def _gone(self, name: str, start_ms: int, count: float, of: float) -> list[Finding] | None:
        """Return what a rule says of a feature that is there no more, or None.

        It needs no reference: there were 200 events at least, with 9 of 10 values there, and now
        none in a bucket of 50 or more. The share's own test says the same later, under one key.
        """
        if not name.startswith(NULL):
            return None
        if name not in self._rules:  # till now there were none
            self._rules[name] = Rule(of=sum(n for _, n in self._past))
        rule = self._rules[name]
        usual = rule.count / rule.of if rule.of else 1.0
        known = rule.of >= 4 * LEAST and usual <= 0.1
        said = rule.step(start_ms, known and of >= LEAST and count == of, count < of / 2)
        if not rule.open:
            rule.count, rule.of = rule.count + count, rule.of + of
        if said is None:
            return None
        subject, what, look_at = words_of(name, self._ranges)
        summary = f"All events {what} since {when(rule.since_ms)}, {usual:.1%} before; {look_at}."
        if not said:
            summary = f"Not all events {what} any more."
        return [made(subject, said, 1 / max(usual, 1e-3), (1.0, 1.0), (usual, count / of),
                         int(of), rule.since_ms, summary, said)]  # fmt: skip

    def _unlearnt(self, name: str, start_ms: int, count: float, of: float) -> list[Finding] | None:
        """Return what a rule says of a learner that refuses what it gets, or None.

        It needs no reference, as it may have been so from the first outcome on, and is usual to the
        share's own test then: half as many are refused as events come, by sums that halve each day.
        """
        rule = self._rules.setdefault(name, Rule())
        rule.fade(self._bucket_ms / DAY_MS)
        rule.count, rule.of = rule.count + count, rule.of + of
        share = rule.count / rule.of
        said = rule.step(start_ms, rule.count >= 4 * LEAST and share >= 0.5, share < 0.25)
        if said is None:
            return None
        subject, what, look_at = words_of(name, self._ranges)
        summary = f"{share:.0%} of the events {what} since {when(rule.since_ms)}; {look_at}."
        if not said:
            summary = f"Less than a quarter of the events {what} again ({share:.1%})."
        return [made(subject, said, share, (share, 0.5), (0.0, share), int(rule.of),
                     rule.since_ms, summary, said)]  # fmt: skip

    def _of_value(self, name: str, start_ms: int, row: Row) -> list[Finding]:
        """Test whether a number varies no more."""
        stuck = self._stuck.get(name)
        if stuck is None:
            threshold = log(self._alarm_ms / self._bucket_ms)
            stuck = self._stuck[name] = Stuck(self._limits.span.least_ms, threshold)
        said = stuck.step(start_ms, row)
        if said is None:
            return []
        feature = name.removeprefix(ONE)
        return [made(f"{feature}{STUCK}", said, 1.0, (stuck.evidence, stuck.threshold), (0.0, 1.0),
                     stuck.n, stuck.since_ms, stuck_words(feature, stuck, row[1], said),
                     False)]  # fmt: skip

    def _of_always(self, start_ms: int, rows: dict[str, Row], events: float) -> list[Finding]:
        """Return what is so of all events from the first on."""
        found = []
        for name, always in self._always.items():
            if name.startswith(NULL):
                count = rows.get(name, [0])[0]
                said = always.step(start_ms, events, count >= events)
            else:
                said = always.same(start_ms, rows.get(name, [0, None, 0]))
            if said is not None:
                value = rows[name][1] if name.startswith(ONE) else None
                words = always_words(name, always, value, said)
                found.append(made(always_subject(name), said, 1.0, (always.n, NEVER), (0.0, 1.0),
                                  int(always.n), always.since_ms, words, False))  # fmt: skip
        return found
