"""What goes with what: one alert for what has one cause, and none that hides another's."""

from __future__ import annotations

from typing import Any

import pytest

from streamproc.alerts import AlertBook
from streamproc.alerts.causes import bond
from streamproc.alerts.telling import MOST_MEMBERS
from tests.unit.alerts.findings import HOUR_MS, Watching, drift, found, over

AMOUNT, SCORE = "covariate_drift/amount", "prior_drift/score"


def test_twenty_features_that_move_at_once_are_one_alert() -> None:
    """It lists them, the most evident first, and names some in its sentence."""
    watching = Watching()
    moved = [drift(5, f"f{n:02}", evidence=float(n)) for n in range(20)]

    assert watching.hour(5, *moved) == [("open", "covariate_drift/f19", "found")]
    (alert,) = watching.alerts
    assert [it["subject"] for it in alert["members"]] == [f"f{n:02}" for n in range(19, -1, -1)]
    assert alert["members_in_all"] == 20
    assert alert["summary"] == (
        "f19 is off. With it: covariate drift of f18, covariate drift of f17, covariate drift of "
        "f16, covariate drift of f15, covariate drift of f14 and 14 more."
    )


def test_a_message_lists_a_bounded_number() -> None:
    """A thousand features that move fit a record; all are counted."""
    watching = Watching()
    watching.hour(5, *(drift(5, f"f{n}") for n in range(1_000)))

    assert len(watching.alerts[0]["members"]) == MOST_MEMBERS
    assert watching.alerts[0]["members_in_all"] == 1_000


def test_a_feature_that_moves_much_later_is_an_alert_of_its_own() -> None:
    """Only what began at about the same time is put together."""
    watching = Watching()

    assert watching.hour(5, drift(5, "amount")) == [("open", AMOUNT, "found")]
    assert watching.hour(9, drift(9, "age")) == [("update", AMOUNT, "wider")]
    assert watching.hour(30, drift(30, "count")) == [("open", "covariate_drift/count", "found")]


def test_windows_follow_their_field_whenever_it_shows_in_them() -> None:
    """A mean over a week moves days later, and is put down to the field it is made of."""
    week_ms = 7 * 24 * HOUR_MS
    features = {"amount": (("amount",), 0), "amount_mean_7d": (("amount",), week_ms)}
    watching = Watching(AlertBook(features=features))
    amount = drift(5, "amount")

    assert watching.hour(5, amount) == [("open", AMOUNT, "found")]
    mean = drift(80, "amount_mean_7d")
    assert watching.hour(80, mean) == [("update", AMOUNT, "wider")]
    assert watching.hour(90, over(amount, 90)) == []
    assert watching.hour(200) == []  # the week still holds it
    assert watching.hour(201, over(mean, 201)) == [("resolved", AMOUNT, "recovered")]


def test_a_fault_of_a_fields_data_explains_its_drift_and_the_scores() -> None:
    """The cause has the alert, whatever was found first in that hour."""
    watching = Watching()
    missing = found(5, "data_quality", "amount")
    score = found(5, "prior_drift", "score", severity="critical")

    told = watching.hour(5, score, drift(5, "amount"), missing)
    assert told == [("open", "data_quality/amount", "found")]
    assert watching.alerts[0]["severity"] == "critical"  # nothing grave is hidden by its cause
    assert [it["kind"] for it in watching.alerts[0]["members"]] == [
        "data_quality",
        "covariate_drift",
        "prior_drift",
    ]


def test_faults_of_several_fields_explain_what_any_of_them_does() -> None:
    """A drift of two fields that was told before is part of the alert, once both faults are known.

    And so is a test of all features at once, where the one that moved most has a fault.
    """
    watching = Watching()
    faults = [
        found(5, "data_quality", f"{name}, missing", fields=(name,)) for name in ("age", "amount")
    ]
    together = found(5, "covariate_drift", "features", members=("age", "length"))
    other = found(5, "covariate_drift", "features", members=("length", "age"))

    assert watching.hour(5, drift(5, "age"), drift(5, "amount")) == [
        ("open", "covariate_drift/age", "found")
    ]
    assert watching.hour(6, faults[0]) == [
        ("open", "data_quality/age, missing", "found"),
        ("open", AMOUNT, "found"),
        ("resolved", "covariate_drift/age", "explained"),
    ]
    assert watching.hour(7, faults[1]) == [
        ("update", "data_quality/age, missing", "wider"),
        ("resolved", AMOUNT, "explained"),
    ]
    assert len(watching.alerts[-2]["members"]) == 4
    assert bond(faults[0], together) == "cause"
    assert bond(faults[0], other) is None


