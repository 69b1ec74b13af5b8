"""The command line: `streamproc COMMAND`.

Each command is a module of its name here, imported when it is called, so that `--help` is quick.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

COMMANDS = {
    "demo": "A minute of payments through an embedded broker, live.",
    "worker": "Run a pipeline: predict, learn, watch, until stopped.",
    "produce": "Send a file's rows as events, and its labels when they are due.",
    "watch": "Follow predictions, alerts, and what else comes out.",
    "alerts": "List and show alerts; acknowledge, silence, accept them.",
    "performance": "Tell how good predictions are, beside baselines.",
    "explain": "Make a past prediction again from the log; tell how it came.",
    "replay": "Make all past predictions of a time again; tell what differs.",
    "backtest": "Run a file through a pipeline, with no broker; tell how good.",
    "export": "Write topics or files as training data, with labels as known.",
    "check": "Check a pipeline file and draw it.",
    "features": "List a pipeline's features: what of, for how long, whose.",
    "topics": "List a pipeline's topics; make those that are missing.",
    "broker": "Run an embedded broker, for trying things out.",
}
"""The commands, in the order a new user meets them, and what each does."""

SEEDED = ("worker", "backtest", "explain", "replay")
"""The commands whose arithmetic has to come out the same in every process."""


def main() -> NoReturn:
    """Run the command that the process was started with, and exit."""
    try:
        if chosen(sys.argv[1:]) in SEEDED:
            fix_hashes()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    _exit(code)


def _exit(code: int) -> NoReturn:
    """Exit at once: taking down all that was imported takes longer than people wait on ctrl-C."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code.

    0 is success, 1 a failure, 2 a mistake in the command line, the environment or the pipeline
    file, 130 ctrl-C. Mistakes and failures are told in one line on standard error.
    """
    from streamproc.cli.app import call

    return call(arguments)


def chosen(arguments: Sequence[str]) -> str | None:
    """Return the command that is called for, if one is.

    >>> chosen(["worker", "payments.py"]), chosen(["--version"])
    ('worker', None)
    """
    first = next((each for each in arguments if not each.startswith("-")), None)
    return first if first in COMMANDS else None


def fix_hashes() -> None:
    """Start this process anew, under its own id, with PYTHONHASHSEED=0, unless it has that.

    The order of sets depends on it, and with that the last bits of a sum over one.
    """
    if os.environ.get("PYTHONHASHSEED") == "0":
        return
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
