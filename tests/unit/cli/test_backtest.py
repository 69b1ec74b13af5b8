"""`streamproc backtest`: the figures are those of its predictions, and of what it says they are."""

from __future__ import annotations

import csv
import json
import random
import re
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from river import linear_model, preprocessing

from streamproc import cli
from streamproc.metrics import prequential_report
from tests.alert_steps import step
from tests.commands import WIDTH, Running, plain, widest

PIPELINE = """
from river import linear_model, preprocessing
from streamproc import Drift, Events, Field, Labels, Pipeline, Window

pipeline = Pipeline(
    name="cards",
    events=Events("cards.events", id="id", key="card", time="at"),
    labels=Labels("cards.labels", id="id", value="fraud"),
    features=[Field("amount"), Window("amount", by="card", over=("1d",), aggregates=("mean",))],
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    monitors=[Drift()],
    publish_every=50,
)
"""
ROWS = 400
STAMPS = ("--start", "2018-04-01", "--every", "10m", "--number-rows", "--label-delay", "1h")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipeline and a file whose labels can be learnt."""
    (tmp_path / "cards.py").write_text(PIPELINE)
    chance = random.Random(5)
    with (tmp_path / "cards.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["card", "amount", "fraud"])
        for number in range(ROWS):
            amount = round(chance.uniform(0, 100), 2)
            fraud = int(amount > 60)
            writer.writerow([number % 5, "abc" if number == 3 else amount, fraud])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and what it wrote."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.run(list(arguments))
    return code, out.getvalue(), err.getvalue()


def backtest(*options: str) -> tuple[int, str, str]:
    """Run a backtest in this process; return its exit code and what it wrote."""
    return run("backtest", "cards.py", "cards.csv", *STAMPS, *options)


def test_alerts_of_a_backtest_are_listed_and_explained(folder: Path) -> None:
    """From the file that it wrote: no broker is asked."""
    rng = random.Random(2)
    with (folder / "cards.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["card", "amount", "fraud"])
        for number in range(3_000):
            writer.writerow([number % 5, rng.gauss(50 if number < 2_000 else 90, 15), 0])
    code, out, _ = backtest("--alerts", "a.jsonl", "--json")
    told = json.loads(out)["alerts"]
    assert code == 0
    assert told
    assert not Path("a.jsonl.part").exists()
    code, out, _ = run("alerts", "list", "cards.py", "--all", "--of", "a.jsonl", "--json")
    assert [each["alert_id"] for each in json.loads(out)] == [each["alert_id"] for each in told]
    id_ = next(each["alert_id"] for each in told if each["subject"] == "amount")
    code, out, _ = run("alerts", "show", id_, "cards.py", "--of", "a.jsonl", "--svg", "a.svg")
    assert code == 0
    assert "evidence, ┄ is an alarm" in out
    assert "examples since then" in out
    assert widest(out) <= WIDTH
    assert Path("a.svg").read_text().startswith("<svg")


def test_an_alert_of_a_file_is_shown_without_the_pipeline(folder: Path) -> None:
    """Its life; a pipeline that is another one is told, and so is what else is needed."""
    known: Any = {"alert_id": "0123456789abcdef", "pipeline": "cards"}
    found = [step(**known), step(status="resolved", reason="recovered", **known)]
    lines = [json.dumps({"of": "alerts", "value": each}) for each in found]
    Path("a.jsonl").write_text("\n".join(lines) + "\n")
    for alone in (("list", "--all"), ("list",), ()):
        code, out, err = run("alerts", *alone, "--of", "a.jsonl")
        assert (code, err) == (0, "")
        assert out.startswith("0123456789abcdef  resolved" if "--all" in alone else "no alert is")
    code, out, err = run("alerts", "show", "0123456789abcdef", "--of", "a.jsonl")
    assert (code, err) == (0, "")
    assert re.search("^  2023-11-14 22:14 UTC  resolved, recovered +warning ", out, re.M)
    assert out.endswith("\nfor what it is made of, name the pipeline's file behind the ID\n")
    (folder / "others.py").write_text(PIPELINE.replace('name="cards"', 'name="others"'))
    for arguments, told in (
        (("show", "0123456789abcdef", "others.py"), "are of pipeline cards, not others; name "),
        (("show", "0123456789abcdef", "--svg", "a.svg"), "a picture needs the pipeline's file; "),
    ):
        code, out, err = run("alerts", *arguments, "--of", "a.jsonl")
        assert (code, out, err.count("\n"), told in err) == (2, "", 1, True)
    code, _, err = run("alerts", "--of", "a.jsonl", "show", "0123456789abcdef")
    assert (code, "`streamproc alerts show --of a.jsonl`" in err) == (2, True)
    code, _, err = run("alerts", "show", "0" * 16, "--of", "a.jsonl")
    assert (code, "`streamproc alerts list --all --of a.jsonl`" in err) == (1, True)


def test_the_report_says_how_its_alerts_are_seen(folder: Path) -> None:
    """By commands that run as they are written, but for the ID."""
    code, out, _ = backtest("--alerts", "a.jsonl")
    assert code == 0
    listed, shown = out.splitlines()[-2:]
    assert run(*listed.split()[1:])[0] == 0
    assert shown.split()[1:] == ["alerts", "show", "ID", "cards.py", "--of", "a.jsonl"]


@pytest.mark.parametrize("named", ["X", "amount", "0123456789abcde"])
def test_what_is_no_id_is_told_before_a_broker_is_asked(folder: Path, named: str) -> None:
    """It is not taken for a pipeline's file, with the question for an ID that was given."""
    code, _, err = run("alerts", "silence", named)
    assert (code, err.count("\n")) == (2, 1)
    assert f"{named!r} is no alert's ID, which has 16 of 0-9 and a-f; " in err


