"""How soon a change of given size will be seen: what an operator may hope for, and what not.

A component whose log likelihood ratio grows by I an event on average once the change is there takes
about (log A - log w + log I) / I events to its alarm: log I because every event before was a chance
to have begun (Pollak 1985, "Optimal detection of a change in distribution", Annals of Statistics
13). The best component counts. Half a bucket is waited for, and until late records are in. What is
usual is taken as known, and buckets as alike: where they waver it takes longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import expm1, inf, log, log1p
from typing import NamedTuple

from streamproc.monitors.bias import GRID as BIAS_GRID
from streamproc.monitors.bias import GRID_WEIGHTS
from streamproc.monitors.crossed import followed
from streamproc.monitors.multivariate import STRENGTHS, WEIGHT_ALONE
from streamproc.monitors.sample import K
from streamproc.monitors.season import DAY_MS
from streamproc.monitors.tilts import GRID, RATE_UP, RATE_WEIGHTS


class Hope(NamedTuple):
    """A change, and how many events and days its alarm is expected to take."""

    change: str
    events: float
    days: float


def mean_shift(size: float, alarm_events: float, tolerance: float, location: bool = False) -> float:
    """Return the events until a shift of a mean by ``size`` standard deviations is seen.

    ``location`` says that nothing else is looked for.

    >>> round(mean_shift(0.25, 1e5, 0.0)), mean_shift(0.1, 1e5, 0.1)
    (353, inf)
    """
    _, strengths, part = GRID[0]
    weight = (1.0 if location else part) / len(strengths) / 2
    return least(((d * (size - tolerance) - d * d / 2), weight, alarm_events) for d in strengths)


def rate_shift(before: float, after: float, alarm_events: float, tolerance: float) -> float:
    """Return the events until a rate that goes up is seen, beyond what is tolerated.

    >>> round(rate_shift(0.1, 0.2, 1e5, 0.0))
    246
    """
    return least(
        (
            d * after - log1p(min(before + tolerance * min(before, 1 - before), 1.0) * expm1(d)),
            weight / 2,
            alarm_events,
        )
        for d, weight in zip(RATE_UP, RATE_WEIGHTS, strict=True)
    )


def correlation_shift(after: float, pairs: int, alarm_rows: float, tolerance: float) -> float:
    """Return the rows until two numbers, independent before, are seen to go together.

    ``after`` is the correlation of their normal scores, ``pairs`` how many are looked at. Before,
    their product has a mean of 0, a standard deviation of 1, and a psi of -log(1 - d^2) / 2.

    >>> round(correlation_shift(0.5, 10, 1e5, 0.1)), correlation_shift(0.1, 10, 1e5, 0.1)
    (196, inf)
    """
    weight = (1 - WEIGHT_ALONE) / pairs / len(STRENGTHS) / 2
    return least(
        (d * (after - tolerance) + log1p(-d * d) / 2, weight, alarm_rows) for d in STRENGTHS
    )


def odds_shift(base: float, times: float, alarm_events: float, tolerance: float) -> float:
    """Return the events until a bias monitor sees ``times`` the positives; see `BiasTests`.

    ``tolerance`` is the odds factor that is not worth telling.

    >>> round(odds_shift(0.01, 2.0, 1e5, 1.1)), odds_shift(0.01, 1.1, 1e5, 1.1)
    (2969, inf)
    """
    null = base * tolerance / (1 - base + base * tolerance)
    after = min(base * times, 1.0)
    return least(
        (d * after - log1p(null * expm1(d)), weight / 2, alarm_events)
        for d, weight in zip(BIAS_GRID, GRID_WEIGHTS, strict=True)
    )


def mean_hopes(
    what: str,
    alarm_ms: float,
    per_day: float,
    wait_ms: float,
    tolerance: float,
    *,
    part: float = 1.0,
    location: bool = False,
) -> list[Hope]:
    """Return what will be seen of the mean of ``what``; only a ``part`` of the events have it."""
    a = alarm_ms / DAY_MS * per_day * part
    return [
        hope(
            f"{what} moves by {size:g} sd",
            mean_shift(size, a, tolerance, location) / part,
            per_day,
            wait_ms,
        )
        for size in (0.25, 0.5, 1)
    ]


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
        hope(
            f"{what} from {100 * before:.3g}% to {100 * after:.3g}%",
            rate_shift(before, after, a, tolerance),
            per_day,
            wait_ms,
        )
        for before, after in rates
    ]


def together_hopes(
    features: int, alarm_ms: float, per_day: float, bucket_ms: int, wait_ms: float, tolerance: float
) -> list[Hope]:
    """Return what will be seen of how two of the features go together, by samples of rows."""
    part = sampled(per_day, bucket_ms, K)
    a = alarm_ms / DAY_MS * per_day * part
    return [
        hope(
            f"a correlation goes from 0 to {after:g}",
            correlation_shift(after, followed(features), a, tolerance) / part,
            per_day,
            wait_ms,
        )
        for after in (0.3, 0.5)
    ]


def bias_hopes(
    what: str,
    where: str,
    alarm_ms: float,
    per_day: float,
    wait_ms: float,
    base: float,
    tolerance: float,
    *,
    part: float = 1.0,
) -> list[Hope]:
    """Return what a bias monitor will see in a slice with ``per_day`` outcomes.

    ``base`` is the rate of ``what``, ``tolerance`` an odds factor. Events are those of the slice;
    a ``part`` of them is looked at.
    """
    a = alarm_ms / DAY_MS * per_day * part
    return [
        hope(
            f"{times:g} times the {what}, {where}",
            odds_shift(base, times, a, tolerance) / part,
            per_day,
            wait_ms,
        )
        for times in (1.2, 1.5, 2, 3)
        if base * times < 1
    ]


def sampled(per_day: float, bucket_ms: int, most: int) -> float:
    """Return which part of what comes is in samples of ``most`` a bucket.

    >>> sampled(10_000, 3_600_000, 256), sampled(1_000, 3_600_000, 256)
    (0.6144, 1.0)
    """
    return min(1.0, most * DAY_MS / bucket_ms / max(per_day, 1e-9))


def hope(change: str, events: float, per_day: float, wait_ms: float) -> Hope:
    """Return a change that takes so many events to be seen, of ``per_day``."""
    days = events / per_day + wait_ms / DAY_MS if per_day else inf
    return Hope(change, events, days)


def least(components: Iterable[tuple[float, float, float]]) -> float:
    """Return the least delay of components: growth an event, weight, A in events."""
    found = inf
    for growth, weight, alarm_events in components:
        if growth > 0 and alarm_events > 0:
            evidence = log(alarm_events) - log(weight) + log(growth)
            found = min(found, max(evidence, 1.0) / growth)
    return found
