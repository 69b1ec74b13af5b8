"""Likelihood ratios for counts by bin: exponential tilts of what is usual.

A distribution over bins, p, is tilted by a score s and a strength d: q_b = p_b exp(d s_b - psi),
psi = log sum p_b exp(d s_b). The log likelihood ratio of a bucket is d sum s - n psi: it needs the
counts by bin and nothing else, and counts add up. With indicators for scores this is the
likelihood ratio of a rate, or of a category's share.

Numbers are binned by quantiles of the reference. Their scores are Hermite polynomials 1 to 4 of the
normal score, averaged over the bin: location, spread, skew and tails. Ranks only, so outliers and
units do not matter (Dickhaus and Gather 2024 use such bets for conformal martingales).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from streamproc.monitors.sketch import Floats, Ints, Sketch

Bools = NDArray[np.bool_]
_NORMAL = NormalDist()
EDGES = tuple(_NORMAL.cdf(-3.2 + 0.2 * i) for i in range(33))
"""The quantiles between bins of a number."""

SHAPES = ("location", "spread", "skew", "tails")
GRID = (
    # score, strengths, both ways; their part of the weight
    (0, (0.08, 0.2, 0.45, 1.0), 0.6),
    (1, (0.1, 0.25, 0.5), 0.15),
    (2, (0.1, 0.3), 0.08),
    (3, (0.08, 0.2), 0.1),
)
MISSING = (0.7, 1.6, 3.0)
OTHER_WAY = (-0.7, -1.6)
MISSING_WEIGHT = 0.07

SHARES = (0.1, 0.3, 0.7, 1.6)
MORE = 3.0
UNSEEN = (3.0, 4.6, 6.9)
UNSEEN_WEIGHT, NULL_WEIGHT = 0.1, 0.05
MOST_CATEGORIES = 64
"""How many categories have a bin of their own; the others share one."""

_HALF = 0.5
_EVENTS = 2.0
_MOST_POWER = 50.0
_MOST_TILT, _HALVINGS = 16.0, 40
_NOVEL = 0.1
_ROOM_BITS = 4


@dataclass(frozen=True)
class Tilts:
    """Components of a test: component j tilts by ``scores[of[j]]`` with ``strength[j]``.

    ``scores`` is score x bin. Where ``indicator[j]`` the score is 1 in a bin and 0 elsewhere.
    ``weights`` add up to 1.
    """

    scores: Floats
    of: Ints
    strength: Floats
    weights: Floats
    indicator: Bools
    shapes: int = 0
    """How many scores, from the first, are a distribution's location and shape."""

    def ratios(self, n: float, sums: Floats, usual: Floats, psi: Floats, unsure: Floats) -> Floats:
        """Return the log likelihood ratios of a bucket of ``n`` whose scores add up to ``sums``.

        ``usual`` is the mean of each score at this time (of the day, of the week), ``psi`` as of
        :meth:`psi`. An indicator's mean is its rate, so that its psi is known at any time; it is
        off by as much as ``unsure`` says. Other scores are taken from their mean.
        """
        strength, mean = self.strength, usual[self.of]
        rate = np.clip(mean + unsure, 0.0, 1.0)
        of_rate = n * np.log1p(rate * np.expm1(strength))
        moved = strength * mean * n + n * psi
        return strength * sums[self.of] - np.where(self.indicator, of_rate, moved)

    def only(self, score: int) -> Tilts:
        """Return those of one score."""
        kept = self.of == score
        weights = self.weights[kept]
        return Tilts(
            self.scores,
            self.of[kept],
            self.strength[kept],
            weights / weights.sum(),
            self.indicator[kept],
        )

    def psi(self, p: Floats, n: float) -> Floats:
        """Return log sum p_b exp(d (s_b - mean of s)), by component: the most that it may be.

        Zeros for indicators, of which :meth:`ratios` knows it at any time. ``p`` is of ``n``
        values; of a distribution's tails few of them tell. So a standard error is added, of what is
        not linear in s.
        """
        found: Floats = np.zeros(len(self.of))
        asked = ~self.indicator
        if not asked.any():
            return found
        centred = self.scores - (self.scores @ p)[:, None]
        powers = np.minimum(self.strength[asked, None] * centred[self.of[asked]], _MOST_POWER)
        grown = np.exp(powers)
        bent = grown - 1 - powers
        mean = bent @ p
        error = np.sqrt(np.maximum((bent - mean[:, None]) ** 2 @ p, 0.0) / n)
        found[asked] = np.log(grown @ p + error)
        return found

    def tilted(self, p: Floats, component: int, found: Floats) -> Floats:
        """Return p, tilted by a component's score so that its mean is as in counts ``found``."""
        score = self.scores[self.of[component]]
        mean = float(score @ found) / float(found.sum())
        low, high = -_MOST_TILT, _MOST_TILT
        for _ in range(_HALVINGS):
            strength = (low + high) / 2
            grown = p * np.exp(strength * (score - score.max()))
            if float(score @ grown) < mean * float(grown.sum()):
                low = strength
            else:
                high = strength
        tilted: Floats = grown / grown.sum()
        return tilted

    def unsure(self, n: float, closed: int | None) -> Floats:
        """Return by how much the rates of indicators may be off, towards what each looks for.

        Two events more, or fewer, of ``n``; none for the score ``closed``, of what never was.
        """
        off = np.where(self.of == closed, 0.0, _EVENTS / n) if closed is not None else _EVENTS / n
        return np.where(self.indicator, np.sign(self.strength) * off, 0.0)


