"""Where things stand in the arrays that hold compiled windows; see ``arena``.

A **row** is an entity's: its text, where its records are, and for each span what its window sums.
A **record** is a time, the bits of a value and an id's code. ``meta`` holds numbers of an arena.
"""

from __future__ import annotations

# Columns of a row. Row 0 is nobody's: what is summed on the side is summed there.
KEY, TAG, FLAGS, START, SIZE, CLASS, NOW, SPANS = 0, 2, 3, 4, 5, 6, 7, 8

# Of each span, behind SPANS: where its window begins in the records, when that record leaves it,
# and its sums.
LEFT, DUE, SUMS, SQUARES = 0, 1, 2, 5
PLAIN_STRIDE, SQUARES_STRIDE = 5, 11

SLOW, CHANGED, FROZEN, FREE = 1, 2, 4, 8
"""Flags of a row: its records are elsewhere, as they don't fit; changed; to be packed; empty."""

SPAN_MS, EVERY_MS = 0, 1
"""What is told of a span; see ``spans.Span``."""

TIME, VALUE, ID = 0, 1, 2
RECORD_WORDS = 4

NEWEST, ROWS_END, ROWS_FREE, ENTITIES, SLOTS_END, HELD, POOL_END, POOL_DEAD, CHANGES, FREE_SLOTS = (
    *range(9),
    16,
)
META_WORDS = 64

LATE, ASIDE = 1, 2
"""What an operation is: a record later than allowed; one whose time is not that of an event."""

KEEP_MS, STRIDE, EXTREMES, SPANS_COUNT = range(4)
"""A shape: how far back records are kept, the columns of a span, whether there are extremes."""

NEVER = 1 << 62
SMALLEST_CLASS = 1
"""A segment of class n has room for 2**n records."""

COUNT, SUM, MEAN, STD, VAR, MIN, MAX, RANGE, ZSCORE, GROWTH = range(10)
FIRST, LAST, QUANTILE, DISTINCT, DECAYED_MEAN, DECAYED_COUNT, SINCE_LAST, DELTA, RATE = range(
    10, 19
)
"""Aggregates: of sums and extremes; and, from FIRST on, of the records one by one."""
