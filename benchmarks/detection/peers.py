"""The detectors of others, each with the one setting that says how often it alarms.

All else is as it comes, so that none is told the size of the change beforehand. Those which are,
or whose windows were chosen by us, say so in their name, and `tuned` ones never count as the best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from river import drift

from benchmarks.detection import frouros_ports, river_ports, windows
from benchmarks.detection.compiled import Floats, Ints
from benchmarks.detection.kswin import kswin, p_values
from benchmarks.detection.streams import CATEGORIES, REFERENCE

MMD_REFERENCE, MMD_WINDOW = 1_000, 200
"""Fewer pairs than the others are given: a kernel is computed for each, at each event."""


@dataclass(frozen=True)
class Peer:
    """A detector and its threshold; ``repetitions`` of a delay, ``streams`` of an MTFA."""

    name: str
    package: str
    knob: str
    default: float | None
    bracket: tuple[float, float]
    sees: tuple[str, ...]
    run: Callable[[Any, float, int], Ints]
    repetitions: int = 400
    streams: int = 500
    tuned: bool = False
    settings: tuple[float, ...] = ()
    """If only these differ, of all in the bracket."""
    prepare: Callable[[Any], Any] | None = None
    """What doesn't hang on the threshold; ``run`` gets it instead of the stream."""

    def prepared(self, values: Any) -> Any:
        """Return the stream itself, or what was made of it."""
        return self.prepare(values) if self.prepare else values

    def alarms(self, prepared: Any, threshold: float, since: int) -> Ints:
        """Run it; see `measure.Detector`."""
        return self.run(prepared, threshold, since)


def adwin(values: Floats, delta: float, since: int) -> Ints:
    """River's ADWIN itself, which is fast."""
    make: Any = drift.ADWIN  # not typed
    detector = make(delta=delta)
    update, found = detector.update, []
    for at, value in enumerate(values.tolist()):
        update(value)
        if detector.drift_detected:
            found.append(at)
            if at >= since:
                break
    return np.array(found, np.int64)


def page_hinkley(values: Floats, threshold: float, since: int) -> Ints:
    """River's Page-Hinkley."""
    return river_ports.page_hinkley(values, threshold, 0.005, 1 - 0.0001, since)


def tuned_page_hinkley(values: Floats, threshold: float, since: int, delta: float) -> Ints:
    """River's Page-Hinkley for a change of twice ``delta``, forgetting nothing."""
    return river_ports.page_hinkley(values, threshold, delta, 1.0, since)


def short_kswin(values: Floats, alpha: float, since: int) -> Ints:
    """River's KSWIN as it comes, seeded."""
    return kswin(values, alpha, 100, 30, 0, since)


def long_kswin(values: Floats, alpha: float, since: int) -> Ints:
    """River's KSWIN with windows of 1,000 and 300."""
    return kswin(values, alpha, 1_000, 300, 0, since)


def cusum(values: Floats, threshold: float, since: int) -> Ints:
    """Frouros's CUSUM."""
    return frouros_ports.cusum(values, threshold, 0.005, since)


def cvm(statistics: Floats, threshold: float, since: int) -> Ints:
    """alibi-detect's online Cramér-von Mises, of its statistics."""
    return windows.crossings(statistics, np.array(windows.CVM_WINDOWS), threshold, since)


def mmd(distances: Floats, threshold: float, since: int) -> Ints:
    """Frouros's streaming MMD, of its distances."""
    return windows.crossings(distances, np.array([MMD_WINDOW]), threshold, since)


def distances(pairs: Floats) -> Floats:
    """Return frouros's streaming MMD, from fewer pairs of reference than others have."""
    skipped = REFERENCE - MMD_REFERENCE
    found = frouros_ports.mmd(pairs[skipped:], MMD_REFERENCE, MMD_WINDOW)
    return np.concatenate([np.full((skipped, 1), -np.inf), found])


def chi_square(codes: Floats, threshold: float, since: int) -> Ints:
    """Pearson's test on windows of 500."""
    return windows.chi_square(codes, threshold, CATEGORIES, REFERENCE, 500, since)


_BITS = ("error", "label")
_ANY = ("number", *_BITS)

PEERS: tuple[Peer, ...] = (
    Peer("ADWIN", "river", "delta", 0.002, (0.9, 1e-5), _ANY, adwin, streams=300),
    Peer("PageHinkley", "river", "threshold", 50.0, (1.0, 1e4), _ANY, page_hinkley),
    *(
        Peer(
            f"PageHinkley {delta}",
            "river",
            "threshold",
            None,
            (1.0, 1e4),
            ("number",),
            partial(tuned_page_hinkley, delta=delta),
            tuned=True,
        )
        for delta in (0.05, 0.125)
    ),
    Peer("HDDM_A", "river", "drift_confidence", 0.001, (0.5, 1e-7), _BITS, river_ports.hddm_a),
    Peer("HDDM_W", "river", "drift_confidence", 0.001, (0.5, 1e-7), _BITS, river_ports.hddm_w),
    Peer(
        "DDM", "river", "drift_threshold", 3.0, (1.0, 20.0), _BITS, river_ports.ddm, streams=1_500
    ),
    Peer("EDDM", "river", "beta", 0.9, (0.99, 0.2), _BITS, river_ports.eddm, streams=1_500),
    Peer("chi2 of 500", "own", "threshold", None, (5, 500), ("category",), chi_square),
    Peer("CUSUM", "frouros", "lambda_", 50.0, (1.0, 1e4), _ANY, cusum),
    Peer(
        *("GMA", "frouros", "lambda_", 1.0, (1e-3, 10.0)),
        *(_ANY, frouros_ports.geometric),
    ),
    Peer("RDDM", "frouros", "drift_level", 2.258, (1.0, 20.0), _BITS, frouros_ports.rddm),
    Peer("STEPD", "frouros", "alpha_d", 0.003, (0.1, 1e-12), _BITS, frouros_ports.stepd),
    Peer(
        *("CVM", "alibi-detect", "threshold", None),
        *((1.0, 60.0), ("number",), cvm),
        repetitions=200,
        streams=200,
        prepare=partial(windows.cvm, reference=REFERENCE),
    ),
    Peer(
        *("KSWIN", "river", "alpha", 0.005, (0.01, 1e-8), ("number",), short_kswin),
        streams=200,
        settings=p_values(30),
    ),
    Peer(
        *("KSWIN 1000/300", "river", "alpha", None, (0.01, 1e-8)),
        *(("number",), long_kswin),
        repetitions=200,
        streams=40,
        settings=p_values(300),
    ),
    Peer(
        *("MMD", "frouros", "threshold", None, (1e-4, 1.0)),
        *(("pair",), mmd),
        repetitions=200,
        streams=60,
        prepare=distances,
    ),
)
