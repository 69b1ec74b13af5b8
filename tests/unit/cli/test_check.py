"""`streamproc check`: the picture has what the pipeline has, and fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from river import anomaly, linear_model

from streamproc import Drift, Events, Field, Labels, Pipeline, PredictionBias, Window
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
