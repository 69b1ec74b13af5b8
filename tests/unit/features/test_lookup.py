"""Looking rows up: what a table holds, what an event is given, and what can't be declared."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from streamproc.codec import JsonCodec
from streamproc.errors import BadRecord, DefinitionError
from streamproc.features import FeatureSet, Field, Log, Lookup, Missing, OneHot, Ratio, Window
from streamproc.features.lookup_tables import LatestRows, LatestTables, PastTables
from streamproc.replay import Replay
from streamproc.tasks.records import PlainRecord
from tests.unit.tasks.kit import pipeline

PROFILE = Lookup(
    "profiles", by="card", fields=("age", Field("segment", "text"), Field("staff", "bool"))
)
DECODE = JsonCodec().decode_input


def row(offset: int, key: bytes | None, value: Any, partition: int = 0) -> PlainRecord:
    """Return a record of a table; what is not bytes is written as JSON."""
    data = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
    return PlainRecord("profiles", offset, 0, key, data, in_partition=partition)


def table(*records: PlainRecord) -> LatestRows:
    """Return a table that took these records in."""
    rows = LatestRows("profiles", [PROFILE])
    for record in records:
        rows.take(record, DECODE)
    return rows


def test_a_table_holds_the_newest_row_of_each_entity() -> None:
    """Only what is declared, with its place; a record without a value takes a row away."""
    rows = table(
        row(0, b"7", {"age": 30, "segment": "basic", "staff": False}),
        row(1, b"8", {"age": 44.5, "name": "not declared"}, partition=2),
        row(2, b"7", {"age": 31, "segment": "gold", "staff": None}),
        row(3, b"9", {"age": 20}),
        row(4, b"9", None),
        row(5, b"never-there", None),
    )
    assert rows.get("7") == (0, 2, 31, "gold", None)
    assert rows.get("8") == (2, 1, 44.5, None, None)
    assert rows.get("9") is None
    assert (len(rows), rows.bad) == (2, 0)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"{oops", (None, None, None)),
        (b"", (None, None, None)),
        ([1], (None, None, None)),
        ({"age": "31", "segment": "gold", "staff": True}, (None, "gold", True)),
        ({"age": True, "segment": "gold", "staff": True}, (None, "gold", True)),
        ({"age": 1e151, "segment": "gold", "staff": True}, (None, "gold", True)),
        ({"age": 31, "segment": 5, "staff": True}, (31, None, True)),
        ({"age": 31, "segment": "x" * 1001, "staff": True}, (31, None, True)),
        ({"age": 31, "segment": "gold", "staff": 1}, (31, "gold", None)),
    ],
)
def test_a_bad_row_says_nothing_rather_than_what_was_said_before(
    value: Any, kept: tuple[Any, ...]
) -> None:
    """Not the older value: a worker that reads a compacted topic anew would not know that one."""
    rows = table(row(0, b"7", {"age": 30, "segment": "basic", "staff": False}), row(1, b"7", value))
    assert rows.get("7") == (0, 1, *kept)
    assert rows.bad == 1


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"k" * 1001])
def test_a_row_of_no_entity_is_counted_and_left(key: bytes | None) -> None:
    """No key, one that is no text, and one that no event can have."""
    rows = table(row(0, key, {"age": 30}), row(1, key, None))
    assert (len(rows), rows.bad) == (0, 2)


def test_what_is_wrong_is_said_in_one_line() -> None:
    """With the field, so that the producer can be mended."""
    rows = table()
    assert rows.take(row(0, b"7", {"age": "old"}), DECODE) == (
        "field 'age' is text ('old'), not a number"
    )
    assert "no JSON" in (rows.take(row(1, b"7", b"{"), DECODE) or "")
    assert rows.take(row(2, b"7", {"age": 3}), DECODE) is None


def test_memory_that_is_told_goes_up_and_down() -> None:
    """Rows replaced and taken away leave nothing behind in the sum."""
    rows = table()
    empty = rows.size_bytes
    for offset in range(1_000):
        rows.take(row(offset, b"7", {"age": offset, "segment": "x" * (offset % 100)}), DECODE)
    one = rows.size_bytes
    rows.take(row(1_000, b"7", None), DECODE)
    assert empty + 100 < one < empty + 1_000
    assert rows.size_bytes <= one - 100


def features_of(spec: list[Any], *records: PlainRecord) -> FeatureSet:
    """Return features that look up in a table of these records."""
    lookups = [each for each in spec if isinstance(each, Lookup)]
    tables = LatestTables(lookups)
    for record in records:
        tables.by_topic[record.topic()].take(record, DECODE)
    made = FeatureSet(spec, "at", lateness_ms=0, key_field="card")
    assert made.lookups is not None
    made.lookups.find = tables.find
    return made


def test_an_event_is_given_the_row_and_its_encoders_read_it() -> None:
    """Numbers, text and booleans, wherever the encoder stands behind them."""
    spec = [
        Field("amount"),
        PROFILE,
        Log("age_of_card"),
        OneHot("segment_of_card", ("gold",)),
        Missing("staff_of_card"),
        Window("amount", by="card", over=("1d",), aggregates=("mean",)),
        Ratio("amount_mean_1d_by_card", "age_of_card"),
    ]
    made = features_of(spec, row(0, b"7", {"age": 0, "segment": "gold"}), row(1, b"8", {"age": 4}))
    found = made.compute({"card": 8, "amount": 6.0, "at": 0}, "a", "8", 0)
    assert found == {
        "amount": 6.0,
        "age_of_card": 4,
        "segment_of_card": None,
        "staff_of_card": None,
        "age_of_card_log": pytest.approx(1.6094379124341003),
        "segment_of_card_is_gold": 0,
        "segment_of_card_is_other": 0,
        "staff_of_card_missing": 1,
        "amount_mean_1d_by_card": 6.0,
        "amount_mean_1d_by_card_per_age_of_card": 1.5,
    }
    seven = made.compute({"card": "7", "amount": 6.0, "at": 0}, "b", "7", 0)
    assert seven["segment_of_card_is_gold"] == 1
    assert seven["amount_mean_1d_by_card_per_age_of_card"] is None


@pytest.mark.parametrize("entity", [{}, {"card": None}, {"card": "unknown"}, {"card": 12345}])
def test_no_entity_and_no_row_are_null(entity: dict[str, Any]) -> None:
    """An event is not refused for what nobody knows of it."""
    made = features_of([PROFILE], row(0, b"7", {"age": 30}))
    batch = made.batch()
    assert batch.add({**entity, "at": 0}, "a", "7", 0, late=False) == {"profiles by card": None}
    (found,) = batch.enter()
    assert set(found.values()) == {None}


@pytest.mark.parametrize("entity", [[1], {"a": 1}, True, 1.5, "", "x" * 1_000_000])
def test_an_entity_that_is_none_refuses_the_event(entity: Any) -> None:
    """As a window by it would."""
    made = features_of([PROFILE])
    with pytest.raises(BadRecord, match="entity_not_valid"):
        made.compute({"card": entity, "at": 0}, "a", "7", 0)


def test_one_table_can_be_looked_up_by_two_entities() -> None:
    """Who pays and who is paid have each their row, and each its version."""
    spec = [
        Lookup("profiles", by="payer", fields=("age",)),
        Lookup("profiles", by="payee", fields=(Field("segment", "text"), "age")),
    ]
    made = features_of(spec, row(5, b"7", {"age": 30}), row(6, b"8", {"age": 50, "segment": "x"}))
    batch = made.batch()
    versions = batch.add({"payer": 7, "payee": 8, "at": 0}, "a", "7", 0, late=False)
    assert versions == {"profiles by payer": "0@5", "profiles by payee": "0@6"}
    assert batch.enter() == [{"age_of_payer": 30, "segment_of_payee": "x", "age_of_payee": 50}]


def test_a_past_table_never_knows_what_came_later() -> None:
    """Rows may be added in any order; of one time, the one added last counts."""
    tables = PastTables([PROFILE])
    for known_ms, offset in ((20, 1), (-5, 0), (20, 2), (10, 3)):
        tables.add("profiles", "7", known_ms, (0, offset))
    tables.add("profiles", "7", 30, None)
    found = [tables.find(PROFILE, "7", at) for at in (-6, -5, 9, 10, 19, 20, 29, 30)]
    assert found == [None, (0, 0), (0, 0), (0, 3), (0, 3), (0, 2), (0, 2), None]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Lookup("t", by="card", fields=()), "name at least one"),
        (lambda: Lookup("t", by="card", fields=(1,)), "name at least one"),  # type: ignore[arg-type]
        (lambda: Lookup("t", by="card", fields=("a", Field("a", "text"))), "named twice"),
        (lambda: Lookup("t", by=("a", "b"), fields=("a",)), "one field of the event"),  # type: ignore[arg-type]
        (lambda: Lookup("", by="card", fields=("a",)), "the name of a topic"),
        (lambda: pipeline(features=[Lookup("no topic", "card", ("a",))]), "no name Kafka takes"),
        (lambda: pipeline(features=[Lookup("shop.orders", "card", ("a",))]), "pipeline's own"),
        (lambda: pipeline(features=[Lookup("shop.alerts", "card", ("a",))]), "pipeline's own"),
        (
            lambda: pipeline(features=[Lookup("t", "card", ("a",)), Lookup("t", "card", ("b",))]),
            "declared twice; name all fields in one",
        ),
        (
            lambda: pipeline(
                features=[PROFILE, Window("age_of_card", "card", ("1d",), ("mean",))]
            ),
            "'age_of_card' is looked up",
        ),
        (
            lambda: pipeline(
                features=[PROFILE, Window("amount", by="segment_of_card", over=("1d",),
                                          aggregates=("mean",))]
            ),
            "'segment_of_card' is looked up",
        ),
        (lambda: pipeline(features=[Log("age_of_card"), PROFILE]), "declared after it"),
        (lambda: pipeline(features=[PROFILE, Log("segment_of_card")]), "declared as text"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_before_the_start(wrong: Any, said: str) -> None:
    """Each mistake in a definition, in one line."""
    with pytest.raises(DefinitionError) as error:
        wrong()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_replay_without_rows_is_refused() -> None:
    """All features of it would be null, in silence."""
    with pytest.raises(DefinitionError, match="rows of profiles are looked up; say where by find="):
        Replay(pipeline(features=[PROFILE]), 0, lambda output: None)


def test_what_is_looked_up_has_its_type_everywhere() -> None:
    """Text is not watched for drift as if it were a number."""
    made = pipeline(features=[PROFILE])
    assert made.numeric_features == ("age_of_card", "staff_of_card")
    assert made.feature_names == ("age_of_card", "segment_of_card", "staff_of_card")


def test_what_is_looked_up_of_an_entity_can_be_read_online() -> None:
    """Beside its windows, where these are; alone, where no window is by it."""
    spec = [PROFILE, Lookup("profiles", by="shop", fields=("age",)),
            Window("amount", by="card", over=("1d",), aggregates=("count",))]  # fmt: skip
    made = features_of(spec, row(0, b"7", {"age": 30}), row(1, b"8", {"age": 40}))
    made.compute({"card": 7, "amount": 1.0, "at": 0}, "a", "7", 0)
    assert made.current("7", ("card",)) == {
        "amount_count_1d_by_card": 1,
        "age_of_card": 30,
        "segment_of_card": None,
        "staff_of_card": None,
    }
    assert made.current("8", ("card",)) is None  # another worker has its windows
    assert made.current("8", ("shop",)) == {"age_of_shop": 40}
    assert made.current("9", ("shop",)) is None