def test_a_fault_of_data_explains_the_drift_in_the_slice_that_it_comes_from() -> None:
    """It is counted over all events, and may come from one slice; the alert lists that."""
    watching = Watching()
    where = {"terminal_group": "t03"}

    told = watching.hour(5, drift(5, "distance", slice=where))
    assert told == [("open", "covariate_drift/distance/terminal_group=t03", "found")]
    fault = found(6, "data_quality", "distance, missing", fields=("distance",))
    assert watching.hour(6, fault) == [
        ("open", "data_quality/distance, missing", "found"),
        ("resolved", "covariate_drift/distance/terminal_group=t03", "explained"),
    ]
    assert [it["slice"] for it in watching.alerts[-2]["members"]] == [None, where]


def test_a_fault_that_is_found_later_takes_its_drift_out_of_anothers_alert() -> None:
    """The other, which leads and is not explained, keeps its alert and what goes with it alone."""
    watching = Watching()
    age, amount = drift(5, "age", evidence=9.0), drift(5, "amount", evidence=1.0)
    fault = found(6, "data_quality", "amount, missing", fields=("amount",))

    assert watching.hour(5, age, amount) == [("open", "covariate_drift/age", "found")]
    assert watching.hour(6, fault) == [
        ("update", age.key, "narrower"),
        ("open", fault.key, "found"),
    ]
    assert [[it["subject"] for it in alert["members"]] for alert in watching.alerts[-2:]] == [
        ["age"],
        ["amount, missing", "amount"],
    ]
    assert watching.hour(9, over(age, 9)) == [("resolved", age.key, "recovered")]
    assert [it["subject"] for it in watching.alerts[-1]["members"]] == ["age"]
    told = watching.hour(10, over(fault, 10), over(amount, 10))
    assert told == [("resolved", fault.key, "recovered")]


def test_what_people_said_of_an_alert_holds_for_what_its_fault_leaves() -> None:
    """Silenced, acknowledged and to be learnt anew: so is what stands by itself then."""
    watching = Watching()
    amount, age = drift(5, "amount", evidence=9.0), drift(5, "age", evidence=1.0)
    watching.hour(5, amount, age)
    said = {"by": "ada", "at_ms": 5 * HOUR_MS, "alert_id": watching.alerts[-1]["alert_id"]}
    for command in (
        {"command": "acknowledge", "comment": "on it"},
        {"command": "silence", "until_ms": 90 * HOUR_MS},
        {"command": "relearn"},
    ):
        watching.book.command({**said, **command}, 5 * HOUR_MS)
    fault = found(6, "data_quality", "amount, stuck", fields=("amount",))

    assert ("open", age.key, "found") in watching.hour(6, fault)
    (left,) = [it for it in watching.alerts if it["key"] == age.key]
    assert (left["silenced"], left["acknowledged_by"], left["comment"]) == (True, "ada", "on it")
    watching.hour(9, over(age, 9))
    assert watching.book.take_relearn() == [age.key]


def test_after_some_of_it_went_elsewhere_what_joins_an_alert_is_told() -> None:
    """Half as many again is of those that it has left."""
    watching = Watching()
    others = [drift(5, f"f{n}", evidence=1.0) for n in range(6)]
    watching.hour(5, drift(5, "age", evidence=9.0), *others)
    faults = [found(6, "data_quality", f"f{n}, stuck", fields=(f"f{n}",)) for n in range(6)]
    told = watching.hour(6, *faults)
    assert ("update", "covariate_drift/age", "narrower") in told
    assert watching.hour(7, drift(7, "new", since=5)) == [
        ("update", "covariate_drift/age", "wider")
    ]


def test_what_one_fault_explains_is_not_taken_by_the_next() -> None:
    """The field was missing first; what is out of range ten hours later is another matter."""
    watching = Watching()
    missing = found(10, "data_quality", "amount, missing", fields=("amount",), evidence=9.0)
    range_ = found(24, "data_quality", "amount, out of range", fields=("amount",), evidence=1.0)
    watching.hour(10, missing)
    moved = drift(23, "amount", since=9)
    watching.hour(23, moved)
    watching.hour(24, range_)
    held = {alert["key"]: [it["subject"] for it in alert["members"]]
            for alert in watching.book.open_alerts()}  # fmt: skip
    assert "amount" in held[missing.key]