@pytest.mark.parametrize("text", ["", '{"a": 1}', "no JSON", "[]"])
def test_a_file_that_has_no_alerts_is_one_line(folder: Path, text: str) -> None:
    """What it is not, and what writes one; or what was not found in it."""
    Path("a.jsonl").write_text(text)
    code, _, err = run("alerts", "show", "0" * 16, "cards.py", "--of", "a.jsonl")
    assert (code, err.count("\n")) == (1, 1)
    assert "a.jsonl" in err
    code, _, err = run("alerts", "list", "--of", "gone.jsonl")
    assert (code, err.count("\n")) == (1, 1)
    assert "cannot be read" in err
    code, _, err = backtest("--alerts", "gone/a.jsonl")
    assert (code, "cannot be written" in err) == (1, True)


def test_the_figures_are_those_of_the_predictions(folder: Path) -> None:
    """The metrics, counts and dead letters can be computed from the file of predictions."""
    code, out, err = backtest("--json", "--out", "p.parquet")
    assert (code, err, out.count("\n")) == (0, "", 1)
    report = json.loads(out)
    rows = parquet.read_table("p.parquet").to_pylist()
    assert len(rows) == report["predictions"] == report["outcomes"] == ROWS - 1
    assert (report["events"], report["dead_letters"]) == (ROWS, {"field_not_number": 1})
    assert report["versions"] == (ROWS - 1) // 50
    for span, chosen in (
        ("all", rows),
        ("learnt", [row for row in rows if row["model"] != "main@0"]),
    ):
        scores, labels = [row["score"] for row in chosen], [row["label"] for row in chosen]
        expected = prequential_report("binary", labels, scores)
        told = report["metrics"][span]
        own = {name: it for name, it in expected.items() if not name.startswith("baseline_")}
        assert told["model"] == pytest.approx(own)
        assert told["baseline"]["roc_auc"] == 0.5
    assert report["outcomes_before_learning"] == sum(row["model"] == "main@0" for row in rows)


