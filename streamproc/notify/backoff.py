"""How long to wait before the next try."""

from __future__ import annotations

from random import Random

FIRST_S = 1.0
LONGEST_S = 60.0


def wait_s(attempts: int, random: Random) -> float:
    """Return a wait, in seconds, after so many tries in a row that failed (1 or more).

    It doubles from one second to a minute, and half of it is left to chance, so that many workers
    don't come back at one moment.

    >>> [round(wait_s(attempts, Random(7)), 2) for attempts in (1, 2, 3, 20)]
    [0.66, 1.32, 2.65, 39.71]
    """
    longest_s = min(LONGEST_S, FIRST_S * 2.0 ** min(attempts - 1, 16))
    return longest_s * random.uniform(0.5, 1.0)
