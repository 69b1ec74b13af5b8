"""Runs the detectors themselves on given streams, so that the ports can be held against them.

River's run here; frouros and alibi-detect want an older numpy than River does, so this file is run
for them by the Python of `.venv-detect`, which `make detect` installs. It imports nothing of the
project's, therefore.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-detect" / "bin" / "python"
REFERENCE = 2_000
"""Of the test streams, how many events the detectors that need a reference are given."""


def _river(name: str, **settings: Any) -> Callable[[Any], list[int]]:
    def alarms(values: Any) -> list[int]:
        module = importlib.import_module(
            "river.drift" if name in ("PageHinkley", "KSWIN") else "river.drift.binary"
        )
        detector = getattr(module, name)(**settings)
        found = []
        for at, value in enumerate(values.tolist()):
            detector.update(value)
            if detector.drift_detected:
                found.append(at)
        return found

    return alarms


def _frouros(name: str, **settings: Any) -> Callable[[Any], list[int]]:
    def alarms(values: Any) -> list[int]:
        module = importlib.import_module("frouros.detectors.concept_drift")
        detector = getattr(module, name)(config=getattr(module, f"{name}Config")(**settings))
        found = []
        for at, value in enumerate(values.tolist()):
            detector.update(value=value)
            if detector.drift:
                found.append(at)
                if name != "RDDM":  # which begins anew by itself
                    detector.reset()
        return found

    return alarms


def _mmd(threshold: float, window: int) -> Callable[[Any], list[int]]:
    def alarms(pairs: Any) -> list[int]:
        module = importlib.import_module("frouros.detectors.data_drift")
        detector = module.MMDStreaming(window_size=window)
        detector.fit(X=pairs[:REFERENCE])
        found = []
        for at in range(REFERENCE, len(pairs)):
            result, _ = detector.update(value=pairs[at])
            if result is not None and result.distance > threshold:
                found.append(at)
                detector.X_queue.clear()
                detector.num_instances = 0
        return found

    return alarms


def _cvm(threshold: float, windows: Sequence[int]) -> Callable[[Any], list[int]]:
    def alarms(values: Any) -> list[int]:
        module = importlib.import_module("alibi_detect.cd")

        def constant(detector: Any) -> None:
            detector.thresholds = np.full((1, 1), threshold)

        # Instead of simulating thousands of streams; the statistic is as it comes.
        named = type("Cvm", (module.CVMDriftOnline,), {"_configure_thresholds": constant})
        detector = named(values[:REFERENCE, None], 100, list(windows), verbose=False)
        found = []
        for at in range(REFERENCE, len(values)):
            if detector.predict(values[at : at + 1])["data"]["is_drift"]:
                found.append(at)
                detector.reset_state()
        return found

    return alarms


ORIGINALS: dict[str, tuple[str, str, Callable[[Any], list[int]]]] = {
    # Name -> package, test stream, and the detector, set so that it alarms a few times.
    "PageHinkley": ("river", "values", _river("PageHinkley")),
    "PageHinkley, delta 0.05": (
        "river",
        "values",
        _river("PageHinkley", threshold=20, delta=0.05, alpha=1.0),
    ),
    "KSWIN": ("river", "values", _river("KSWIN", alpha=0.001, seed=7)),
    "KSWIN, windows of 1000": (
        "river",
        "values",
        _river("KSWIN", alpha=0.01, window_size=1000, stat_size=300, seed=7),
    ),
    "DDM": ("river", "bits", _river("DDM", drift_threshold=2.0)),
    "EDDM": ("river", "bits", _river("EDDM", beta=0.9)),
    "HDDM_A": ("river", "bits", _river("HDDMA", drift_confidence=0.01)),
    "HDDM_W": ("river", "bits", _river("HDDMW", drift_confidence=0.01)),
    "CUSUM": ("frouros", "values", _frouros("CUSUM")),
    "GeometricMovingAverage": (
        "frouros",
        "values",
        _frouros("GeometricMovingAverage", lambda_=0.25),
    ),
    "RDDM": ("frouros", "bits", _frouros("RDDM", drift_level=2.258)),
    "STEPD": ("frouros", "bits", _frouros("STEPD")),
    "MMDStreaming": ("frouros", "pairs", _mmd(0.02, 200)),
    "CVMDriftOnline": ("alibi-detect", "values", _cvm(4.0, (25, 100, 400))),
}


def sample_streams() -> dict[str, Any]:
    """Return a stream of each kind that changes some times; always the same."""
    rng = np.random.default_rng(20_260_801)
    values = rng.normal(size=(7, 1_000)) + np.array([0, 0, 0.3, 0, 1, -1, 0.1])[:, None]
    bits = rng.random((8, 2_500)) < np.array([0.1, 0.1, 0.15, 0.1, 0.3, 0.1, 0.11, 0.5])[:, None]
    pairs = rng.normal(size=(4_000, 2))
    pairs[3_000:, 1] = 0.8 * pairs[3_000:, 0] + 0.6 * pairs[3_000:, 1]
    return {"values": values.ravel(), "bits": bits.ravel().astype(np.float64), "pairs": pairs}


def alarms_of(packages: Sequence[str], streams: dict[str, Any]) -> dict[str, list[int]]:
    """Run the detectors of some packages here; return the indices of the alarms of each."""
    return {
        name: run(streams[stream])
        for name, (package, stream, run) in ORIGINALS.items()
        if package in packages
    }


def elsewhere(python: Path = PYTHON) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Run frouros's and alibi-detect's by another Python; return the alarms and the versions."""
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "streams.npz"
        np.savez(given, **sample_streams())
        done = subprocess.run(
            [python, __file__, given],
            stdout=subprocess.PIPE,
            check=True,
            env={**os.environ, "NUMBA_CACHE_DIR": folder},
        )
    said = json.loads(done.stdout)
    return said["alarms"], said["versions"]


def _main() -> None:
    from importlib.metadata import version

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with np.load(sys.argv[1]) as file:
        streams = dict(file)
    packages = ("frouros", "alibi-detect")
    alarms = alarms_of(packages, streams)
    json.dump({"alarms": alarms, "versions": {it: version(it) for it in packages}}, sys.stdout)


if __name__ == "__main__":
    _main()
