"""The drift of all features at once, as a finding: what moved, and which features most."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from streamproc.messages import Severity
from streamproc.monitors.finding import Finding, alert_key, when
from streamproc.monitors.multivariate import FeaturesTest
from streamproc.monitors.sample import Sample
from streamproc.monitors.series import Limits

SUBJECT = "features"

CRITICAL = 0.5
"""From a change of so many standard deviations of a score on it is critical."""

LEAST_SHARE, MOST_NAMED = 0.05, 10
"""Features with so much of the evidence are named, the first so many of them."""


class TogetherTest:
    """Tests whether features go together as they did, by samples of whole rows.

    ``texts`` are the categories among them; ``after_ms`` is when the windows of all have filled,
    what is earlier is left out. ``subject`` is what its findings are about.

    >>> import numpy as np
    >>> from streamproc.monitors.growing import Span
    >>> from streamproc.monitors.sample import Row
    >>> test = TogetherTest(("x", "y"), Limits(1e9, 1_000, 0.1, Span(0, 1_000)))
    >>> rng = np.random.default_rng(1)
    >>> for second in range(60):
    ...     x, y = rng.normal(size=(2, 100))
    ...     rows = [Row(f"{second}-{i}", (x[i], x[i] if second >= 50 else y[i]), 0.5, True, "m@1")
    ...             for i in range(100)]
    ...     finding = test.update(second * 1_000, Sample.of(("x", "y"), rows))
    >>> finding.first_seen_ms, finding.members
    (50000, ('x', 'y'))
    """

    def __init__(
        self,
        names: tuple[str, ...],
        limits: Limits,
        texts: Collection[str] = (),
        after_ms: int = 0,
        subject: str = SUBJECT,
    ) -> None:
        self.test = FeaturesTest(names, limits, texts)
        self.after_ms = after_ms
        self.subject = subject

    @property
    def key(self) -> str:
        """What its findings are about."""
        return alert_key("covariate_drift", self.subject, None)

    @property
    def open(self) -> bool:
        """Whether a change is open."""
        return self.test.open

    def share_out(self, alarm_ms: float) -> None:
        """Set the mean time between false alarms."""
        self.test.limits = replace(self.test.limits, alarm_ms=alarm_ms)
        self.test.detector.alarm_ms = alarm_ms

    def relearn(self) -> None:
        """Begin anew: what comes now is usual."""
        self.test.relearn()

    def update(self, start_ms: int, sample: Sample) -> Finding | None:
        """Take in a bucket's sample; return what there is to say."""
        if start_ms < self.after_ms:
            return None
        said = self.test.update(start_ms, sample)
        return None if said is None else self._finding(start_ms, ongoing=said != "over")

    def _finding(self, start_ms: int, ongoing: bool) -> Finding:
        test, limits = self.test, self.test.limits
        effect = abs(float(test.effects[test.score]))
        moved = [(name, share) for name, share in test.moved()[:MOST_NAMED] if share >= LEAST_SHARE]
        severity: Severity = "critical" if effect >= CRITICAL else "warning"
        a, b, usual, found = test.best()
        if not ongoing:
            summary = f"The features go together as usual again, after {when(test.since_ms)}."
        else:
            most = ", ".join(f"{name} ({share:.0%})" for name, share in moved)
            summary = (
                f"The features do not go together as usual since {when(test.since_ms)}: "
                f"{_noun(a, b)} is {found:.2g} instead of {usual:.2g} in {test.samples:,} sampled "
                f"events; most moved: {most}; look at where they come from."
            )
        return Finding(
            kind="covariate_drift",
            subject=self.subject,
            slice=None,
            ongoing=ongoing,
            severity=severity,
            effect=effect,
            statistic=round(effect, 6),
            threshold=limits.tolerance,
            expected=usual,
            observed=found,
            samples=test.samples,
            first_seen_ms=test.since_ms,
            summary=summary,
            members=tuple(name for name, _ in moved),
        )


def _noun(a: str, b: str | None) -> str:
    if b is None:
        return f"the mean normal score of {a}"
    return f"the spread of {a}" if a == b else f"the correlation of {a} and {b}"
