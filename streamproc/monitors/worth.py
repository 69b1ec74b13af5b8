"""Is the model worth its upkeep: a test that its loss is below a baseline's, at any time.

Model and baseline are judged on the same outcomes. In a bucket of n outcomes the model's losses sum
up to L and the baseline's to B. A model that is worth its upkeep takes off a part m, the margin, of
the baseline's loss at least; then D = L - (1 - m) B has an expectation of 0 at most, and with it
z = D / (s sqrt(n)), s being how much D varies. For any bet l > 0, and any distribution of z with a
mean of 0 at most and a variance of 1,

    exp(l z - l^2 z^2 / 6 - l^2 / 3)

has an expectation of 1 at most, since exp(x - x^2 / 6) <= 1 + x + x^2 / 3 for all x (Delyon 2009,
"Exponential inequalities for sums of weakly dependent variables", Electronic J. Probability 14;
Wang and Ramdas 2023, "Catoni-style confidence sequences for heavy-tailed mean estimation", SPA
163). So losses need no bound, and one wild bucket adds 1.5 nats at most. From x = 3 on the left
side falls while the right one grows, so it may as well stay where it is: more is never less. (Bets
on losses cut to a range, as in Waudby-Smith and Ramdas 2024, would favour one side where a rare yes
is what a model gains on.) They go through the recursion of `streamproc.monitors.edetector`, so that
alarms on models that are worth it are A apart on average. That s is estimated, from the buckets
before, is the part that is not exact. Blocks of buckets are looked at too, since losses come in
spells; the largest counts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from streamproc.monitors.edetector import EDetector
from streamproc.monitors.sums import Floats

BETS = (0.125, 0.25, 0.5, 1.0)
MARGIN = 0.01
"""A model takes off this part of a baseline's loss at least, or it isn't worth its upkeep."""

LEAST_BUCKETS = 24
"""Buckets before anything is said: from them comes how much losses vary."""

LOG_BACK = log(100)
"""What it takes to be over: odds of a hundred to one for each bet, the other way round."""

_MOST = 3.0
_MEMORY = 512
_MOST_BLOCK = 32
_MEASURED_EVERY = 8
_LONG = 4
_UNSURE = 6.0

CAREFUL = sqrt(1 + _UNSURE * _MOST_BLOCK / _MEMORY)
"""So many times as far as they do losses are taken to vary, once there is all that is kept."""


def evidence(z: float, bet: float) -> float:
    """Return the logarithm of the module's factor.

    >>> round(evidence(1.0, 0.5), 4), evidence(6.0, 0.5) == evidence(600.0, 0.5)
    (0.375, True)
    """
    z = min(z, _MOST / bet)
    return bet * z - bet * bet * (z * z + 2) / 6


@dataclass
class Losses:
    """Outcomes, and the sums of the losses of the model and of the baseline."""

    n: int = 0
    model: float = 0.0
    baseline: float = 0.0

    def plus(self, more: Losses) -> Losses:
        """Return the sums."""
        return Losses(self.n + more.n, self.model + more.model, self.baseline + more.baseline)


class WorthTest:
    """Tests a model against one baseline, bucket after bucket; see the module.

    ``alarm_ms`` is A, the mean time between false alarms. ``open`` says that the model is not
    worth it; ``found`` is what was seen since ``first_seen_ms``. There is nothing usual to learn
    anew: what is ``accepted`` as normal is not to be told until it was over once.
    """

    def __init__(self, alarm_ms: float, margin: float = MARGIN) -> None:
        self.open = False
        self.accepted = False
        self.found = Losses()
        self.first_seen_ms = 0
        self.detector = EDetector(np.full(len(BETS), 1 / len(BETS)), alarm_ms)
        self._margin = margin
        self._spread = 0.0
        self._buckets = 0
        self._past: deque[tuple[int, float]] = deque(maxlen=_MEMORY)
        self._recent: deque[tuple[int, int, Losses]] = deque(maxlen=_MEMORY)
        self._back = [0.0 for _ in BETS]

    def accept(self) -> None:
        """Take what is open as normal; where nothing is, begin anew."""
        self.accepted = self.open
        if not self.open:
            self.detector.restart()

    def update(self, seen: Losses, start_ms: int, span_ms: int, delay_ms: int = 0) -> bool:
        """Take in a bucket; return whether it opened or ended now. Without outcomes it is none.

        ``delay_ms`` is how long before the bucket the events were that it is about.
        """
        if seen.n <= 0:
            return False
        excess = seen.model - (1 - self._margin) * seen.baseline
        self._buckets += 1
        due = self._buckets > LEAST_BUCKETS and self._buckets % _MEASURED_EVERY == 1
        if due and not self.open:
            self._spread = self._measured()  # while it is open, that of before is the measure
        self._past.append((seen.n, excess))
        self._recent.append((start_ms, delay_ms, seen))
        if not self._spread > 0.0:
            return False
        z = excess / (self._spread * sqrt(seen.n))
        return self._follow(seen, z) if self.open else self._test(z, start_ms, span_ms)

    def _test(self, z: float, start_ms: int, span_ms: int) -> bool:
        ratios = np.array([evidence(z, bet) for bet in BETS])
        self.detector.update(start_ms, span_ms, ratios)
        if not self.detector.alarmed:
            return False
        self.open, self.accepted, self.found = True, False, Losses()
        since = [each for each in self._recent if each[0] >= self.detector.since_ms]
        self.first_seen_ms = since[0][0] - since[0][1]
        for _, _, seen in since:
            self.found = self.found.plus(seen)
        self._back = [0.0 for _ in BETS]
        return True

    def _follow(self, seen: Losses, z: float) -> bool:
        """While it is open: the same test with the hypotheses exchanged, begun anew below 1."""
        self._back = [
            max(0.0, back + evidence(-z, bet)) for back, bet in zip(self._back, BETS, strict=True)
        ]
        if max(self._back) >= LOG_BACK:
            self.open = False
            self.detector.restart()
            return True
        if not any(self._back):
            self.found = self.found.plus(seen)
        return False

    def _measured(self) -> float:
        """Return how much the excess of an outcome varies, from that of buckets and of blocks.

        From differences between one and the next, so that a change of the mean, which is what is
        looked for, doesn't hide itself. Of long blocks, which are few, the largest difference is
        left out for the same reason, and what that takes off on average is put back.
        """
        past = np.array(self._past)
        worst, length = 0.0, 1
        while length <= min(_MOST_BLOCK, len(past) // 8):
            n, excess = _blocks(past[:, 0], length), _blocks(past[:, 1], length)
            squares = np.diff(excess / n) ** 2 / (1 / n[1:] + 1 / n[:-1])
            count = len(squares)
            mean = float(squares.mean())
            if length >= _LONG:
                left = 1 - (2 * log(count) + 0.3) / count
                mean = (mean - float(squares.max()) / count) / left
            worst = max(worst, mean * (1 + _UNSURE * length / len(past)))
            length *= 2
        return sqrt(worst)


def _blocks(values: Floats, length: int) -> Floats:
    """Return the sums of blocks, the newest ending with the last bucket."""
    kept = values[len(values) % length :]
    sums: Floats = kept.reshape(-1, length).sum(axis=1)
    return sums