@pytest.mark.parametrize("first", [5, 6])
def test_whichever_was_found_first_a_fault_has_its_drift_and_no_other(first: int) -> None:
    """Once all is found the same alerts are open, with the same members, in either order."""
    watching = Watching()
    moved = [drift(5, "amount", evidence=9.0), drift(5, "age", evidence=1.0)]
    fault = found(first, "data_quality", "amount, stuck", fields=("amount",))
    told = watching.hour(5, *moved, *([fault] if first == 5 else []))
    if first == 6:
        assert told == [("open", AMOUNT, "found")]
        assert watching.hour(6, fault) == [
            ("open", fault.key, "found"),
            ("open", "covariate_drift/age", "found"),
            ("resolved", AMOUNT, "explained"),
        ]
        assert watching.alerts[-1]["explained_by"] == watching.alerts[-3]["alert_id"]

    assert {
        alert["key"]: [it["subject"] for it in alert["members"]]
        for alert in watching.book.open_alerts()
    } == {fault.key: ["amount, stuck", "amount"], "covariate_drift/age": ["age"]}


def test_a_fault_takes_no_more_than_is_its() -> None:
    """The score goes with the features; what began a day before another fault is not due to it."""
    watching = Watching()
    features = found(5, "covariate_drift", "features", members=("age",), evidence=9.0)
    score = found(5, "prior_drift", "score")
    fault = found(6, "data_quality", "amount, missing", fields=("amount",))

    watching.hour(5, features)
    watching.hour(5, drift(5, "amount"))
    watching.hour(5, score)
    watching.hour(6, fault)
    late = found(40, "data_quality", "age, missing", fields=("age",))
    watching.hour(40, late)
    assert {
        alert["key"]: [it["subject"] for it in alert["members"]]
        for alert in watching.book.open_alerts()
    } == {
        features.key: ["features", "score"],
        fault.key: ["amount, missing", "amount"],
        late.key: ["age, missing"],
    }


def test_it_does_not_explain_another_fields_drift() -> None:
    """A field that is missing and another that moves are two alerts."""
    watching = Watching()

    assert watching.hour(5, found(5, "data_quality", "amount"), drift(5, "age")) == [
        ("open", "data_quality/amount", "found"),
        ("open", "covariate_drift/age", "found"),
    ]


def test_a_cause_that_is_found_later_takes_over() -> None:
    """What it explains is resolved with a pointer, and is a member of the cause's alert."""
    watching = Watching()

    assert watching.hour(5, found(5, "prior_drift", "score")) == [("open", SCORE, "found")]
    assert watching.hour(7, drift(7, "amount", since=3)) == [
        ("open", AMOUNT, "found"),
        ("resolved", SCORE, "explained"),
    ]
    opened, explained = watching.alerts[1:]
    assert explained["explained_by"] == opened["alert_id"]
    assert [it["subject"] for it in opened["members"]] == ["amount", "score"]
    assert [it["key"] for it in watching.book.open_alerts()] == [AMOUNT]


def test_a_field_takes_over_what_is_made_of_it() -> None:
    """Where the window was found first, the field is the cause all the same."""
    features = {"amount": (("amount",), 0), "amount_mean_1d": (("amount",), 24 * HOUR_MS)}
    watching = Watching(AlertBook(features=features))

    watching.hour(5, drift(5, "amount_mean_1d", evidence=9.0))
    assert watching.hour(6, drift(6, "amount", evidence=1.0))[0] == ("open", AMOUNT, "found")
    assert [it["key"] for it in watching.book.open_alerts()] == [AMOUNT]


def test_what_outlives_its_cause_becomes_an_alert_of_its_own() -> None:
    """The score's drift is not hidden for longer than it may take to follow."""
    watching = Watching()
    amount, score = drift(5, "amount"), found(5, "prior_drift", "score")

    watching.hour(5, amount, score)
    assert watching.hour(20, over(amount, 20)) == []
    assert watching.hour(43) == []
    assert watching.hour(44) == [("open", SCORE, "outlived"), ("resolved", AMOUNT, "recovered")]
    assert watching.hour(50, over(score, 50)) == [("resolved", SCORE, "recovered")]


def test_an_alert_that_was_explained_and_outlives_its_cause_has_its_id_again() -> None:
    """One thing, one id: opened, put down to a cause, opened again."""
    watching = Watching()
    score, amount = found(5, "prior_drift", "score"), drift(7, "amount", since=4)

    watching.hour(5, score)
    watching.hour(7, amount)
    watching.hour(500, over(amount, 500))
    watching.hour(524)
    lives = [it for it in watching.alerts if it["key"] == SCORE]
    assert [it["reason"] for it in lives] == ["found", "explained", "outlived"]
    assert [it["step"] for it in lives] == [0, 1, 2]
    assert len({it["alert_id"] for it in lives}) == 1


