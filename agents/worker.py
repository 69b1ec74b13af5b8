"""One worker process: run the app until a signal or a failure ends it."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import signal
import sys
from collections.abc import Callable

import structlog

from agents.app import App, build
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings

_STOP_S = 1.7
_SWITCH_S = 0.0005  # the thread that polls waits so long for the one that computes, not 5 ms

log = structlog.get_logger("worker")


def run_worker(
    pipeline: Pipeline,
    settings: Settings,
    fresh_model: bool = False,
    state_from: str | None = None,
) -> None:
    """Run a worker until SIGINT or SIGTERM; raises what ended it otherwise.

    What ``fresh_model`` and ``state_from`` mean is said at :func:`agents.app.build`. The process is
    to end at once then: threads that wait for brokers may be left behind, for which ``asyncio.run``
    would wait. Where a library of C ends it, as by a segmentation fault, the threads' stacks are on
    standard error.
    """
    faulthandler.enable()
    tune_collector()
    sys.setswitchinterval(_SWITCH_S)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(_run(lambda: build(pipeline, settings, fresh_model, state_from)))


def tune_collector() -> None:
    """Look for garbage in cycles a little at a time, and never among what has stayed for a while.

    The state is large and has no cycles: a look at 100,000 objects stops everything for 100 ms.
    Nor does a start look: what was imported stays.
    """
    gc.freeze()
    gc.set_threshold(2_000, 4, 1_000_000)
    gc.callbacks.append(_keep_out)


def _keep_out(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] > 0:
        gc.freeze()


async def _run(made: Callable[[], App]) -> None:
    app = made()
    ended = asyncio.Event()
    app.on_ended = ended.set
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await _start(app, ended)
    at = app.deployment
    log.info("started", pipeline=at.pipeline.name, brokers=at.settings.brokers)
    await ended.wait()
    log.info("stopping")
    try:
        await asyncio.wait_for(app.stop(), _STOP_S)
    except TimeoutError:
        # Threads wait for brokers that don't answer; what was not committed is processed again.
        log.warning("stopped_uncommitted", waited_s=_STOP_S)
        os._exit(1)
    if app.runner.failure is not None:
        raise app.runner.failure
    log.info("stopped")


async def _start(app: App, ended: asyncio.Event) -> None:
    """Start the app, or stop starting it when the end comes first."""
    starting = asyncio.ensure_future(app.start())
    ending = asyncio.ensure_future(ended.wait())
    await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if starting.done():
        starting.result()
