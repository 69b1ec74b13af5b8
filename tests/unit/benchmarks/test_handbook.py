"""The handbook's table: its protocol, by hand and by another way; the command, on a few rows."""

from __future__ import annotations

import csv
import json
import random
import re
import sys
from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from benchmarks import handbook
from benchmarks.drawing import plotted
from benchmarks.protocol import Figures, Payments, card_precision, day_of, measured, under_test
from streamproc import Pipeline
from streamproc.eventtime import format_time

WEEK = day_of(date(2018, 8, 8))
COLUMNS = (
    *("transaction_id", "event_time", "customer_id", "terminal_id"),
    *("amount", "fraud", "fraud_scenario"),
)


def payments(*rows: tuple[int, int, int]) -> Payments:
    """Return payments from days after the test week's first, customers and frauds."""
    days, customers, fraud = np.array(rows, np.int64).reshape(-1, 3).T
    return Payments(days + WEEK, customers, fraud)


@pytest.mark.parametrize(
    ("fraud_on", "tested_on"),
    [
        (-15, [0, 1, 2, 3, 4, 5, 6]),  # before the training week: forgotten
        (-14, []),
        (-8, []),
        (-7, [0]),  # known from the second day on
        (-3, [0, 1, 2, 3, 4]),
        (-1, [0, 1, 2, 3, 4, 5, 6]),
        (0, [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_a_customer_is_tested_until_a_fraud_is_known(fraud_on: int, tested_on: list[int]) -> None:
    """And others are tested all week long, and nobody before or after it."""
    rows = [(fraud_on, 1, 1), *((day, 1, 0) for day in range(-2, 9)), (3, 2, 1)]
    got = payments(*rows)
    chosen = got.where(under_test(got, WEEK) & (got.customers == 1) & (got.fraud == 0))
    assert (chosen.days - WEEK).tolist() == tested_on
    assert under_test(got, WEEK)[-1]


def test_a_customer_who_was_found_is_not_looked_at_again() -> None:
    """One who was looked at in vain is; and the highest payment is what counts."""
    rows = payments((0, 1, 1), (0, 2, 0), (0, 2, 0), (0, 3, 1), (1, 1, 1), (1, 2, 1), (1, 3, 1))
    scores = np.array([0.9, 0.1, 0.8, 0.2, 0.9, 0.3, 0.2])
    assert card_precision(rows, scores, top=2) == (0.5, 1.0)
    assert card_precision(rows, scores, top=3) == (2 / 3, 1 / 3)


def test_a_days_few_customers_are_all_looked_into() -> None:
    """What is missing to the number counts as not found."""
    assert card_precision(payments((0, 1, 1)), np.array([0.1])) == (0.01,)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_plain_loops_say(seed: int) -> None:
    """All figures, on drawn payments: by pairs, by thresholds and by sets."""
    draw = random.Random(seed)
    rows = [
        (day, draw.randrange(300), int(draw.random() < 0.05))
        for day in range(-14, 7)
        for _ in range(150)
    ]
    every = payments(*rows)
    scores = np.array([draw.random() + 0.3 * fraud for *_, fraud in rows])
    known = {customer for day, customer, fraud in rows if fraud and -14 <= day <= -8}
    kept: list[tuple[int, int, int, float]] = []
    for test_day in range(7):
        known |= {customer for day, customer, fraud in rows if fraud and day == test_day - 8}
        kept += [
            (*row, score)
            for row, score in zip(rows, scores, strict=True)
            if row[0] == test_day and row[1] not in known
        ]
    chosen = under_test(every, WEEK)
    of_those = every.where(chosen)
    assert [tuple(each.tolist()) for each in of_those[1:]] == [
        tuple(row[i] for row in kept) for i in (1, 2)
    ]
    found = measured(of_those, scores[chosen])
    positive = [score for *_, fraud, score in kept if fraud]
    negative = [score for *_, fraud, score in kept if not fraud]
    wins = sum(p > n for p in positive for n in negative)
    assert found.auc == pytest.approx(wins / len(positive) / len(negative))
    precisions = [
        sum(p >= threshold for p in positive) / sum(row[3] >= threshold for row in kept)
        for threshold in positive
    ]
    assert found.average_precision == pytest.approx(sum(precisions) / len(precisions))
    assert found.cards == pytest.approx(cards_by_sets(kept))
    assert found.card_precision_100 == pytest.approx(sum(found.cards) / 7)


def cards_by_sets(kept: list[tuple[int, int, int, float]]) -> list[float]:
    """Return the card precision of each day, with sets and dictionaries."""
    caught, shares = set[int](), list[float]()
    for test_day in range(7):
        highest, defrauded = defaultdict[int, float](float), set[int]()
        for day, customer, fraud, score in kept:
            if day == test_day and customer not in caught:
                highest[customer] = max(highest[customer], score)
                if fraud:
                    defrauded.add(customer)
        top = set(sorted(highest, key=lambda each: -highest[each])[:100])
        shares.append(len(top & defrauded) / 100)
        caught |= top & defrauded
    return shares


def test_a_week_without_frauds_is_refused() -> None:
    """It has no figures."""
    with pytest.raises(ValueError, match="choose another week"):
        measured(payments((0, 1, 0)), np.array([0.5]))


def test_the_handbooks_own_features_are_fifteen() -> None:
    """River's logistic regression gets them as they are."""
    own = handbook.handbooks_own(Pipeline.load(handbook.EXAMPLE))
    assert len([name for feature in own.features for name in feature.names]) == 15


def test_the_example_learns_from_what_it_says() -> None:
    """What it leaves out is declared, and there is something left."""
    pipeline = Pipeline.load(handbook.EXAMPLE)
    names = {name for feature in pipeline.features for name in feature.names}
    left_out = set(pipeline.new_model()["Discard"].keys)
    assert left_out < names


def made_up(folder: Path, columns: tuple[str, ...] = COLUMNS) -> None:
    """Write payments of January 2020."""
    draw = random.Random(1)
    with (folder / "transactions-2020-01.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        start_ms = day_of(date(2020, 1, 1)) * 86_400_000
        for number in range(4_000):
            fraud = int(draw.random() < 0.1)
            amount = round(draw.uniform(5, 90) + 200 * fraud, 2)
            at = format_time(start_ms + number * 648_000)
            rows.writerow((number, at, draw.randrange(40), draw.randrange(40), amount, fraud, 0))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--test-week", "2020-01-25"], "the payments end on 2020-01-30, within the test week"),
        (["--test-week", "2020-02-01"], "needs the payments of 2020-02-01, and there is no"),
        (["--test-week", "2020-01-10"], "needs the payments of 2019-12-27, and there is no"),
        (["--months", "2020-03"], "no files such as transactions-2018-04.csv.gz"),
        (["--out", "nowhere/table.json"], "no such folder"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of them before ten minutes have gone by."""
    made_up(tmp_path)
    monkeypatch.chdir(tmp_path)
    command = ["handbook", "--test-week", "2020-01-20", "--out", "table.json"]
    monkeypatch.setattr(sys, "argv", [*command, "--folder", str(tmp_path), *arguments])
    with pytest.raises(SystemExit) as ended:
        handbook.main()
    assert told in str(ended.value.code)
    assert "\n" not in str(ended.value.code)
    assert not list(tmp_path.glob("table*"))


def test_a_column_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the pipeline, or the protocol, needs."""
    made_up(tmp_path, tuple(name.replace("fraud", "label") for name in COLUMNS))
    command = ["handbook", "--test-week", "2020-01-20", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="no column 'fraud'"):
        handbook.main()


@pytest.mark.parametrize("text", ["2018-13-01", "soon"])
def test_a_week_is_named_by_a_date(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another text ends in a line that shows how to write one."""
    monkeypatch.setattr(sys, "argv", ["handbook", "--test-week", text])
    with pytest.raises(SystemExit) as ended:
        handbook.main()
    assert ended.value.code == 2
    assert f"{text!r} is no date; write e.g. 2018-08-08" in capsys.readouterr().err


def test_the_command_writes_the_table_and_the_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a month that isn't that of the published table, so that it isn't shown beside."""
    made_up(tmp_path)
    out = tmp_path / "table.json"
    arguments = ["--folder", str(tmp_path), "--months", "2020-01", "--test-week", "2020-01-20"]
    monkeypatch.setattr(sys, "argv", ["handbook", *arguments, "--out", str(out)])
    handbook.main()
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines()[:-1])) <= 80
    record = json.loads(out.read_text())
    assert [row["model"] for row in record["rows"]] == [
        "logistic regression, online",
        "with derived features, online",
    ]
    assert record["auc"] == record["rows"][1]["auc"] > 0.9
    assert 0 < record["card_precision_100"] < record["average_precision"] <= 1
    assert record["events_per_s"] > 0
    assert record["events"] == 3_467  # up to the end of the test week
    assert out.with_suffix(".svg").read_text().startswith("<svg ")


def test_a_plot_names_its_models() -> None:
    """And has a curve and a line of days for each."""
    fraud, scores = np.array([1, 0, 1]), np.array([0.9, 0.5, 0.4])
    figures = Figures(0.5, 0.83, 0.3, (0.2, 0.4))
    svg = plotted(date(2018, 8, 8), {"a & b": (fraud, scores)}, {"a & b": figures})
    assert "a &amp; b: average precision 0.830" in svg
    assert len(re.findall("<polyline", svg)) == 2
    assert "08/08" in svg
    assert "09/08" in svg
