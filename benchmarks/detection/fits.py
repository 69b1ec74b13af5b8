"""Peers' thresholds: ``make detect-full`` fits them, `fitted.json` keeps them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.detection.measure import (
    TARGET,
    Detector,
    Rate,
    false_alarms,
    fitted,
    fitted_among,
)
from benchmarks.detection.peers import PEERS, Peer
from benchmarks.detection.streams import SEED, STATIONARY, Purpose, stationary

FITTED = Path(__file__).with_name("fitted.json")
EQUAL = (0.75, 4 / 3)
"""A peer whose MTFA is this share of the target is compared with; one that can't be is shown only.

KSWIN's p-values are a few steps, so it can't be set to any MTFA.
"""


def prepared(detector: Detector, stream: str, purpose: Purpose, count: int) -> list[Any]:
    """Return what a detector makes of so many stationary streams, for each threshold to use."""
    return [detector.prepared(stationary(stream, purpose, it)) for it in range(count)]


def rate(detector: Detector, threshold: float, stream: str, count: int) -> Rate:
    """Measure how often a detector is wrong, on other streams than it was fitted to."""
    streams = prepared(detector, stream, Purpose.CHECK, count)
    return false_alarms(detector, threshold, streams, STATIONARY)


def fit(detector: Detector, stream: str, count: int, settings: Sequence[float] = ()) -> float:
    """Return the threshold of an MTFA of `TARGET`, one of ``settings`` if there are some."""
    streams = prepared(detector, stream, Purpose.FIT, count)

    def mtfa_of(threshold: float) -> float:
        return _some(false_alarms(detector, threshold, streams, STATIONARY))

    if settings:
        often, seldom = detector.bracket
        return fitted_among(mtfa_of, [it for it in settings if often >= it >= seldom])
    return fitted(mtfa_of, detector.bracket)


def _some(measured: Rate) -> float:
    """Return the MTFA, half an alarm standing for none, so that it can be interpolated."""
    return min(measured.mtfa, len(measured.counts) * measured.events * 2.0)


def fitted_peer(peer: Peer, stream: str) -> dict[str, Any]:
    """Fit a peer; return its threshold, the MTFA that has, and the MTFA it has as it comes."""
    threshold = fit(peer, stream, peer.streams, peer.settings)
    reached = rate(peer, threshold, stream, peer.streams)
    usual = None if peer.default is None else rate(peer, peer.default, stream, peer.streams)
    return {
        "peer": peer.name,
        "stream": stream,
        "knob": peer.knob,
        "threshold": threshold,
        "mtfa_events": round(reached.mtfa),
        "mtfa_relative_se": round(reached.relative_se, 3),
        "events": len(reached.counts) * STATIONARY,
        "default": peer.default,
        "default_mtfa_events": round(usual.mtfa) if usual and math.isfinite(usual.mtfa) else None,
        "default_alarms": sum(usual.counts) if usual else None,
    }


def tasks() -> list[tuple[Peer, str]]:
    """Return each peer with each kind of stream it is fitted to."""
    return [(peer, stream) for peer in PEERS for stream in peer.sees]


def written(fits: list[dict[str, Any]], versions: dict[str, str], path: Path = FITTED) -> None:
    """Keep what was fitted, in the order of `tasks`."""
    order = [(peer.name, stream) for peer, stream in tasks()]
    fits = sorted(fits, key=lambda it: order.index((it["peer"], it["stream"])))
    both = {"river": version("river"), "numpy": version("numpy"), **versions}
    kept = {"target_mtfa_events": TARGET, "seed": SEED, "versions": both, "fits": fits}
    path.write_text(json.dumps(kept, indent=2) + "\n")


def read(path: Path = FITTED) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what was fitted by name of peer and kind of stream."""
    return {(it["peer"], it["stream"]): it for it in json.loads(path.read_text())["fits"]}
