"""What is usual for a classifier's outcomes: by what odds factor it is off, overall and by slice.

No model in production is calibrated to the last percent, and one that learns is off as a whole. So
the chances a model gives are first put right by what was seen in the past: an odds factor overall,
and one for each slice relative to it. A factor is shrunk to 1 by as much as it may be chance: by
the spread of all slices' factors (empirical Bayes, DerSimonian and Laird 1986), unless it alone is
beyond what the largest of so many would be.

The past is the older half of what stayed quiet: the newer half, and a week at least, is in
quarantine. Found changes leave the quarantine and are never learnt. Of a model that learns the past
fades, and a week is in quarantine: it is not what it was.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from streamproc.monitors.growing import LEAST_BUCKETS, REFRESH, Span
from streamproc.monitors.odds import COARSE, Table, expected, moved, offsets
from streamproc.monitors.recent import DAY_MS
from streamproc.monitors.sketch import Floats, Ints

LEAST_YES = 8.0
"""A slice is watched once so many yes are expected in its reference."""

STEADY = log(1.25)
"""A model that learns has settled once halves of the first reference are as near."""

CAREFUL_MS = 28 * DAY_MS
FADES_MS = 28 * DAY_MS
"""In so much time what a model that learns was counts half."""

SURE = 3.0
"""So many standard errors off overall a model has to be before its chances are put right: what a
change not yet found adds to the past isn't taken for what is usual."""

MOST_GIVEN_UP = 8
_BLOCKS = 16
_MOST_KAPPA = 25.0
_LONGEST, _SHORT, _UNKNOWN = 128, 4, 0.1


@dataclass
class Block:
    """Outcomes of a time: slice x bin x (n, sum of p), and yes by slice."""

    start_ms: int
    end_ms: int
    dense: Floats
    yes: Floats

    def add(self, more: Block) -> None:
        """Take in what came later."""
        rows = max(len(self.yes), len(more.yes))
        self.end_ms = more.end_ms
        self.dense = _padded(self.dense, rows) + _padded(more.dense, rows)
        self.yes = _padded(self.yes, rows) + _padded(more.yes, rows)


class Wavering:
    """How many times sums over blocks of buckets vary what chance would make them: kappa.

    Blocks of 1, 2, 4, ... buckets; the largest counts, less its standard error. If ``careful``,
    blocks of up to eight buckets count two of these more instead where it is large: bursts
    last days, and one in what is little known is no news. Sums of squares are added up over slices.

    >>> wavering = Wavering()
    >>> for off in [5.0, -5.0] * 32:
    ...     wavering.add(np.array([off]), np.array([10.0]))
    >>> round(wavering.kappa, 2)
    2.06
    """

    def __init__(self, careful: bool = False) -> None:
        self.careful = careful
        self._levels: list[tuple[Floats, Floats]] = [(np.zeros(0), np.zeros(0))]
        self._sums: list[list[float]] = [[0.0, 0.0, 0.0, 0.0]]

    def add(self, left: Floats, variance: Floats) -> None:
        """Take in a bucket's observed less expected, and its variance, by slice."""
        for level in range(_LONGEST.bit_length()):
            sums = self._sums[level]
            sums[0] += float(left @ left)
            sums[1] += float(variance.sum())
            sums[2] += 1.0
            sums[3] += float(variance @ variance)
            if level + 1 == len(self._sums):
                self._sums.append([0.0, 0.0, 0.0, 0.0])
                self._levels.append((np.zeros(0), np.zeros(0)))
            held, of = self._levels[level]
            if int(sums[2]) % 2:
                self._levels[level] = left, variance
                return
            rows = max(len(left), len(held))
            left = _padded(left, rows) + _padded(held, rows)
            variance = _padded(variance, rows) + _padded(of, rows)

    @property
    def kappa(self) -> float:
        """The factor, at least 1."""
        worst = 1.0
        for level, (squares, variance, blocks, of) in enumerate(self._sums):
            if blocks >= 4 and variance > 0:
                error = (2 * of) ** 0.5 / variance
                unknown = self.careful and level < _SHORT and error >= _UNKNOWN
                side = 2 * error if unknown else -error
                if error <= 0.5:
                    worst = max(worst, squares / variance * (1 + side))
        return min(worst, _MOST_KAPPA)


