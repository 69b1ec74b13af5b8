"""What the pages tell people to type can be typed."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

import orjson
import pytest
import typer.main

from streamproc.cli import COMMANDS, run
from streamproc.cli.app import _app
from streamproc.pipeline import Pipeline
from tests.docs.pages import OPERATING, README, ROOT, anchors, blocks, commands

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")]
)


@pytest.mark.parametrize("page", [README, OPERATING], ids=lambda page: page.name)
def test_every_command_can_be_called_so(page: Path) -> None:
    """Names, options and their values are those that the commands take."""
    written = commands(page)

    assert written, f"no commands found in {page.name}"
    for name, *arguments in written:
        assert name in COMMANDS, f"streamproc {name}"
        group = typer.main.get_command(_app(name))
        group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]


def test_every_make_target_is_there() -> None:
    """What the pages ask of make is in the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    asked = {
        name
        for page in PAGES
        for name in re.findall(r"(?:`|^    )make ([a-z]+)", page.read_text("utf-8"), re.M)
    }

    assert {"demo", "test"} <= asked
    assert set() == asked - targets


def test_the_first_pipeline_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's payments go through its pipeline, each with a prediction and a label."""
    make_payments, first = blocks(README, "python")
    (tmp_path / "make_payments.py").write_text(make_payments)
    (tmp_path / "first.py").write_text(first)
    for name in [name for name in os.environ if name.startswith("STREAMPROC_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("make_payments.py")
    backtest = next(words for words in commands(README) if words[0] == "backtest")

    code = run([*backtest, "--limit", "1500", "--json"])
    report = orjson.loads(capsys.readouterr().out)

    assert (code, report["predictions"], report["outcomes"]) == (0, 1500, 1500)
    assert Pipeline.load("first.py").name == "first"


def test_every_link_leads_somewhere() -> None:
    """Files and headings that the pages link to are there."""
    broken = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"https?://", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")

    assert broken == []


def test_every_page_can_be_found() -> None:
    """Each page under docs/ is linked from an index."""
    folder = ROOT / "docs"
    decisions = {path.name for path in (folder / "decisions").glob("0*.md")} - {"0000-template.md"}
    own = {path.name for path in folder.glob("*.md")} - {"README.md", "messages.template.md"}
    index = (folder / "README.md").read_text("utf-8")
    register = (folder / "decisions" / "README.md").read_text("utf-8")

    assert sorted(name for name in own if f"({name})" not in index) == []
    assert sorted(name for name in decisions if f"({name})" not in register) == []
