"""The recursion under every test: a mixture Shiryaev-Roberts e-detector.

Component j multiplies likelihood ratios of a change to those before it. In each bucket

    M_j <- (t + M_j) * LR_j,        alarm when  sum w_j M_j >= A

with t the bucket's length and LR_j its likelihood ratio. If nothing has changed, each LR_j has an
expectation of at most 1 given the past, so that sum w_j M_j less the time gone by is a
supermartingale, and the mean time to a false alarm is at least A, whatever the distribution of the
values and whatever the traffic (Shin, Ramdas and Rinaldo 2022, "E-detectors: a nonparametric
framework for sequential change detection", arXiv 2203.03532). So A is in time: a share of "one
false alarm in 30 days" is a number of days. Everything is in logarithms.
"""

from __future__ import annotations

from math import inf, log

import numpy as np

from streamproc.monitors.sketch import Floats, Ints


class EDetector:
    """Tests one series; ``weights`` of its components add up to 1, ``alarm_ms`` is A.

    ``evidence`` is the logarithm of sum w_j M_j; -inf before the first bucket.

    >>> detector = EDetector(np.array([0.5, 0.5]), alarm_ms=1_000.0)
    >>> for start_ms in (0, 10, 20):
    ...     _ = detector.update(start_ms, 10, np.array([2.0, -1.0]))
    >>> detector.alarmed, detector.since_ms
    (True, 0)
    """

    def __init__(self, weights: Floats, alarm_ms: float) -> None:
        self.alarm_ms = alarm_ms
        self.log_weights: Floats = np.log(weights)
        self.restart()

    def restart(self) -> None:
        """Begin anew, as if nothing had been seen."""
        size = len(self.log_weights)
        self.evidence = -inf
        self.log_m: Floats = np.full(size, -np.inf)
        self._run: Floats = np.zeros(size)
        self._start_ms: Ints = np.zeros(size, np.int64)

    @property
    def threshold(self) -> float:
        """The logarithm of A."""
        return log(self.alarm_ms)

    @property
    def alarmed(self) -> bool:
        """Whether the evidence is up to the threshold."""
        return self.evidence >= self.threshold

    @property
    def best(self) -> int:
        """The component with the most evidence."""
        return int(np.argmax(self.log_weights + self.log_m))

    @property
    def since_ms(self) -> int:
        """Where what the best component sees began: since then its ratios have been above 1.

        Page's estimate of the change point: the last time its cumulated ratio was least.
        """
        return int(self._start_ms[self.best])

    def update(self, start_ms: int, span_ms: float, ratios: Floats) -> float:
        """Take in a bucket's log likelihood ratios, one a component; return the evidence."""
        fresh = self._run <= 0.0
        self._start_ms[fresh] = start_ms
        self._run[fresh] = 0.0
        self._run += ratios
        self.log_m = np.logaddexp(log(span_ms), self.log_m) + ratios
        terms = self.log_weights + self.log_m
        top = float(terms.max())
        self.evidence = top if top == -inf else top + log(float(np.exp(terms - top).sum()))
        return self.evidence
