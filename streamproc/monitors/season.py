"""Seasons: how the means of scores follow the hour and the weekday."""

from __future__ import annotations

from functools import lru_cache
from math import cos, pi, sin
from typing import NamedTuple

import numpy as np

from streamproc.monitors.sketch import Floats

DAY_MS, WEEK_MS = 86_400_000, 604_800_000
_DAYS, _WEEKS, _CROSSED = 4, 3, 2
_SIZE = 1 + 2 * (_DAYS + _WEEKS) + 4 * _CROSSED**2
_OF_DAY = list(range(1, 1 + 2 * _DAYS))
_OF_WEEK = list(range(1 + 2 * _DAYS, 1 + 2 * (_DAYS + _WEEKS)))
WAVES_OF_WEEK = len(_OF_WEEK)
_OF_BOTH = list(range(1 + 2 * (_DAYS + _WEEKS), _SIZE))
_CHANCE = 2.0
_TILTS = np.linspace(-3.0, 3.0, 61)


class Usual(NamedTuple):
    """What is usual of scores at a time.

    ``slopes`` say by how much a score's mean goes with the first one's: a bucket whose location is
    off by chance, away from the middle, has another shape by the same chance. ``wider`` is how many
    times a score varies there what it does in the middle.
    """

    means: Floats
    slopes: Floats
    wider: Floats


