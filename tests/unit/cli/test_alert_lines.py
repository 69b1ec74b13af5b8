"""What is told of alerts fits 80 columns, and what does not fit is not lost without a sign."""

from __future__ import annotations

from typing import Any

import pytest

from streamproc import cli
from streamproc.cli.alert_lines import life_lines
from streamproc.cli.evidence import drawn
from streamproc.explaining.explanation import Explanation, Table
from tests.alert_steps import step
from tests.commands import WIDTH

NAME = "amount_mean_1d_by_customer_id, missing"


def test_steps_and_members_are_told_whole() -> None:
    """The largest figures go on in the next line."""
    member: dict[str, Any] = {
        "kind": "data_quality", "subject": NAME, "slice": {"country": "NL"}, "ongoing": False,
        "expected": 3.77302e-05, "observed": 0.0590763,
    }  # fmt: skip
    told_of: Any = step(
        status="update", reason="acknowledged", severity="critical", silenced=True,
        statistic=1.79769e308, samples=12_345_678, members=[member, member], members_in_all=2,
    )  # fmt: skip
    lines = list(life_lines([told_of], []))
    told = " ".join(" ".join(lines).split())
    assert "update, acknowledged critical 1.79769e+308 over 12,345,678 silenced" in told
    assert told.count(f"{NAME} in country=NL 3.77302e-05 -> 0.0590763 (over)") == 2
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize(
    ("name", "figures", "shown"),
    [
        (NAME, 2, NAME),
        (NAME, 4, "amount_mean_1d_by_customer_id, miss…"),
        ("n" * 100, 2, f"{'n' * 50}…"),
    ],
)
def test_a_name_in_a_table_is_cut_with_a_sign(name: str, figures: int, shown: str) -> None:
    """And only where there is no room for it beside the figures."""
    table = Table(("share of events", *("before",) * figures), ((name, *(0.5,) * figures),))
    lines = list(drawn(Explanation(step(), tables=[table])))
    row = next(line for line in lines if line.startswith(name[:4]))
    assert row.split("  ")[0] == shown
    assert row.split()[-figures:] == ["0.5"] * figures
    assert len(row) <= WIDTH


def test_the_list_of_what_can_be_asked_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """No sentence of the help is cut."""
    assert cli.run(["alerts", "--help"]) == 0
    told = capsys.readouterr().out
    assert "Show an alert: its life, and what it is made of." in told
    assert not [line for line in told.splitlines()[1:] if "..." in line]
