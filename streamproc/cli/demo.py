"""`streamproc demo`: a minute of payments through an embedded broker and a worker, live."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from streamproc.cli.common import AsJson, print_json, width
from streamproc.cli.demo_topics import TopicReader
from streamproc.cli.demo_view import View, make_view
from streamproc.cli.demo_worker import WorkerProcess
from streamproc.demo.observer import Observer
from streamproc.demo.scenario import (
    DEFAULT_SECONDS,
    DEFAULT_SEED,
    PIPELINE_FILE,
    START_MS,
    Scenario,
)
from streamproc.demo.summary import shortcomings, summary
from streamproc.errors import StreamprocError
from streamproc.kafka.embedded import EmbeddedBroker
from streamproc.kafka.producing import Pace, produce
from streamproc.kafka.topics import create
from streamproc.models.versions import Store
from streamproc.pipeline import Pipeline
from streamproc.timeline import Entry

MOST_BEHIND = 2_000
"""How many records may be on their way: a partition of the embedded broker keeps some 8,000."""

MOST_UNWATCHED = 4_000
"""How many of its predictions the worker's monitors may be behind with, by its last commit."""

_ASK_EVERY_S = 0.5
_READ_EVERY = 100
_READ_S = 0.05
_QUIET_S = 1.5
_STUCK_S = 30.0

Seed = Annotated[int, typer.Option("--seed", min=0, help="Another seed, other payments.")]
Seconds = Annotated[
    float, typer.Option("--seconds", min=1, help="How long to take; longer on a slow machine.")
]


def demo(
    as_json: AsJson = False, seed: Seed = DEFAULT_SEED, seconds: Seconds = DEFAULT_SECONDS
) -> None:
    """Stream some 60,000 payments with two faults in them, and show what is made of them."""
    console = Console(stderr=as_json, width=width(), highlight=False)
    pipeline, scenario = Pipeline.load(PIPELINE_FILE), Scenario(seed)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="streamproc-demo-"))
        stack.enter_context(_signals())
        try:
            broker, worker, reader = _start(stack, console, pipeline, Path(folder))
            observer = Observer(scenario, pipeline, Store(worker.store).load)
            with make_view(console, observer) as view:
                run = _Run(pipeline, observer, reader, worker, view, seconds)
                took_s = run.run(broker.address)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # what ends in order is left to
    result, failed = summary(observer, took_s), shortcomings(observer)
    if as_json:
        print_json(result)
    else:
        view.close_with(result, failed)
    if failed:
        raise StreamprocError("the demo did not show all it should: " + "; ".join(failed))


def _start(
    stack: ExitStack, console: Console, pipeline: Pipeline, folder: Path
) -> tuple[EmbeddedBroker, WorkerProcess, TopicReader]:
    """Start broker and worker; they are stopped in the opposite order, whatever happens."""
    console.print("Starting the embedded broker and a worker on it …", style="dim")
    broker = EmbeddedBroker()
    stack.callback(broker.stop)
    broker.start()
    create({"bootstrap.servers": broker.address}, pipeline)
    worker = WorkerProcess(PIPELINE_FILE, broker.address, folder)
    stack.callback(worker.stop)
    worker.start()
    reader = TopicReader(broker.address, pipeline.name, pipeline.topics)
    stack.callback(reader.close)
    worker.wait_until_ready()
    return broker, worker, reader


class _Run:
    """One run: sends what is due, reads what comes back, and shows it, all by turns."""

    def __init__(
        self,
        pipeline: Pipeline,
        observer: Observer,
        reader: TopicReader,
        worker: WorkerProcess,
        view: View,
        seconds: float,
    ) -> None:
        self._pipeline = pipeline
        self._observer = observer
        self._reader = reader
        self._worker = worker
        self._view = view
        self._speed = (observer.scenario.end_ms - START_MS) / 1_000 / seconds
        self._unwatched = 0
        self._asked_s = 0.0
        self._news_s = time.monotonic()

    def run(self, address: str) -> float:
        """Run to the end; return the seconds from the first event until all had come back."""
        topics = self._pipeline.topics
        assert topics.labels is not None  # the demo's pipeline has some
        started_s = time.monotonic()
        entries = self._observer.scenario.entries(self._pipeline)
        sent = produce(
            self._paced(entries),
            {"bootstrap.servers": address},
            {"event": topics.events, "label": topics.labels},
        )
        if sent.interrupted:
            raise KeyboardInterrupt
        self._settle()
        return time.monotonic() - started_s

    def _paced(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield each entry when it is due, and not before the worker has come far enough."""
        pace = Pace(speed=self._speed, sleep=self._read)
        for number, entry in enumerate(entries):
            pace.wait(entry)
            if number % _READ_EVERY == 0:
                self._read(0)
            if self._share_of_room() > 1:
                self._wait_for_room()
            self._observer.sent(entry, time.monotonic())
            yield entry

    def _share_of_room(self) -> float:
        """Return how much of what the broker can safely hold is on its way; 1 is all."""
        return max(self._observer.behind / MOST_BEHIND, self._unwatched / MOST_UNWATCHED)

    def _wait_for_room(self) -> None:
        """Wait until half of the room is free: a trickle would crawl, as one-record batches do."""
        while self._share_of_room() > 0.5:
            self._read(_READ_S)
            if time.monotonic() - self._news_s > _STUCK_S:
                raise StreamprocError(
                    f"the worker has sent nothing for {_STUCK_S:.0f} s and is "
                    f"{self._observer.behind:,} records behind; run the demo again, and "
                    "report it if that happens twice"
                )

    def _settle(self) -> None:
        """Read until all has come back and stays so; give up where nothing comes any more."""
        settled_s: float | None = None
        while True:
            self._read(_READ_S)
            now_s = time.monotonic()
            if not (self._observer.settled() and self._unwatched == 0):
                settled_s = None
                if now_s - self._news_s > _STUCK_S:
                    return
            elif settled_s is None:
                settled_s = now_s
            elif now_s - max(settled_s, self._news_s) > _QUIET_S:
                return

    def _read(self, timeout_s: float) -> None:
        """Read for a while, and do what is to be done now and then."""
        if self._reader.read(timeout_s, self._take):
            self._news_s = time.monotonic()
        now_s = time.monotonic()
        if now_s - self._asked_s >= _ASK_EVERY_S:
            self._asked_s = now_s
            self._worker.check()
            self._unwatched = self._reader.unwatched()
        self._view.refresh(now_s)

    def _take(self, topic: str, value: bytes) -> None:
        observer, topics = self._observer, self._pipeline.topics
        if topic == topics.predictions:
            observer.prediction(value, time.monotonic())
        elif topic == topics.outcomes:
            observer.outcome(value)
        elif topic == topics.models:
            observer.model(value)
        elif topic == topics.dead_letters:
            observer.dead_letters += 1
        elif topic == topics.alerts and (seen := observer.alert(value)):
            self._view.alert(seen)


@contextmanager
def _signals() -> Iterator[None]:
    """Make the signals that end a process end this one in order, so that nothing is left over."""

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    chosen = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in chosen}
    for number in chosen[:2]:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
