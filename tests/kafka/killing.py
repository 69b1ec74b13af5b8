"""A worker that a certain event ends at once, as a fault in native code would: ``ID PIPELINE``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from streamproc.cli import fix_hashes


def main(event_id: str, pipeline: str) -> None:
    """Run a worker that does not survive this event."""
    from agents.worker import run_worker
    from streamproc.cli import logs
    from streamproc.pipeline import Pipeline
    from streamproc.settings import Settings
    from streamproc.tasks.score import ScoreTask

    whole = ScoreTask._score

    def score(self: ScoreTask, event: Any, *rest: Any) -> None:
        if event.id == event_id:
            os.kill(os.getpid(), signal.SIGKILL)
        whole(self, event, *rest)

    ScoreTask._score = score  # type: ignore[assignment, method-assign]
    logs.configure()
    run_worker(Pipeline.load(Path(pipeline)), Settings.load())
    os._exit(0)


if __name__ == "__main__":
    fix_hashes()
    main(sys.argv[1], sys.argv[2])
