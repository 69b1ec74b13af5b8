"""Prediction bias: is more, or less, observed than predicted, in which slice, and since when.

Each slice is tested twice, against the odds its model gave, put right by the past
(`streamproc.monitors.recalibrated`), and against all others at the same time: of all yes in a
bucket a share is expected to fall into it. Both must say the same. So neither a model that is off
as a whole makes every slice alarm, nor one slice that rises makes the others seem to fall; and as
the smaller of two e-detectors is one, false alarms are no more frequent than either's. Where the
whole does not waver (a model that does not learn, its kappa near 1) half the comparison's evidence,
as a logarithm, will do: it knows less, as it does not know how much there should be in all.

The two hypotheses are: odds of at most ``tolerance`` times the usual ones, and theta times that;
and the same downward. With bursts, as fraud comes in, evidence is divided by kappa, which is how
many times counts waver what chance would make them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from typing import NamedTuple

import numpy as np

from streamproc.monitors.bank import Bank
from streamproc.monitors.growing import Span
from streamproc.monitors.odds import Table, expected, moved, offsets, ratios
from streamproc.monitors.recalibrated import Block, Recalibrated
from streamproc.monitors.sketch import Floats

GRID = (0.05, 0.1, 0.2, 0.4, 0.7, 1.1, 1.6)
"""Logarithms of the odds factors that are looked for, both ways."""

GRID_WEIGHTS = (0.24, 0.2, 0.2, 0.16, 0.1, 0.06, 0.04)
"""Of each: the smaller take longest to be seen, and would wait most for what others weigh."""

TOLERANCE = 1.1
TOLERANCE_OVERALL = 1.25
"""Odds factors that are not worth telling."""

TOLERANCE_LEARNING = 2.0
"""Overall, of a model that learns: it is off as a whole, this way today and that way tomorrow."""


class Tolerances(NamedTuple):
    """Odds factors that are not worth telling: of declared slices, overall, of slices found."""

    of_slices: float
    overall: float
    found: float

    @classmethod
    def of(cls, tolerance: float | None, learns: bool) -> Tolerances:
        """Return those of a monitor: as declared, a part of the odds, or what is usual.

        >>> Tolerances.of(0.5, learns=True), Tolerances.of(None, learns=False).overall
        (Tolerances(of_slices=1.5, overall=1.5, found=1.5), 1.25)
        """
        if tolerance is not None:
            return cls(*[1 + tolerance] * 3)
        if learns:
            return cls(TOLERANCE, TOLERANCE_LEARNING, TOLERANCE_LEARNING)
        return cls(TOLERANCE, TOLERANCE_OVERALL, TOLERANCE)


BACK = log(100)
LEAST_QUIET = 3
_MOST_A_BUCKET = BACK / 2.5
_STRENGTH = np.array([*GRID, *(-d for d in GRID)])
_UP, _DOWN = slice(0, len(GRID)), slice(len(GRID), 2 * len(GRID))
_WEIGHTS = np.array([*GRID_WEIGHTS, *GRID_WEIGHTS]) / 2
_FARTHEST = 6.0


class Seen(NamedTuple):
    """What was seen of a slice since a change: all per slice, ``expected`` as usual.

    ``low`` and ``high`` are an interval for observed less expected, per outcome; see `interval`.
    """

    n: float
    observed: float
    expected: float
    low: float
    high: float

    @property
    def size(self) -> float:
        """How many times the expected was observed, steadied where both are few."""
        return (self.observed + 1) / (self.expected + 1)


@dataclass
class Open:
    """A change that was found and is not over: ``sign`` is 1 where there is more than expected."""

    sign: int
    since_ms: int
    found: Block
    back: Floats
    quiet: list[Block]


class Step(NamedTuple):
    """What a bucket did to a slice: ``"opened"``, ``"open"`` or ``"over"``."""

    row: int
    what: str
    sign: int
    since_ms: int
    evidence: float
    seen: Seen


class BiasTests:
    """Tests slices beside each other; slice 0 is overall.

    ``alarm_ms`` is the mean time between false alarms of all of them together.
    """

    def __init__(
        self,
        bucket_ms: int,
        alarm_ms: float,
        tolerance: float = TOLERANCE,
        tolerance_overall: float = TOLERANCE_OVERALL,
        span: Span | None = None,
    ) -> None:
        self.usual = Recalibrated(span)
        self.opened: dict[int, Open] = {}
        self._bucket_ms = bucket_ms
        self._tested_ms = 0
        self._wavers = span is not None and span.settles
        self._alarm_ms = alarm_ms
        self._tolerance = log(tolerance), log(tolerance_overall)
        self._own, self._beside = Bank(_WEIGHTS), Bank(_WEIGHTS)

    @property
    def threshold(self) -> float:
        """The evidence at which a slice alarms: each has an equal part of the false alarms."""
        return log(self._alarm_ms * max(int(self.usual.watched.sum()), 1))

    def evidence(self) -> tuple[Floats, Floats]:
        """Return by slice the evidence for more, and for fewer, than expected."""
        both, bucket = [], log(self._bucket_ms)
        need = 1.0 if self._wavers or 0 in self.opened else min(1.0, self.usual.of_all.kappa / 2)
        overall = self.opened[0].sign if 0 in self.opened else 0
        for sign, side in ((1, _UP), (-1, _DOWN)):
            own, beside = self._own.evidence(side), self._beside.evidence(side)
            beside[:1] = own[:1]  # there are no others
            beside = bucket + (beside - bucket) / need
            if sign == overall:  # it explains what moves everywhere
                own[1:] = beside[1:]
            both.append(np.minimum(own, beside))
        return both[0], both[1]

    def update(
        self,
        start_ms: int,
        table: Table,
        related: Sequence[tuple[str, ...]] | None = None,
        rests: bool = False,
    ) -> list[Step]:
        """Take in a bucket of all slices known, in order of time.

        ``related`` are the fields each slice is made of; while one is open, slices of other fields
        rest. Without it at most one slice is open, and overall none. If it ``rests``, nothing opens
        and nothing is learnt.
        """
        end_ms = start_ms + self._bucket_ms
        for each in (self._own, self._beside, self.usual):
            each.grow(table.rows)
        if not self.usual.ready:
            if not rests:
                self.usual.learn(start_ms, end_ms, table)
            return []
        chances = self.usual.chances(table)
        own, beside = self._ratios(table, chances)
        steps = [self._follow(row, start_ms, table, chances) for row in sorted(self.opened)]
        self._tested_ms += self._bucket_ms
        self._own.update(start_ms, self._bucket_ms, own)
        self._beside.update(start_ms, self._bucket_ms, beside)
        self._rest(related, rests)
        if not rests:
            for row, sign, evidence in self._alarmed(related):
                self._open(row, sign, Block(start_ms, end_ms, table.dense(), table.yes))
                steps.append(self._step(row, "opened", evidence))
                self._rest(related, rests)
        if not rests and 0 not in self.opened:
            self.usual.learn(start_ms, end_ms, table.without(sorted(self.opened)))
        return steps

    def _rest(self, related: Sequence[tuple[str, ...]] | None, all_: bool) -> None:
        """Begin anew where what is open moves it too: whether more is wrong shows later."""
        slices = [row for row in self.opened if row]
        if not (slices or all_):
            return
        for row in range(len(self._own)):
            if row in self.opened:
                continue
            if all_ or related is None or any(related[row] != related[each] for each in slices):
                self._restart(row)

    def kappas(self) -> tuple[float, float]:
        """Return by how much evidence is divided, overall and of slices."""
        return self.usual.of_all.kappa, self.usual.of_slices.kappa

    def _ratios(self, table: Table, chances: Floats) -> tuple[Floats, Floats]:
        usual = self.usual
        of_all, of_slices = self.kappas()
        slack = np.full(table.rows, self._tolerance[0])
        slack[0] = self._tolerance[1]
        slack += usual.unsure[: table.rows]
        share, m = usual.shares(table, chances), table.yes[0]
        own, beside = [], []
        for sign, side in ((1, _UP), (-1, _DOWN)):
            strength = _STRENGTH[side]
            own.append(ratios(table, moved(chances, sign * slack[table.row]), strength))
            part = moved(share, sign * slack)[:, None]
            beside.append(table.yes[:, None] * strength - m * np.log1p(part * np.expm1(strength)))
        there = usual.watched[: table.rows, None]
        both = [np.where(there, np.hstack(each), 0.0) for each in (own, beside)]
        both[0][0] /= of_all
        both[0][1:] /= of_slices
        return both[0], both[1] / of_slices

    def _alarmed(
        self, related: Sequence[tuple[str, ...]] | None
    ) -> Iterator[tuple[int, int, float]]:
        """Yield what opens: row, sign and evidence. The finest slices first, overall last."""
        sides = self.evidence()
        found = [
            (row, sign, float(evidence[row]))
            for sign, evidence in zip((1, -1), sides, strict=True)
            for row in np.flatnonzero(evidence >= self.threshold).tolist()
            if row not in self.opened
        ]
        if related is None:
            found = sorted(
                (each for each in found if each[0]), key=lambda each: (-each[2], each[0])
            )
            yield from [] if self.opened else found[:1]
            return
        for row, sign, evidence in sorted(
            found, key=lambda each: (-len(related[each[0]]), -each[2], each[0])
        ):
            if any(each and related[each] != related[row] for each in self.opened):
                continue
            if row or not self._explained(sides[0 if sign > 0 else 1]):
                yield row, sign, evidence

    def _explained(self, of_slices: Floats) -> bool:
        """Whether what overall shows comes from a slice that is on the way to be found.

        With nothing wrong evidence is about the logarithm of the time gone by; half the way from
        there is on the way.
        """
        half = (self.threshold + min(log(self._tested_ms), self.threshold)) / 2
        return bool(of_slices[1:].max(initial=-np.inf) > half)

    def _open(self, row: int, sign: int, now: Block) -> None:
        since_ms = self._own.since_ms(row, _UP if sign > 0 else _DOWN)
        found = self.usual.forget(since_ms)
        if found is None:
            found = now
        else:
            found.add(now)
        alone = Block(since_ms, now.end_ms, found.dense[row : row + 1], found.yes[row : row + 1])
        self.opened[row] = Open(sign, since_ms, alone, np.zeros(2), [])

    def _restart(self, row: int) -> None:
        for bank in (self._own, self._beside):
            bank.restart(row)

    def _follow(self, row: int, start_ms: int, table: Table, chances: Floats) -> Step:
        """Page's test with the hypotheses exchanged: what was found, against what is usual."""
        change = self.opened[row]
        evidence = float(self.evidence()[0 if change.sign > 0 else 1][row])
        at = table.row == row
        end_ms = start_ms + self._bucket_ms
        now = Block(start_ms, end_ms, table.dense()[row : row + 1], table.yes[row : row + 1])
        n, p, y = table.n[at], chances[at], float(now.yes[0])
        if not len(n):
            return self._step(row, "open", evidence)
        size = self._odds(row, change.found)
        size = min(max(size, 0.4), 1.4) if change.sign > 0 else max(min(size, -0.4), -1.4)
        kappa = self.kappas()[row > 0]
        share = self.usual.shares(table, chances)[row]
        of_own = float(n @ np.log1p(p * np.expm1(size))) - y * size
        of_others = float(table.yes[0] * np.log1p(share * np.expm1(size))) - y * size
        step = np.array([of_own, of_others if row else of_own]) / kappa
        change.back = np.maximum(change.back + np.minimum(step, _MOST_A_BUCKET), 0.0)
        if not change.back.any():
            for each in (*change.quiet, now):
                change.found.add(each)
            change.quiet = []
            return self._step(row, "open", evidence)
        change.quiet.append(now)
        if change.back.max() < BACK or len(change.quiet) < LEAST_QUIET:
            return self._step(row, "open", evidence)
        step_over = self._step(row, "over", evidence)
        del self.opened[row]
        for other in [row] if row else range(len(self._own)):
            self._restart(other)
        return step_over

    def _odds(self, row: int, found: Block) -> float:
        """Return the logarithm of the odds factor found, of the usual one."""
        usual = self.usual.off + float(self.usual.relative[row])
        return float(offsets(found.dense, found.yes)[0][0]) - usual

    def _step(self, row: int, what: str, evidence: float) -> Step:
        change = self.opened[row]
        usual = self.usual.off + float(self.usual.relative[row])
        found = change.found
        n, y = float(found.dense[0, :, 0].sum()), float(found.yes[0])
        would = float(expected(found.dense, np.array([usual]))[0][0])
        low, high = interval(
            found, usual, self.threshold - log(self._bucket_ms), self.kappas()[row > 0]
        )
        seen = Seen(n, y, would, low, high)
        return Step(row, what, change.sign, change.since_ms, evidence, seen)


