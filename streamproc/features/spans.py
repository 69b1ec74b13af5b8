"""Where windows begin and when records leave them; compiled code and Python share it."""

from __future__ import annotations

Span = tuple[int, int]
"""How much time a window covers, and how far apart two windows begin, in ms; 1 is sliding."""


def begin_ms(time_ms: int, span_ms: int, every_ms: int) -> int:
    """Return the first time that is in the window as of ``time_ms``.

    That is the oldest of those that begin at multiples of ``every_ms`` and still hold it.

    >>> begin_ms(25, 10, 1), begin_ms(25, 10, 5), begin_ms(25, 10, 10), begin_ms(-1, 10, 10)
    (16, 20, 20, -10)
    """
    if every_ms == 1:
        return time_ms - span_ms + 1
    return time_ms - time_ms % every_ms + every_ms - span_ms


def due_ms(time_ms: int, span_ms: int, every_ms: int) -> int:
    """Return the first time whose window a record of ``time_ms`` is no longer in.

    >>> due_ms(7, 10, 1), due_ms(7, 10, 5), due_ms(7, 10, 10), due_ms(-1, 10, 10)
    (17, 15, 10, 0)
    """
    if every_ms == 1:
        return time_ms + span_ms
    return time_ms - time_ms % every_ms + span_ms
