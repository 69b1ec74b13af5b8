"""Logs: one form for ours and the libraries', JSON in a pipe, and no secret in either."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.servers import ROOT

SCRIPT = """
import logging, structlog
from streamproc.cli import logs
logs.configure()
log = structlog.get_logger("worker")
log.info("started", brokers="b:1", security_password="sesame", api_token="sesame")
log.debug("left out")
logging.getLogger("faust.app").info("left out")
logging.getLogger("mode").warning("slow %s", "start")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


REPEATS = """
import logging
from streamproc.cli import logs
logs.configure()
log = logging.getLogger("librdkafka")
for n in range(50):
    log.error("FAIL [rdkafka#consumer-%d] refused", n)
    log.warning("SESSTMOUT [rdkafka#consumer-1] timed out")
    logging.getLogger("faust").warning("number %d", n)
"""


def test_a_broker_that_is_away_does_not_flood_the_log() -> None:
    """Of what librdkafka repeats, one of a kind in a while; of what others say, all."""
    done = subprocess.run(
        [sys.executable, "-c", REPEATS],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = [json.loads(line)["event"].split()[0] for line in done.stderr.splitlines()]
    assert (told.count("FAIL"), told.count("SESSTMOUT"), told.count("number")) == (1, 1, 50)


def test_logs_are_json_lines_when_piped() -> None:
    """Ours from INFO up, those of libraries from WARNING up, on standard error alone."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == ""
    assert "sesame" not in done.stderr
    started, slow, failed = map(json.loads, done.stderr.splitlines())
    assert (started["event"], started["brokers"], started["level"]) == ("started", "b:1", "info")
    assert started["security_password"] == "***"
    assert (slow["event"], slow["logger"], slow["level"]) == ("slow start", "mode", "warning")
    assert "ZeroDivisionError" in failed["exception"]
    assert all(record["time"].endswith("Z") for record in (started, slow, failed))
