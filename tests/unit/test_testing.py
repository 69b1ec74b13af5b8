"""A stream as a text table: what it may say, and how a failure looks."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from river import linear_model

from streamproc import (
    Calendar,
    DefinitionError,
    Drift,
    Events,
    Field,
    Imputed,
    Labels,
    Log,
    Lookup,
    OneHot,
    Pipeline,
    Shared,
    Window,
    testing,
)
from streamproc.testing import assert_features

DAY = Window("amount", by="card", over=("1d",), aggregates=("count", "mean"))
SHOP = Pipeline(
    name="shop",
    events=Events("orders", id="order", key="card", time="bought_at"),
    labels=Labels("labels", id="order", value="fraud", time="known_at", horizon="2d"),
    features=[Field("amount"), Field("note", type="text"), Field("online", type="bool"), DAY],
    model=linear_model.LogisticRegression(),
    monitors=[Drift()],
    lateness="1h",
)


def test_a_table_that_is_right_passes() -> None:
    """Relative times, clock times, nulls, whatever it is, and rows about which nothing is said."""
    assert_features(
        [DAY, Imputed("amount", "amount_mean_1d_by_card")],
        """
        at        card  amount | amount_count_1d_by_card  amount_mean_1d_by_card  amount_imputed
        00:00     a     10     | 1                         10                      10
        00:05:30  b     20     | 1                         20                      20
        +1d       a     30     | 1                         30                      ...
        +10s      a     -      | 1                         30.0000000001           30
        +1m       c     -      | 0                         -                       -
        -2m       a     2      | 1                         2                       2
        +1d       a     5
        2024-02-01T00:00:00Z  a  7 | 1                     ...                     7
        """,
    )


def test_a_pipeline_is_taken_as_it_is() -> None:
    """Its id, key, time and labels; text in quotes, true, and numbers that are codes."""
    assert_features(
        SHOP,
        """
        bought_at  order  card  amount  note        online | note        amount_count_1d_by_card
        00:00      x1     7     1.5     "two words" true   | "two words" 1
        +2h        x2     7     2       007         false  | 007         2
        +1h        label: x1    1
        +1h        x3     7     2       -           -      | -           3
        -2h        x4     7     2       late        -      | late        3
        +3h        x5     7     2       -           -      | -           4
        """,
    )


def test_a_clock_time_is_of_the_day_above() -> None:
    """Weekdays and hours follow the times as they are written; the first day is a Monday."""
    assert_features(
        Calendar("at", ("weekday", "hour", "minute")),  # type: ignore[arg-type]
        """
        at                     | weekday  hour  minute
        23:30                  | 0        23    30
        +1d                    | 1        23    30
        07:05                  | 1        7     5
        2018-04-01T12:00:00Z   | 6        12    0
        13:00:00.250           | 6        13    0
        """,
    )


def test_a_dead_letter_can_be_expected() -> None:
    """An event or a label that is refused, by its reason; the ids of the others go on."""
    assert_features(
        SHOP,
        """
        at     card  amount | amount_count_1d_by_card
        00:00  a     ten    | dead letter: field_not_number
        00:01  a     10     | 1
        +1h    label: 2 1
        +1h    a     20     | 2
        +1h    label: 3 1
        +1h    label: 3 1   | dead letter: second_label
        """,
    )


def test_events_are_numbered_without_the_labels() -> None:
    """An event's id is its number among the events, so that a label row can name it."""
    read = testing._read([DAY], "at card\n00:00 a\n00:01 label: 1 1\n00:02 a\n00:03 label: 2 1")
    ids = [orjson.loads(row.entry.value)["id"] for row in read.rows]
    assert ids == [1, 1, 2, 2]


RIGHT = """
    at     card  amount | amount_count_1d_by_card  amount_mean_1d_by_card
    00:00  a     10     | 1                        10
    00:01  a     20     | 2                        15
"""


def failure(features: Any, table: str) -> str:
    """Return what is said of a table that is wrong."""
    with pytest.raises(AssertionError) as failed:
        assert_features(features, table)
    return str(failed.value)


