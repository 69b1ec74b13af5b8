"""Workers and commands as processes of their own, as a user runs them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from tests.servers import ROOT

EXAMPLE = ROOT / "examples/payments.py"
_POLL_S = 0.02
_START_TIMEOUT_S = 60.0
STOP_WITHIN_S = 15.0
"""A worker that is asked to end, and does not by then, hangs; it takes a second or two."""

_STOP_TIMEOUT_S = 30.0


def eventually(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Wait until a condition holds; fail, saying ``what`` was waited for, where it never does."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(_POLL_S)


def payments_as(name: str, folder: Path) -> Path:
    """Write the payments example under another name, with topics of its own."""
    text = EXAMPLE.read_text("utf-8")
    named = text.replace('"payments.', f'"{name}.').replace('name="payments"', f'name="{name}"')
    assert named.count(f'"{name}') == 3, "the example names its topics in another way now"
    path = folder / f"{name}.py"
    path.write_text(named, "utf-8")
    return path


def environment(address: str, store: Path, instance: str = "w1") -> dict[str, str]:
    """Return the environment of a command: nothing of ours but what is given here."""
    kept = {name: each for name, each in os.environ.items() if not name.startswith("STREAMPROC_")}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "STREAMPROC_BROKERS": address,
        "STREAMPROC_STORE": str(store),
        "STREAMPROC_INSTANCE": instance,
    }


def command(*arguments: str | Path) -> list[str]:
    """Return a command line of streamproc that the kernel ends when these tests are killed."""
    line = [sys.executable, "-m", "streamproc.cli", *map(str, arguments)]
    return ["setpriv", "--pdeathsig", "KILL", *line] if shutil.which("setpriv") else line


def run(
    *arguments: str | Path, address: str, folder: Path, timeout_s: float = 120.0
) -> dict[str, Any]:
    """Run a command that takes ``--json`` and return what it printed."""
    done = subprocess.run(
        command(*arguments, "--json"),
        env=environment(address, folder / "store"),
        cwd=folder,
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    told: dict[str, Any] = orjson.loads(done.stdout)
    return told


class Worker:
    """A worker process; used in a ``with`` block, which leaves none behind.

    Workers of one ``folder`` share a store, and differ in ``instance``; ``more`` is what else is in
    the environment.
    """

    def __init__(
        self,
        pipeline: Path,
        address: str,
        folder: Path,
        instance: str = "w1",
        line: list[str] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.log = folder / f"{instance}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                line or command("worker", pipeline),
                env={**environment(address, folder / "store", instance), **(more or {})},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def check(self) -> None:
        """Fail, with the end of its log, where the process has ended."""
        assert self.alive, f"the worker ended with {self.process.returncode}:\n{self.tail()}"

    def tail(self) -> str:
        """Return the end of what it wrote."""
        return self.log.read_text(errors="replace")[-3000:]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return what it has logged under this event."""
        lines = [line for line in self.log.read_bytes().splitlines(True) if line.endswith(b"}\n")]
        return [each for each in map(orjson.loads, lines) if each.get("event") == event]

    def wait_for(self, event: str, timeout_s: float = _START_TIMEOUT_S) -> dict[str, Any]:
        """Wait until it has logged this event; return it as logged first."""

        def there() -> bool:
            self.check()
            return bool(self.logged(event))

        eventually(there, f"the worker to log {event!r}", timeout_s)
        return self.logged(event)[0]

    def wait_until_scoring(self, partitions: int = 1) -> None:
        """Wait until it has tasks of so many partitions that score."""

        def scoring() -> bool:
            self.check()
            tasks = self.logged("task_started")
            return len({t["partition"] for t in tasks if t["stage"] == "score"}) >= partitions

        eventually(scoring, f"the worker to score {partitions} partitions", _START_TIMEOUT_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal and wait for the end; return how many seconds that took."""
        began_s = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(_STOP_TIMEOUT_S)
        return time.monotonic() - began_s
