"""A real Alertmanager for the tests, from Debian's package prometheus-alertmanager."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.servers import Server, free_port

PROGRAM = "prometheus-alertmanager"

_CONFIG = """
route:
  receiver: test
  group_by: ['...']
  group_wait: 0s
  group_interval: 1s
receivers:
  - name: test
    webhook_configs:
      - url: http://{receiver}/notified
"""


def alertmanager_missing() -> str | None:
    """Say that it is missing; None where it is not."""
    found = shutil.which(PROGRAM)
    return None if found else f"{PROGRAM} is not on the PATH (Debian's package of that name has it)"


class AlertmanagerServer:
    """An Alertmanager on a free port, its data in ``folder``; it notifies ``receiver`` at once."""

    def __init__(self, folder: Path, receiver: str) -> None:
        """Start it; returns when it answers."""
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        (folder / "alertmanager.yml").write_text(_CONFIG.format(receiver=receiver))
        self.start()

    def start(self) -> None:
        """Start it at the same address; what it knew of alerts is gone."""
        command = [
            *(PROGRAM, f"--config.file={self._folder}/alertmanager.yml"),
            f"--storage.path={self._folder}/data",
            *(f"--web.listen-address=127.0.0.1:{self._port}", "--cluster.listen-address="),
        ]
        self._server = Server(command, self._folder / "alertmanager.log", self._answers)

    def stop(self) -> None:
        """Stop it."""
        self._server.stop()

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are not resolved."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def subjects(self) -> dict[str, str]:
        """Return the severity of each alert that is not resolved, by its subject."""
        return {each["labels"]["subject"]: each["labels"]["severity"] for each in self.alerts()}

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False