def test_a_failure_shows_the_table_with_what_came_out() -> None:
    """Below each row that differs, under the features that do."""
    assert_features([Shared([DAY])], RIGHT)  # type: ignore[list-item]
    table = RIGHT.replace("15", "16") + "    +1d    b     30     | 1   -\n"
    expected = """\
rows 2, 3: not as expected (! is what came out)
    at     card  amount  |  amount_count_1d_by_card  amount_mean_1d_by_card
    00:00  a     10      |  1                        10
    00:01  a     20      |  2                        16
                         !                           15.0
    +1d    b     30      |  1                        -
                         !                           30.0"""
    assert expected == failure([DAY], table)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (RIGHT.replace("20", "ten"), "<- dead letter: field_not_number: field 'amount' is text"),
        (RIGHT + "+1h a 5 | dead letter: field_not_number", "<- no dead letter"),
        (RIGHT + "+1h label: 1 1\n+1h label: 1 1", "<- dead letter: second_label"),
        (RIGHT.replace("15", "15.0000001"), "!                           15.0"),
        (RIGHT.replace("15", "-"), "!                           15.0"),
        (RIGHT.replace("15", '"15"'), "!                           15.0"),
        (RIGHT.replace("20", "-").replace("15", "15"), "!  1                        10.0"),
    ],
)
def test_each_way_of_being_wrong_is_told(table: str, told: str) -> None:
    """A value that is off, null, of another type; a refusal too many or too few."""
    assert told in failure([DAY], table)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "the table is empty; begin with a row of names"),
        ("| amount_count_1d_by_card", "the first row names the columns, the time first"),
        ("at | amount_sum", "'amount_sum' is no feature; there are amount_count_1d_by_card, "),
        ("at card\n00:00", "row 1: 1 values for the 2 columns at card; write '-' for null"),
        ("at\nsoon", "row 1: 'soon' is no time; write 00:05, "),
        ("at\n-", "row 1: '-' is no time; write 00:05, "),
        ("at\n+1", "row 1, time: '1' is not a duration; write"),
        ("at\n24:00", "row 1: '2024-01-01T24:00:00Z' is no time; write"),
        ("at\n+1h label: 1", "row 1: no label can be read; write 'TIME label: ID VALUE'"),
        (
            "at | amount_count_1d_by_card\n00:00 | 1 2",
            "row 1: 2 values for the 1 features amount_count_1d_by_card; write '...'",
        ),
    ],
)
def test_a_table_that_says_nothing_clear_names_the_remedy(table: str, message: str) -> None:
    """In one line, with the row."""
    with pytest.raises(DefinitionError) as refused:
        assert_features([DAY], table)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_pipeline_has_its_own_time_and_labels() -> None:
    """A first column of another name, or a label where there are none, names the remedy."""
    with pytest.raises(DefinitionError, match="the first column is 'when'; let it be the time"):
        assert_features(SHOP, "when\n00:00")
    bare = Pipeline(
        name="bare",
        events=Events("e", id="id", key="k", time="t"),
        features=[OneHot("x", ("a",))],
        model=linear_model.LogisticRegression(),
    )
    with pytest.raises(DefinitionError, match=r"no label can be read; declare labels=Labels"):
        assert_features(bare, "t\n00:00 label: 1 1")
    assert_features(bare, "t x | x_is_a x_is_other\n00:00 a | 1 0\n00:00 b | 0 1\n00:00 - | 0 0")


def test_rows_are_looked_up_from_their_time_on() -> None:
    """Not before, not after they were taken away; a row of the event's own time counts."""
    assert_features(
        [Lookup("profiles", "card", ("age", Field("segment", "text"))), Log("age_of_card")],
        """
        at     card | age_of_card  segment_of_card  age_of_card_log
        00:00  a    | -            -                -
        00:05  lookup: profiles a age=0 segment="all gold"
        00:05  a    | 0            "all gold"       0
        00:04  a    | -            -                -
        00:06  lookup: profiles a age=1
        00:06  lookup: profiles a age=2
        00:07  b    | -            -                -
        00:07  a    | 2            -                ...
        00:08  lookup: profiles a
        00:09  a    | -            -                -
        """,
    )


def test_a_row_that_was_looked_up_is_shown_where_it_stands() -> None:
    """Whoever reads what differs sees what was known by then."""
    with pytest.raises(AssertionError) as error:
        assert_features(
            [Lookup("profiles", "card", ("age",))],
            """
            at     card | age_of_card
            00:05  lookup: profiles a age=3
            00:06  a    | 4
            """,
        )
    drawn = str(error.value).splitlines()
    assert drawn[0].startswith("row 2: ")
    assert drawn[2].split() == ["00:05", "lookup:", "profiles", "a", "age=3"]
    assert drawn[4].split() == ["!", "3"]


@pytest.mark.parametrize(
    "line", ["lookup:", "lookup: profiles", "lookup: shops a age=3", "lookup: profiles a age",
             "lookup: profiles a age=old"],
)  # fmt: skip
def test_a_row_to_look_up_that_says_nothing_clear_is_told(line: str) -> None:
    """In one line with the row's number."""
    with pytest.raises(DefinitionError, match="assert_features, row 1: "):
        assert_features(
            [Lookup("profiles", "card", ("age",))], f"at card | age_of_card\n00:05 {line}\n"
        )
