"""What is said of data quality: findings and their sentences, by the name of a series."""

from __future__ import annotations

from collections.abc import Mapping

from streamproc.monitors.always import Always
from streamproc.monitors.edetector import EDetector
from streamproc.monitors.finding import Finding, when
from streamproc.monitors.quality_spec import (
    DEAD,
    FUTURE,
    LATE,
    LEARN,
    NULL,
    ONE,
    RANGE,
    UNDECLARED,
    VALUES,
)
from streamproc.monitors.stuck import Stuck

_REASONS = {
    "field_not_number": "hold no number in {field}",
    "number_out_of_range": "hold an impossible number in {field}",
    "field_not_category": "hold no category in {field}",
    "repeated_id": "have an id that was there before",
    "late": "are refused for coming too late",
    "time_in_future": "are refused for a time over an hour ahead",
    "not_json": "are no JSON",
}


def words_of(
    name: str, ranges: Mapping[str, tuple[float | None, float | None]]
) -> tuple[str, str, str]:
    """Return a series' subject, what events do that it counts, and what to look at."""
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
    if name.startswith((VALUES, UNDECLARED)):
        feature = name.partition("/")[2]
        what = "never seen before" if name.startswith(VALUES) else "that is not declared"
        return (f"{feature}, unseen category", f"have a {feature} {what}",
                "see whether it is new or misspelt, and which producer sends it")  # fmt: skip
    if name == LATE:
        return ("late events", "come later than the lateness allows",
                "see `streamproc watch late`, and what delays the producer")  # fmt: skip
    if name == FUTURE:
        return ("event times ahead", "have a time over a minute ahead of the worker's clock",
                "look at the clocks of the producers")  # fmt: skip
    if name.startswith(LEARN):
        reason = name.removeprefix(LEARN)
        return (f"dead letters, learn {reason}",
                f"have an outcome that the learner refuses ({reason})",
                "the model learns nothing from it; see the header `error` of the dead letters of "
                "the stage learn")  # fmt: skip
    reason, _, field = name.removeprefix(DEAD).partition(" ")
    what = _REASONS.get(reason, "are refused as {reason}").format(field=field, reason=reason)
    subject = f"dead letters, {reason}" + (f" of {field}" if field else "")
    return subject, what, "see the header `error` of the dead letters, and who writes them"


def stuck_words(feature: str, stuck: Stuck, value: float | None, ongoing: bool) -> str:
    """Return what is said of a number that varies no more, or varies again."""
    if not ongoing:
        return f"{feature} varies again."
    before = f"it varied in {stuck.varied:,} buckets before"
    if stuck.longest:
        before = (
            f"these are {stuck.run:,} buckets, where it did not vary in {stuck.longest:,} in a row "
            "at most in recent weeks"
        )
    return (
        f"{feature} is {value!r} in all of {stuck.n:,} events since {when(stuck.since_ms)}; "
        f"{before}. Look at the sensor or service that gives it."
    )


def always_subject(name: str) -> str:
    """Return the subject of what is so of all events from the first on.

    >>> always_subject("null/amount"), always_subject("one/amount")
    ('amount, never there', 'amount, never varied')
    """
    if name.startswith(NULL):
        return f"{name.removeprefix(NULL)}, never there"
    return f"{name.removeprefix(ONE)}, never varied"


def always_words(name: str, always: Always, value: float | None, ongoing: bool) -> str:
    """Return what is said of what is so of all events, or is no more."""
    if name.startswith(NULL):
        feature = name.removeprefix(NULL)
        if not ongoing:
            return f"{feature} has a value now."
        return (
            f"{feature} has had no value in any of the first {always.n:,.0f} events; see whether "
            "its field is named as in the events, and who writes it."
        )
    feature = name.removeprefix(ONE)
    if not ongoing:
        return f"{feature} varies now."
    return (
        f"{feature} is {value!r} in all of the first {always.n:,.0f} events that have it, and a "
        "model can learn nothing from it; see what gives it."
    )


def evidence_of(detector: EDetector) -> tuple[float, float]:
    """Return the evidence and the threshold; there is none where a detector begins anew."""
    return max(detector.evidence, 0.0), detector.threshold


def made(
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
    """Return a finding; ``tested`` is its evidence and threshold, ``shares`` expected, observed."""
    (statistic, threshold), (expected, observed) = tested, shares
    return Finding("data_quality", subject, None, ongoing, "critical" if critical else "warning",
                   effect, statistic, threshold, expected, observed, samples, since_ms,
                   summary, fields=_fields(subject))  # fmt: skip


def _fields(subject: str) -> tuple[str, ...]:
    """Return the feature that a subject is about; its drift then has a cause.

    >>> _fields("amount, missing"), _fields("dead letters, field_not_number of amount")
    (('amount',), ('amount',))
    >>> _fields("late events")
    ()
    """
    if subject.startswith("dead letters, ") and " of " in subject:
        return (subject.partition(" of ")[2],)
    feature, comma, _ = subject.rpartition(", ")
    return (feature,) if comma and feature != "dead letters" else ()