def test_a_slice_explains_overall_and_pairs_if_it_is_clearest_there() -> None:
    """The slice with the most evidence has the alert; one beside it has its own."""
    watching = Watching()

    def bias(slice_: dict[str, str] | None, evidence: float, **more: Any) -> Any:
        return found(5, "prediction_bias", "predictions", slice=slice_, evidence=evidence, **more)

    assert watching.hour(
        5,
        bias(None, 1.0),
        bias({"country": "FR"}, 5.0),
        bias({"channel": "web", "country": "FR"}, 2.0),
        bias({"country": "DE"}, 0.5),
    ) == [
        ("open", "prediction_bias/country=FR", "found"),
        ("open", "prediction_bias/country=DE", "found"),
    ]
    assert watching.alerts[0]["members_in_all"] == 3


def test_a_change_everywhere_is_told_overall() -> None:
    """Where overall is clearest, its slices go with it."""
    watching = Watching()
    slices = [
        found(5, "prediction_bias", "predictions", slice={"country": each}, evidence=2.0)
        for each in ("DE", "FR", "NL")
    ]
    overall = found(5, "prediction_bias", "predictions", evidence=6.0)

    assert watching.hour(5, *slices, overall) == [
        ("open", "prediction_bias/predictions", "found"),
    ]


def test_what_labels_show_of_one_slice_is_one_alert() -> None:
    """Errors, bias, calibration and metrics go bad together; drift of a feature is another."""
    watching = Watching()
    kinds = ("performance", "prediction_bias", "concept_drift")

    told = (found(5, kind, "zero_rule") for kind in kinds)
    assert watching.hour(5, *told, drift(5, "amount")) == [
        ("open", AMOUNT, "found"),
        ("open", "concept_drift/zero_rule", "found"),
    ]


@pytest.mark.parametrize(
    "kind", ["label_shift", "concept_drift", "prediction_bias", "calibration", "performance"]
)
def test_reactions_are_not_explained_by_what_labels_show(kind: str) -> None:
    """Whenever it began, and whichever was found first: they need no labels."""
    by_labels, topic = found(5, kind, "zero_rule", evidence=9.0), "shop.overrides, how many"
    for first, later in ((5, 100), (100, 5), (5, 5)):
        watching = Watching()
        hours = sorted({first, later})
        for hour in hours:
            some = [by_labels] if hour == first else []
            some += [found(hour, "performance", topic)] if hour == later else []
            watching.hour(hour, *some)
        assert {each["key"] for each in watching.alerts if each["status"] == "open"} == {
            by_labels.key,
            f"performance/{topic}",
        }
        assert {each["members_in_all"] for each in watching.alerts} == {1}


def test_labels_of_one_class_explain_no_reactions() -> None:
    """They explain whatever is found by labels."""
    one = found(5, "data_quality", "labels, all one class")
    assert bond(one, found(5, "performance", "zero_rule")) == "cause"
    assert bond(one, found(5, "performance", "shop.overrides, how many")) is None


def test_reactions_that_change_together_are_one_alert() -> None:
    """How many there are, and what they are; those that change much later are another."""
    watching = Watching()
    some = [found(5, "performance", f"shop.overrides, {what}") for what in ("how many", "value")]

    assert len(watching.hour(5, *some)) == 1
    later = found(90, "performance", "shop.clicks, how many")
    assert watching.hour(90, later) == [("open", later.key, "found")]


@pytest.mark.parametrize("seed", range(6))
def test_the_order_within_a_bucket_does_not_matter(seed: int) -> None:
    """Findings of one time give the same alerts in any order."""
    findings = [
        drift(5, "amount", evidence=1.0),
        drift(5, "age", evidence=2.0),
        found(5, "prior_drift", "score"),
        found(5, "data_quality", "amount"),
        found(5, "prediction_bias", "predictions", evidence=1.0),
        found(5, "prediction_bias", "predictions", slice={"country": "FR"}, evidence=3.0),
    ]
    turned = findings[seed:] + findings[:seed]
    one, other = Watching(), Watching()
    one.hour(5, *findings)
    other.hour(5, *turned)

    assert one.alerts == other.alerts


