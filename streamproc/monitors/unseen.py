"""Categories never seen: which values of a text are known, and how many events have another.

A fold lists a bucket's values of each text, and the judge knows when each was seen first. One that
was seen for half the reference is known; so the second half tells how many events usually have a
value that isn't. While too many have, none becomes known that came since. A text that has come to
have more values than are kept is tested no more: it would have new ones for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamproc.monitors.fold import LONGEST

MOST_VALUES = 1_000
"""A text of more values is no category (a name, an id): of such, each new one is usual."""

_NAMED = 3
_ALWAYS = -(1 << 62)

Counts = dict[str, int]
"""How many events have each value; none at all where there are too many to list."""


def listed(counts: Mapping[str, int]) -> Counts:
    """Return the values of a bucket with their counts, or none where they are too many.

    >>> listed({"NL": 2, "x" * 200: 1}) == {"NL": 2, "x" * 100: 1}
    True
    """
    found: Counts = {}
    for value, n in counts.items():
        short = value[:LONGEST]
        found[short] = found.get(short, 0) + n
    return found if len(found) <= MOST_VALUES else {}


def together(parts: Sequence[Counts]) -> Counts:
    """Return the counts of several parts of one bucket, whatever their order.

    >>> together([{"NL": 2}, {"NL": 1, "BE": 4}]), together([{"NL": 2}, {}])
    ({'NL': 3, 'BE': 4}, {})
    """
    if not all(parts):
        return {}
    found: Counts = {}
    for part in parts:
        for value, n in part.items():
            found[value] = found.get(value, 0) + n
    return found if len(found) <= MOST_VALUES else {}


class Known:
    """Which values of one text are known, ``wait_ms`` after they were first seen.

    >>> known = Known(wait_ms=10)
    >>> known.unseen(0, {"NL": 5}), known.unseen(10, {"NL": 5}), known.unseen(11, {"ZZ": 1})
    (None, 0, 1)
    >>> known.names
    ['ZZ']
    """

    def __init__(self, wait_ms: int) -> None:
        self._wait_ms = wait_ms
        self._begun_ms: int | None = None
        self._first_ms: dict[str, int] = {}
        self._full_ms: int | None = None
        self._open_ms: int | None = None
        self.too_many = False
        self.names: list[str] = []  # the commonest unknown values of the last bucket that had some

    def unseen(self, start_ms: int, counts: Counts, open_since_ms: int | None = None) -> int | None:
        """Take in a bucket; return how many events have an unknown value, None where nobody knows.

        It isn't in the first half of the reference, nor of a text that has too many values by then,
        or gets too many with no alert: no more are kept then. Of too many in a bucket later, it is
        how many at least. While an alert is open, since ``open_since_ms``, no more becomes known.
        """
        if self.too_many:
            return None
        if self._begun_ms is None:
            self._begun_ms = start_ms
        self._forget_flood(open_since_ms)
        for value in counts:
            if len(self._first_ms) <= MOST_VALUES:
                self._first_ms.setdefault(value, start_ms)
        begun = start_ms >= self._begun_ms + self._wait_ms
        if self._has_too_many(start_ms, counts, begun):
            self.too_many, self._first_ms = True, {}
        if self.too_many or not begun:
            return None
        if not counts:
            return MOST_VALUES + 1 - len(self._first_ms)
        known_ms = (start_ms if open_since_ms is None else open_since_ms) - self._wait_ms
        first_ms = self._first_ms
        new = [
            (-n, value) for value, n in counts.items() if first_ms.get(value, start_ms) > known_ms
        ]
        if new:
            self.names = [value for _, value in sorted(new)[:_NAMED]]
        return -sum(n for n, _ in new)

    def accept(self) -> None:
        """Take all values that were seen as known; where those are too many, all there will be."""
        self._first_ms = dict.fromkeys(self._first_ms, _ALWAYS)
        self._open_ms = None
        if len(self._first_ms) > MOST_VALUES:
            self.too_many, self._first_ms = True, {}

    def _forget_flood(self, open_since_ms: int | None) -> None:
        """Once an alert is over, forget what came with it: it isn't what the text usually has."""
        was_ms, self._open_ms = self._open_ms, open_since_ms
        if was_ms is not None and open_since_ms is None:
            self._first_ms = {
                value: first_ms for value, first_ms in self._first_ms.items() if first_ms < was_ms
            }

    def _has_too_many(self, start_ms: int, counts: Counts, begun: bool) -> bool:
        """Say whether there are too many to keep: at first, or later for ``wait_ms`` on end.

        Of a flood of new values an alert tells by then; it is no proof that the text is an id.
        """
        full = not counts or len(self._first_ms) > MOST_VALUES
        if not begun:
            return full
        if not full or self._open_ms is not None:
            self._full_ms = None
            return False
        if self._full_ms is None:
            self._full_ms = start_ms
        return start_ms >= self._full_ms + self._wait_ms
