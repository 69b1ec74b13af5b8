"""Detectors that know nothing: what a figure has to be compared with before it means something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks.detection.compiled import Ints
from benchmarks.detection.streams import SEED


@dataclass(frozen=True)
class AtRandom:
    """Alarms at each event with the chance of one in ``threshold``: 1 is always, infinity never.

    It is seeded by the stream's bytes, so that each stream has alarms of its own.
    """

    name: str
    bracket: tuple[float, float] = (1e2, 1e7)

    def prepared(self, values: Any) -> Any:
        """Return the stream itself."""
        return values

    def alarms(self, prepared: Any, threshold: float, since: int) -> Ints:
        """Return alarms that have nothing to do with the values."""
        rng = np.random.default_rng([SEED, crc32(prepared.tobytes())])
        alarms = np.flatnonzero(rng.random(len(prepared)) < 1 / threshold)
        return alarms[: int(np.searchsorted(alarms, since)) + 1]


BASELINES = (
    (AtRandom("always-fire"), 1.0),
    (AtRandom("never-fire"), np.inf),
    (AtRandom("random"), 100_000.0),
)
