"""From an event to its features: fields, calendar parts against datetime, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from streamproc.errors import BadRecord, DefinitionError
from streamproc.features import Calendar, FeatureSet, Field, Window

SPEC = (
    Field("amount"),
    Field("country", type="text"),
    Calendar("at", ("hour",)),
    Window("amount", by="card", over=("1h", "1d"), aggregates=("count", "mean")),
    Field("online", type="bool"),
)
YEAR_MS, HUNDRED_YEARS_MS = 365 * 86_400_000, 36_500 * 86_400_000
SEVEN = ("count", "sum", "mean", "std", "var", "min", "max")
GOOD = {"amount": 5.0, "country": "NL", "online": True}


def features_of(fields: dict[str, Any], *spec: Any, time_ms: int = 0) -> dict[str, Any]:
    """Return the features of one event."""
    return FeatureSet(spec or SPEC, "at", 0).compute(fields, "1", "k", time_ms)


def test_a_calendar_of_another_field_reads_that_field() -> None:
    """Parts of a time that is not the event's own; null without it, refused where it is none."""
    spec = Calendar("booked_at", ("hour",))
    assert features_of({"booked_at": "2018-07-01T15:00:00+02:00"}, spec) == {"hour": 13}
    assert {"hour": None} == features_of({}, spec) == features_of({"booked_at": None}, spec)
    with pytest.raises(BadRecord, match="time_not_valid"):
        features_of({"booked_at": "at noon"}, spec)


def test_features_come_in_the_order_declared() -> None:
    """Names and order are the declaration's, span by span and aggregate by aggregate."""
    expected = {
        "amount": 5.0,
        "country": "NL",
        "hour": 0,
        "amount_count_1h_by_card": 1,
        "amount_mean_1h_by_card": 5.0,
        "amount_count_1d_by_card": 1,
        "amount_mean_1d_by_card": 5.0,
        "online": True,
    }
    assert list(expected.items()) == list(features_of(GOOD).items())


def test_null_and_absent_are_null() -> None:
    """A field that is null, and one that isn't there, are the same null feature."""
    absent = features_of({})
    assert absent == features_of(dict.fromkeys(GOOD))
    assert [absent[name] for name in GOOD] == [None, None, None]
    assert absent["amount_count_1d_by_card"] == 0


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("amount", "5.0", "field_not_number"),
        ("amount", True, "field_not_number"),
        ("amount", [5.0], "field_not_number"),
        ("amount", {}, "field_not_number"),
        ("amount", float("nan"), "number_out_of_range"),
        ("amount", float("inf"), "number_out_of_range"),
        ("amount", float("-inf"), "number_out_of_range"),
        ("amount", 1.1e150, "number_out_of_range"),
        ("amount", -(10**200), "number_out_of_range"),
        ("country", 5, "field_not_text"),
        ("country", False, "field_not_text"),
        ("online", 1, "field_not_bool"),
        ("online", "true", "field_not_bool"),
    ],
)
def test_a_field_of_another_type_is_refused_before_anything_changes(
    field: str, value: object, reason: str
) -> None:
    """The reason names what it is not, the detail the field; the windows stay as they were."""
    features = FeatureSet(SPEC, "at", 0)
    with pytest.raises(BadRecord) as refused:
        features.compute({**GOOD, field: value}, "1", "k", 0)
    assert (reason, True) == (refused.value.reason, repr(field) in refused.value.detail)
    assert features.window_entries == 0
    assert features.compute(GOOD, "1", "k", 0)["amount_count_1d_by_card"] == 1


@pytest.mark.parametrize(
    ("spec", "value", "reason"),
    [
        ((Window("x", "k", ("1h",), ("count",)),), "5", "field_not_number"),
        ((Window("x", "k", ("1h",), ("sum",)), Field("x")), 1e151, "number_out_of_range"),
        ((Field("x", "text"), Window("x", "k", ("1h",), ("sum",))), "5", "field_not_number"),
        ((Field("x", "text"), Window("x", "k", ("1h",), ("sum",))), 5, "field_not_text"),
    ],
)
def test_what_a_window_takes_is_checked_whatever_else_reads_the_field(
    spec: tuple[Any, ...], value: object, reason: str
) -> None:
    """A window's value is a number, or the event is refused, before another window takes it in."""
    other = Window("y", "k", ("1h",), ("count",))
    features = FeatureSet((other, *spec), "at", 0)
    with pytest.raises(BadRecord) as refused:
        features.compute({"x": value, "y": 1.0}, "1", "k", 0)
    assert (refused.value.reason, features.window_entries) == (reason, 0)


