"""Two distributions side by side: counts by bin, or by category, before and since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamproc.monitors.sketch import Ints, Sketch, floats, hashed

BINS = 10
"""At most so many bins, or categories, beside what is missing and what is left."""

_SHARES = (0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95)


@dataclass(frozen=True)
class Bar:
    """How many of ``then_n`` values before and of ``now_n`` since are in one bin.

    Of numbers those from ``low`` to below ``high``; of categories ``of`` is the hash.
    """

    label: str
    then: int
    now: int
    then_n: int
    now_n: int
    low: float | None = None
    high: float | None = None
    of: int | None = None

    @property
    def then_share(self) -> float:
        """Its share before."""
        return self.then / max(self.then_n, 1)

    @property
    def now_share(self) -> float:
        """Its share since."""
        return self.now / max(self.now_n, 1)

    def holds(self, value: Any) -> bool:
        """Whether a value belongs here."""
        if self.label == "missing":
            return value is None
        if self.low is not None and self.high is not None:
            return isinstance(value, int | float) and self.low <= value < self.high
        return value is not None and self.of is not None and hashed(str(value)) == self.of


def numbers_compared(then: Sketch, now: Sketch) -> list[Bar]:
    """Return bars of numbers: each value where they are few, else bins by shares of both.

    Edges are those of the sketches' cells, so that counts are exact.

    >>> few = numbers_compared(Sketch.of(np.array([0.0, 1.0])), Sketch.of(np.array([1.0, np.nan])))
    >>> [(bar.label, bar.then, bar.now) for bar in few]
    [('0', 1, 0), ('1', 1, 1), ('missing', 0, 1)]
    """
    shift = max(then.shift, now.shift)
    sides = [each.coarser(shift) for each in (then, now)]
    cells = np.unique(np.concatenate([each.cells for each in sides]))
    ns = [each.n + each.missing for each in sides]
    starts = cells if len(cells) <= BINS else _chosen(sides, cells)
    counts = [_by_start(each, starts) for each in sides]
    lows = floats(starts << shift)
    highs = [*lows[1:].tolist(), float("inf")]
    few = len(cells) <= BINS and not shift
    bars = [
        Bar(
            f"{low:.4g}" if few else _range(i, low, high),
            int(counts[0][i]), int(counts[1][i]), ns[0], ns[1], low, high,
        )
        for i, (low, high) in enumerate(zip(lows.tolist(), highs, strict=True))
    ]  # fmt: skip
    return [*bars, *_missing(then, now, ns)]


def categories_compared(then: Sketch, now: Sketch, names: Mapping[int, str]) -> list[Bar]:
    """Return bars of categories: those of the largest shares, then the others together.

    >>> from streamproc.monitors.sketch import categories
    >>> (one, names), (other, _) = categories(["NL", "DE"]), categories(["NL"])
    >>> [(bar.label, bar.then, bar.now) for bar in categories_compared(one, other, names)]
    [('NL', 1, 1), ('DE', 1, 0)]
    """
    shift = max(then.shift, now.shift)
    sides = [each.coarser(shift) for each in (then, now)]
    ns = [each.n + each.missing for each in sides]
    counts = [dict(zip(s.cells.tolist(), s.counts.tolist(), strict=True)) for s in sides]
    every = sorted({*counts[0], *counts[1]})

    def largest(cell: int) -> float:
        return float(max(c.get(cell, 0) / max(n, 1) for c, n in zip(counts, ns, strict=True)))

    shown = sorted(every, key=lambda cell: (-largest(cell), cell))[:BINS]
    bars = []
    for cell in shown:
        label = names.get(cell, "unnamed") if not shift else f"group {cell:x}"
        both = counts[0].get(cell, 0), counts[1].get(cell, 0)
        bars.append(Bar(label, both[0], both[1], ns[0], ns[1], of=None if shift else cell))
    left = [sum(c.values()) - sum(c.get(cell, 0) for cell in shown) for c in counts]
    if any(left):
        bars.append(Bar("all others", left[0], left[1], ns[0], ns[1]))
    return [*bars, *_missing(then, now, ns)]


def _chosen(sides: list[Sketch], cells: Ints) -> Ints:
    """Return the first cells of bins: those at some shares of each side."""
    starts = {int(cells[0])}
    for side in sides:
        if side.n:
            ends = np.cumsum(side.counts)
            at = np.searchsorted(ends, np.array(_SHARES) * side.n)
            starts |= set(side.cells[np.minimum(at, len(side.cells) - 1)].tolist())
    kept = sorted(starts)
    while len(kept) > BINS:
        ranks = np.searchsorted(cells, kept)
        del kept[1 + int(np.argmin(np.diff(ranks)))]
    return np.array(kept, np.int64)


def _by_start(side: Sketch, starts: Ints) -> Ints:
    at = np.searchsorted(starts, side.cells, side="right") - 1
    found = np.zeros(len(starts), np.int64)
    np.add.at(found, at, side.counts)
    return found


def _range(i: int, low: float, high: float) -> str:
    if not i:
        return f"below {high:.4g}"
    return f"{low:.4g} and more" if high == float("inf") else f"{low:.4g} to {high:.4g}"


def _missing(then: Sketch, now: Sketch, ns: list[int]) -> list[Bar]:
    if not then.missing and not now.missing:
        return []
    return [Bar("missing", then.missing, now.missing, ns[0], ns[1])]
