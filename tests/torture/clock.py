"""The wall clock of workers, stepped by an hour while they run: by libfaketime, and ``waits.c``.

The kernel's steady clock goes on as it was, as it does where a real clock is set.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.servers import CACHE
from tests.torture.field import Field

HOUR_S = 3_600
_LIBRARY = "libfaketimeMT.so.1"
_WAITS = Path(__file__).with_name("waits.c")
_SYSTEM = Path("/usr/lib")
_FETCH_TIMEOUT_S = 120
_TAKEN_UP_S = 1.5  # libfaketime looks at its file once a second
_SHOWN = "import time; print(time.time() - time.monotonic())"


def clock(field: Field) -> float:
    """Step the clock by an hour, forth or back, and back again; every other time kill meanwhile."""
    field.wait(1.0, 3.0)
    _step(field.folder, field.chance.choice((HOUR_S, -HOUR_S)))
    slowest_s = 0.0
    for offset_s in (None, 0):
        if offset_s is not None:
            _step(field.folder, offset_s)
        field.wait(_TAKEN_UP_S, _TAKEN_UP_S + 2.0)
        slowest_s = max(slowest_s, field.recovered(time.monotonic()))
        if field.chance.random() < 0.5:
            instance = field.any()
            field.kill(instance)
            began_s = time.monotonic()
            field.start(instance)
            slowest_s = max(slowest_s, field.recovered(began_s))
    if field.revive():
        raise RuntimeError("a worker ended because its clock was set")
    return slowest_s


def faked(folder: Path) -> list[str]:
    """Return the command that runs another by a clock of our own, which :func:`_step` sets."""
    library, waits = _library(), folder / "waits.so"
    _run(["cc", "-O2", "-shared", "-fPIC", "-o", str(waits), str(_WAITS)], folder)
    _step(folder, 0)
    line = [
        "env",
        f"LD_PRELOAD={waits}:{library}",
        f"FAKETIME_TIMESTAMP_FILE={_file(folder)}",
        "FAKETIME_CACHE_DURATION=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "DONT_FAKE_MONOTONIC=1",
        "FAKETIME_DISABLE_SHM=1",
        "NO_FAKE_STAT=1",
    ]
    apart_s = []
    for offset_s in (HOUR_S, 0):  # else a round would show nothing
        _step(folder, offset_s)
        shown = subprocess.run(
            [*line, sys.executable, "-c", _SHOWN], capture_output=True, check=True, timeout=60
        )
        apart_s.append(float(shown.stdout))
    if abs(apart_s[0] - apart_s[1] - HOUR_S) > 1.0:
        raise RuntimeError(f"libfaketime does not step the clock: {apart_s}")
    return line


def _file(folder: Path) -> Path:
    return folder / "clock.txt"


def _step(folder: Path, offset_s: int) -> None:
    beside = folder / "clock.next"
    beside.write_text(f"{offset_s:+d}\n")
    beside.rename(_file(folder))


def _library() -> Path:
    """Return libfaketime: the machine's, the cache's, or fetched from Debian, without root."""
    target = CACHE / "libfaketime"
    for folder in (_SYSTEM, target):
        if found := next(folder.glob(f"**/faketime/{_LIBRARY}"), None):
            return found
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as text:
        beside = Path(text)
        _run(["apt-get", "download", "libfaketime"], beside)
        (archive,) = beside.glob("libfaketime_*.deb")
        _run(["dpkg", "-x", str(archive), str(beside / "files")], beside)
        (beside / "files").rename(target)
    return next(target.glob(f"**/faketime/{_LIBRARY}"))


def _run(line: list[str], folder: Path) -> None:
    try:
        subprocess.run(
            line, cwd=folder, capture_output=True, text=True, check=True, timeout=_FETCH_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", "") or error
        raise RuntimeError(f"no clock to step; `{' '.join(line)}` failed: {told}") from error
