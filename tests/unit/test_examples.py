"""The examples are right, and do on real data what they say."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from streamproc import Pipeline, cli
from streamproc.metrics import roc_auc
from tests.servers import ROOT

EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
HALF_HOURLY = ("--start", "1996-05-07", "--every", "30m", "--number-rows", "--label-delay", "30m")


def run(*arguments: str) -> str:
    """Run a command in this process; return what it printed."""
    out = StringIO()
    with redirect_stdout(out):
        assert cli.run(arguments) == 0
    return out.getvalue()


def backtest(example: str, file: Path, *options: str) -> dict[str, Any]:
    """Backtest an example; return the report."""
    pipeline = str(ROOT / "examples" / example)
    report: dict[str, Any] = json.loads(run("backtest", pipeline, str(file), "--json", *options))
    return report


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_pipeline_of_its_name(example: str) -> None:
    """Each loads, is called like its file, and is drawn."""
    path = ROOT / "examples" / example
    assert Pipeline.load(path).name == path.stem
    assert run("check", str(path)).startswith(f"{path.stem}: ")


@pytest.mark.data
def test_payments_beat_the_baselines(data: Path) -> None:
    """Frauds that are known a day late are learnt, better than by a model that stays as it was."""
    file = data / "payments" / "transactions-2018-07.csv.gz"
    report = backtest("payments.py", file, "--label-delay", "1d", "--limit", "60000")
    learnt = report["metrics"]["learnt"]
    assert report["outcomes"] == report["predictions"] == 60_000
    assert report["dead_letters"] == {}
    assert learnt["model"]["roc_auc"] > max(0.55, learnt["frozen"]["roc_auc"])
    assert learnt["model"]["average_precision"] > 5 * learnt["baseline"]["average_precision"]


@pytest.mark.data
def test_electricity_beats_the_baselines(data: Path) -> None:
    """Whether the price rises is told better than by the more frequent class."""
    file = data / "electricity" / "electricity.csv.gz"
    report = backtest("electricity.py", file, *HALF_HOURLY, "--limit", "8000")
    learnt = report["metrics"]["learnt"]
    assert report["dead_letters"] == {}
    assert learnt["model"]["accuracy"] > learnt["baseline"]["accuracy"] + 0.1
    assert learnt["model"]["roc_auc"] > learnt["frozen"]["roc_auc"]


@pytest.mark.data
def test_demand_beats_the_baselines(data: Path) -> None:
    """The error is below that of the mean so far and of the first version."""
    file = data / "electricity" / "electricity.csv.gz"
    report = backtest("demand.py", file, *HALF_HOURLY, "--limit", "8000")
    learnt = report["metrics"]["learnt"]
    assert report["dead_letters"] == {}
    assert learnt["model"]["r2"] > max(0.5, learnt["frozen"]["r2"])
    assert learnt["model"]["mae"] < 0.75 * learnt["baseline"]["mae"]


@pytest.mark.data
def test_the_machine_is_out_of_the_ordinary_where_experts_said_so(
    data: Path, tmp_path: Path
) -> None:
    """Scores inside the windows of the benchmark are higher than those outside."""
    name = "machine_temperature_system_failure.csv"
    out = tmp_path / "scores.parquet"
    report = backtest("machine.py", data / "nab" / name, "--number-rows", "--out", str(out))
    assert (report["predictions"], report["dead_letters"]) == (22_695, {})
    windows = [
        [datetime.fromisoformat(end).replace(tzinfo=UTC).timestamp() * 1000 for end in window]
        for window in json.loads((data / "nab" / "windows.json").read_text())[name]
    ]
    table = parquet.read_table(out)
    times = table.column("event_time_ms").to_pylist()
    inside = [any(start <= time <= end for start, end in windows) for time in times]
    auc = roc_auc(inside, table.column("score").to_pylist())
    assert auc is not None
    assert auc > 0.7
