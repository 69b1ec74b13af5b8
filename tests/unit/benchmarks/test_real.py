"""Faults are put where they are said to be, and alerts are laid at their doors."""

from collections.abc import Iterator
from typing import Any

from river import drift

from benchmarks.detection import faults, real_tables, sea
from benchmarks.detection.watching import Life, Told, lives
from streamproc.eventtime import format_time, parse_time_ms

HOUR_MS = 3_600_000


def payments() -> Iterator[dict[str, Any]]:
    """A payment an hour from 2018-05-31 to 2018-08-01, of all groups in turn."""
    first = parse_time_ms("2018-05-31T00:00:00Z")
    for hour in range(62 * 24):
        yield {
            "transaction_id": hour,
            "event_time": format_time(first + hour * HOUR_MS),
            "customer_id": hour,
            "terminal_id": hour,
            "amount": 100.0,
            "fraud": 0,
        }


def test_a_fault_is_in_its_group_and_time_only() -> None:
    """A fault is in its group and time only."""
    made = list(faults.rows(payments()))
    assert made[0]["event_time"].startswith("2018-06-01T00")
    assert made[-1]["event_time"].startswith("2018-07-31T23")
    dearer = [row for row in made if row["amount"] != 100.0]
    assert {(row["customer_group"], row["amount"]) for row in dearer} == {
        ("c07", 110.0),
        ("c13", 130.0),
    }
    days = [row["event_time"][:10] for row in dearer if row["customer_group"] == "c07"]
    assert min(days) >= "2018-07-01"
    assert max(days) < "2018-07-22"
    stuck = [row["event_time"][:10] for row in made if row["temperature"] == faults.STUCK]
    assert stuck.count("2018-07-10") == stuck.count("2018-07-11") == 24


def test_the_same_rows_come_again() -> None:
    """The same rows come again."""
    assert list(faults.rows(payments())) == list(faults.rows(payments()))


def step(kind: str, subject: str, slice_: dict[str, str] | None, at: str, status: str) -> Told:
    """Return a step in the life of such an alert."""
    alert: Any = {
        "alert_id": f"{kind}/{subject}/{slice_}",
        "key": f"{kind}/{subject}",
        "kind": kind,
        "subject": subject,
        "slice": slice_,
        "status": status,
        "summary": "So it is.",
    }
    return Told(parse_time_ms(at), 0, alert)


def test_an_alert_that_names_a_fault_in_time_is_its_own_and_others_are_beside() -> None:
    """An alert that names a fault in time is its own and others are beside."""
    slice_, other = {"customer_group": "c07"}, {"customer_group": "c08"}
    steps = [
        step("covariate_drift", "amount", slice_, "2018-07-04T12:00:00Z", "open"),
        step("covariate_drift", "amount", other, "2018-07-05T00:00:00Z", "open"),
        step("covariate_drift", "amount", slice_, "2018-07-24T00:00:00Z", "resolved"),
    ]
    verdicts, beside = faults.verdicts(lives(steps))
    assert [(one.detected_days, one.resolved_days, one.alerts) for one in verdicts] == [
        (3.5, 2.0, 1),
        *[(None, None, 0)] * 4,
    ]
    assert [life.alert["slice"] for life in beside] == [{"customer_group": "c08"}]


def test_an_alert_before_the_fault_is_beside() -> None:
    """An alert before the fault is beside."""
    early = step(
        "covariate_drift", "amount", {"customer_group": "c07"}, "2018-06-30T12:00:00Z", "open"
    )
    verdicts, beside = faults.verdicts(lives([early]))
    assert verdicts[0].detected_days is None
    assert len(beside) == 1


def at_row(row: int, kind: str) -> Life:
    """Return an alert that was opened at a row of SEA."""
    told = step(kind, "error", None, "2026-01-01T00:00:00Z", "open")
    return Life([told._replace(at_ms=told.at_ms + row * 60_000)])


def test_the_delay_is_from_the_last_change_of_concept() -> None:
    """The delay is from the last change of concept, of each kind of alert and of all."""
    found = sea.ours(
        [
            at_row(100, "covariate_drift"),
            at_row(12_700, "label_shift"),
            at_row(12_600, "concept_drift"),
            at_row(20_000, "concept_drift"),
            at_row(37_500, "concept_drift"),
        ]
    )
    assert [(one["of"], one["delays"], one["beside"]) for one in found] == [
        ("wrong decisions, loss", [100, None, 0], 1),
        ("labels", [200, None, None], 0),
        ("all of it", [100, None, 0], 3),
    ]


def test_rivers_detectors_tell_of_rows_as_they_are_numbered() -> None:
    """A share that goes from nothing to all is told within some rows, which begin at 1,000."""
    rows = sea.told_of(drift.PageHinkley(), range(1_000, 2_000), [0] * 500 + [1] * 500)
    assert 1_500 < rows[0] < 1_600


def test_tables_go_between_the_marks(tmp_path: Any) -> None:
    """Tables go between the marks."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- real -->\nbygone\n<!-- /real -->\nafter\n")
    part = {"lines": [sea.line("ours", "labels", [26_000])], "told": []}
    real_tables.into_page(page, real_tables.text({"sea": part}))
    text = page.read_text()
    assert text.startswith("before\n<!-- real -->\n**SEA**")
    assert text.endswith("-->\nafter\n")
    assert "bygone" not in text
    assert "| ours | labels | - | 1,000 | - | 0 |" in text