class Recalibrated:
    """What is usual; slice 0 is overall.

    ``off`` is the logarithm of the overall odds factor, ``relative`` those of the slices relative
    to it (0 for overall), ``unsure`` their standard errors, ``watched`` where enough is known.
    """

    def __init__(self, span: Span | None = None) -> None:
        self.ready = False
        self.off = 0.0
        self.relative: Floats = np.zeros(0)
        self.unsure: Floats = np.zeros(0)
        self.watched = np.zeros(0, bool)
        self.of_slices, self.of_all = Wavering(careful=True), Wavering()
        self._span = span or Span()
        self._kept: Block | None = None
        self._blocks: list[Block] = []
        self._width_ms = 1
        self._buckets = 0
        self._first_ms = 0
        self._fitted_n = 0.0
        self._residuals: deque[tuple[int, tuple[Floats, ...]]] = deque()
        self._waiting: list[tuple[int, Table]] = []
        self._given_up = 0

    def learn(self, start_ms: int, end_ms: int, table: Table) -> None:
        """Take in a bucket in which nothing is open."""
        if not self._buckets:
            self._first_ms = start_ms
        self._buckets += 1
        block = Block(start_ms, end_ms, table.dense(), table.yes.copy())
        if not self.ready:
            self._begin(block, table)
            return
        self.of_slices.careful = end_ms - self._first_ms < CAREFUL_MS
        self._residuals.append((start_ms, self._residual(table)))
        while self._residuals and self._residuals[0][0] < end_ms - self._quarantine_ms(
            end_ms, most=True
        ):
            left, variance, off, of = self._residuals.popleft()[1]
            self.of_slices.add(left, variance)
            self.of_all.add(off, of)
        self._hold(block)
        assert self._kept is not None
        released = False
        while self._blocks and self._blocks[0].end_ms <= end_ms - self._quarantine_ms(end_ms):
            block = self._blocks.pop(0)
            if self._span.settles:
                fades = 0.5 ** ((block.end_ms - block.start_ms) / FADES_MS)
                self._kept.dense, self._kept.yes = self._kept.dense * fades, self._kept.yes * fades
            self._kept.add(block)
            released = True
        grown = self._kept.dense[0, :, 0].sum() >= REFRESH * self._fitted_n
        if grown or (released and self._span.settles):
            self._fit()

    def forget(self, since_ms: int) -> Block | None:
        """Take what came since then out of the quarantine, and return it: it was not usual."""
        gone = [each for each in self._blocks if each.end_ms > since_ms]
        self._blocks = [each for each in self._blocks if each.end_ms <= since_ms]
        kept = [each for each in self._residuals if each[0] < since_ms]
        self._residuals = deque(kept)
        for each in gone[1:]:
            gone[0].add(each)
        return gone[0] if gone else None

    def chances(self, table: Table) -> Floats:
        """Return the chance of yes in each cell, put right."""
        return moved(table.p, (self.off + self.relative)[table.row])

    def shares(self, table: Table, chances: Floats) -> Floats:
        """Return by slice the share of all yes that is expected to be there."""
        all_ = table.row == 0
        total = float((table.n * moved(table.p, self.off))[all_].sum())
        share = table.total(chances) / max(total, 1e-300)
        return np.clip(share, 1e-6, 0.999)

    def grow(self, rows: int) -> None:
        """Make room for slices that are new; they are as all are."""
        self.relative, self.unsure = _padded(self.relative, rows), _padded(self.unsure, rows)
        self.watched = _padded(self.watched, rows)

    def _quarantine_ms(self, now_ms: int, most: bool = False) -> int:
        least = self._span.least_ms
        return least if most or self._span.settles else max(least, (now_ms - self._first_ms) // 2)

    def _begin(self, block: Block, table: Table) -> None:
        self._waiting.append((block.start_ms, table))
        if self._kept is None:
            self._kept = Block(block.start_ms, block.end_ms, block.dense, block.yes)
        else:
            self._kept.add(block)
        enough = self._kept.dense[0, :, 0].sum() >= self._span.least_n
        known = min(self._kept.yes[0], self._kept.dense[0, :, 0].sum() - self._kept.yes[0])
        spans = block.end_ms - self._first_ms >= self._span.least_ms
        if not (enough and spans and self._buckets >= LEAST_BUCKETS and known >= LEAST_YES):
            return
        if self._span.settles and self._given_up < MOST_GIVEN_UP and not self._settled():
            self._give_up(block.end_ms)
            return
        self.ready = True
        self._width_ms = max((block.end_ms - self._first_ms) // (_BLOCKS // 2), 1)
        self._fit()
        rows = len(self.relative)
        for _, early in self._waiting:
            left, variance, off, of = self._residual(early.grown(rows))
            self.of_slices.add(left, variance)
            self.of_all.add(off, of)
        self._waiting = []
        self._fit()

    def _settled(self) -> bool:
        middle = len(self._waiting) // 2
        halves = [
            (
                sum((each.dense()[:1] for _, each in part), np.zeros((1, COARSE, 2))),
                sum((each.yes[:1] for _, each in part), np.zeros(1)),
            )
            for part in (self._waiting[:middle], self._waiting[middle:])
        ]
        return settled(*halves)

    def _give_up(self, end_ms: int) -> None:
        """Give up the older half of the first reference."""
        self._given_up += 1
        newer = self._waiting[len(self._waiting) // 2 :]
        self._kept, self._waiting = None, newer
        self._first_ms, self._buckets = newer[0][0], len(newer)
        for start_ms, table in newer:
            block = Block(start_ms, end_ms, table.dense(), table.yes)
            if self._kept is None:
                self._kept = block
            else:
                self._kept.add(block)

    def _hold(self, block: Block) -> None:
        """Put a bucket into the quarantine; its blocks double in width when they are too many."""
        last = self._blocks[-1] if self._blocks else None
        if last is not None and block.end_ms - last.start_ms <= self._width_ms:
            last.add(block)
            return
        self._blocks.append(block)
        if len(self._blocks) > _BLOCKS:
            self._width_ms *= 2
            for one, two in zip(self._blocks[::2], self._blocks[1::2], strict=False):
                one.add(two)
            self._blocks = self._blocks[::2]

    def _residual(self, table: Table) -> tuple[Floats, Floats, Floats, Floats]:
        self.grow(table.rows)
        chances = self.chances(table)
        share, m = self.shares(table, chances), table.yes[0]
        there = self.watched & (table.total() > 0)
        there[0] = False
        left = np.where(there, table.yes - m * share, 0.0)
        variance = np.where(there, m * share * (1 - share), 0.0)
        of = table.total(chances * (1 - chances))[:1]
        return left, variance, table.yes[:1] - table.total(chances)[:1], of

    def _fit(self) -> None:
        kept = self._kept
        assert kept is not None
        self._fitted_n = float(kept.dense[0, :, 0].sum())
        self.grow(len(kept.yes))
        rows = len(self.relative)
        dense, yes = _padded(kept.dense, rows), _padded(kept.yes, rows)
        off, information = offsets(dense[:1], yes[:1])
        error = self.of_all.kappa / max(float(information[0]), 1e-9)
        weight = max(0.0, 1 - SURE**2 * error / max(float(off[0]) ** 2, 1e-300))
        self.off = float(off[0]) * weight
        would, _ = expected(dense, np.full(rows, self.off))
        self.watched = np.minimum(would, dense[:, :, 0].sum(axis=1) - would) >= LEAST_YES
        each, information = offsets(dense, yes)
        errors = self.of_slices.kappa / np.maximum(information, 1e-9)
        self.relative, self.unsure = _shrunk(each - off[0], errors, self.watched)
        self.unsure[0] = (weight * error) ** 0.5


def settled(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> bool:
    """Whether two halves predict alike, and were as right, but for chance.

    Each is n and the sum of p by bin, 1 x bin x 2, and the number of yes.
    """
    off, mean, error = [], [], 0.0
    for dense, yes in (one, other):
        found, information = offsets(dense, yes)
        off.append(float(found[0]))
        mean.append(float(dense[0, :, 1].sum() / max(dense[0, :, 0].sum(), 1.0)))
        error += 1 / max(float(information[0]), 1e-9)
    if min(mean) <= 0 or abs(log(mean[1] / mean[0])) > STEADY:
        return False
    return abs(off[1] - off[0]) <= STEADY + min(2 * sqrt(error), STEADY)


def _shrunk(off: Floats, errors: Floats, of: Ints | np.ndarray) -> tuple[Floats, Floats]:
    """Return offsets of slices shrunk to 0, and their standard errors; overall stays at 0."""
    used = np.array(of, bool)
    used[0] = False
    found, unsure = np.zeros(len(off)), np.zeros(len(off))
    slices = int(used.sum())
    if not slices:
        return found, unsure
    x, e = off[used], np.maximum(errors[used], 1e-12)
    w = 1 / e
    spare = w.sum() - (w**2).sum() / w.sum()
    more = w @ x**2 - slices - 2 * sqrt(2 * slices)  # than chance would spread them
    spread = more / spare if spare > 0 else 0.0
    spread = max(float(spread), 0.0)
    alone = 1 - (2 * log(slices) + 4.0) * e / np.maximum(x**2, 1e-300)
    weight = np.maximum(spread / (spread + e), np.maximum(alone, 0.0))
    found[used] = weight * x
    unsure[used] = np.sqrt(weight * e)
    return found, unsure


def _padded(values: Floats, rows: int) -> Floats:
    more = rows - len(values)
    if more <= 0:
        return values
    return np.concatenate((values, np.zeros((more, *values.shape[1:]), values.dtype)))