def test_the_frozen_model_is_the_first_version(folder: Path) -> None:
    """Its figures are those of a model that learnt from fifty outcomes and then no more."""
    _, out, _ = backtest("--json", "--out", "p.parquet")
    rows = parquet.read_table("p.parquet").to_pylist()

    def features(row: dict[str, Any]) -> dict[str, float]:
        return {name: row[name] for name in ("amount", "amount_mean_1d_by_card")}

    frozen: Any = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    for row in rows[:50]:
        frozen.learn_one(features(row), row["label"])
    later = [row for row in rows if row["model"] != "main@0"]
    scores = [frozen.predict_proba_one(features(row))[True] for row in later]
    before = [0.5] * (len(rows) - len(later))  # as nothing had been published by then
    expected = prequential_report("binary", [row["label"] for row in later], scores)
    every = prequential_report("binary", [row["label"] for row in rows], before + scores)
    metrics = json.loads(out)["metrics"]
    assert metrics["all"]["frozen"]["log_loss"] == pytest.approx(every["log_loss"])
    told = metrics["learnt"]
    assert told["frozen"]["log_loss"] == pytest.approx(expected["log_loss"])
    assert told["frozen"]["roc_auc"] == pytest.approx(expected["roc_auc"])
    assert told["frozen"]["log_loss"] > told["model"]["log_loss"]  # which learnt on


def reacting(folder: Path, overridden: list[float]) -> None:
    """Write ten days of events, and by the day which share of them is overridden after an hour."""
    reactions = 'Reactions("cards.overrides", id="id", value="wrong", reference="3d")'
    text = PIPELINE.replace("Drift()", reactions).replace("import Drift", "import Reactions")
    (folder / "cards.py").write_text(text)
    chance, made = random.Random(2), []
    start = datetime(2018, 4, 1, 1, tzinfo=UTC)
    with (folder / "cards.csv").open("w") as file:
        file.write("card,amount,fraud\n")
        for number in range(288 * len(overridden)):
            file.write(f"{number % 5},{chance.uniform(0, 100):.2f},0\n")
            if chance.random() < overridden[number // 288]:
                at = start + timedelta(minutes=5 * number)
                made.append(json.dumps({"id": number, "wrong": True, "at": at.isoformat()}))
    chance.shuffle(made)
    (folder / "overrides.jsonl").write_text("\n".join(made))


def test_reactions_are_watched_where_a_file_has_them(folder: Path) -> None:
    """One day's overrides, in a file that is in no order, are told of and are over again."""
    reacting(folder, [0.1] * 7 + [0.4] + [0.1] * 2)
    stamps = ("--every", "5m", "--json")
    code, out, _ = backtest(*stamps, "--reactions", "cards.overrides=overrides.jsonl")
    (alert,) = json.loads(out)["alerts"]
    assert (code, alert["resolved"]) == (0, True)
    assert (alert["kind"], alert["subject"]) == ("performance", "cards.overrides, how many")
    assert alert["first_seen_ms"] == 1_523_145_600_000  # the 8th of April, midnight
    assert json.loads(backtest(*stamps)[1])["alerts"] == []


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("cards.overrides", "names no file; write TOPIC=FILE"),
        ("cards.likes=overrides.jsonl", "has no reactions; there are cards.overrides"),
        ("cards.overrides=cards.csv", "row 1 has no 'at', which the pipeline names"),
    ],
)
def test_mistakes_of_reactions_are_told(folder: Path, option: str, told: str) -> None:
    """In one line."""
    reacting(folder, [0.1])
    code, _, err = backtest("--reactions", option)
    assert code != 0
    assert told in " ".join(err.split())


def test_a_report_for_people_fits_the_terminal(folder: Path) -> None:
    """It names the three who are compared, the alerts and the dead letters, on a terminal too."""
    with Running(folder, "backtest", "cards.py", "cards.csv", *STAMPS, tty=True) as running:
        done = running.done()
    assert done.code == 0
    counts = (
        r"399 predictions, 399 with a label; 7 model versions\nin [\d.]+ s \([\d,]+ events/s\)\n"
    )
    assert re.search(counts, plain(done.out))
    assert re.search(r"\n +model +frozen +no skill\n", plain(done.out))
    for told in ("ROC AUC", "log loss", "alerts: none", "dead letters: 1\n"):
        assert told in done.out
    assert widest(done.out) <= WIDTH


