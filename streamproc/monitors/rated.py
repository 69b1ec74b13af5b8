"""A share that is tested, such as that of yes among labels or decisions, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

from streamproc.messages import AlertKind, Severity
from streamproc.monitors.finding import Finding, alert_key, when
from streamproc.monitors.series import Limits, SeriesTest
from streamproc.monitors.tilts import Rate

CRITICAL = 2.0
"""From so many times what is usual on, of yes or of no, it is critical."""

LEAST_OFF = 20
"""Where fewer than so many are more, or fewer, than usual, nothing is: they are a handful."""


class Rated:
    """Tests a share, upward only with ``ways`` 1; ``noun`` is what a sentence calls it.

    That there never was a yes makes it no value that is new: a few may come of a share so small.

    >>> from streamproc.monitors.growing import Span
    >>> limits = Limits(1e9, 1_000, 0.1, Span(0, 1_000))
    >>> rated = Rated("prior_drift", "decision", "the share of yes", 2, limits, "look at the model")
    >>> for second in range(31):
    ...     found = rated.update(second * 1_000, int(second == 30), 100)
    >>> found is None
    True
    """

    def __init__(
        self, kind: AlertKind, subject: str, noun: str, ways: int, limits: Limits, look: str
    ) -> None:
        self.key = alert_key(kind, subject, None)
        self._kind: AlertKind = kind
        self._subject, self._noun, self._look = subject, noun, look
        self._rate = Rate(ways)
        self._ways = ways
        self._limits = limits
        self.test = SeriesTest(self._rate, limits)

    def relearn(self) -> None:
        """Begin anew: what comes now is usual."""
        self.test.relearn()

    def share_out(self, alarm_ms: float) -> None:
        """Set the mean time between false alarms."""
        self._limits = replace(self._limits, alarm_ms=alarm_ms)
        self.test.detector.alarm_ms = alarm_ms

    def update(self, start_ms: int, yes: float, n: float) -> Finding | None:
        """Take in a bucket; return what there is to say."""
        what = self.test.update(start_ms, self._rate.counts(float(yes), float(n)))
        if what is None:
            return None
        found, usual = self.test.found, float(self.test.usual[1])
        in_all, yes = float(found.sum()), float(found[1])
        now = yes / in_all if in_all else usual
        effect = _times(yes, usual * in_all)
        if self._ways == 2:
            effect = max(effect, _times(in_all - yes, (1 - usual) * in_all))
        first_ms = self.test.since_ms
        summary = f"For events from {when(first_ms)} on {self._noun} "
        if what == "over":
            summary += "had moved; it is as usual again."
        else:
            side = "higher" if now > usual else "lower"
            summary += f"is {side}: {now:.2%} of {in_all:,.0f}, usually {usual:.2%}; {self._look}."
        many = abs(yes - usual * in_all) >= LEAST_OFF
        severity: Severity = "critical" if effect >= CRITICAL and many else "warning"
        return Finding(
            kind=self._kind,
            subject=self._subject,
            slice=None,
            ongoing=what != "over",
            severity=severity,
            effect=effect,
            statistic=round(effect, 6),
            threshold=1 + self._limits.tolerance,
            expected=usual,
            observed=now,
            samples=int(in_all),
            first_seen_ms=first_ms,
            summary=summary,
        )


def _times(count: float, usual: float) -> float:
    """Return how many times one is the other, whichever is more; few of both are alike.

    >>> _times(19, 9), _times(9, 19), _times(1, 0)
    (2.0, 2.0, 2.0)
    """
    times = (count + 1) / (usual + 1)
    return max(times, 1 / times)
