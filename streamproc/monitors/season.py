"""Seasons: how the means of scores follow the hour and the weekday."""

from __future__ import annotations

from functools import lru_cache
from math import cos, pi, sin

import numpy as np

from streamproc.monitors.sketch import Floats

DAY_MS, WEEK_MS = 86_400_000, 604_800_000
_DAYS, _WEEKS, _CROSSED = 4, 3, 2
_SIZE = 1 + 2 * (_DAYS + _WEEKS) + 4 * _CROSSED**2
_CHANCE = 2.0
_TILTS = np.linspace(-3.0, 3.0, 61)


class Season:
    """Waves of several scores' means, by weighted least squares on buckets.

    Harmonics of the day and of the week, and products of the first: nights of weekends are not as
    those of other days. Where a distribution moves its shape seems to change, too: the square of a
    score is larger at noon because it is further from the middle. So of ``shapes`` scores, the
    first being the location, the others are taken to be what they are in the distribution that is
    tilted to the hour's location; waves are fitted to what is left.

    >>> season = Season(np.array([[0.0, 1.0]]), 0)
    >>> hours = np.arange(24 * 14)
    >>> sums = 60 * (0.5 + 0.2 * np.sin(hours * pi / 12))[:, None]
    >>> half, ns = np.array([0.5, 0.5]), np.full(len(hours), 60.0)
    >>> season.fit(hours * 3_600_000, ns, sums, half, 3_600_000)
    >>> [round(float(season.usual(hour * 3_600_000)[0][0]), 2) for hour in (0, 6, 18)]
    [0.5, 0.7, 0.3]
    """

    def __init__(self, scores: Floats, shapes: int) -> None:
        self._scores = scores
        self._shapes = shapes
        self._mean: Floats = np.zeros(len(scores))
        self._found: Floats = np.zeros((_SIZE, len(scores)))
        self._any = False
        self._flat: Floats = np.zeros(len(scores))
        self._tilted: Floats = np.zeros((len(_TILTS), shapes))
        self._slopes: Floats = np.zeros((len(_TILTS), shapes))

    def usual(self, start_ms: int) -> tuple[Floats, Floats]:
        """Return the usual mean of each score in a bucket that starts then, and its slope.

        The slope is by how much a score's mean goes with the first one's: a bucket whose location
        is off by chance, away from the middle, has another shape by the same chance.
        """
        if not self._any:
            return self._mean, self._flat
        off = waves(start_ms) @ self._found
        base, slopes = self._base(self._mean[:1] + off[:1])
        return base[0] + off, slopes[0]

    def fit(self, starts_ms: Floats, ns: Floats, sums: Floats, p: Floats, bucket_ms: int) -> None:
        """Fit those waves that there are days for; keep them where they explain enough.

        ``sums`` is bucket x score. Waves that say nothing take off the sum of squares as many
        variances as there are of them.
        """
        self._mean = self._scores @ p
        self._found[:] = 0.0
        self._any = False
        used = _used(float(starts_ms[-1] - starts_ms[0]) + bucket_ms, bucket_ms)
        if len(used) == 1:
            return
        self._tilt(p)
        variance = np.maximum((self._scores - self._mean[:, None]) ** 2 @ p, 1e-300)
        rows = np.stack([waves(int(start_ms))[used] for start_ms in starts_ms])
        weighted = rows * ns[:, None]
        gram = rows.T @ weighted + np.eye(len(used)) * max(float(ns.sum()), 1.0) * 1e-6

        def fitted(left: Floats) -> Floats:
            moments = rows.T @ left
            found = np.linalg.solve(gram, moments)
            explained = np.einsum("wf,wf->f", found, moments) / variance
            kept = explained > _CHANCE * len(used)
            shrunk = np.where(kept, 1 - len(used) / np.maximum(explained, 1e-300), 0.0)
            return np.asarray(found * shrunk, np.float64)

        location = fitted(sums - ns[:, None] * self._mean)[:, 0]
        base, slopes = self._base(self._mean[0] + rows @ location)
        chance = sums[:, 0] - ns * (self._mean[0] + rows @ location)
        left = sums - ns[:, None] * base
        left[:, 1:] -= (slopes * chance[:, None])[:, 1:]
        self._found[used] = fitted(left)
        self._any = bool(self._found.any())

    def _tilt(self, p: Floats) -> None:
        """Work out the scores' means in distributions that are tilted to other locations."""
        if self._shapes:
            powers = np.outer(_TILTS, self._scores[0])
            tilted = p * np.exp(powers - powers.max(axis=1, keepdims=True))
            tilted /= tilted.sum(axis=1, keepdims=True)
            self._tilted = tilted @ self._scores[: self._shapes].T
            steps = np.gradient(self._tilted[:, 0])
            self._slopes = np.gradient(self._tilted, axis=0) / np.maximum(steps, 1e-9)[:, None]

    def _base(self, locations: Floats) -> tuple[Floats, Floats]:
        """Return the means of scores at locations, before waves, and slopes: location x score."""
        base = np.tile(self._mean, (len(locations), 1))
        slopes = np.zeros_like(base)
        for shape in range(1, self._shapes):
            base[:, shape] = np.interp(locations, self._tilted[:, 0], self._tilted[:, shape])
            slopes[:, shape] = np.interp(locations, self._tilted[:, 0], self._slopes[:, shape])
        return base, slopes


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


def _used(span_ms: float, bucket_ms: int) -> list[int]:
    """Return the waves that buckets over such a span can tell apart."""
    used = [0]
    if span_ms >= 2 * DAY_MS and bucket_ms <= DAY_MS // 4:
        used += range(1, 1 + 2 * _DAYS)
    if span_ms >= WEEK_MS and bucket_ms <= DAY_MS:
        used += range(1 + 2 * _DAYS, 1 + 2 * (_DAYS + _WEEKS))
        if bucket_ms <= DAY_MS // 4:
            used += range(1 + 2 * (_DAYS + _WEEKS), _SIZE)
    return used
