"""How soon a change of given size will be seen: what an operator may hope for, and what not.

A component whose log likelihood ratio grows by I an event on average once the change is there takes
about (log A - log w + log I) / I events to its alarm: log I because every event before was a chance
to have begun (Pollak 1985, "Optimal detection of a change in distribution", Annals of Statistics
13). The best component counts, and half a bucket is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, inf, log, log1p
from typing import NamedTuple

from streamproc.monitors.season import DAY_MS
from streamproc.monitors.tilts import GRID, RATE_UP

BIAS_ODDS = (0.05, 0.1, 0.2, 0.4, 0.7)


class Hope(NamedTuple):
    """A change, and how many events and days its alarm is expected to take."""

    change: str
    events: float
    days: float


def mean_shift(size: float, alarm_events: float, tolerance: float) -> float:
    """Return the events until a shift of a mean by ``size`` standard deviations is seen.

    >>> round(mean_shift(0.25, 1e5, 0.0)), mean_shift(0.1, 1e5, 0.1)
    (359, inf)
    """
    _, strengths, part = GRID[0]
    weight = part / len(strengths) / 2
    return _least(((d * (size - tolerance) - d * d / 2), weight, alarm_events) for d in strengths)


def rate_shift(
    before: float,
    after: float,
    alarm_events: float,
    tolerance: float,
    odds: tuple[float, ...] = RATE_UP,
) -> float:
    """Return the events until a rate that goes up is seen.

    >>> round(rate_shift(0.1, 0.2, 1e5, 0.0))
    250
    """
    weight = 1 / (2 * len(odds))
    return _least(
        (
            d * (after - tolerance * before) - log1p(before * (exp(d) - 1)),
            weight,
            alarm_events,
        )
        for d in odds
    )


def hopes(alarm_ms: float, events_per_day: float, bucket_ms: int, tolerance: float) -> list[Hope]:
    """Return what a drift monitor will see of one series, by size; ``alarm_ms`` is that series'."""
    a = alarm_ms / DAY_MS * events_per_day
    shifts = [
        (f"a mean moves by {size:g} sd", mean_shift(size, a, tolerance)) for size in (0.25, 0.5, 1)
    ]
    shifts += [
        (f"{before:.0%} of a category become {after:.0%}", rate_shift(before, after, a, tolerance))
        for before, after in ((0.01, 0.02), (0.10, 0.15))
    ]
    return [_hope(change, events, events_per_day, bucket_ms) for change, events in shifts]


def bias_hopes(
    alarm_ms: float, outcomes_per_day: float, bucket_ms: int, base: float, share: float
) -> list[Hope]:
    """Return what a bias monitor will see in a slice with ``share`` of the outcomes.

    ``base`` is the rate of positives. Events are those of the slice.
    """
    per_day = outcomes_per_day * share
    a = alarm_ms / DAY_MS * per_day
    found = [
        (
            f"{times:g} times the positives predicted",
            rate_shift(base, base * times, a, 0.1, BIAS_ODDS),
        )
        for times in (1.2, 1.5, 2)
    ]
    return [_hope(change, events, per_day, bucket_ms) for change, events in found]


def _hope(change: str, events: float, per_day: float, bucket_ms: int) -> Hope:
    days = events / per_day + bucket_ms / DAY_MS / 2 if per_day else inf
    return Hope(change, events, days)


def _least(components: Iterable[tuple[float, float, float]]) -> float:
    """Return the least delay of components: growth an event, weight, A in events."""
    found = inf
    for growth, weight, alarm_events in components:
        if growth > 0 and alarm_events > 0:
            evidence = log(alarm_events) - log(weight) + log(growth)
            found = min(found, max(evidence, 1.0) / growth)
    return found
