"""A real schema registry for the tests: Apicurio, which serves Confluent's API."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

from tests.servers import Server, fetch, free_port

_ARTIFACT = "io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all"


def fetch_registry() -> Path:
    """Return the folder with the registry's jars, fetched once."""
    return fetch("registry-3.0.9", "dependency:copy", f"-Dartifact={_ARTIFACT}")


class RegistryServer:
    """A schema registry on a free port, in memory; ``url`` is what Confluent's client takes."""

    def __init__(self, folder: Path) -> None:
        """Start the registry; returns when it answers."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        (jar,) = fetch_registry().rglob("*-runner.jar")
        options = {
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": port,
        }
        flags = [f"-D{name}={value}" for name, value in options.items()]
        command = ["java", "-Xmx512m", *flags, "-jar", str(jar)]
        self._server = Server(command, folder / "registry.log", self._answers)

    def stop(self) -> None:
        """Stop the registry; what it held is gone."""
        self._server.stop()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
