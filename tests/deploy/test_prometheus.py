"""What Prometheus is told to scrape and to alert on."""

from __future__ import annotations

import re
import subprocess

import pytest

from agents.metrics import Metrics
from tests.servers import ROOT

FOLDER = ROOT / "deploy" / "prometheus"


def _promtool(*arguments: str) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.promtool
def test_prometheus_takes_its_configuration() -> None:
    """Prometheus's own checker accepts the scrape configuration."""
    _promtool("check", "config", "--syntax-only", "prometheus.yml")


@pytest.mark.promtool
def test_prometheus_takes_the_rules() -> None:
    """Prometheus's own checker accepts the alert rules."""
    _promtool("check", "rules", "rules.yml")


@pytest.mark.promtool
def test_the_rules_fire_when_they_should_and_only_then() -> None:
    """Each rule, on series made for it, fires in trouble and is silent without."""
    _promtool("test", "rules", "rules_test.yml")


def test_every_rule_is_tested() -> None:
    """An alert rule has a series on which it fires."""
    rules = re.findall(r"- alert: (\w+)", (FOLDER / "rules.yml").read_text())
    tests = re.findall(r"alertname: (\w+)\s+exp_alerts", (FOLDER / "rules_test.yml").read_text())
    assert rules
    assert set(rules) == set(tests)


def test_the_rules_name_metrics_that_a_worker_has() -> None:
    """A rule on a metric that is not there would never fire."""
    exposed = {
        name
        for family in Metrics("w1").registry.collect()
        for name in (family.name, f"{family.name}_total", f"{family.name}_bucket")
    }
    expressions = (FOLDER / "rules.yml").read_text()
    named = set(re.findall(r"\bstreamproc_\w+", expressions))
    assert named
    assert named <= exposed
