"""An e-detector where several states are no change: evidence counts against all of them.

Each state that is no change has a recursion of its own, of the same components' likelihood ratios
to it. Of a component that counts which is the least of all states. So whichever state is true, or
close to, its own recursion keeps the mean time between false alarms, and the others can only make
alarms rarer. To hold each component against one state alone, such as the nearest, would not do:
where neither is near the truth, the one that is less wrong gathers evidence. Nor would different
components against different states: between two states one is too high and the other too low.
"""

from __future__ import annotations

from math import log

import numpy as np

from streamproc.monitors.bank import Bank
from streamproc.monitors.sketch import Floats


class CompositeDetector:
    """Tests one series against ``states`` that are no change; see `EDetector` for the others.

    >>> detector = CompositeDetector(np.array([1.0]), alarm_ms=1_000.0, states=2)
    >>> for start_ms in (0, 10, 20):
    ...     detector.update(start_ms, 10, np.array([[3.0], [-1.0]]))
    >>> detector.alarmed
    False
    """

    def __init__(self, weights: Floats, alarm_ms: float, states: int) -> None:
        self._threshold = log(alarm_ms)
        self._each = Bank(weights)
        self._each.grow(states)

    def restart(self) -> None:
        """Begin anew, as if nothing had been seen."""
        for state in range(len(self._each)):
            self._each.restart(state)

    @property
    def alarmed(self) -> bool:
        """Whether the evidence against all states is up to the threshold."""
        return bool(np.logaddexp.reduce(self._terms()) >= self._threshold)

    @property
    def since_ms(self) -> int:
        """Since when the best component has had evidence against each state."""
        return self._each.since_all_ms(int(np.argmax(self._terms())))

    def update(self, start_ms: int, span_ms: float, ratios: Floats) -> None:
        """Take in a bucket's log likelihood ratios, state x component."""
        self._each.update(start_ms, span_ms, ratios)

    def _terms(self) -> Floats:
        found: Floats = self._each.log_weights + self._each.log_m.min(axis=0)
        return found
