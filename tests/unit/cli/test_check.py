"""`streamproc check`: the picture has what the pipeline has, and fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from river import anomaly, linear_model

from streamproc import Drift, Events, Field, Labels, LabelWindow, Pipeline, PredictionBias, Window
from streamproc.cli.drawing import described, drawn
from tests.commands import WIDTH, run


def pipeline(labels: bool = True, monitors: Any = (), **more: Any) -> Pipeline:
    """Return a pipeline, with labels or without."""
    given: dict[str, Any] = {
        "name": "cards",
        "events": Events("cards.events", id="id", key="card", time="at"),
        "labels": Labels("cards.labels", id="id", value="fraud") if labels else None,
        "features": [Field("amount")],
        "model": linear_model.LogisticRegression(),
        "monitors": monitors,
    }
    return Pipeline(**{**given, **more})


def picture(chosen: Pipeline) -> list[str]:
    """Return the lines of the picture alone."""
    lines = list(drawn(chosen))
    return lines[2 : lines.index("topics") - 3]


def test_a_span_of_years_is_allowed_and_told_of() -> None:
    """An idle entity stays as long, and each of its records: in the picture and the JSON."""
    features = [
        Window("amount", by="card", over=("1d", "3650d"), aggregates=("count",)),
        Window("amount", by="card", over=("7d",), aggregates=("mean",)),  # of the same log
        Window("tip", by="card", over=("366d",), aggregates=("mean",)),
        LabelWindow(by="card", over=("400d",)),
        Window("tip", by=("card", "shop"), over=("90d",), aggregates=("mean",)),
    ]
    chosen = pipeline(features=features)
    notes = described(chosen)["notes"]
    assert [note.split(", in memory: some 50 bytes a record and 250")[0] for note in notes] == [
        "windows of amount by card keep each record for 3650d",
        "windows of tip by card keep each record for 366d",
        "windows of labels by card keep each record for 400d",
    ]
    lines = list(drawn(chosen))
    assert "notes" in lines
    assert "    windows of amount by card keep each record for 3650d, in memory: some 50" in lines
    assert max(map(len, lines)) <= WIDTH
    assert described(pipeline())["notes"] == []
    assert "notes" not in list(drawn(pipeline()))


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (
            pipeline(monitors=[Drift(), PredictionBias()]),
            [
                "  events ──► score ──► predictions ──► drift ──► alerts",
                "  labels ──► │  ▲                                  ▲",
                "             │  └── models ◄── learn ◄─┐           │",
                "             └──► outcomes ────────────┴─► bias ───┘",
            ],
        ),
        (
            pipeline(monitors=[PredictionBias()]),
            [
                "  events ──► score ──► predictions",
                "  labels ──► │  ▲",
                "             │  └── models ◄── learn ◄─┐",
                "             └──► outcomes ────────────┴─► bias ──► alerts",
            ],
        ),
        (
            pipeline(),
            [
                "  events ──► score ──► predictions",
                "  labels ──► │  ▲",
                "             │  └── models ◄── learn ◄─┐",
                "             └──► outcomes ────────────┘",
            ],
        ),
        (
            pipeline(labels=False, model=anomaly.HalfSpaceTrees(), monitors=[Drift()]),
            [
                "  events ──► score ──► predictions ──► drift ──► alerts",
                "             │  ▲",
                "             │  └── models ◄── learn ◄─┐",
                "             └── what was scored ──────┘",
            ],
        ),
        (pipeline(labels=False), ["  events ──► score ──► predictions"]),
    ],
)
def test_only_what_is_there_is_drawn(chosen: Pipeline, expected: list[str]) -> None:
    """A pipeline without labels or monitors has no such stage in its picture."""
    assert expected == [line.rstrip() for line in picture(chosen)]


def test_long_names_do_not_break_the_width() -> None:
    """Names as long as Kafka takes are wrapped, features of many spans are all listed."""
    name = "a" * 64
    chosen = pipeline(
        name=name,
        events=Events("e" * 100, id="i" * 50, key="k" * 50, time="t" * 50),
        labels=False,
        features=[Window("v" * 40, by="k" * 50, over=("1d", "7d"), aggregates=("mean", "count"))],
    )
    lines = list(drawn(chosen))
    assert max(map(len, lines)) <= WIDTH
    shown = "".join("".join(lines).split())
    assert all(feature in shown for feature in chosen.feature_names)


def test_a_program_gets_the_whole_definition() -> None:
    """The JSON names topics, features with their kind, monitors and the model."""
    told = described(pipeline(monitors=[Drift(bucket="6h")]))
    assert told["kind"] == "binary"
    assert told["topics"]["dead_letters"] == "cards.dead-letters"
    assert told["features"] == [{"name": "amount", "kind": "field", "of": "field, number"}]
    assert told["monitors"][0]["watches"] == "1 feature and the score, in buckets of 6h"
    assert told["model"] == "LogisticRegression"


def test_all_that_drift_watches_is_counted_once() -> None:
    """Texts as well as numbers; what one monitor names is no other's, and one has the score."""
    features = [Field("amount"), Field("age"), Field("country", type="text")]
    chosen = pipeline(monitors=[Drift(features=["age"]), Drift()], features=features)
    told = [each["watches"] for each in described(chosen)["monitors"]]
    assert told == ["age and the score, in buckets of 1h", "2 features, in buckets of 1h"]
    chosen = pipeline(monitors=[Drift()], features=features)
    assert described(chosen)["monitors"][0]["watches"].startswith("3 features and the score, ")


