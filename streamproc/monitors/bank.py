"""Many e-detectors side by side: one recursion over rows, see `streamproc.monitors.edetector`."""

from __future__ import annotations

from math import log

import numpy as np

from streamproc.monitors.sketch import Floats, Ints


class Bank:
    """E-detectors of the same ``weights``, which add up to 1; one a row, and rows are added.

    >>> bank = Bank(np.array([0.5, 0.5]))
    >>> bank.grow(2)
    >>> for start_ms in (0, 10, 20):
    ...     bank.update(start_ms, 10, np.array([[2.0, -1.0], [0.0, 0.0]]))
    >>> bank.evidence().round(2).tolist(), bank.since_ms(0)
    ([7.75, 3.4], 0)
    """

    def __init__(self, weights: Floats) -> None:
        self.log_weights: Floats = np.log(weights)
        size = len(weights)
        self.log_m: Floats = np.full((0, size), -np.inf)
        self._run: Floats = np.zeros((0, size))
        self._start_ms: Ints = np.zeros((0, size), np.int64)

    def __len__(self) -> int:
        return len(self.log_m)

    def grow(self, rows: int) -> None:
        """Add rows that have seen nothing, up to so many in all."""
        if rows <= len(self):
            return
        more = (rows - len(self), self.log_m.shape[1])
        self.log_m = np.concatenate((self.log_m, np.full(more, -np.inf)))
        self._run = np.concatenate((self._run, np.zeros(more)))
        self._start_ms = np.concatenate((self._start_ms, np.zeros(more, np.int64)))

    def restart(self, row: int) -> None:
        """Begin a row anew."""
        self.log_m[row] = -np.inf
        self._run[row] = 0.0

    def update(self, start_ms: int, span_ms: float, ratios: Floats) -> None:
        """Take in a bucket's log likelihood ratios, row x component."""
        fresh = self._run <= 0.0
        self._start_ms[fresh] = start_ms
        self._run[fresh] = 0.0
        self._run += ratios
        self.log_m = np.logaddexp(log(span_ms), self.log_m) + ratios

    def evidence(self, of: slice = slice(None)) -> Floats:
        """Return by row the logarithm of sum w_j M_j, over all components or some."""
        terms = self.log_weights[of] + self.log_m[:, of]
        top = terms.max(axis=1)
        known = np.where(np.isfinite(top), top, 0.0)
        total: Floats = known + np.log(np.exp(terms - known[:, None]).sum(axis=1).clip(1e-300))
        return np.where(np.isfinite(top), total, -np.inf)

    def best(self, row: int, of: slice = slice(None)) -> int:
        """Return the component, of all or of some, with the most evidence."""
        terms = self.log_weights[of] + self.log_m[row, of]
        return int(np.argmax(terms)) + (of.start or 0)

    def since_ms(self, row: int, of: slice = slice(None)) -> int:
        """Return where what the best component sees began (Page's estimate)."""
        return int(self._start_ms[row, self.best(row, of)])

    def since_all_ms(self, component: int) -> int:
        """Return where what a component sees in all rows had begun in each."""
        return int(self._start_ms[:, component].max())
