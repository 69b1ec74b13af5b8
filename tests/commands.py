"""Commands as a user runs them: processes with real exit codes, piped or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.servers import ROOT

WIDTH = 80
_TIMEOUT_S = 60.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str = ""


class Running:
    """A command that runs: on a terminal of 80 columns, or with its output in pipes (files)."""

    def __init__(
        self, folder: Path, *arguments: str, env: Mapping[str, str] | None = None, tty: bool = False
    ) -> None:
        # A shell starts what runs in the background with ctrl-C ignored, which is inherited.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._out = (folder / f"out-{time.monotonic_ns()}").open("w+b")
        self._err = (folder / f"err-{time.monotonic_ns()}").open("w+b")
        self._terminal: int | None = None
        command = [sys.executable, "-m", "streamproc.cli", *arguments]
        environment = {
            **{name: it for name, it in os.environ.items() if not name.startswith("STREAMPROC_")},
            "PYTHONPATH": str(ROOT),
            "COLUMNS": str(WIDTH),
            "TERM": "xterm",
            **(env or {}),
        }
        out, err = self._out.fileno(), self._err.fileno()
        if tty:
            self._terminal, out = pty.openpty()
            fcntl.ioctl(out, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
            err = out
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        if tty:
            os.close(out)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for file in (self._out, self._err):
            file.close()
        if self._terminal is not None:
            os.close(self._terminal)

    def out(self) -> str:
        """Return what was written to standard output (or the terminal) so far."""
        if self._terminal is not None:
            while select.select([self._terminal], [], [], 0)[0]:
                try:
                    read = os.read(self._terminal, 65536)
                except OSError:  # how a terminal tells that its last user has gone
                    break
                self._out.write(read)
                self._out.flush()
        return self._read(self._out.name).replace("\r\n", "\n")

    def err(self) -> str:
        """Return what was written to standard error so far."""
        return self._read(self._err.name)

    def until(self, condition: Callable[[], bool], timeout_s: float = _TIMEOUT_S) -> None:
        """Wait until something has come about; fail with what the command wrote, if it does not."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, f"ended: {self._end()}"
            assert time.monotonic() < deadline_s, f"in vain: {self._end()}"
            select.select([], [], [], 0.02)

    def interrupt(self, number: int = signal.SIGINT, within_s: float = 2.0) -> Done:
        """Send a signal; fail where the command has not ended in time."""
        self.process.send_signal(number)
        return self.done(within_s)

    def done(self, timeout_s: float = _TIMEOUT_S) -> Done:
        """Wait for the end."""
        deadline_s = time.monotonic() + timeout_s
        while self.process.poll() is None:
            self.out()  # a terminal that nobody reads would hold the command up
            assert time.monotonic() < deadline_s, f"still runs: {self._end()}"
            select.select([], [], [], 0.01)
        return Done(self.process.returncode, self.out(), self.err())

    def _end(self) -> str:
        return f"{self.out()[-1000:]}{self.err()[-2000:]}"

    @staticmethod
    def _read(name: str) -> str:
        return Path(name).read_bytes().decode("utf-8", "replace")


def run(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, tty: bool = False
) -> Done:
    """Run a command to its end."""
    with Running(folder, *arguments, env=env, tty=tty) as running:
        return running.done()


def plain(text: str) -> str:
    """Return a text without what steers the terminal."""
    return _ESCAPES.sub("", text).replace("\r", "\n")


def widest(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    lines = plain(text).splitlines()
    return max((len(line) for line in lines), default=0)
