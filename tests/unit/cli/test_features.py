"""`streamproc features`: the catalogue for people and for programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.commands import WIDTH, run, widest

PIPELINE = """
from river import linear_model
from streamproc import Events, Field, Pipeline, Ratio, Shared, Window

spending = Shared(
    [Window("amount", by="card", over="7d", aggregates="mean"),
     Ratio("amount", "amount_mean_7d_by_card")],
    name="spending", version=2, owner="risk team",
    description="What a card spends, and how far off a payment is from that",
)
pipeline = Pipeline(
    name="cards", events=Events("cards.events", id="id", key="card", time="at"),
    features=[Field("note", type="text"), spending, Field("a" * 60)],
    model=linear_model.LogisticRegression(),
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a pipeline."""
    (tmp_path / "cards.py").write_text(PIPELINE)
    return tmp_path


def test_the_table_fits_and_names_owners(folder: Path) -> None:
    """Each feature in a line, then what is said of those that are shared."""
    done = run(folder, "features", "cards.py")
    assert (done.code, done.err) == (0, "")
    assert widest(done.out) <= WIDTH
    lines = [line.split() for line in done.out.splitlines()]
    assert ["note", "text", "note", "-", "-", "-"] in lines
    assert ["amount_mean_7d_by_card", "number", "amount", "card", "7d", "7d", "1h"] in lines
    _, about = done.out.split("\n\n")
    said, *names = about.splitlines()[0], *about.splitlines()[2:]
    assert re.fullmatch(
        r"spending version 2 \([0-9a-f]{12}\): risk team: What a card spends.*", said
    )
    assert names == ["  amount_mean_7d_by_card", "  amount_per_amount_mean_7d_by_card"]


def test_a_program_gets_the_catalogue(folder: Path) -> None:
    """One object a feature, times in milliseconds."""
    told = json.loads(run(folder, "features", "cards.py", "--json").out)
    assert [each["name"] for each in told][:2] == ["note", "amount_mean_7d_by_card"]
    assert told[1] == {
        "name": "amount_mean_7d_by_card",
        "kind": "Window",
        "type": "number",
        "fields": ["amount"],
        "reads": [],
        "by": ["card"],
        "span": "7d",
        "expires_after_ms": 608_400_000,
        "owner": "risk team",
        "description": "What a card spends, and how far off a payment is from that",
        "shared": "spending",
        "version": 2,
        "definition": told[2]["definition"],
    }


def test_a_manifest_tells_which_definition_it_was_made_with(folder: Path) -> None:
    """A change under the same version is told with the remedy, and so are columns it lacks."""
    (folder / "rows.csv").write_text("id,card,at,amount\n1,c,2024-01-02T00:00:00Z,5\n")
    export = ("--files", "rows.csv", "--to", "2024-01-03", "--out", "data")
    assert run(folder, "export", "cards.py", *export).code == 0

    def checked(old: str, new: str) -> tuple[int, list[str]]:
        (folder / "cards.py").write_text(PIPELINE.replace(old, new))
        done = run(folder, "check", "cards.py", "--against", "data/manifest.json", "--json")
        assert done.err == ""
        return done.code, json.loads(done.out)["against"]

    manifest = json.loads((folder / "data/manifest.json").read_text())
    assert list(manifest["shared"]) == ["spending"]
    assert checked("risk team", "fraud team") == (0, [])
    assert checked('over="7d"', 'over=("7d", "1h")') == (
        1,
        [
            "shared features 'spending' are not those of data/manifest.json, which have version 2, "
            "too; give them version 3",
            "feature 'amount_mean_1h_by_card' is not in data/manifest.json",
        ],
    )
    assert checked("version=2", "version=3") == (
        1,
        ["shared features 'spending' are version 3; data/manifest.json has version 2"],
    )
    done = run(folder, "check", "cards.py", "--against", "rows.csv")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--against: rows.csv is no manifest of an export; name a manifest.json" in done.err
