"""Which alerts the demo's faults explain, and which are false alarms."""

from __future__ import annotations

from typing import Any

import pytest

from streamproc.demo.explained import TOLD_WITHIN_MS, explaining, moved_windows, names
from streamproc.demo.scenario import LABEL_DELAY_MS, PIPELINE_FILE, Fault, Scenario
from streamproc.pipeline import Pipeline
from streamproc.simulator import DAY_MS

PIPELINE = Pipeline.load(PIPELINE_FILE)
DRIFT, BIAS = Scenario().faults
WEEK_WINDOW = "amount_mean_7d_by_customer_id"


def alert(kind: str, subject: str, slice_: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the part of an alert that says what it is about."""
    return {"kind": kind, "subject": subject, "slice": slice_}


def drift(subject: str) -> dict[str, Any]:
    """Return a drift of a feature."""
    return alert("covariate_drift", subject)


def bias(slice_: dict[str, str] | None) -> dict[str, Any]:
    """Return a bias in a slice."""
    return alert("prediction_bias", "predictions", slice_)


@pytest.mark.parametrize(
    ("about", "fault", "remains_ms"),
    [
        # start            end         + what remains             + told within
        #   |████ fault ████|··· windows still full, labels late ···|·· told ··|
        #   ^ explained from here on                          until here, but not then ^
        (drift("amount"), DRIFT, 0),
        (drift("amount_mean_1d_by_customer_id"), DRIFT, DAY_MS),
        (drift(WEEK_WINDOW), DRIFT, 7 * DAY_MS),
        (bias({"country": "BE"}), BIAS, LABEL_DELAY_MS),
    ],
)
def test_an_alert_is_explained_while_its_fault_is_to_be_seen(
    about: dict[str, Any], fault: Fault, remains_ms: int
) -> None:
    """From the fault's start until nothing of it remains and the news has arrived."""
    last_ms = fault.end_ms + remains_ms + TOLD_WITHIN_MS
    times_ms = (fault.start_ms - 1, fault.start_ms, last_ms - 1, last_ms)
    found = [explaining(about, at_ms, Scenario().faults, PIPELINE) for at_ms in times_ms]
    assert found == [None, fault, fault, None]


@pytest.mark.parametrize(
    ("about", "fault", "remains_ms"),
    [
        (alert("prior_drift", "score"), DRIFT, 7 * DAY_MS),
        (alert("prior_drift", "decision"), DRIFT, 7 * DAY_MS),
        (drift("features"), DRIFT, 7 * DAY_MS),
        (bias(None), DRIFT, 7 * DAY_MS + LABEL_DELAY_MS),
        (bias(None), BIAS, LABEL_DELAY_MS),
        (bias({"country": "BE", "channel": "web"}), BIAS, LABEL_DELAY_MS),
        (alert("prior_drift", "score"), BIAS, LABEL_DELAY_MS),
    ],
)
def test_what_follows_from_a_fault_is_no_false_alarm(
    about: dict[str, Any], fault: Fault, remains_ms: int
) -> None:
    """Nor does it stand for the fault: that has to be named."""
    last_ms = fault.end_ms + remains_ms + TOLD_WITHIN_MS
    times_ms = (fault.start_ms - 1, fault.start_ms, last_ms - 1, last_ms)

    found = [explaining(about, at_ms, [fault], PIPELINE) for at_ms in times_ms]

    assert found == [None, fault, fault, None]
    assert not names(about, fault)


@pytest.mark.parametrize(
    "about",
    [
        drift("amount_count_7d_by_customer_id"),
        bias({"country": "NL"}),
        bias({"channel": "web", "country": "NL"}),
        alert("data_quality", "amount"),
    ],
)
def test_an_alert_on_anything_else_is_false(about: dict[str, Any]) -> None:
    """Counts do not move with amounts; nor do other slices with this one."""
    for fault in (DRIFT, BIAS):
        middle_ms = (fault.start_ms + fault.end_ms) // 2
        assert explaining(about, middle_ms, Scenario().faults, PIPELINE) is None


def test_what_began_in_time_may_be_told_later() -> None:
    """A window's drift that outlives its cause is told once that is over."""
    last_ms = DRIFT.end_ms + 7 * DAY_MS + TOLD_WITHIN_MS
    late = {**drift(WEEK_WINDOW), "first_seen_ms": last_ms - 1}

    assert explaining(late, last_ms + 5 * DAY_MS, [DRIFT], PIPELINE) == DRIFT
    late["first_seen_ms"] = last_ms
    assert explaining(late, last_ms + 5 * DAY_MS, [DRIFT], PIPELINE) is None
    early = {**late, "first_seen_ms": DRIFT.start_ms}
    assert explaining(early, DRIFT.start_ms - 1, [DRIFT], PIPELINE) is None


def test_an_alert_is_about_all_its_members() -> None:
    """Whichever of them is put down as the cause."""
    count = drift("amount_count_7d_by_customer_id")
    grouped = {**count, "members": [count, drift("amount")]}

    assert explaining(grouped, DRIFT.start_ms, Scenario().faults, PIPELINE) == DRIFT
    assert names(grouped, DRIFT)
    assert not names(grouped, BIAS)


def test_only_the_feature_or_slice_itself_names_the_fault() -> None:
    """A window over the drifting field is explained, but it is not what must be found."""
    assert names(drift("amount"), DRIFT)
    assert names(bias({"country": "BE"}), BIAS)
    assert not names(drift(WEEK_WINDOW), DRIFT)
    assert not names(drift("amount"), BIAS)
    assert not names(bias({"country": "BE"}), DRIFT)


def test_windows_that_move_are_those_over_the_field_but_counts() -> None:
    """Their names come with the span for which drifted values stay inside."""
    assert moved_windows("amount", PIPELINE) == {
        "amount_mean_1d_by_customer_id": DAY_MS,
        WEEK_WINDOW: 7 * DAY_MS,
    }
    assert moved_windows("terminal_id", PIPELINE) == {}
