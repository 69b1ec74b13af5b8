"""The demo's worker: `streamproc worker` as a process, with settings of its own."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson

from streamproc.errors import StreamprocError

_READY_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.05
_STOP_TIMEOUT_S = 1.2
_PR_SET_PDEATHSIG = 1
# Looked up here: between fork and exec as little as possible should happen.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class WorkerProcess:
    """`streamproc worker FILE` on the brokers at ``address``; its files and log are in ``folder``.

    It sees none of the settings in this process's environment. It has a session of its own, so
    that a ctrl-C reaches whoever started it, who then stops it.
    """

    def __init__(self, pipeline_file: Path, address: str, folder: Path) -> None:
        self.store = str(folder / "store")
        self._command = [sys.executable, "-m", "streamproc.cli", "worker", str(pipeline_file)]
        self._log = folder / "worker.log"
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("STREAMPROC_")},
            "STREAMPROC_BROKERS": address,
            "STREAMPROC_STORE": self.store,
            "STREAMPROC_INSTANCE": "demo-1",
            "PYTHONHASHSEED": "0",  # as the worker wants it, so that it need not start anew
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; it takes some seconds until it is `ready`."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent if _LIBC else None,
            )

    def wait_until_ready(self) -> None:
        """Wait until it says that it is; raise :class:`StreamprocError` where it does not."""
        deadline_s = time.monotonic() + _READY_TIMEOUT_S
        while not self._ready():
            self.check()
            if time.monotonic() > deadline_s:
                raise StreamprocError(
                    f"the demo's worker was not ready within {_READY_TIMEOUT_S:.0f} s; "
                    f"it says: {self._last_words()}"
                )
            time.sleep(_LOOK_EVERY_S)

    def check(self) -> None:
        """Raise :class:`StreamprocError` where it has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise StreamprocError(f"the demo's worker ended by itself: {self._last_words()}")

    def stop(self) -> None:
        """End the process, by force where it takes longer than a second."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _ready(self) -> bool:
        """Ask ``/readyz`` at the address that the log tells."""
        for line in self._log.read_bytes().splitlines():
            with contextlib.suppress(orjson.JSONDecodeError):
                said = orjson.loads(line)
                if isinstance(said, dict) and "metrics" in said:
                    address = said["metrics"].removeprefix("http://").partition("/")[0]
                    return _answers(address, "/readyz")
        return False

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        told = [" ".join(line.split()) for line in lines if line.strip()]
        return told[-1][:300] if told else "nothing"


def _end_with_parent() -> None:
    """Have Linux end this process when its parent is killed and can no longer do so itself."""
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _answers(address: str, path: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=1.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
