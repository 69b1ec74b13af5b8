"""What the servers of the tests have in common: fetched by Maven, run by Java, ended for sure."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
_FETCH_TIMEOUT_S = 600
_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 20


@cache
def java_missing() -> str | None:
    """Say what is missing to run a server by Java 17 and Maven; None where nothing is."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            return f"{program} is not on the PATH (Java 17 and Maven are needed)"
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < 17:
        return f"Java 17 or later is needed, and `java -version` says {told[:40].strip()!r}"
    return None


def fetch(name: str, *maven: str) -> Path:
    """Return the folder of the cache with what Maven copies there; it is fetched once."""
    target = CACHE / name
    if target.exists():
        return target
    CACHE.mkdir(exist_ok=True)
    # Fetched beside and moved, so that a fetch that was broken off is not taken for a whole one.
    with tempfile.TemporaryDirectory(dir=CACHE) as beside:
        command = ["mvn", "-q", "-B", *maven, f"-DoutputDirectory={beside}/{name}"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_FETCH_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        for archive in Path(beside, name).glob("*.tar.gz"):
            shutil.unpack_archive(archive, Path(beside, name), filter="data")
            archive.unlink()
        try:
            Path(beside, name).rename(target)
        except OSError:
            if not target.exists():  # else another run was faster
                raise
    return target


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A process that serves, with its output in ``log``; ends with :meth:`stop`."""

    def __init__(self, command: list[str], log: Path, is_ready: Callable[[], bool]) -> None:
        """Start ``command`` and wait until ``is_ready``."""
        self.log = log
        # Where it can be had, the kernel ends the server when these tests are killed.
        if shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while not is_ready():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline_s:
                self.stop()
                why = "ended" if ended else f"did not answer in {_START_TIMEOUT_S} s"
                tail = log.read_text(errors="replace")[-4000:]
                raise RuntimeError(f"{command[-1]} {why}; its last output:\n{tail}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the process, by force where it does not end by itself."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