class Numbers:
    """Bins of a numeric series and its tilts, fixed by a first reference.

    A value that is met often has a bin of its own. The last bin is for what is missing.

    >>> few = Numbers(Sketch.of(np.array([0.0, 0.0, 1.0, 2.0, np.nan])))
    >>> few.counts(Sketch.of(np.array([0.0, 2.0, 9.0, np.nan]))).tolist()[-1]
    1.0
    """

    def __init__(self, reference: Sketch) -> None:
        self.closed: int | None = None
        self.edges = _edges(reference)
        counts = self.counts(reference)
        self.bins = len(counts)
        self.tilts = self._tilts(self.smoothed(counts))

    def counts(self, sketch: Sketch) -> Floats:
        """Return how many values are in each bin."""
        bins = np.searchsorted(self.edges, sketch.values, side="right")
        found = np.bincount(bins, sketch.counts, minlength=len(self.edges) + 2)
        found[-1] = sketch.missing
        whole: Floats = found.astype(np.float64)
        return whole

    def smoothed(self, counts: Floats) -> Floats:
        """Return the distribution that counts tell of; nothing is impossible."""
        more: Floats = counts + _HALF
        shares: Floats = more / more.sum()
        return shares

    def _tilts(self, p: Floats) -> Tilts:
        scores = np.column_stack((_hermite(p[:-1]), np.zeros(4)))
        scores -= (scores @ p)[:, None]
        scores[:, -1] = 0.0
        scores /= np.maximum(np.sqrt(scores**2 @ p), 1e-12)[:, None]
        gone = np.zeros(self.bins)
        gone[-1] = 1.0
        parts = [
            (f, sign * d, w / len(ds) / 2) for f, ds, w in GRID for d in ds for sign in (1, -1)
        ]
        both = MISSING + OTHER_WAY
        parts += [(4, d, MISSING_WEIGHT / len(both)) for d in both]
        return _made(np.vstack((scores, gone)), parts, first_indicator=4)


OPEN = 0.02
"""A vocabulary is open where more than this part of values was there once: so many more are new
among those that come next (Good 1953, "The population frequencies of species and the estimation of
population parameters", Biometrika 40)."""


class Categories:
    """Bins of a categorical series: the commonest, all others, unseen ones, and missing.

    >>> from streamproc.monitors.sketch import categories
    >>> kinds = Categories(categories(["a", "b", "a", "b"])[0])
    >>> kinds.counts(categories(["a", "new", None])[0]).tolist()
    [1.0, 0.0, 0.0, 1.0, 1.0]
    """

    def __init__(self, reference: Sketch) -> None:
        if reference.shift:  # groups, large enough for buckets with more of them
            reference = reference.coarser(reference.shift + _ROOM_BITS)
        once = reference.counts == 1
        is_open = float(once.sum()) > OPEN * float(reference.counts.sum())
        cells, counts = reference.cells, reference.counts
        if is_open:  # ids, free text: what was there once by chance is as new as what is to come
            cells, counts = cells[~once], counts[~once]
        self.shift = reference.shift
        self.known = cells
        commonest = np.lexsort((cells, -counts))[:MOST_CATEGORIES]
        self.own = np.sort(cells[commonest])
        shares = np.append(counts[np.searchsorted(cells, self.own)], 0.0)
        shares[-1] = counts.sum() - shares.sum()
        self.closed: int | None = None if is_open else len(self.own) + 1
        self.bins = len(self.own) + 3
        self.tilts = self._tilts(shares + _HALF)

    def counts(self, sketch: Sketch) -> Floats:
        """Return how many are in each bin: own ones by hash, others, unseen, missing."""
        sketch = sketch.coarser(self.shift)
        more = sketch.shift - self.shift
        size, own, known = len(self.own), self.own >> more, self.known >> more
        at, is_own = _found(sketch.cells, own)
        _, is_known = _found(sketch.cells, known)
        bins = np.where(is_own, at, np.where(is_known, size, size + 1))
        found = np.bincount(bins, sketch.counts, minlength=self.bins)
        found[-1] = sketch.missing
        whole: Floats = found.astype(np.float64)
        return whole

    def smoothed(self, counts: Floats) -> Floats:
        """Return the shares that counts tell of.

        That of unseen ones is a tenth of an event: none of so many was of a kind that was new, and
        most vocabularies are closed. (Good and Turing's estimate of it would be 0.)
        """
        more: Floats = counts + _HALF
        more[-2] = counts[-2] + _NOVEL
        shares: Floats = more / more.sum()
        return shares

    def unseen(self, sketch: Sketch) -> Ints:
        """Return the cells that the reference has not."""
        sketch = sketch.coarser(self.shift)
        known = self.known >> (sketch.shift - self.shift)
        return sketch.cells[~_found(sketch.cells, known)[1]]

    def _tilts(self, counts: Floats) -> Tilts:
        """Return those of every bin. What is common weighs more: most of what moves is there."""
        size, root = len(counts), np.sqrt(counts)
        each = (1 - UNSEEN_WEIGHT - NULL_WEIGHT) * root / (root.sum() * (2 * len(SHARES) + 1))
        ways = [sign * d for d in SHARES for sign in (1, -1)] + [MORE]
        parts = [(k, d, float(each[k])) for k in range(size) for d in ways]
        parts += [(size, d, UNSEEN_WEIGHT / len(UNSEEN)) for d in UNSEEN]
        both = MISSING + OTHER_WAY
        parts += [(size + 1, d, NULL_WEIGHT / len(both)) for d in both]
        return _made(np.eye(self.bins), parts, first_indicator=0)


