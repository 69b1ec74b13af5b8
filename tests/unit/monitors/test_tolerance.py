"""The tolerance of monitors of outcomes: what is within it is never told, what is double is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamproc.errors import DefinitionError
from streamproc.monitors import Calibration, ConceptDrift, LabelShift, PredictionBias
from streamproc.monitors.allotment import allotment
from streamproc.monitors.hopes import Traffic
from streamproc.monitors.outcomejudge import outcome_monitor
from streamproc.monitors.outcomes import ERRORS, LOSSES, OVERALL, Row, combined
from streamproc.monitors.scores import PROBABILITY_STEPS, bins_of
from streamproc.monitors.sketch import Sketch
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts

BUCKET_MS = 6 * HOUR_MS
N, RATE = 2_000, 0.1
A, B = '{"country":"A"}', '{"country":"B"}'


def scored(rng: np.random.Generator, odds: float) -> Row:
    """Return outcomes whose odds are so many times what their scores say."""
    logit = rng.normal(-2.0, 1.0, N)
    p = 1 / (1 + np.exp(-logit))
    yes = rng.random(N) < 1 / (1 + np.exp(-logit - np.log(odds)))
    steps = np.rint(p * PROBABILITY_STEPS)
    sums = [np.bincount(bins_of(p), each).astype(np.int64) for each in (np.ones(N), yes, steps)]
    table = np.stack(sums, axis=1)
    bins = {str(cell): table[cell].tolist() for cell in np.flatnonzero(table[:, 0])}
    return {"n": N, "delay_ms": 0, "bins": bins}


def in_one_slice(rng: np.random.Generator, odds: float) -> dict[str, Row]:
    """Return two slices, in one of which odds are off."""
    parts = [scored(rng, odds), scored(rng, 1.0)]
    return {OVERALL: combined(parts), A: parts[0], B: parts[1]}


def overall(rng: np.random.Generator, odds: float) -> dict[str, Row]:
    """Return outcomes without slices, whose odds are off."""
    return {OVERALL: scored(rng, odds)}


def rates(rng: np.random.Generator, times: float) -> dict[str, Row]:
    """Return how many were yes, and wrong: so many times the usual rate."""
    row = {"n": N, "delay_ms": 0, "yes": int(rng.binomial(N, RATE * times))}
    return {OVERALL: row, ERRORS: row}


def numbers(rng: np.random.Generator, off: float) -> dict[str, Row]:
    """Return numbers of a regression whose mean is off by so many standard deviations."""
    row = {"n": N, "delay_ms": 0, "values": Sketch.of(rng.normal(off, 1.0, N)).packed()}
    return {OVERALL: row, LOSSES: row}


def is_told(
    monitor: Any, make: Any, usual: float, off: float, kind: str = "binary", days: int = 120
) -> bool:
    """Return whether anything is, where all is as usual for 20 days and off from then on."""
    named = {OVERALL, A, B} if isinstance(monitor, PredictionBias) else {OVERALL, ERRORS, LOSSES}
    tests = outcome_monitor(monitor, Facts(learns=False, kind=kind), 100.0 * DAY_MS)
    rng = np.random.default_rng(3)
    for at in range(days * 4):
        rows = make(rng, off if at >= 80 else usual)
        if tests.update(at * BUCKET_MS, {name: row for name, row in rows.items() if name in named}):
            return True
    return False


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (PredictionBias, overall),
        (PredictionBias, in_one_slice),
        (Calibration, overall),
        (LabelShift, rates),
        (ConceptDrift, rates),
    ],
)
def test_of_classes_it_is_a_part(kind: Any, make: Any) -> None:
    """Of odds, or of a share: 1.4 times is within 0.5 and is never told, 2 times is told.

    So is 1.4 times without it, or the test would show nothing.
    """
    monitor = kind(bucket="6h", tolerance=0.5)
    assert not is_told(monitor, make, 1.0, 1.4)
    assert not is_told(monitor, make, 1.0, 1 / 1.4)
    assert is_told(monitor, make, 1.0, 2.0)
    assert is_told(kind(bucket="6h"), make, 1.0, 1.4)


@pytest.mark.parametrize("kind", [PredictionBias, LabelShift, ConceptDrift])
def test_of_a_regression_it_is_in_standard_deviations(kind: Any) -> None:
    """A mean that moves by 0.25 is within 0.3 and is never told, one by 0.6 is told."""
    monitor = kind(bucket="6h", tolerance=0.3)
    assert not is_told(monitor, numbers, 0.0, 0.25, "regression")
    assert not is_told(monitor, numbers, 0.0, -0.25, "regression")
    assert is_told(monitor, numbers, 0.0, 0.6, "regression")
    assert is_told(kind(bucket="6h"), numbers, 0.0, 0.25, "regression")


@pytest.mark.parametrize("kind", [PredictionBias, LabelShift, ConceptDrift])
def test_what_is_promised_keeps_to_it(kind: Any) -> None:
    """What is within the tolerance is promised for never, and else as without one."""

    def days(monitor: Any) -> list[float]:
        facts = Facts(monitors=[monitor], learns=False)
        (part,) = allotment(facts, Traffic(1e4, 1e4, RATE))
        return [hope.days for hope in part.hopes]

    promised, without = days(kind(tolerance=0.6)), days(kind())
    assert promised[0] == float("inf")
    assert all(one <= other for one, other in zip(without, promised, strict=True))
    assert promised[-1] < float("inf")


@pytest.mark.parametrize("kind", [PredictionBias, Calibration, LabelShift, ConceptDrift])
@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), 100.0, True, "5%"])
def test_what_is_no_tolerance_is_refused(kind: Any, tolerance: Any) -> None:
    """By name, with what it is a part of."""
    with pytest.raises(DefinitionError, match=f"{kind.__name__}: tolerance .* must be a part of"):
        kind(tolerance=tolerance)