class Season:
    """Waves of several scores' means, by weighted least squares on buckets.

    Harmonics of the day; after two weeks those of the week, as far as days differ by more than days
    do; and products of the first of both: nights of weekends are not as those of other days.
    Where a distribution moves its shape seems to change, too: the square of a score is larger at
    noon because it is further from the middle, and varies more. So of ``shapes`` scores, the first
    being the location, the others are taken to be what they are in the distribution that is tilted
    to the hour's location; a constant and waves are fitted to what is left.

    >>> season = Season(np.array([[0.0, 1.0]]), 0)
    >>> hours = np.arange(24 * 14)
    >>> sums = 60 * (0.5 + 0.2 * np.sin(hours * pi / 12))[:, None]
    >>> half, ns = np.array([0.5, 0.5]), np.full(len(hours), 60.0)
    >>> season.fit(hours * 3_600_000, ns, sums, half, 3_600_000)
    >>> [round(float(season.usual(hour * 3_600_000).means[0]), 2) for hour in (0, 6, 18)]
    [0.5, 0.7, 0.3]
    """

    def __init__(self, scores: Floats, shapes: int) -> None:
        self._scores = scores
        self._shapes = shapes
        self._mean: Floats = np.zeros(len(scores))
        self._found: Floats = np.zeros((_SIZE, len(scores)))
        self.any = False
        self.weekly = False
        self._flat = Usual(self._mean, np.zeros(len(scores)), np.ones(len(scores)))
        self._tilted: Floats = np.zeros((len(_TILTS), shapes))
        self._slopes: Floats = np.zeros((len(_TILTS), shapes))
        self._wider: Floats = np.ones((len(_TILTS), shapes))

    def usual(self, start_ms: int) -> Usual:
        """Return what is usual in a bucket that starts then."""
        if not self.any:
            return self._flat
        off = waves(start_ms) @ self._found
        base, slopes, wider = self._base(self._mean[:1] + off[:1])
        return Usual(base[0] + off, slopes[0], wider[0])

    def left(self, starts_ms: Floats, ns: Floats, sums: Floats) -> Floats:
        """Return buckets' sums less what is usual, by how much they vary: bucket x score."""
        if not self.any:
            return sums - ns[:, None] * self._mean
        off = _waves_of(starts_ms.astype(np.float64).tobytes()) @ self._found
        base, slopes, wider = self._base(self._mean[0] + off[:, 0])
        usual = base + off
        chance = sums[:, :1] - ns[:, None] * usual[:, :1]
        rest: Floats = (sums - slopes * chance - ns[:, None] * usual) / np.sqrt(wider)
        return rest

    def fit(self, starts_ms: Floats, ns: Floats, sums: Floats, p: Floats, bucket_ms: int) -> None:
        """Fit those waves that there are days for; keep them where they explain enough.

        ``sums`` is bucket x score.
        """
        self._mean = self._scores @ p
        self._flat = self._flat._replace(means=self._mean)
        self._found = np.zeros_like(self._found)
        self.any = self.weekly = False
        span_ms = float(starts_ms[-1] - starts_ms[0]) + bucket_ms
        if span_ms < 2 * DAY_MS or bucket_ms > DAY_MS:
            return
        self._tilt(p)
        variance = np.maximum((self._scores - self._mean[:, None]) ** 2 @ p, 1e-300)
        fit = _Fit(_waves_of(starts_ms.astype(np.float64).tobytes()), ns, starts_ms, variance)
        groups = _groups(span_ms, bucket_ms)
        location = fit.found(sums[:, :1] - ns[:, None] * self._mean[:1], groups)[:, 0]
        locations = self._mean[0] + fit.rows @ location
        base, slopes, _ = self._base(locations)
        left = sums - ns[:, None] * base
        left[:, 1:] -= (slopes * (sums[:, 0] - ns * locations)[:, None])[:, 1:]
        off = np.zeros(left.shape[1])
        if location.any():  # shapes by the tilt need not have the mean that they have in all
            off[1 : self._shapes] = left[:, 1 : self._shapes].sum(axis=0) / ns.sum()
        self._found = fit.found(left - ns[:, None] * off, groups)
        self._found[0] = off
        self.any = bool(self._found.any())
        self.weekly = bool(self._found[_OF_WEEK].any())

    def _tilt(self, p: Floats) -> None:
        """Work out scores' means, slopes and variances in distributions tilted elsewhere."""
        if not self._shapes:
            return
        scores = self._scores[: self._shapes]
        powers = np.outer(_TILTS, scores[0])
        tilted = p * np.exp(powers - powers.max(axis=1, keepdims=True))
        tilted /= tilted.sum(axis=1, keepdims=True)
        self._tilted = tilted @ scores.T
        steps = np.maximum(np.gradient(self._tilted[:, 0]), 1e-9)
        self._slopes = np.gradient(self._tilted, axis=0) / steps[:, None]
        apart = scores.T[None] - self._slopes[:, None, :] * scores[0][None, :, None]
        apart[:, :, 0] = scores[0]
        mean = np.einsum("tb,tbf->tf", tilted, apart)
        varies = np.einsum("tb,tbf->tf", tilted, apart**2) - mean**2
        middle = np.maximum(varies[len(_TILTS) // 2], 1e-12)
        self._wider = np.maximum(varies / middle, 1.0)

    def _base(self, locations: Floats) -> tuple[Floats, Floats, Floats]:
        """Return means of scores at locations, slopes, and widths: location x score."""
        base = np.tile(self._mean, (len(locations), 1))
        slopes, wider = np.zeros_like(base), np.ones_like(base)
        for shape in range(self._shapes):
            wider[:, shape] = np.interp(locations, self._tilted[:, 0], self._wider[:, shape])
            if shape:
                base[:, shape] = np.interp(locations, self._tilted[:, 0], self._tilted[:, shape])
                slopes[:, shape] = np.interp(locations, self._tilted[:, 0], self._slopes[:, shape])
        return base, slopes, wider


class _Fit:
    """Weighted least squares of waves, a group of them after the other."""

    def __init__(self, rows: Floats, ns: Floats, starts_ms: Floats, variance: Floats) -> None:
        self.rows = rows
        self._ns = ns
        self._days = starts_ms.astype(np.int64) // DAY_MS
        self._variance = variance

    def found(self, left: Floats, groups: list[list[int]]) -> Floats:
        """Return the waves of sums less what is usual, bucket x score; zeros where only chance.

        The sums may be those of the first scores alone.
        """
        found = np.zeros((_SIZE, left.shape[1]))
        variance = self._variance[: left.shape[1]]
        for group in groups:
            rows = self.rows[:, group]
            gram = rows.T @ (rows * self._ns[:, None])
            gram += np.eye(len(group)) * float(self._ns.sum()) * 1e-6
            moments = rows.T @ left
            fitted = np.linalg.solve(gram, moments)
            rest = left - self._ns[:, None] * (rows @ fitted)
            noise = self._of_days(rest, len(group)) if group == _OF_WEEK else 1.0
            explained = np.einsum("wf,wf->f", fitted, moments) / (variance * noise)
            kept = explained > _CHANCE * len(group)
            fitted *= np.where(kept, 1 - len(group) / np.maximum(explained, 1e-300), 0.0)
            found[group] = fitted
            left = left - self._ns[:, None] * (rows @ fitted)
        return found

    def _of_days(self, rest: Floats, waves_of_week: int) -> Floats:
        """Return how many times sums of whole days vary what independent values would."""
        days = np.unique(self._days, return_inverse=True)[1]
        size = int(days.max()) + 1
        sums = np.stack([np.bincount(days, column, size) for column in rest.T], axis=1)
        left = max(size - waves_of_week - 1, 1)
        variance = self._variance[: rest.shape[1]]
        share = (sums**2).sum(axis=0) / variance / float(self._ns.sum()) * size / left
        noise: Floats = np.maximum(share, 1.0)
        return noise


@lru_cache(maxsize=4_096)
def waves(start_ms: int) -> Floats:
    """Return the waves at a time: 1, then sines and cosines."""
    row = [1.0]
    for span_ms, count in ((DAY_MS, _DAYS), (WEEK_MS, _WEEKS)):
        turn = 2 * pi * (start_ms % span_ms) / span_ms
        for k in range(1, count + 1):
            row += (sin(k * turn), cos(k * turn))
    day, week = row[1 : 1 + 2 * _CROSSED], row[1 + 2 * _DAYS : 1 + 2 * (_DAYS + _CROSSED)]
    return np.array([*row, *(a * b for a in day for b in week)])


@lru_cache(maxsize=4)
def _waves_of(starts_ms: bytes) -> Floats:
    """Return the waves at several times, time x wave; series fitted together share them."""
    return np.stack([waves(int(start)) for start in np.frombuffer(starts_ms)])


def _groups(span_ms: float, bucket_ms: int) -> list[list[int]]:
    """Return the groups of waves that buckets over such a span can tell apart."""
    found = []
    if bucket_ms <= DAY_MS // 4:
        found.append(_OF_DAY)
    if span_ms >= 2 * WEEK_MS:
        found.append(_OF_WEEK)
        if bucket_ms <= DAY_MS // 4:
            found.append(_OF_BOTH)
    return found
