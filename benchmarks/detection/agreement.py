"""Whether the ports alarm where the originals do, on streams that change some times."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.detection import frouros_ports, river_ports, windows
from benchmarks.detection.compiled import Ints
from benchmarks.detection.kswin import kswin
from benchmarks.detection.originals import (
    ORIGINALS,
    REFERENCE,
    alarms_of,
    elsewhere,
    sample_streams,
)

_END = 2**62
PORTS: dict[str, Callable[[Any], Ints]] = {
    # The settings are those of `originals.ORIGINALS`.
    "PageHinkley": lambda it: river_ports.page_hinkley(it, 50.0, 0.005, 1 - 0.0001, _END),
    "PageHinkley, delta 0.05": lambda it: river_ports.page_hinkley(it, 20.0, 0.05, 1.0, _END),
    "KSWIN": lambda it: kswin(it, 0.001, 100, 30, 7, _END),
    "KSWIN, windows of 1000": lambda it: kswin(it, 0.01, 1_000, 300, 7, _END),
    "DDM": lambda it: river_ports.ddm(it, 2.0, _END),
    "EDDM": lambda it: river_ports.eddm(it, 0.9, _END),
    "HDDM_A": lambda it: river_ports.hddm_a(it, 0.01, _END),
    "HDDM_W": lambda it: river_ports.hddm_w(it, 0.01, _END),
    "CUSUM": lambda it: frouros_ports.cusum(it, 50.0, 0.005, _END),
    "GeometricMovingAverage": lambda it: frouros_ports.geometric(it, 0.25, _END),
    "RDDM": lambda it: frouros_ports.rddm(it, 2.258, _END),
    "STEPD": lambda it: frouros_ports.stepd(it, 0.003, _END),
    "MMDStreaming": lambda it: windows.crossings(
        frouros_ports.mmd(it, REFERENCE, 200), np.array([200]), 0.02, _END
    ),
    "CVMDriftOnline": lambda it: windows.crossings(
        windows.cvm(it, REFERENCE), np.array(windows.CVM_WINDOWS), 4.0, _END
    ),
}


def of_ports() -> dict[str, list[int]]:
    """Return the alarms of the ports on the test streams."""
    streams = sample_streams()
    return {
        name: PORTS[name](streams[stream]).tolist() for name, (_, stream, _) in ORIGINALS.items()
    }


def disagreements() -> tuple[list[str], dict[str, str]]:
    """Run originals and ports; return the names of ports that alarm elsewhere, and the versions."""
    alarms, versions = elsewhere()
    alarms |= alarms_of(("river",), sample_streams())
    ports = of_ports()
    apart = [name for name in ORIGINALS if alarms[name] != ports[name]]
    return apart, {"river": version("river"), **versions}