def interval(
    found: Block, usual: float, threshold: float, kappa: float = 1.0
) -> tuple[float, float]:
    """Return an interval for observed less expected, per outcome of one slice.

    It has those odds factors g that the same test, were g what is usual, would not have told as a
    change by what was seen since the change began: a mixture of likelihood ratios over the grid is
    below exp(``threshold``). (The duality of tests and confidence sequences: Howard, Ramdas,
    McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences",
    Annals of Statistics 49(2).) So it promises that whatever the time at which one looks, and
    though its beginning was chosen by what was seen, it leaves out what is true no more often than
    the test makes false alarms.
    """
    best = float(offsets(found.dense, found.yes)[0][0])
    n = float(found.dense[0, :, 0].sum())

    def kept(off: float) -> bool:
        dense = found.dense[0]
        there = dense[:, 0] > 0
        p = moved(np.clip(dense[there, 1] / dense[there, 0], 1e-9, 1 - 1e-9), off)
        terms = np.log1p(p[:, None] * np.expm1(_STRENGTH))
        logs = (found.yes[0] * _STRENGTH - dense[there, 0] @ terms) / kappa + np.log(_WEIGHTS)
        top = float(logs.max())
        return top + log(float(np.exp(logs - top).sum())) < threshold

    ends = []
    for sign in (-1, 1):
        inner, outer = best, best + sign * _FARTHEST
        for _ in range(18):
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if kept(middle) else (inner, middle)
        ends.append(float(expected(found.dense, np.array([outer]))[0][0]))
    would = float(expected(found.dense, np.array([usual]))[0][0])
    return (ends[0] - would) / n, (ends[1] - would) / n
