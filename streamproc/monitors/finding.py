"""What a test has to say of one bucket; see `streamproc.alerts` for what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from streamproc.messages import AlertKind, Severity

_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_740_000


@dataclass(frozen=True)
class Finding:
    """Something is wrong, or (``ongoing`` false) is over; ``effect`` is how large, without unit.

    ``at_ms`` is the end of the bucket that shows it (0: not known), ``bucket_ms`` how long that is,
    ``stage`` the clock that this is by: event time, which goes by itself for predictions
    (``drift``) and for outcomes (``bias``), or the log's time (``health``).
    ``evidence`` is the logarithm of the e-value over its threshold, ``low`` and ``high`` are an
    interval for ``observed`` less ``expected`` that holds at any time. ``critical_at`` is the
    effect from which it is critical at once. ``fields`` are the event's fields that the subject is
    made of, ``holds_ms`` is how long it still shows what is over: the span of a window. ``members``
    are the subjects that a test of many at once names, those that moved most first; ``models`` are
    the versions that scored what it is about, as far as samples of events tell, the oldest first.

    >>> Finding("prediction_bias", "predictions", {"country": "FR"}, True, "warning", 2.0, 9.0, 8.0,
    ...     0.01, 0.02, 500, 0, "Fraud in FR doubled.").key
    'prediction_bias/country=FR'
    """

    kind: AlertKind
    subject: str
    slice: dict[str, str] | None
    ongoing: bool
    severity: Severity
    effect: float
    statistic: float
    threshold: float
    expected: float
    observed: float
    samples: int
    first_seen_ms: int
    summary: str
    at_ms: int = 0
    bucket_ms: int = 3_600_000
    evidence: float | None = None
    low: float | None = None
    high: float | None = None
    critical_at: float | None = None
    fields: tuple[str, ...] = ()
    holds_ms: int = 0
    members: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    stage: str = ""

    @property
    def key(self) -> str:
        """What it is about: one alert at most is open for it."""
        return alert_key(self.kind, self.subject, self.slice)


def alert_key(kind: str, subject: str, slice_: dict[str, str] | None) -> str:
    """Return the key: kind and subject, or kind and slice where the subject is the predictions.

    >>> alert_key("prior_drift", "score", {"class": "a"}), alert_key("covariate_drift", "x", None)
    ('prior_drift/score/class=a', 'covariate_drift/x')
    """
    parts: list[str] = [kind]
    if subject != "predictions" or slice_ is None:
        parts.append(subject)
    if slice_ is not None:
        parts.append(",".join(f"{field}={value}" for field, value in sorted(slice_.items())))
    return "/".join(parts)


def when(time_ms: int) -> str:
    """Return a time for people, to the minute; before the year 1 and after 9999 its border.

    >>> when(1530403231000), when(1 << 60)
    ('2018-07-01 00:00 UTC', '9999-12-31 23:59 UTC')
    """
    within_ms = min(max(time_ms, _FIRST_MS), _LAST_MS)  # a mean delay may point before all times
    return datetime.fromtimestamp(within_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