def test_a_lead_that_comes_back_while_its_members_last_keeps_its_alert() -> None:
    """Nothing is told anew; the members stay with it."""
    watching = Watching()
    amount, age = drift(5, "amount", evidence=2.0), drift(5, "age", evidence=1.0)

    watching.hour(5, amount, age)
    assert watching.hour(8, over(amount, 8)) == []
    assert watching.hour(10, drift(10, "amount")) == []
    assert watching.hour(30) == []
    assert [it["key"] for it in watching.book.open_alerts()] == [AMOUNT]


def test_a_member_that_comes_again_much_later_is_another_problem() -> None:
    """It had ended, and its cause still lasts: what comes now is told for itself."""
    watching = Watching()
    amount, age = drift(5, "amount", evidence=2.0), drift(5, "age", evidence=1.0)

    watching.hour(5, amount, age)
    watching.hour(8, over(age, 8))
    assert watching.hour(40, drift(40, "age")) == [("open", "covariate_drift/age", "found")]


def test_a_slice_that_is_found_later_and_clearer_takes_over() -> None:
    """Overall was a little off; now it is known where."""
    watching = Watching()
    watching.hour(5, found(5, "prediction_bias", "predictions", evidence=1.0))
    where = found(7, "prediction_bias", "predictions", 5, slice={"country": "FR"}, evidence=4.0)

    assert watching.hour(7, where) == [
        ("open", "prediction_bias/country=FR", "found"),
        ("resolved", "prediction_bias/predictions", "explained"),
    ]


def test_what_began_long_before_is_not_explained() -> None:
    """A cause is not later than its effect, but for how exactly a beginning is known."""
    watching = Watching()
    watching.hour(60, found(60, "prior_drift", "score"))

    assert watching.hour(80, drift(80, "amount")) == [("open", AMOUNT, "found")]


def test_a_window_may_show_a_common_cause_later() -> None:
    """A mean over a day moves up to a day later than another field does."""
    features = {"age": (("age",), 0), "amount_mean_1d": (("amount",), 24 * HOUR_MS)}
    watching = Watching(AlertBook(features=features))
    watching.hour(5, drift(5, "age"))

    assert watching.hour(30, drift(30, "amount_mean_1d")) == [
        ("update", "covariate_drift/age", "wider")
    ]


def test_steps_go_on_where_an_alert_was_opened_again_untold() -> None:
    """It came again and was put down to a cause in one bucket; its id has no step twice."""
    watching = Watching()
    errors = found(5, "concept_drift", "log loss", evidence=1.0)
    watching.hour(5, errors)
    watching.hour(6, over(errors, 6))
    bias = found(8, "prediction_bias", "predictions", slice={"country": "FR"}, evidence=5.0)
    errors = found(8, "concept_drift", "log loss", evidence=1.0)

    assert watching.hour(8, errors, bias) == [("open", "prediction_bias/country=FR", "found")]
    watching.hour(10, over(bias, 10))
    assert ("open", errors.key, "outlived") in watching.hour(34)
    assert [it["step"] for it in watching.alerts if it["key"] == errors.key] == [0, 1, 2]


def health(hour: int, subject: str, instance: str | None = None) -> Any:
    """Return a finding of health."""
    return found(hour, "health", subject, slice={"instance": instance} if instance else None)


def test_one_fault_of_several_workers_is_one_alert() -> None:
    """A broker that is slow makes all of them lag, and late."""
    watching = Watching()
    watching.hour(5, health(5, "lag", "w1"), health(5, "lag", "w2"), health(5, "latency", "w2"))

    assert [it["key"] for it in watching.alerts] == ["health/lag/instance=w1"]
    assert watching.alerts[0]["members_in_all"] == 3


def test_what_stopped_first_explains_what_is_overdue() -> None:
    """No events, so no labels, so a model that gets old; found last, the cause takes the rest."""
    watching = Watching()
    watching.hour(5, health(5, "staleness"))
    watching.hour(5, health(5, "labels"))
    watching.hour(5, health(5, "events"))

    (alert,) = watching.book.open_alerts()
    assert alert["key"] == "health/events"
    assert {it["subject"] for it in alert["members"]} == {"events", "labels", "staleness"}


def test_a_worker_that_is_gone_explains_the_lag_of_others() -> None:
    """They have its partitions now. A model that was held back has nothing to do with it."""
    watching = Watching()
    watching.hour(5, health(5, "lag", "w1"), health(5, "worker", "w2"), health(5, "model"))

    assert {it["key"] for it in watching.book.open_alerts()} == {
        "health/worker/instance=w2",
        "health/model",
    }
