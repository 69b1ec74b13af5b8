"""`streamproc features`: the catalogue for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import WIDTH, run, widest

PIPELINE = """
from river import linear_model
from streamproc import Events, Field, Pipeline, Ratio, Shared, Window

spending = Shared(
    [Window("amount", by="card", over="7d", aggregates="mean"),
     Ratio("amount", "amount_mean_7d_by_card")],
    owner="risk team", description="What a card spends, and how far off a payment is from that",
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
    assert done.out.endswith(
        "\n\nrisk team: What a card spends, and how far off a payment is from that\n"
        "  amount_mean_7d_by_card\n  amount_per_amount_mean_7d_by_card\n"
    )


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
    }
