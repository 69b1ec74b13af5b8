"""A detector of River's as the test: has the mean of a series changed, and is it back.

The detector sees, bucket by bucket, how far the mean is from the reference, beyond what is
tolerated, in standard errors. So one setting suits every series. It knows nothing of the budget of
false alarms: that is the detector's own setting.
"""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from math import log, sqrt
from typing import Any

from streamproc.messages import AlertKind, Severity
from streamproc.monitors.finding import Finding, alert_key, when
from streamproc.monitors.recent import LEAST_DAYS, Bucket, Reference

TOLERANCE = 0.15
"""A change of the mean below this many standard deviations of single values is no drift."""

CRITICAL = 0.5
"""From this many standard deviations on it is critical."""

CLIP = 5.0
"""What a single bucket counts at most, in standard errors, so that none alarms alone."""

_MEMORY = 64
_OVER = log(1_000)
_LEAST_QUIET = 3
_SURE = 3.5


class DetectorTest:
    """Tests one series, bucket after bucket in order of time.

    ``after_ms`` is when its windows have filled; what is earlier is left out. ``noun`` is what a
    sentence calls it. ``look_at`` ends the sentence.
    """

    def __init__(
        self,
        kind: AlertKind,
        subject: str,
        bucket_ms: int,
        detector: Any,
        *,
        slice_: dict[str, str] | None = None,
        after_ms: int = 0,
        noun: str | None = None,
        look_at: str = "look at where it comes from",
        tolerance: float = TOLERANCE,
        least_days: int = LEAST_DAYS,
    ) -> None:
        self.kind = kind
        self.subject = subject
        self.slice = slice_
        self.after_ms = after_ms
        self.noun = noun or subject
        self.look_at = look_at
        self._of = (bucket_ms, tolerance, least_days)
        self.reference = Reference(*self._of)
        self.open = False
        self._detector = detector
        self._detectors = self._fresh()
        self._recent: deque[tuple[Bucket, float]] = deque(maxlen=_MEMORY)
        self._since: list[float] = []
        self._first_seen_ms = 0
        self._shift = 0.0
        self._back = 0.0
        self._quiet = 0

    @property
    def key(self) -> str:
        """The key of its findings."""
        return alert_key(self.kind, self.subject, self.slice)

    def relearn(self) -> None:
        """Begin anew: what comes now is usual."""
        self.open = False
        self.reference = Reference(*self._of)
        self._detectors = self._fresh()
        self._recent.clear()

    def update(self, bucket: Bucket) -> Finding | None:
        """Take in the next bucket; return what there is to say."""
        if bucket.start_ms < self.after_ms or bucket.n <= 0:
            return None
        if not self.reference.ready:
            self.reference.learn(bucket)
            return None
        off = self.reference.standardised(bucket)
        clipped = min(max(off, -CLIP), CLIP)
        if self.open:
            return self._follow(bucket, clipped)
        self._recent.append((bucket, clipped))
        self.reference.learn(bucket)
        fired = False
        for detector in self._detectors:
            detector.update(clipped)
            fired = fired or bool(detector.drift_detected)
        return self._opening() if fired else None

    def _fresh(self) -> list[Any]:
        return [deepcopy(self._detector)]

    def _opening(self) -> Finding | None:
        """Find where the change began; open if the mean since is off by more than tolerated.

        A detector also fires where a series comes back to what is usual.
        """
        best, at, total = 0.0, 0, 0.0
        recent = list(self._recent)
        for i in range(len(recent) - 1, -1, -1):
            total += recent[i][1]
            score = abs(total) / sqrt(len(recent) - i)
            if score > best:
                best, at = score, i
        changed = recent[at:]
        n, expected, observed = self._compare([bucket for bucket, _ in changed])
        last = recent[-1][1]
        direction = sum(off for _, off in changed)
        if best < _SURE or last * direction <= 0:
            return None
        if abs(observed - expected) <= self.reference.tolerance * self.reference.sd:
            return None
        self.open = True
        self._shift = direction / len(changed)
        self._back, self._quiet = 0.0, 0
        self._first_seen_ms = changed[0][0].start_ms
        self._since = [n, n * expected, n * observed]
        self.reference.forget(len(changed))
        return self._finding(ongoing=True)

    def _compare(self, buckets: list[Bucket]) -> tuple[float, float, float]:
        n = sum(bucket.n for bucket in buckets)
        expected = sum(b.n * self.reference.expected(b.start_ms) for b in buckets) / n
        return n, expected, sum(b.n * b.mean for b in buckets) / n

    def _follow(self, bucket: Bucket, off: float) -> Finding:
        """While it lasts: test for the way back.

        Page's test with the hypotheses exchanged: off by the shift that was found, against not
        off. It takes odds of 1,000 to one and at least three buckets in a row nearer to usual.
        """
        shift = min(max(abs(self._shift), 1.0), 4.0)
        along = off if self._shift > 0 else -off
        self._back = max(0.0, self._back + shift * (shift / 2 - along))
        self._quiet = self._quiet + 1 if along < shift / 2 else 0
        if self._back >= _OVER and self._quiet >= _LEAST_QUIET:
            over = self._finding(ongoing=False)
            self.open = False
            self._detectors = self._fresh()
            self._recent.clear()
            return over
        if not self._quiet:
            n = bucket.n
            more = (n, n * self.reference.expected(bucket.start_ms), n * bucket.mean)
            self._since = [a + b for a, b in zip(self._since, more, strict=True)]
        return self._finding(ongoing=True)

    def _finding(self, ongoing: bool) -> Finding:
        n, expected, observed = self._since
        expected, observed = expected / n, observed / n
        sd = max(self.reference.sd, 1e-9 * abs(expected), 1e-300)
        effect = abs(observed - expected) / sd
        severity: Severity = "critical" if effect >= CRITICAL else "warning"
        return Finding(
            kind=self.kind,
            subject=self.subject,
            slice=self.slice,
            ongoing=ongoing,
            severity=severity,
            effect=effect,
            statistic=round(effect, 6),
            threshold=self.reference.tolerance,
            expected=expected,
            observed=observed,
            samples=int(n),
            first_seen_ms=self._first_seen_ms,
            summary=self._sentence(expected, observed, effect, int(n), ongoing),
        )

    def _sentence(
        self, expected: float, observed: float, effect: float, n: int, ongoing: bool
    ) -> str:
        since = when(self._first_seen_ms)
        if not ongoing:
            return f"The mean of {self.noun} is back to usual after a change since {since}."
        moved = "higher" if observed > expected else "lower"
        return (
            f"The mean of {self.noun} is {moved} than usual since {since}: {observed:.4g} "
            f"instead of {expected:.4g} over {n:,} events, {effect:.2g} standard deviations; "
            f"{self.look_at}."
        )