RATE_UP = (0.1, 0.2, 0.4, 0.7, 1.1, 1.6)
RATE_WEIGHTS = (0.05, 0.25, 0.2, 0.2, 0.2, 0.1)
"""Of each: what is between two is seen by both, so the ends weigh less."""


class Rate:
    """Bins of a share: no and yes. ``ways`` is 1 for upward changes only, 2 for both.

    >>> Rate(1).counts(3.0, 10.0).tolist()
    [7.0, 3.0]
    """

    def __init__(self, ways: int = 2) -> None:
        self.bins = 2
        self.closed: int | None = None
        signs = (1, -1)[:ways]
        both = list(zip(RATE_UP, RATE_WEIGHTS, strict=True))
        parts = [(0, s * d, weight / ways) for d, weight in both for s in signs]
        self.tilts = _made(np.array([[0.0, 1.0]]), parts, first_indicator=0)

    def counts(self, yes: float, n: float) -> Floats:
        """Return how many are in each bin."""
        return np.array([n - yes, yes])

    def smoothed(self, counts: Floats) -> Floats:
        """Return the shares that counts tell of."""
        more: Floats = counts + _HALF
        shares: Floats = more / more.sum()
        return shares


def _made(scores: Floats, parts: Sequence[tuple[int, float, float]], first_indicator: int) -> Tilts:
    of = np.array([f for f, _, _ in parts], np.int64)
    weights = np.array([w for _, _, w in parts])
    strength = np.array([d for _, d, _ in parts])
    indicator = of >= first_indicator
    return Tilts(scores, of, strength, weights / weights.sum(), indicator, first_indicator)


def _found(cells: Ints, among: Ints) -> tuple[Ints, Bools]:
    """Return where cells are in others, which ascend, and whether they are there."""
    if not len(among):
        return np.zeros(len(cells), np.int64), np.zeros(len(cells), bool)
    at = np.minimum(np.searchsorted(among, cells), len(among) - 1)
    return at, among[at] == cells


def _edges(sketch: Sketch) -> Floats:
    """Return the bins' lower edges: quantiles, and both sides of values that are met often."""
    values, n = sketch.values, sketch.n
    if not n:
        return np.zeros(0)
    ends = np.cumsum(sketch.counts)
    at = np.searchsorted(ends, np.array(EDGES) * n, side="left")
    cuts, times = np.unique(values[np.minimum(at, len(values) - 1)], return_counts=True)
    often = cuts[times > 1]
    return np.unique(np.concatenate((cuts, np.nextafter(often, np.inf))))


def _hermite(p: Floats) -> Floats:
    """Return the averages over bins, from the lowest, of Hermite polynomials 1 to 4: 4 x bin.

    The integral of H_k times the normal density is -H_(k-1) times the density.
    """
    cut = np.concatenate(([0.0], np.cumsum(p / p.sum())))
    inner = np.clip(cut[1:-1], 1e-15, 1 - 1e-15)
    z = np.array([_NORMAL.inv_cdf(float(each)) for each in inner])
    density = np.array([_NORMAL.pdf(float(each)) for each in z])
    lower = np.stack((np.ones_like(z), z, z**2 - 1, z**3 - 3 * z)) * density
    ends = np.column_stack((np.zeros(4), lower, np.zeros(4)))
    means: Floats = (ends[:, :-1] - ends[:, 1:]) / np.diff(cut)
    return means
