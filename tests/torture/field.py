"""Where it is done: a Kafka, a flow of payments, workers, and an eye on the predictions."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from streamproc.kafka.topics import create
from streamproc.pipeline import Pipeline
from tests.kafka.processes import Worker, command, payments_as
from tests.kafka_server import KafkaServer
from tests.servers import ROOT
from tests.torture.avro import AvroSide
from tests.torture.memory import Memory
from tests.torture.proxy import Proxy
from tests.torture.terminals import with_terminals

_SILENT_S = 60.0


@dataclass(frozen=True)
class Setup:
    """What a field is like: its partitions, workers, and the flow of payments.

    ``every`` takes the payments of every so manieth customer, so that event time goes faster.
    ``before`` is a command to run workers by, such as ``env``, made of the field's folder; it is
    the whole command, but for the pipeline, where it stands ``alone``. With ``avro`` they have a
    schema registry, with ``terminals`` windows by terminal beside those by customer. ``rewrite``
    changes the text of the pipeline's file.
    """

    partitions: int = 4
    instances: tuple[str, ...] = ("w1", "w2")
    rate: int = 300
    every: int = 1
    before: Callable[[Path], list[str]] = lambda folder: []
    avro: bool = False
    alone: bool = False
    terminals: bool = False
    rewrite: Callable[[str], str] = lambda text: text


USUAL = Setup()


class Watcher(threading.Thread):
    """Reads the predictions as they are committed, and when each came."""

    def __init__(self, address: str, topic: str, partitions: int) -> None:
        super().__init__(name="watcher", daemon=True)
        self.count = 0
        self.newest: Message | None = None
        self._partitions = range(partitions)
        self._last_s: dict[int, float] = defaultdict(float)
        self._stopping = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": address,
                "group.id": "torture",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, n, 0) for n in self._partitions])
        self.start()

    def run(self) -> None:
        """Read until stopped."""
        while not self._stopping.is_set():
            for message in self._consumer.consume(1_000, 0.05):
                if message.error() is None:
                    self.count += 1
                    self.newest = message
                    self._last_s[message.partition() or 0] = time.monotonic()
        self._consumer.close()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self.join()

    def all_since(self, began_s: float) -> bool:
        """Say whether a prediction came in every partition since then."""
        return not self.silent_since(began_s)

    def silent_since(self, began_s: float) -> list[int]:
        """Return the partitions in which no prediction came since then."""
        return [each for each in self._partitions if self._last_s[each] <= began_s]


class Field:
    """A pipeline of its own for one scenario, two workers, and payments that flow."""

    def __init__(
        self,
        kafka: KafkaServer,
        folder: Path,
        name: str,
        setup: Setup,
        seed: int,
        proxy: Proxy | None = None,
    ) -> None:
        self.proxy, self.setup, self.seed = proxy, setup, seed
        self.round = 0
        self.kafka, self.folder, self.name = kafka, folder, name
        self.chance = random.Random(seed)
        self.pipeline = payments_as(name, folder)
        self.pipeline.write_text(setup.rewrite(self.pipeline.read_text("utf-8")), "utf-8")
        if setup.terminals:
            self.pipeline.write_text(with_terminals(self.pipeline.read_text("utf-8")), "utf-8")
        self.workers: dict[str, Worker] = {}
        self._before = setup.before(folder)
        self._flow: subprocess.Popen[bytes] | None = None
        self.watcher: Watcher | None = None
        self.avro: AvroSide | None = None
        self.memory = Memory()

    def __enter__(self) -> Field:
        try:
            self._begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _begin(self) -> None:
        if self.setup.avro:
            self.avro = AvroSide(self.folder, self.name)
            self._before = ["env", f"STREAMPROC_REGISTRY={self.avro.url}", *self._before]
        made = create(
            {"bootstrap.servers": self.kafka.address},
            Pipeline.load(self.pipeline),
            self.setup.partitions,
        )
        assert made[0].partitions == self.setup.partitions
        for instance in self.setup.instances:
            self.start(instance)
        for worker in self.workers.values():
            worker.wait_until_scoring()
        line = [sys.executable, "-m", "tests.torture.flow", self.kafka.address, self.name]
        self._flow = subprocess.Popen(
            [*line, str(self.setup.rate), str(self.setup.every)], cwd=ROOT
        )
        topic = f"{self.name}.predictions"
        self.watcher = Watcher(self.kafka.address, topic, self.setup.partitions)
        self.recovered(0.0)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.memory.stop()
        if self._flow is not None:
            self._flow.kill()
            self._flow.wait()
        if self.watcher is not None:
            self.watcher.stop()
        if self.avro is not None:
            self.avro.stop()
        for worker in self.workers.values():
            worker.__exit__(None, None, None)

    def start(self, instance: str, line: list[str] | None = None) -> Worker:
        """Start a worker; the first is behind the proxy, where there is one."""
        through = instance == "w1" and self.proxy is not None
        address = f"127.0.0.1:{self.proxy.port}" if through and self.proxy else self.kafka.address
        usual = [str(self.pipeline)] if self.setup.alone else command("worker", self.pipeline)
        line = [*self._before, *(line or usual)]
        worker = Worker(self.pipeline, address, self.folder, instance, line)
        self.workers[instance] = worker
        self.memory.watch(instance, worker.process)
        return worker

    def any(self) -> str:
        """Return one of the workers, by chance."""
        return self.chance.choice(sorted(self.workers))

    def kill(self, instance: str) -> float:
        """End a worker by SIGKILL; return when."""
        worker = self.workers.pop(instance)
        worker.process.kill()
        at_s = time.monotonic()
        worker.process.wait()
        return at_s

    def leave(self, instance: str) -> float:
        """End a worker by SIGTERM; return when it was asked to."""
        worker = self.workers.pop(instance)
        at_s = time.monotonic()
        worker.stop(signal.SIGTERM)
        return at_s

    def wait(self, least_s: float, most_s: float) -> None:
        """Let it run for a while, by chance."""
        time.sleep(self.chance.uniform(least_s, most_s))

    def revive(self) -> int:
        """Start those again that ended by themselves; return how many did."""
        ended = [name for name, worker in self.workers.items() if not worker.alive]
        for name in ended:
            self.start(name)
        return len(ended)

    def recovered(self, since_s: float) -> float:
        """Wait until every partition has a prediction since then; return after how many seconds."""
        assert self.watcher is not None
        assert self._flow is not None
        until_s = time.monotonic() + _SILENT_S
        while not self.watcher.all_since(since_s):
            if self._flow.poll() is not None:
                raise RuntimeError("the flow of payments ended before the rounds did")
            if time.monotonic() > until_s:
                ended = [name for name, each in self.workers.items() if not each.alive]
                raise RuntimeError(
                    f"no predictions for {_SILENT_S:.0f} s in partitions "
                    f"{self.watcher.silent_since(since_s)}; workers that ended: {ended}"
                )
            time.sleep(0.005)
        return time.monotonic() - since_s

    def stop_flow(self) -> None:
        """End the flow of payments; what was sent is there."""
        assert self._flow is not None
        self._flow.send_signal(signal.SIGINT)
        self._flow.wait(timeout=60)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return what the present workers have logged under this event."""
        return [each for worker in self.workers.values() for each in worker.logged(event)]
