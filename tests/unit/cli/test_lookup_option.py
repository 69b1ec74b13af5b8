"""Rows to look up from files: in a backtest, in training data and in a sample, as known by then."""

from __future__ import annotations

import hashlib
import json
import random
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from streamproc import cli

PIPELINE = """
from river import dummy, stats
from streamproc import Events, Field, Labels, Lookup, Pipeline

pipeline = Pipeline(
    name="cards",
    events=Events("cards.events", id="id", key="card", time="at"),
    labels=Labels("cards.labels", id="id", value="fraud"),
    features=[
        Field("amount"),
        Lookup("profiles", by="card", fields=("age", Field("segment", "text"))),
        Lookup("profiles", by="friend", fields=("age",)),
    ],
    model=dummy.PriorClassifier(),
)
"""
DAYS = 40


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipeline, forty days of events, and rows that change, in no order."""
    chance = random.Random(5)
    (tmp_path / "cards.py").write_text(PIPELINE)
    events = ["id,card,friend,at,amount,fraud"]
    for n in range(4 * DAYS):
        friend = "" if n % 9 == 0 else chance.randrange(6)
        events.append(f"{n},{chance.randrange(6)},{friend},{moment(n)},{n}.5,{n % 7 == 0:d}")
    (tmp_path / "cards.csv").write_text("\n".join(events))
    rows = [
        {"card": chance.randrange(5), "age": age, "segment": f"s{age}",
         "known_at": moment(chance.randrange(4 * DAYS))}
        for age in range(60)
    ]  # fmt: skip
    write(tmp_path / "profiles.jsonl", rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def moment(quarters: int) -> str:
    """Return a time, so many quarters of a day after the year began."""
    return (
        f"2024-{1 + quarters // 124:02}-{1 + quarters % 124 // 4:02}T{quarters % 4 * 6:02}:00:00Z"
    )


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    path.write_text("\n".join(map(json.dumps, rows)))


def call(*arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and what it wrote."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.run(list(arguments))
    return code, out.getvalue(), err.getvalue()


def expected(folder: Path, event: dict[str, Any], by: str) -> dict[str, Any]:
    """Return the row that was known last by the time of an event, by looking at each."""
    rows = [json.loads(line) for line in (folder / "profiles.jsonl").read_text().splitlines()]
    entity = event[by]
    known = [
        (row["known_at"], number, row)
        for number, row in enumerate(rows)
        if entity != "" and str(row["card"]) == entity and row["known_at"] <= event["at"]
    ]
    return max(known)[2] if known else {"age": None, "segment": None}


def events_of(folder: Path) -> list[dict[str, Any]]:
    """Return the events as texts."""
    head, *lines = (folder / "cards.csv").read_text().splitlines()
    return [dict(zip(head.split(","), line.split(","), strict=True)) for line in lines]


def test_a_backtest_looks_up_what_was_known_by_then(folder: Path) -> None:
    """Each event has the last row of its own time or before, never a later one."""
    code, _, err = call(
        "backtest", "cards.py", "cards.csv", "--label-delay", "1d", "--out", "p.parquet",
        "--lookup", "profiles=profiles.jsonl",
    )  # fmt: skip
    assert (code, err) == (0, "")
    found = {row["id"]: row for row in parquet.read_table("p.parquet").to_pylist()}
    looked_up = 0
    for event in events_of(folder):
        row, friend = expected(folder, event, "card"), expected(folder, event, "friend")
        said = found[event["id"]]
        assert (said["age_of_card"], said["segment_of_card"]) == (row["age"], row["segment"])
        assert said["age_of_friend"] == friend["age"]
        looked_up += row["age"] is not None
    assert 40 < looked_up < len(found)  # some events came before any row of theirs


def test_training_data_says_which_rows_it_was_made_with(folder: Path) -> None:
    """The manifest has the file's hash; the features are those of the backtest."""
    code, _, err = call(
        "export", "cards.py", "--files", "cards.csv", "--to", "2024-02-09", "--out", "data",
        "--lookup", "profiles=profiles.jsonl",
    )  # fmt: skip
    assert (code, err) == (0, "")
    manifest = json.loads(Path("data/manifest.json").read_text())
    data = Path("profiles.jsonl").read_bytes()
    assert manifest["read"]["lookups"] == {
        "profiles": {
            "name": "profiles.jsonl",
            "sha256": hashlib.sha256(data).hexdigest(),
            "rows": 60,
            "timed": True,
            "bad": 0,
        }
    }
    rows = {row["id"]: row for row in parquet.read_table("data/data").to_pylist()}
    for event in events_of(folder)[:100]:
        assert rows[event["id"]]["age_of_card"] == expected(folder, event, "card")["age"]


def test_rows_without_times_are_static_and_that_is_said(folder: Path) -> None:
    """They may be from the future of an event: whoever reads the figures has to know."""
    write(folder / "static.jsonl", [{"key": 1, "age": 9}, {"key": 1, "age": 10, "segment": 5}])
    code, out, err = call(
        "check", "cards.py", "--sample", "cards.csv", "--json", "--lookup", "profiles=static.jsonl"
    )
    assert code == 0
    assert json.loads(out)["sample"]["events"] == 4 * DAYS
    assert err.splitlines() == [
        "streamproc: static.jsonl has no column known_at: events of any time are given its rows, "
        "also those from before a row was known",
        "streamproc: static.jsonl: 1 rows have a wrong field; row 2: field 'segment' is int (5), "
        "not text of up to 1000 characters",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "rows of profiles are looked up; give them by --lookup profiles=FILE"),
        (["--lookup", "profiles"], "'profiles' names no file; write TOPIC=FILE"),
        (["--lookup", "profiles=gone.csv"], "gone.csv: no such file"),
        (["--lookup", "shops=profiles.jsonl"], "nothing is looked up in 'shops'"),
        (["--lookup", "profiles=bad.jsonl"], "bad.jsonl, row 1: '5 o clock' is neither"),
        (["--lookup", "profiles=none.jsonl"], "none.jsonl, row 1: field 'card' is missing or null"),
        (["--lookup", "profiles=nokey.jsonl"], "no column 'card' or 'friend' of the entity"),
    ],
)
def test_rows_that_cannot_be_read_are_one_line(folder: Path, options: list[str], said: str) -> None:
    """It names the file, the row and the remedy; nothing ran."""
    write(folder / "bad.jsonl", [{"card": 1, "known_at": "5 o clock"}])
    write(folder / "none.jsonl", [{"card": None}])
    write(folder / "nokey.jsonl", [{"age": 1}])
    code, out, err = call("backtest", "cards.py", "cards.csv", *options)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
