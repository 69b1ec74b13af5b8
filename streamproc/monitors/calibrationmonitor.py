"""What is told of calibration: do scores mean what they did, and in which way not."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

import numpy as np

from streamproc.monitors.calibration import CalibrationTest, tolerance_of
from streamproc.monitors.finding import Finding, alert_key, when
from streamproc.monitors.growing import Span
from streamproc.monitors.outcomes import OVERALL, Row
from streamproc.monitors.scoregroups import ScoreRange
from streamproc.monitors.scores import BINS, PROBABILITY_STEPS

CRITICAL = 0.7
"""From a shift (in the large, or of some scores) or a logarithm of a slope of so much on it is."""


class CalibrationMonitor:
    """Watches calibration overall."""

    def __init__(
        self, bucket_ms: int, alarm_ms: float, learns: bool, tolerance: float | None = None
    ) -> None:
        self.key = alert_key("calibration", "score", None)
        self._tolerance = tolerance_of(tolerance, learns)
        self._test = CalibrationTest(bucket_ms, alarm_ms, self._tolerance, Span(settles=learns))

    def update(self, start_ms: int, rows: dict[str, Row]) -> list[Finding]:
        """Take in a bucket's rows; see `streamproc.monitors.outcomes`."""
        row = rows.get(OVERALL)
        if row is None:
            return []
        cells = np.zeros((BINS, 3))
        for cell, counts in row["bins"].items():
            cells[int(cell)] = counts
        cells[:, 2] /= PROBABILITY_STEPS
        what = self._test.update(start_ms, cells)
        if what is None:
            return []
        return [self._finding(what, row["delay_ms"] // max(row["n"], 1))]

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual for what a finding's key is about; return whether it is here."""
        if key == self.key:
            self._test.relearn()
        return key == self.key

    def _finding(self, what: str, delay_ms: int) -> Finding:
        test = self._test
        n, yes, said = (float(each) for each in test.found.sum(axis=0))
        expected, observed, samples = said / max(n, 1.0), yes / max(n, 1.0), n
        first_ms = test.since_ms - delay_ms
        ranges, (shift, slope) = test.ranges, test.pair
        words, effect = _words(shift, slope), max(abs(shift), abs(log(slope)))
        if ranges:
            worst = max(ranges, key=lambda each: abs(each.off))
            expected, observed, samples = worst.expected, worst.observed, worst.n
            words, effect = _words_of_ranges(ranges), abs(worst.off)
        error = test.error(test.found)
        if what == "over":
            summary = f"Scores mean what they did again after a change since {when(first_ms)}."
        else:
            summary = (
                f"Scores no longer mean what they did since {when(first_ms)}: "
                f"{words}; the calibration error is {error.value:.2%} "
                f"({error.low:.2%} to {error.high:.2%}) over {n:,.0f} outcomes; "
                "look at what the model was last given to learn from."
            )
        return Finding(
            kind="calibration",
            subject="score",
            slice=None,
            ongoing=what != "over",
            severity="critical" if effect >= CRITICAL else "warning",
            effect=effect,
            statistic=round(effect, 6),
            threshold=round(self._tolerance.shift, 6),
            expected=expected,
            observed=observed,
            samples=int(max(samples, 1.0)),
            first_seen_ms=first_ms,
            summary=summary,
        )


def _words(shift: float, slope: float) -> str:
    """Say what changed.

    >>> _words(0.3, 1.0), _words(0.0, 0.7)
    ('too low in the large, odds by a factor of 1.35', 'the slope is 0.7: too bold')
    """
    told = []
    if shift:
        side = "too low" if shift > 0 else "too high"
        told.append(f"{side} in the large, odds by a factor of {exp(abs(shift)):.2f}")
    if slope != 1.0:
        told.append(f"the slope is {slope:g}: too {'bold' if slope < 1 else 'timid'}")
    return ", and ".join(told)


def _words_of_ranges(ranges: Sequence[ScoreRange]) -> str:
    """Say which scores are off, though not all.

    >>> _words_of_ranges([ScoreRange(0.1807, 0.3208, 900.0, 0.2, 0.3, 0.54)])
    'between 0.181 and 0.321 too low, 30.00% observed against 20.00% expected over 900'
    """
    return ", ".join(
        f"between {each.low:.3g} and {each.high:.3g} too {'low' if each.off > 0 else 'high'}, "
        f"{each.observed:.2%} observed against {each.expected:.2%} expected over {each.n:,.0f}"
        for each in ranges
    )
