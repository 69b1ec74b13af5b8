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
163). So losses need no bound, and one wild bucket adds 1.5 nats at most. (Bets on losses cut to a
range, as in Waudby-Smith and Ramdas 2024, would favour one side where a rare yes is what a model
gains on.) With the recursion M <- (n + M) exp(...), alarms on models that are worth it are A
outcomes apart on average, where it alarms at M >= A (Shin, Ramdas and Rinaldo 2023, "E-detectors",
NEJSDS 2(2)). That s is estimated, from the buckets before, is the part that is not exact. Blocks of
buckets are looked at too, since losses come in spells; the largest counts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import exp, log, log1p, sqrt

import numpy as np

from streamproc.monitors.sums import Floats

BETS = (0.125, 0.25, 0.5, 1.0)
MARGIN = 0.01
"""A model takes off this part of a baseline's loss at least, or it isn't worth its upkeep."""

LEAST_BUCKETS = 24
"""Buckets before anything is said: from them comes how much losses vary."""

LOG_BACK = log(100)
"""What it takes to be over: odds of a hundred to one for each bet, the other way round."""

_MEMORY = 512
_MOST_BLOCK = 32
_LONG = 4
_UNSURE = 6.0


def evidence(z: float, bet: float) -> float:
    """Return the logarithm of the module's factor.

    >>> round(evidence(1.0, 0.5), 4)
    0.375
    """
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


@dataclass
class _Run:
    """One bet: the detector's sum as a logarithm, and what was seen since it began to grow."""

    bet: float
    log_sum: float = -1e300
    growth: float = 0.0
    since: Losses | None = None
    start_ms: int = 0

    def add(self, seen: Losses, z: float, start_ms: int) -> None:
        step = evidence(z, self.bet)
        self.log_sum = _log_add(self.log_sum, log(seen.n)) + step
        if self.growth <= 0.0 or self.since is None:
            self.growth, self.since, self.start_ms = 0.0, Losses(), start_ms
        self.growth += step
        self.since = self.since.plus(seen)


class WorthTest:
    """Tests a model against one baseline, bucket after bucket; see the module.

    ``log_alarm`` is the logarithm of A, how many outcomes false alarms are apart. ``open`` says
    that the model is not worth it; ``found`` is what was seen since ``first_seen_ms``.
    """

    def __init__(self, log_alarm: float, margin: float = MARGIN) -> None:
        self.open = False
        self.found = Losses()
        self.first_seen_ms = 0
        self.statistic = 0.0
        self.log_alarm = log_alarm
        self._margin = margin
        self._spread = 0.0
        self._past: deque[tuple[int, float]] = deque(maxlen=_MEMORY)
        self._runs = [_Run(bet) for bet in BETS]
        self._back = [0.0 for _ in BETS]

    def update(self, seen: Losses, start_ms: int) -> bool:
        """Take in a bucket; return whether it opened or ended now. Without outcomes it is none."""
        if seen.n <= 0:
            return False
        excess = seen.model - (1 - self._margin) * seen.baseline
        if not self.open and len(self._past) >= LEAST_BUCKETS:
            self._spread = self._measured()  # while it is open, that of before is the measure
        self._past.append((seen.n, excess))
        if not self._spread > 0.0:
            return False
        z = excess / (self._spread * sqrt(seen.n))
        return self._follow(seen, z) if self.open else self._test(seen, z, start_ms)

    def _test(self, seen: Losses, z: float, start_ms: int) -> bool:
        for run in self._runs:
            run.add(seen, z, start_ms)
        top = max(run.log_sum for run in self._runs)
        total = sum(exp(run.log_sum - top) for run in self._runs)
        self.statistic = top + log(total / len(self._runs))
        if self.statistic < self.log_alarm:
            return False
        best = max(self._runs, key=lambda run: run.log_sum)
        self.open, self.found, self.first_seen_ms = True, best.since or seen, best.start_ms
        self._back = [0.0 for _ in BETS]
        return True

    def _follow(self, seen: Losses, z: float) -> bool:
        """While it is open: the same test with the hypotheses exchanged, begun anew below 1."""
        self._back = [
            max(0.0, back + evidence(-z, bet)) for back, bet in zip(self._back, BETS, strict=True)
        ]
        if max(self._back) >= LOG_BACK:
            self.open = False
            self._runs = [_Run(bet) for bet in BETS]
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


def _log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high + log1p(exp(low - high))
