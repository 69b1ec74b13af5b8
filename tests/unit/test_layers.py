"""Who may import whom: downward only, and the parts that compute know nothing of the world."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import ROOT

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("state",),
    ("messages",),
    ("codec", "eventtime"),
    ("events", "files", "simulator", "timeline"),
    ("features", "models", "labels", "metrics"),
    ("monitors", "notify"),
    ("alerts", "checking"),
    ("pipeline",),
    ("tasks",),
    ("replay", "results", "demo", "audit", "explaining"),
    ("dataset",),
    ("testing", "training", "leakage", "catalogue"),
    ("kafka", "settings", "dashboard"),
    ("agents",),
    ("cli",),
)
"""From the ground up. A module imports from its own layer's part and from the layers below."""

BESIDE = {
    # A part of a layer -> the parts beside it that it builds on.
    "timeline": {"files"},
    "labels": {"features"},
    "kafka": {"settings"},
}

IMPURE = {"kafka", "settings", "dashboard", "cli", "agents"}
"""The packages that may know of brokers, the environment and the clock."""

SIBLINGS = {"score", "learn", "drift", "bias", "alerts"}
"""The agents, one a file; what they share is in the other files of agents/."""

FORBIDDEN_MODULES = {"faust", "mode", "asyncio", "aiokafka", "confluent_kafka", "threading"}
FORBIDDEN_CALLS = {
    "os.environ",
    "os.getenv",
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.perf_counter",
    "time.sleep",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
}

PIPELINE_FILES = {ROOT / "streamproc" / "demo" / "payments.py"}
"""Written as a user writes one, on the public names; no module of ours imports it."""

MODULES = sorted({*ROOT.glob("streamproc/**/*.py"), *ROOT.glob("agents/**/*.py")} - PIPELINE_FILES)


def _part(dotted: str) -> str | None:
    """Return the part of the house that a module belongs to; None for those of others.

    >>> _part("streamproc.monitors.judge"), _part("agents.score"), _part("numpy.linalg")
    ('monitors', 'agents', None)
    """
    names = dotted.split(".")
    if names[0] == "agents":
        return "agents"
    if names[0] != "streamproc":
        return None
    return names[1] if len(names) > 1 else "streamproc"


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield what is imported, but for annotations only."""
    if isinstance(tree, ast.If) and "TYPE_CHECKING" in ast.unparse(tree.test):
        return
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        assert tree.level == 0, "imports name the whole way, so that they can be read here"
        assert tree.module is not None
        # `from agents import score` imports agents.score.
        yield from (f"{tree.module}.{alias.name}" for alias in tree.names)
    for child in ast.iter_child_nodes(tree):
        yield from _imports(child)


def _level(part: str) -> int:
    (level,) = [number for number, parts in enumerate(LAYERS) if part in parts]
    return level


def _may_import(part: str, other: str) -> bool:
    below = _level(other) < _level(part)
    return other == part or below or other in BESIDE.get(part, ())


def _violations(dotted: str, source: str) -> list[str]:
    """Return what a module imports or calls and must not, in words."""
    part, tree = _part(dotted), ast.parse(source)
    if part in (None, "streamproc"):  # the public names: whatever they are gathered from
        return []
    assert part is not None
    found = []
    for name in _imports(tree):
        other = _part(name)
        if other is not None and other != "streamproc" and not _may_import(part, other):
            found.append(f"{dotted} imports {name}, which is not below it")
        siblings = {dotted.rpartition(".")[2], *name.split(".")[1:2]} & SIBLINGS
        if part == other == "agents" and len(siblings) == 2:
            found.append(f"{dotted} imports {name}, an agent beside it")
        if part not in IMPURE and name.split(".")[0] in FORBIDDEN_MODULES:
            found.append(f"{dotted} imports {name}, which is not for what computes")
        if part != "agents" and name.split(".")[0] in ("faust", "mode"):
            found.append(f"{dotted} imports {name}, which lives in agents only")
    if part not in IMPURE:
        called = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for call in sorted(FORBIDDEN_CALLS):
            if any(f".{name}".endswith(f".{call}") for name in called):
                found.append(f"{dotted} uses {call}; what it needs of it is handed in")
        for name in _imports(tree):
            if ".".join(name.split(".")[-2:]) in FORBIDDEN_CALLS:
                found.append(f"{dotted} imports {name}; what it needs of it is handed in")
    return found


@pytest.mark.parametrize("path", MODULES, ids=_dotted)
def test_a_module_imports_only_from_below(path: Path) -> None:
    """The layers hold, and what computes knows no clock, no environment and no event loop."""
    assert _violations(_dotted(path), path.read_text()) == []


def test_every_module_has_its_place() -> None:
    """A new part of streamproc/ is given a layer here."""
    placed = {part for parts in LAYERS for part in parts}
    parts = {_part(_dotted(path)) for path in MODULES} - {"streamproc"}
    assert parts <= placed


@pytest.mark.parametrize(
    ("dotted", "source"),
    [
        ("streamproc.features.windows", "from streamproc.pipeline import Pipeline"),
        ("streamproc.features.windows", "from streamproc import alerts"),
        ("streamproc.features.windows", "def f():\n    import streamproc.monitors.judge"),
        ("streamproc.pipeline", "from streamproc.kafka.topics import probe"),
        ("streamproc.features.windows", "from streamproc.models.scoring import Scorer"),
        ("streamproc.kafka.topics", "import agents.app"),
        ("streamproc.kafka.topics", "import faust"),
        ("streamproc.cli.main", "from mode import Service"),
        ("agents.score", "from agents.learn import LearnStage"),
        ("agents.score", "from agents import learn"),
        ("agents.score", "from streamproc.cli import main"),
        ("streamproc.alerts", "import asyncio"),
        ("streamproc.alerts", "import confluent_kafka"),
        ("streamproc.alerts", "import os\nHOME = os.environ['HOME']"),
        ("streamproc.alerts", "from os import environ"),
        ("streamproc.alerts", "import time\nnow = time.time"),
        ("streamproc.alerts", "from time import time_ns"),
        ("streamproc.alerts", "import datetime\nnow = datetime.datetime.now()"),
    ],
)
def test_what_goes_upward_is_found(dotted: str, source: str) -> None:
    """Each kind of violation is seen."""
    assert len(_violations(dotted, source)) == 1


@pytest.mark.parametrize(
    ("dotted", "source"),
    [
        ("streamproc.features.windows", "from streamproc.messages import Features"),
        ("streamproc.monitors.judge", "from streamproc.monitors.drift import test"),
        ("streamproc.kafka.topics", "import time\nnow = time.monotonic()"),
        ("agents.score", "from agents.poller import Batch"),
        ("streamproc.cli.main", "from agents.app import build"),
        (
            "streamproc.eventtime",
            "if TYPE_CHECKING:\n    from streamproc.pipeline import Pipeline",
        ),
    ],
)
def test_what_goes_downward_is_let_through(dotted: str, source: str) -> None:
    """The rules forbid nothing that the design allows."""
    assert _violations(dotted, source) == []
