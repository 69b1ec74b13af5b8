"""The drift test: has the distribution of a series changed, how, and since when; is it back."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from math import sqrt
from typing import NamedTuple

import numpy as np

from streamproc.messages import AlertKind, Severity
from streamproc.monitors.finding import Finding, alert_key, when
from streamproc.monitors.series import Limits, SeriesTest
from streamproc.monitors.sketch import Sketch, added
from streamproc.monitors.tilts import SHAPES, Categories, Numbers

CRITICAL = 0.5
"""From a change of so many standard deviations of single values on it is critical."""

_HELD, _MOST_HELD = 32, 1_024
_REMEMBERED = 2_048
_NAMES = 2_000


class Moments(NamedTuple):
    """Count, mean and variance of values from a time on."""

    start_ms: int
    n: float
    mean: float
    variance: float


class DistributionTest:
    """Tests one series, numbers or categories, bucket after bucket in order of time.

    ``after_ms`` is when its windows have filled; what is earlier is left out. ``noun`` is what a
    sentence calls the series, ``look_at`` ends the sentence. With ``location`` only a move of
    numbers is looked for, and no change of their shape.

    >>> import numpy as np
    >>> from streamproc.monitors.growing import Span
    >>> test = DistributionTest("covariate_drift", "x", Limits(1e9, 1_000, 0.1, Span(0, 1_000)))
    >>> rng = np.random.default_rng(1)
    >>> for second in range(60):
    ...     values = rng.normal(0.0 if second < 50 else 1.0, 1.0, 100)
    ...     finding = test.update(second * 1_000, Sketch.of(values))
    >>> finding.first_seen_ms, finding.summary[:34]
    (50000, 'The mean of x is higher than usual')
    """

    def __init__(
        self,
        kind: AlertKind,
        subject: str,
        limits: Limits,
        *,
        categorical: bool = False,
        location: bool = False,
        slice_: dict[str, str] | None = None,
        after_ms: int = 0,
        noun: str | None = None,
        look_at: str = "look at where it comes from",
    ) -> None:
        self.kind = kind
        self.subject = subject
        self.slice = slice_
        self.after_ms = after_ms
        self.noun = noun or subject
        self.look_at = look_at
        self.test: SeriesTest | None = None
        self._limits = limits
        self._categorical = categorical
        self._location = location
        self._bins: Numbers | Categories | None = None
        self._held: list[tuple[int, Sketch]] = []
        self._moments: deque[Moments] = deque(maxlen=_REMEMBERED)
        self._before = pooled([])
        self._names: dict[int, str] = {}
        self._unseen: set[int] = set()

    @property
    def open(self) -> bool:
        """Whether a change is open."""
        return self.test is not None and self.test.open

    def share_out(self, alarm_ms: float) -> None:
        """Set the mean time between false alarms."""
        self._limits = replace(self._limits, alarm_ms=alarm_ms)
        if self.test is not None:
            self.test.detector.alarm_ms = alarm_ms

    def relearn(self) -> None:
        """Begin anew: what comes now is usual."""
        self.test, self._bins, self._held = None, None, []
        self._moments.clear()

    @property
    def key(self) -> str:
        """The key of its findings."""
        return alert_key(self.kind, self.subject, self.slice)

    def update(
        self, start_ms: int, sketch: Sketch, names: dict[int, str] | None = None
    ) -> Finding | None:
        """Take in the next bucket; return what there is to say.

        ``names`` are those of categories, by their hash.
        """
        if start_ms < self.after_ms or sketch.n + sketch.missing == 0:
            return None
        for key, name in (names or {}).items():
            if len(self._names) < _NAMES:
                self._names.setdefault(key, name)
        if not self._categorical and sketch.n:
            self._moments.append(Moments(start_ms, *sketch.moments()))
        if self.test is None or self._bins is None:
            self._hold(start_ms, sketch)
            return None
        step = self.test.update(start_ms, self._bins.counts(sketch))
        if step is None:
            return None
        if step == "opened":
            self._unseen = set()
            since_ms = self.test.since_ms
            self._before = pooled([each for each in self._moments if each.start_ms < since_ms])
        if isinstance(self._bins, Categories):
            self._unseen.update(self._bins.unseen(sketch).tolist()[:_HELD])
        return self._finding(self.test, ongoing=step != "over")

    def _hold(self, start_ms: int, sketch: Sketch) -> None:
        """Wait until there is enough to choose the bins by."""
        self._held.append((start_ms, sketch))
        n = sum(each.n + each.missing for _, each in self._held)
        span_ms = start_ms + self._limits.bucket_ms - self._held[0][0]
        if n < self._limits.span.least_n:
            if len(self._held) > _MOST_HELD:  # few values: two buckets are held as one
                self._held[:2] = [(self._held[0][0], added([each for _, each in self._held[:2]]))]
            return
        if 2 * span_ms < self._limits.span.least_ms and len(self._held) < _HELD:
            return
        merged = added([each for _, each in self._held])
        self._bins = Categories(merged) if self._categorical else Numbers(merged)
        if self._location and isinstance(self._bins, Numbers):
            self._bins.tilts = self._bins.tilts.only(0)
        self.test = SeriesTest(self._bins, self._limits)
        for held_ms, each in self._held:
            self.test.update(held_ms, self._bins.counts(each))
        self._held = []

    def _finding(self, test: SeriesTest, ongoing: bool) -> Finding:
        found, n = test.found, float(test.found.sum())
        score = self._most_moved(test)
        values = test.bins.tilts.scores[score]
        usual, now = float(values @ test.usual), float(values @ found) / n
        if self._is_share(score):
            effect = abs(now - usual) / sqrt(max(usual * (1 - usual), 1e-9))
            expected, observed = usual, now
        else:
            effect = abs(now - usual)
            expected, observed = self._then_and_now(test.since_ms, score)
        severity: Severity = "critical" if effect >= CRITICAL else "warning"
        since = when(test.since_ms)
        if ongoing:
            told = self._told(test, score, expected, observed)
            summary = f"{told} over {int(n):,} events since {since}; {self.look_at}."
        else:
            summary = f"{self.noun} is distributed as usual again after a change since {since}."
        return Finding(
            kind=self.kind,
            subject=self.subject,
            slice=self.slice,
            ongoing=ongoing,
            severity=severity,
            effect=effect,
            statistic=round(effect, 6),
            threshold=self._limits.tolerance,
            expected=expected,
            observed=observed,
            samples=int(n),
            first_seen_ms=test.since_ms,
            summary=summary,
        )

    def _is_share(self, score: int) -> bool:
        return self._categorical or score == len(SHAPES)

    def _most_moved(self, test: SeriesTest) -> int:
        """Return the score that tells best what changed: a mean rather than its consequences."""
        scores = test.bins.tilts.scores
        usual = scores @ test.usual
        spread = np.sqrt(np.maximum(scores**2 @ test.usual - usual**2, 1e-9))
        moved = np.abs(scores @ test.found / test.found.sum() - usual) / spread
        most = int(np.argmax(moved))
        return 0 if not self._is_share(most) and moved[0] >= min(moved[most] / 2, 1.0) else most

    def _told(self, test: SeriesTest, score: int, expected: float, observed: float) -> str:
        """Say what changed."""
        more, noun = observed > expected, self.noun
        if self._is_share(score):
            instead = f"{observed:.2%} instead of {expected:.2%}"
            if score == len(test.bins.tilts.scores) - 1:
                return f"{noun} is missing {'more' if more else 'less'} often than usual: {instead}"
            assert isinstance(self._bins, Categories)
            if score == len(self._bins.own) + 1:
                such = sorted(self._names[key] for key in self._unseen if key in self._names)[:3]
                example = f" such as {', '.join(map(repr, such))}," if such else ""
                return f"{noun} has values that are new,{example} {observed:.2%} of all"
            return (
                f"{noun} is {self._category(score)} {'more' if more else 'less'} often: {instead}"
            )
        instead = f"{observed:.4g} instead of {expected:.4g}"
        if SHAPES[score] == "location":
            return f"The mean of {noun} is {'higher' if more else 'lower'} than usual: {instead}"
        kind = "wider" if more else "narrower"
        if SHAPES[score] == "spread":
            return f"{noun} is spread {kind} than usual: standard deviation {instead}"
        return f"The {SHAPES[score]} of {noun} is not as usual: standard deviation {instead}"

    def _category(self, score: int) -> str:
        assert isinstance(self._bins, Categories)
        if score == len(self._bins.own):
            return "one of the rarer values"
        key = int(self._bins.own[score])
        return repr(self._names[key]) if key in self._names else "one of a group of values"

    def _then_and_now(self, since_ms: int, score: int) -> tuple[float, float]:
        """Return mean, or standard deviation, before a time and from it on."""
        before, after = self.sides(since_ms)
        if SHAPES[score] == "location":
            return before.mean, after.mean
        return sqrt(before.variance), sqrt(after.variance)

    def sides(self, since_ms: int) -> tuple[Moments, Moments]:
        """Return the moments of values before the change that is open, and from a time on.

        Those before are of when it was found: it may last for longer than buckets are remembered.
        """
        return self._before, pooled([each for each in self._moments if each.start_ms >= since_ms])


def pooled(parts: list[Moments]) -> Moments:
    """Return the moments of all values together; zeros of none.

    >>> pooled([Moments(0, 2, 1.0, 0.0), Moments(1, 2, 3.0, 0.0)])
    Moments(start_ms=0, n=4, mean=2.0, variance=1.0)
    """
    n = sum(each.n for each in parts)
    if not n:
        return Moments(0, 0, 0.0, 0.0)
    mean = sum(each.n * each.mean for each in parts) / n
    square = sum(each.n * (each.variance + (each.mean - mean) ** 2) for each in parts)
    return Moments(parts[0].start_ms, n, mean, square / n)