def test_the_first_of_two_bad_fields_is_told_of() -> None:
    """In the order declared, where windows read a field that another feature reads too."""
    window = Window("x", "k", ("1h",), ("count",))
    for spec, first in (((window, Field("y"), Field("x")), "'x'"), ((Field("y"), window), "'y'")):
        with pytest.raises(BadRecord, match=first):
            features_of({"x": "bad", "y": "bad"}, *spec)


@pytest.mark.parametrize("first_ms", [-62_135_596_800_000, -500, 253_402_300_799_999 - 5 * YEAR_MS])
def test_a_window_of_ten_years_is_exact(first_ms: int) -> None:
    """From the year 1, across the epoch, and up to the year 9999; growth looks back twenty."""
    window = Window("x", "k", ("3650d", "1d"), ("count", "sum", "growth"))
    features = FeatureSet([window], "at", lateness_ms=HUNDRED_YEARS_MS)
    times_ms = [first_ms, first_ms + YEAR_MS, first_ms + 3 * YEAR_MS, first_ms + 5 * YEAR_MS]
    for number, time_ms in enumerate(times_ms, 1):
        found = features.compute({"x": 2.0}, str(number), "k", time_ms)
        assert (found["x_count_3650d_by_k"], found["x_sum_1d_by_k"]) == (number, 2.0)
    features.sweep(10)
    assert features.window_entries == 4


def test_entities_that_are_seen_once_do_not_pile_up() -> None:
    """With a sweep an event what is held stays near what a window and the lateness can hold."""
    features = FeatureSet([Window("x", "k", ("400ms",), ("count",))], "at", lateness_ms=100)
    most = 0
    for time_ms in range(20_000):
        features.compute({"x": 1.0}, "1", f"seen once {time_ms}", time_ms)
        features.sweep(1)
        most = max(most, features.window_entries)
    assert most <= 2 * (400 + 100)


@pytest.mark.parametrize("value", [1e150, -1e150, 10**18, 0, -0.0, 5e-324])
def test_the_largest_and_the_least_numbers_give_finite_aggregates(value: float) -> None:
    """Up to the bound every aggregate of two such numbers is a finite number."""
    features = FeatureSet([Window("x", "k", ("1h",), SEVEN)], "at", 0)
    features.compute({"x": value}, "1", "k", 0)
    found = features.compute({"x": -value}, "2", "k", 1)
    assert all(abs(float(each)) < float("inf") for each in found.values())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Field(""), "Field: '' is no field name; write Field"),
        (lambda: Field("a", type="int"), r"Field\('a'\): type 'int' is not known; choose"),  # type: ignore[arg-type]
        (lambda: Calendar("at", ("year",)), "Calendar: part 'year' is not known; choose from"),
        (lambda: Calendar("at", ()), "Calendar: name at least one part, such as 'hour'"),
        (lambda: Calendar("", ("hour",)), "Calendar: time must name a field"),
        (lambda: Window("x", "k", (), ("sum",)), "name at least one span and one aggregate"),
        (lambda: Window("x", "k", ("1d",), ()), "name at least one span and one aggregate"),
        (lambda: Window("x", "k", ("1",), ("sum",)), "over: '1' is not a duration; write"),
        (lambda: Window("x", "k", ("0s",), ("sum",)), "a span of 0 holds nothing; write"),
        (
            lambda: Window("x", "k", ("36501d",), ("sum",)),
            "over: 36501d is longer than a hundred years; write at most '36500d'",
        ),
        (lambda: Window("x", "k", ("9" * 5_000 + "d",), ("sum",)), "longer than a hundred years"),
        (lambda: Window("x", "k", ("1d",), ("middle",)), "'middle' is not known; choose from"),
        (lambda: Window(5, "k", ("1d",), ("sum",)), "value and by are names of fields"),  # type: ignore[arg-type]
        (lambda: Window("", "k", ("1d",), ("sum",)), "value and by are names of fields"),
        (lambda: Window("x", "k", 5, ("sum",)), "over must be durations, such as"),  # type: ignore[arg-type]
        (lambda: Window("x", "k", ("1d",), 5), "aggregates must be names, such as"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_be_names_the_remedy(make: Any, message: str) -> None:
    """What is wrong is told where it is written, with what to write."""
    with pytest.raises(DefinitionError, match=message):
        make()


def test_one_span_or_part_may_be_written_without_a_tuple() -> None:
    """A lone text is one, not its letters."""
    assert Calendar("at", "hour").names == ("hour",)  # type: ignore[arg-type]
    assert Window("x", "k", "1d", "sum").names == ("x_sum_1d_by_k",)  # type: ignore[arg-type]
