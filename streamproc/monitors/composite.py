"""An e-detector where several states are no change: evidence counts against all of them.

Each state that is no change has a recursion of its own, of the same components' likelihood ratios
to it. An alarm takes all of them at once: whichever state is true, its own recursion keeps the mean
time between false alarms, and the others can only make alarms rarer. To hold each component against
one state alone, such as the nearest, would not do: where neither is near the truth, the one that is
less wrong gathers evidence.
"""

from __future__ import annotations

from streamproc.monitors.edetector import EDetector
from streamproc.monitors.sketch import Floats


class CompositeDetector:
    """Tests one series against ``states`` that are no change; see `EDetector` for the others.

    >>> import numpy as np
    >>> detector = CompositeDetector(np.array([1.0]), alarm_ms=1_000.0, states=2)
    >>> for start_ms in (0, 10, 20):
    ...     detector.update(start_ms, 10, np.array([[3.0], [-1.0]]))
    >>> detector.alarmed
    False
    """

    def __init__(self, weights: Floats, alarm_ms: float, states: int) -> None:
        self._each = [EDetector(weights, alarm_ms) for _ in range(states)]

    def restart(self) -> None:
        """Begin anew, as if nothing had been seen."""
        for each in self._each:
            each.restart()

    @property
    def alarmed(self) -> bool:
        """Whether the evidence against each state is up to the threshold."""
        return all(each.alarmed for each in self._each)

    @property
    def since_ms(self) -> int:
        """Since when there has been evidence against each state, the one before included."""
        return max(each.since_ms for each in self._each)

    def update(self, start_ms: int, span_ms: float, ratios: Floats) -> None:
        """Take in a bucket's log likelihood ratios, state x component."""
        for each, of_state in zip(self._each, ratios, strict=True):
            each.update(start_ms, span_ms, of_state)