def test_a_terminal_that_knows_only_ascii_gets_ascii(tmp_path: Path) -> None:
    """The arrows are drawn with what there is."""
    (tmp_path / "p.py").write_text(
        "from river import linear_model\n"
        "from streamproc import Events, Field, Pipeline\n"
        "pipeline = Pipeline(name='p', events=Events('e', id='i', key='k', time='t'),\n"
        "    features=[Field('a')], model=linear_model.LogisticRegression())\n"
    )
    done = run(tmp_path, "check", "p.py", env={"PYTHONIOENCODING": "ascii"})
    assert done.code == 0
    assert "events --> score --> predictions" in done.out


LEAKY = """
from river import linear_model
from streamproc import Events, Field, Hashed, Labels, Pipeline

pipeline = Pipeline(
    name="cards",
    events=Events("cards.events", id="id", key="card", time="at"),
    labels=Labels("cards.labels", id="id", value="fraud"),
    features=[Field("amount"), Field("refund"), Hashed("shop", buckets=4)],
    model=linear_model.LogisticRegression(),
)
"""


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """A folder with a pipeline one of whose features is filled in once a fraud is known."""
    (tmp_path / "cards.py").write_text(LEAKY)
    lines = ["card,at,amount,refund,shop,fraud"]
    for n in range(200):
        fraud = int(n % 4 == 0)
        amount = "ten" if n == 3 else n * 37 % 101
        lines.append(f"{n % 5},{n * 1000},{amount},{fraud * 10},s{n % 50},{fraud}")
    (tmp_path / "cards.csv").write_text("\n".join(lines))
    return tmp_path


def test_a_sample_finds_what_knows_the_label(leaky: Path) -> None:
    """One line each, with the figure; exit code 1; how full the hash is told too."""
    done = run(leaky, "check", "cards.py", "--sample", "cards.csv", "--number-rows")
    assert (done.code, done.err) == (1, "")
    lines = done.out.splitlines()
    at = lines.index("sample: 199 events, 199 with a label, dead letters: 1")
    assert lines[at + 1 :] == [
        "  leak: refund alone tells the label (ROC AUC 1.000); known when scored?",
        "  shop_hash: about 51 categories in 4 columns, 51 of them share one",
    ]


def test_a_sample_without_leaks_is_fine(leaky: Path) -> None:
    """Exit code 0, though a feature never changes; no more rows are read than asked for."""
    good = LEAKY.replace('"refund"', '"nothing"')
    (leaky / "cards.py").write_text(good)
    told = ("check", "cards.py", "--sample", "cards.csv", "--number-rows")
    done = run(leaky, *told)
    assert (done.code, done.err) == (0, "")
    assert "\n  constant: nothing is always null: it says nothing\n" in done.out
    assert done.out.endswith("  no feature alone tells the label\n")
    done = run(leaky, *told, "--limit", "100", "--json")
    sample = json.loads(done.out)["sample"]
    assert (sample["events"], sample["labelled"], len(sample["findings"])) == (99, 99, 1)
    assert (sample["dead_letters"], sample["file"]) == ({"field_not_number": 1}, "cards.csv")
    done = run(leaky, *told, "--leave-out", "fraud")
    assert done.out.endswith("  no event has a label: whether a feature knows it can't be said\n")


def test_a_program_gets_the_leaks(leaky: Path) -> None:
    """The JSON has kind, feature, figure and summary; the exit code is the same."""
    done = run(leaky, "check", "cards.py", "--sample", "cards.csv", "--number-rows", "--json")
    (finding,) = json.loads(done.out)["sample"]["findings"]
    assert (done.code, finding["kind"], finding["feature"]) == (1, "leak", "refund")
    assert finding["figure"] == 1.0


def test_a_sample_that_cannot_be_read_is_one_line(leaky: Path) -> None:
    """What the user gave wrongly ends with exit code 2."""
    done = run(leaky, "check", "cards.py", "--sample", "none.csv", "--json")
    assert (done.code, done.out) == (2, "")
    assert done.err == "streamproc: none.csv: no such file; check the path\n"
