"""A real Apache Kafka for the tests, and in the foreground: ``python -m tests.kafka_server``."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.servers import ROOT, Server, fetch, free_port, java_missing

_CLUSTER_ID = "c3RyZWFtcHJvYy10ZXN0cw"  # 16 bytes in base64; any will do


def fetch_kafka() -> Path:
    """Return the folder with Kafka's jars, fetched once."""
    return fetch(
        "kafka-4.1.0", "-f", str(ROOT / "tests/kafka/pom.xml"), "dependency:copy-dependencies"
    )


class KafkaServer:
    """An Apache Kafka on free ports of this machine, its data in ``folder``.

    With ``proxy_port`` it has a second listener, on :attr:`behind_proxy`, whose clients are sent to
    that port.
    """

    def __init__(self, folder: Path, proxy_port: int | None = None) -> None:
        """Format the storage and start the broker; returns when it answers."""
        port, controller_port, self.behind_proxy = free_port(), free_port(), free_port()
        self.address = f"127.0.0.1:{port}"
        self._folder = folder
        self._properties = folder / "server.properties"
        text = _properties(folder / "data", port, controller_port)
        if proxy_port is not None:
            text = text.replace(
                "\nlisteners=", f"\nlisteners=HOST://127.0.0.1:{self.behind_proxy},"
            ).replace(
                "\nadvertised.listeners=", f"\nadvertised.listeners=HOST://127.0.0.1:{proxy_port},"
            )
        self._properties.write_text(text)
        self._java = ["java", "-Xmx512m", "-Xms512m", "-cp", f"{fetch_kafka()}/*"]
        self._java.append("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        self._format()
        self.start()

    def start(self) -> None:
        """Start the broker on the data that is there; the address stays the same."""
        command = [*self._java, "kafka.Kafka", str(self._properties)]
        self._server = Server(command, self._folder / "kafka.log", self._answers)
        self.pid = self._server.process.pid

    def stop(self) -> None:
        """Stop the broker; its data stays."""
        self._server.stop()

    def kill(self) -> None:
        """End the broker as a crash would; its data stays."""
        self._server.process.kill()
        self._server.process.wait()

    def _format(self) -> None:
        storage = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID]
        command = [*self._java, *storage, "-c", str(self._properties)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"formatting Kafka's storage failed:\n{done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False


def _properties(data: Path, port: int, controller_port: int) -> str:
    """Return the settings of deploy/, with what belongs to one machine and a quick start set."""
    ours = {
        "log.dirs": data,
        "listeners": f"INTERNAL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"INTERNAL://127.0.0.1:{port}",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.num.partitions": 1,
    }
    lines = (ROOT / "deploy/kafka/server.properties").read_text().splitlines()
    kept = [line for line in lines if line.partition("=")[0] not in ours]
    return "\n".join([*kept, *(f"{name}={value}" for name, value in ours.items()), ""])


def main() -> None:
    """Run an Apache Kafka until ctrl-C, on data that is thrown away."""
    missing = java_missing()
    if missing is not None:
        sys.exit(f"no Apache Kafka: {missing}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="streamproc-kafka-") as folder:
        kafka = KafkaServer(Path(folder))
        try:
            print(f"Apache Kafka answers at {kafka.address}; ctrl-C ends it", flush=True)
            print(f"  export STREAMPROC_BROKERS={kafka.address}", flush=True)
            signal.pause()
        except KeyboardInterrupt:
            print("stopping", flush=True)
        finally:
            kafka.stop()


if __name__ == "__main__":
    main()
