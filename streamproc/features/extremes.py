"""The least and the greatest of an entity's records, compiled: those that no later one beats."""

from __future__ import annotations

from typing import Any

from streamproc.features.jit import called, inlined
from streamproc.features.layout import SIZE, START, VALUE

Array = Any


@inlined
def push(row: int, index: int, rows: Array, numbers: Array, stacks: Array) -> None:
    """Put a record on the stacks of those that no later one is below, or above."""
    start, depths = rows[row, START], rows.shape[1] - 2
    value = numbers[start + index, VALUE]
    depth = rows[row, depths]
    while depth > 0 and numbers[start + stacks[start + depth - 1, 0], VALUE] >= value:
        depth -= 1
    stacks[start + depth, 0] = index
    rows[row, depths] = depth + 1
    depth = rows[row, depths + 1]
    while depth > 0 and numbers[start + stacks[start + depth - 1, 1], VALUE] <= value:
        depth -= 1
    stacks[start + depth, 1] = index
    rows[row, depths + 1] = depth + 1


@called
def restack(row: int, rows: Array, numbers: Array, stacks: Array) -> None:
    """Make an entity's stacks anew."""
    depths = rows.shape[1] - 2
    rows[row, depths] = rows[row, depths + 1] = 0
    for index in range(rows[row, SIZE]):
        push(row, index, rows, numbers, stacks)


@inlined
def extreme(
    row: int, low: int, high: int, top: int, stacked: bool, rows: Array, numbers: Array,
    stacks: Array,
) -> float:  # fmt: skip
    """Return the least value (``top`` 0) or the greatest (1) of some of an entity's records."""
    start = rows[row, START]
    if stacked:
        first, end = 0, rows[row, rows.shape[1] - 2 + top]
        while first < end:
            middle = (first + end) // 2
            if stacks[start + middle, top] < low:
                first = middle + 1
            else:
                end = middle
        return float(numbers[start + stacks[start + first, top], VALUE])
    found = numbers[start + low, VALUE]
    for index in range(low + 1, high):
        value = numbers[start + index, VALUE]
        if (value > found) == (top == 1):
            found = value
    return float(found)