def test_no_more_rows_than_asked_for(folder: Path) -> None:
    """`--limit` counts rows of the file."""
    _, out, _ = backtest("--json", "--limit", "10")
    assert json.loads(out)["events"] == 10


def test_a_file_in_which_little_can_be_learnt_or_found_is_told(folder: Path) -> None:
    """Where labels come too late, or a version takes too many; where it has no more than is usual.

    400 events 10 minutes apart span 66.5 hours. Before a label that takes 64 hours come 384.
    """
    _, out, _ = backtest("--json")
    short = "No change could be found: the file spans 2.8 days, and what is usual is learnt in the "
    assert json.loads(out)["notes"] == [f"{short}first 7 days."]
    late = "events were scored, by a model that had learnt nothing: take a longer file, or labels "
    late += "that come sooner (--label-delay)."
    for delay, part in (("64h", "96% of the"), ("30d", "all")):
        _, out, _ = backtest("--label-delay", delay)
        told = " ".join(out.split())
        assert f"Labels came after {part} {late}" in told
        assert f"alerts: none {short}first 7 days." in told
        assert widest(out) <= WIDTH
    many = PIPELINE.replace("publish_every=50", "publish_every=2_000")
    (folder / "cards.py").write_text(many.replace("Drift()", "Drift(reference='2d')"))
    _, out, _ = backtest("--json")
    assert json.loads(out)["notes"] == [
        "100% of the outcomes were scored by a model that had learnt nothing: it takes 2,000 "
        "outcomes to publish a version (publish_every)."
    ]
    fails = PIPELINE.replace('Field("amount")', 'Field("amount"), Field("card_name", type="text")')
    (folder / "cards.py").write_text(fails.replace("Drift()", "Drift(reference='2d')"))
    rows = (folder / "cards.csv").read_text().splitlines()
    named = [f"{row},{'card_name' if row == rows[0] else 'x'}" for row in rows]
    (folder / "cards.csv").write_text("\n".join(named))
    report = json.loads(backtest("--json")[1])
    assert report["dead_letters"]["model_failed"] == report["outcomes_before_learning"] > 0
    assert report["notes"] == []


def test_a_file_without_labels_is_told(folder: Path) -> None:
    """Where nothing can be measured the report says why."""
    code, out, _ = backtest("--leave-out", "fraud")
    assert code == 0
    assert "no prediction met a label: no row has 'fraud'" in out


def test_ctrl_c_leaves_no_half_a_file(folder: Path) -> None:
    """Ctrl-C ends a backtest within 2 s, silently and with nothing left over."""
    (folder / "long.csv").write_text("card,amount,fraud\n" + "1,2.5,0\n" * 300_000)
    options = (*STAMPS, "--out", "p.parquet")
    with Running(folder, "backtest", "cards.py", "long.csv", *options, tty=True) as running:
        running.until(lambda: re.search(r"\d,\d{3} events", running.out()) is not None)
        assert any(path.name.startswith(".p.parquet") for path in folder.iterdir())
        done = running.interrupt()
    assert done.code == 130
    assert "Traceback" not in done.out
    assert not list(folder.glob("*.parquet*"))
    assert not list(folder.glob(".*.part"))


def test_performance_is_as_a_monitor_reports_it(folder: Path) -> None:
    """The last window, of the same outcomes, beside baselines; a table that fits for people."""
    text = (folder / "cards.py").read_text().replace("Drift()", "Performance(window='90d')")
    (folder / "cards.py").write_text(text.replace("import Drift", "import Performance"))
    _, out, _ = backtest("--json")
    report = json.loads(out)
    last, guess = report["performance"]
    assert (last["about"], guess["about"]) == ("outcomes", "predictions")
    assert 0 < last["n"] <= ROWS - 1
    told, exact = last["metrics"]["model"], report["metrics"]["learnt"]["model"]
    assert told["roc_auc"] == pytest.approx(exact["roc_auc"], abs=0.1)
    assert set(last["metrics"]) == {"model", "zero_rule", "random", "guessed"}
    _, out, _ = backtest()
    assert re.search(r"model +guessed +zero-rule +random", out)
    assert widest(out) <= WIDTH
