"""An interval for a mean that holds whenever one looks."""

from __future__ import annotations

from math import log, sqrt

TUNED_N = 100
"""After so many values the interval is as narrow as it can be; it is hardly wider after others."""


def interval_of_mean(
    n: float, mean: float, variance: float, log_odds: float
) -> tuple[float, float]:
    """Return low and high of an interval for what the mean of a stream tends to.

    ``log_odds`` is the logarithm of one over the chance that it ever leaves that out: of all n
    together, not of each. It comes from mixing a normal martingale over the means there could be,
    and so holds for many values, whatever their distribution with a finite variance (Waudby-Smith,
    Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and asymptotic
    confidence sequences", Annals of Statistics 52(6), theorem 2.2).

    >>> low, high = interval_of_mean(1_000, 5.0, 1.0, log(20))
    >>> round(low, 3), round(high, 3)
    (4.897, 5.103)
    """
    rho = (2 * log_odds + log(max(2 * log_odds, 1.0)) + 1) / TUNED_N
    spread = n * rho + 1
    half = sqrt(variance * 2 * spread / (n * n * rho) * (log(spread) / 2 + log_odds))
    return mean - half, mean + half
