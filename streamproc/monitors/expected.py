"""How soon a change of given size will be seen: what an operator may hope for, and what not.

A component whose log likelihood ratio grows by I an event on average once the change is there takes
about (log A - log w + log I) / I events to its alarm: log I because every event before was a chance
to have begun (Pollak 1985, "Optimal detection of a change in distribution", Annals of Statistics
13). The best component counts. Half a bucket is waited for, and until late records are in. What is
usual is taken as known, and buckets as alike: where they waver it takes longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, expm1, inf, log, log1p
from typing import NamedTuple

from streamproc.monitors.bias import GRID as BIAS_GRID
from streamproc.monitors.bias import GRID_WEIGHTS
from streamproc.monitors.season import DAY_MS
from streamproc.monitors.tilts import GRID, RATE_UP, RATE_WEIGHTS


class Hope(NamedTuple):
    """A change, and how many events and days its alarm is expected to take."""

    change: str
    events: float
    days: float


def mean_shift(size: float, alarm_events: float, tolerance: float) -> float:
    """Return the events until a shift of a mean by ``size`` standard deviations is seen.

    >>> round(mean_shift(0.25, 1e5, 0.0)), mean_shift(0.1, 1e5, 0.1)
    (353, inf)
    """
    _, strengths, part = GRID[0]
    weight = part / len(strengths) / 2
    return _least(((d * (size - tolerance) - d * d / 2), weight, alarm_events) for d in strengths)


def rate_shift(before: float, after: float, alarm_events: float, tolerance: float) -> float:
    """Return the events until a rate that goes up is seen.

    >>> round(rate_shift(0.1, 0.2, 1e5, 0.0))
    246
    """
    return _least(
        (
            d * (after - tolerance * before) - log1p(before * (exp(d) - 1)),
            weight / 2,
            alarm_events,
        )
        for d, weight in zip(RATE_UP, RATE_WEIGHTS, strict=True)
    )


def odds_shift(base: float, times: float, alarm_events: float, tolerance: float) -> float:
    """Return the events until a bias monitor sees ``times`` the positives; see `BiasTests`.

    ``tolerance`` is the odds factor that is not worth telling.

    >>> round(odds_shift(0.01, 2.0, 1e5, 1.1)), odds_shift(0.01, 1.1, 1e5, 1.1)
    (2969, inf)
    """
    null = base * tolerance / (1 - base + base * tolerance)
    after = min(base * times, 1.0)
    return _least(
        (d * after - log1p(null * expm1(d)), weight / 2, alarm_events)
        for d, weight in zip(BIAS_GRID, GRID_WEIGHTS, strict=True)
    )


def hopes(alarm_ms: float, events_per_day: float, wait_ms: float, tolerance: float) -> list[Hope]:
    """Return what a drift monitor will see of one series, by size; ``alarm_ms`` is that series'."""
    a = alarm_ms / DAY_MS * events_per_day
    shifts = [
        (f"a mean moves by {size:g} sd", mean_shift(size, a, tolerance)) for size in (0.25, 0.5, 1)
    ]
    shifts += [
        (
            f"a category goes from {before:.0%} to {after:.0%}",
            rate_shift(before, after, a, tolerance),
        )
        for before, after in ((0.01, 0.02), (0.10, 0.15))
    ]
    return [_hope(change, events, events_per_day, wait_ms) for change, events in shifts]


def rate_hopes(
    what: str,
    rates: Iterable[tuple[float, float]],
    alarm_ms: float,
    per_day: float,
    wait_ms: float,
    tolerance: float,
) -> list[Hope]:
    """Return when a share of something will be seen to go up, for each (before, after)."""
    a = alarm_ms / DAY_MS * per_day
    return [
        _hope(
            f"{what} from {100 * before:.3g}% to {100 * after:.3g}%",
            rate_shift(before, after, a, tolerance),
            per_day,
            wait_ms,
        )
        for before, after in rates
    ]


def bias_hopes(
    alarm_ms: float,
    outcomes_per_day: float,
    wait_ms: float,
    base: float,
    share: float,
    tolerance: float,
) -> list[Hope]:
    """Return what a bias monitor will see in a slice with ``share`` of the outcomes.

    ``base`` is the rate of positives, ``tolerance`` an odds factor. Events are those of the slice.
    """
    per_day = outcomes_per_day * share
    a = alarm_ms / DAY_MS * per_day
    where = "overall" if share == 1 else f"{share:.0%} slice"
    return [
        _hope(
            f"{times:g} times the positives, {where}",
            odds_shift(base, times, a, tolerance),
            per_day,
            wait_ms,
        )
        for times in (1.2, 1.5, 2, 3)
    ]


def _hope(change: str, events: float, per_day: float, wait_ms: float) -> Hope:
    days = events / per_day + wait_ms / DAY_MS if per_day else inf
    return Hope(change, events, days)


def _least(components: Iterable[tuple[float, float, float]]) -> float:
    """Return the least delay of components: growth an event, weight, A in events."""
    found = inf
    for growth, weight, alarm_events in components:
        if growth > 0 and alarm_events > 0:
            evidence = log(alarm_events) - log(weight) + log(growth)
            found = min(found, max(evidence, 1.0) / growth)
    return found
