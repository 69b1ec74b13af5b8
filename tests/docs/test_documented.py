"""What there is to set, call, read or be woken by is written down, and nothing else is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import get_args

import pytest
import yaml
from prometheus_client import Counter

from agents.metrics import Metrics
from streamproc import cli
from streamproc.cli import COMMANDS
from streamproc.features.spec import FieldType
from streamproc.pipeline import Topics
from streamproc.settings import Settings
from tests.docs.pages import OPERATING, README, ROOT, named, rows, section

CODE = [path for part in ("streamproc", "agents") for path in sorted((ROOT / part).rglob("*.py"))]


def calls() -> Iterator[ast.Call]:
    """Yield every call in our code that has arguments."""
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                yield node


def test_every_setting_is_in_the_readme() -> None:
    """The table of settings is that of the code, in its order."""
    settings = [f"STREAMPROC_{name.upper()}" for name in Settings.model_fields]

    assert settings == [n for n in named(section(README, "Settings")) if n.startswith("STREAM")]


def test_every_command_is_in_the_readme() -> None:
    """The table of commands is what --help says."""
    table = rows(section(README, "Settings"))
    written = {row[0].strip("`"): row[1] for row in table if row[0].startswith("`streamproc ")}

    assert {f"streamproc {name}": about for name, about in COMMANDS.items()} == written


def test_every_topic_is_in_the_readme() -> None:
    """No topic of a pipeline is left out of the README's table."""
    owned = {role for role in Topics.__dataclass_fields__ if role not in ("events", "labels")}
    names = {f"payments.{role.replace('_', '-')}" for role in owned}

    assert names == set(named(section(README, "The topics are the interface")))


def test_every_metric_is_in_operating() -> None:
    """What /metrics shows, and nothing else, is explained, with its labels."""
    shown = {}
    for metric in vars(Metrics("w")).values():
        if hasattr(metric, "_labelnames"):
            name = metric._name + ("_total" if isinstance(metric, Counter) else "")
            shown[name] = sorted(metric._labelnames)
    shown["streamproc_worker"] = ["instance"]  # set once, and kept by nobody
    table = rows(section(OPERATING, "Metrics"))
    written = {row[0].strip("`"): sorted(re.findall(r"`(\w+)`", row[1])) for row in table}

    assert shown == written


def test_no_metric_is_left_out_of_the_list() -> None:
    """The registry holds no metric that the test above doesn't look at."""
    families = {family.name for family in Metrics("w").registry.collect()}

    table = {name.removesuffix("_total") for name in named(section(OPERATING, "Metrics"))}

    assert families == table


def test_every_reason_for_a_dead_letter_is_in_operating() -> None:
    """Each reason that some code gives has a remedy, and each that is written is given."""
    given: set[str] = set()
    for call in calls():
        if isinstance(call.func, ast.Name) and call.func.id == "BadRecord":
            given |= set(slugs(call.args[0]))

    assert given == set(named(section(OPERATING, "Dead letters")))


def slugs(reason: ast.expr) -> Iterator[str]:
    """Yield what a reason may be; one that is no text is handed on from elsewhere."""
    if isinstance(reason, ast.Constant):
        yield str(reason.value)
    elif isinstance(reason, ast.JoinedStr):
        written = ast.unparse(reason)[2:-1]
        for variable, values in VARIABLES.items():
            if variable in written:
                yield from (written.replace(variable, value) for value in values)


VARIABLES = {"{what}": ("id", "key", "entity"), "{feature.type}": get_args(FieldType)}
"""What stands for the variables in those reasons that have one."""


def test_every_log_event_is_in_operating() -> None:
    """What a worker logs is explained with its level, and nothing else is."""
    logged = {
        (str(call.args[0].value), str(call.func.attr))
        for call in calls()
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in ("info", "warning", "error")
        and isinstance(call.args[0], ast.Constant)
    }
    table = rows(section(OPERATING, "The log"))

    assert logged == {(row[0].strip("`"), row[1]) for row in table}


def test_every_alert_rule_is_in_operating() -> None:
    """Whoever is woken by a rule finds what to do."""
    text = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text("utf-8")
    rules = [rule["alert"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    written = named(section(OPERATING, "Alerts, and what to do"))

    assert rules == [name for name in written if name.startswith("Streamproc")]


def test_the_false_alarms_that_check_shows_are_those_of_the_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every line of the page is one of the command's, which stands above it."""
    text = section(OPERATING, "How many false alarms, and how soon")
    (command,) = re.findall("^    streamproc (.+)$", text, re.M)
    (shown,) = re.findall("^```text\n(.+?)^```$", text, re.M | re.S)
    arguments = command.replace("payments.py", str(ROOT / "examples/payments.py")).split()

    assert cli.run(arguments) == 0

    told = capsys.readouterr().out.splitlines()
    assert [line for line in shown.splitlines() if line not in ("...", *told)] == []
