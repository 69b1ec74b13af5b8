"""A broker without Java or Docker: the mock cluster inside librdkafka, in a process of its own.

It speaks Kafka's protocol over TCP, which is enough to try a pipeline and to test one. What it
does not do: create topics by request (they come to be on first use, with 4 partitions), keep more
than about the last 5 MB of a partition, isolate transactions, or survive its own end.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from types import TracebackType

from confluent_kafka import Producer

from streamproc.errors import StreamprocError

PARTITIONS = 4
"""How many partitions a topic of the embedded broker has; nothing changes it."""

_START_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 5.0
_PARENT_CHECK_S = 1.0


class EmbeddedBroker:
    """The embedded broker, for as long as the ``with`` block runs.

    ``address`` is ``host:port``, on a free port of this machine. The process ends with the block,
    and also when the process that started it dies. Raises :class:`StreamprocError` where it does
    not start.

    >>> from confluent_kafka.admin import AdminClient
    >>> with EmbeddedBroker() as broker:
    ...     metadata = AdminClient({"bootstrap.servers": broker.address}).list_topics(timeout=5)
    ...     len(metadata.brokers)
    1
    """

    def __init__(self) -> None:
        self.address = ""
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """The process id of the broker; raises :class:`StreamprocError` where it is not started."""
        return self._started().pid

    def start(self) -> EmbeddedBroker:
        """Start the process and wait until it tells its address."""
        # In a session of its own, so that ctrl-C ends the worker first and the broker after it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streamproc.kafka.embedded"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_TIMEOUT_S)
        self.address = self._process.stdout.readline().strip() if ready else ""
        if not self.address:
            self.stop()
            raise StreamprocError(
                f"the embedded broker did not start within {_START_TIMEOUT_S:.0f} s; "
                "see what it wrote above, or set STREAMPROC_BROKERS to a Kafka of yours"
            )
        return self

    def stop(self) -> None:
        """End the process; doing so twice does no harm."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):  # the end of its input tells it to end
            assert pipe is not None
            pipe.close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the process to end; return whether it has."""
        try:
            self._started().wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise StreamprocError("the embedded broker is not running; call start() first")
        return self._process

    def __enter__(self) -> EmbeddedBroker:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def serve(parent_pid: int) -> None:
    """Run the mock cluster until standard input ends or ``parent_pid`` is no longer the parent.

    Both are watched: the end of input is told at once, but another child of the parent may have
    inherited the pipe and keep it open.
    """
    # The cluster lives as long as this producer; nothing is ever produced through it.
    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    brokers = cluster.list_topics(timeout=_START_TIMEOUT_S).brokers.values()
    sys.stdout.write(",".join(f"{broker.host}:{broker.port}" for broker in brokers) + "\n")
    sys.stdout.flush()
    while os.getppid() == parent_pid:
        readable, _, _ = select.select([sys.stdin], [], [], _PARENT_CHECK_S)
        if readable and not os.read(sys.stdin.fileno(), 1024):
            break
    # Taking the cluster down in order waits for its clients; nothing in it is worth keeping.
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(os.getppid())
