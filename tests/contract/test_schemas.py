"""The schemas are a promise: what was published stays readable, and says what the messages are.

``published/`` holds a copy of each schema as it was published. A change that others may make to a
schema: its words; a new version with further fields, each with a default.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, get_args, get_type_hints

import avro.schema
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from streamproc import messages
from streamproc.codec import KINDS, Kind, schema_files

PUBLISHED = Path(__file__).parent / "published"
MESSAGES: dict[Kind, type] = {
    "prediction": messages.Prediction,
    "outcome": messages.Outcome,
    "alert": messages.Alert,
    "model": messages.ModelVersion,
    "late": messages.LateEvent,
    "performance": messages.PerformanceReport,
}
FILES = [path for kind in KINDS for path in schema_files(kind)]
Json = Any


def load(path: Path) -> Json:
    """Return a schema as it is written."""
    return json.loads(path.read_text("utf-8"))


def without_words(schema: Json) -> Json:
    """Return a schema without its ``doc``, which may be reworded at any time."""
    if isinstance(schema, dict):
        return {name: without_words(part) for name, part in schema.items() if name != "doc"}
    return [without_words(part) for part in schema] if isinstance(schema, list) else schema


def field_names(schema: Json) -> list[str]:
    """Return the names of a schema's fields, in their order."""
    return [field["name"] for field in schema["fields"]]


def misfit(reader: Json, writer: Json) -> str:
    """Say why ``reader`` can't read what ``writer`` wrote, by the avro package; empty if it can."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(
        avro.schema.parse(json.dumps(reader)), avro.schema.parse(json.dumps(writer))
    )
    if result.compatibility is SchemaCompatibilityType.compatible:
        return ""
    return f"{sorted(it.value for it in result.incompatibilities)} at {sorted(result.locations)}"


def breaks(old: Json, new: Json) -> list[str]:
    """Say what a newer schema breaks: for workers that read old records, and for consumers."""
    found = []
    if why := misfit(reader=new, writer=old):
        found.append(f"old records can't be read by the new schema: {why}")
    if why := misfit(reader=old, writer=new):
        found.append(f"new records can't be read by the old schema: {why}")
    if gone := sorted(set(field_names(old)) - set(field_names(new))):
        found.append(f"fields are gone: {gone}")
    return found


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.avsc")), ids=lambda path: path.stem)
def test_a_published_schema_is_as_it_was_published(path: Path) -> None:
    """A published version changes in its words alone; anything else is a new version."""
    current = next((file for file in FILES if file.name == path.name), None)

    assert current, f"{path.name} was published and is gone; put it back"
    assert breaks(load(path), load(current)) == []
    assert without_words(load(path)) == without_words(load(current)), (
        f"{path.name} was published: put the change in a new version beside it"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_schema_has_a_frozen_copy(path: Path) -> None:
    """No schema is left unguarded."""
    copied = (PUBLISHED / path.name).is_file()
    assert copied, f"copy schemas/{path.name} to tests/contract/published/"


@pytest.mark.parametrize("kind", KINDS)
def test_every_version_is_compatible_with_all_before_it(kind: Kind) -> None:
    """Each version reads the records of every earlier one, and the other way about."""
    versions = [load(path) for path in schema_files(kind)]

    for number, new in enumerate(versions):
        for old in versions[:number]:
            assert breaks(old, new) == []


def change(schema: Json, name: str, to: dict[str, Any]) -> Json:
    """Return the schema with one field changed."""
    changed = copy.deepcopy(schema)
    next(field for field in changed["fields"] if field["name"] == name).update(to)
    return changed


DURATIONS = {"late_by_ms"}
"""The fields in ``_ms`` that are no moment, but how long something took."""

OTHER_TYPE = {"type": {"type": "fixed", "name": "Other", "size": 3}}


@pytest.mark.parametrize("kind", KINDS)
def test_removing_renaming_or_retyping_any_field_is_detected(kind: Kind) -> None:
    """The guard bites on every field of every message, also where Avro alone would let it pass."""
    schema = load(schema_files(kind)[-1])

    for name in field_names(schema):
        removed = copy.deepcopy(schema)
        removed["fields"] = [field for field in removed["fields"] if field["name"] != name]
        retyped = change(schema, name, OTHER_TYPE)
        for field in retyped["fields"]:
            field.pop("default", None)
        assert breaks(schema, removed), f"removing {name}"
        assert breaks(schema, change(schema, name, {"name": "renamed"})), f"renaming {name}"
        assert breaks(schema, retyped), f"retyping {name}"


@pytest.mark.parametrize(
    ("kind", "name", "to"),
    [
        ("prediction", "id", {"type": "long"}),
        ("prediction", "event_time_ms", {"type": "int"}),
        ("prediction", "score", {"type": "double"}),
        ("prediction", "features", {"type": {"type": "map", "values": "double"}}),
        ("alert", "severity", {"type": {"type": "enum", "name": "AlertSeverity",
                                        "symbols": ["warning"]}}),
        ("alert", "severity", {"type": {"type": "enum", "name": "AlertSeverity",
                                        "symbols": ["warning", "critical", "fatal"]}}),
        ("alert", "slice", {"type": {"type": "map", "values": "string"}}),
    ],
)  # fmt: skip
def test_a_change_somebody_might_think_harmless_is_detected(
    kind: Kind, name: str, to: dict[str, Any]
) -> None:
    """Narrowing a type, dropping a null and changing the symbols of an enum break somebody."""
    schema = load(schema_files(kind)[-1])
    changed = change(schema, name, to)
    changed["fields"] = [
        {k: v for k, v in field.items() if k != "default"} if field["name"] == name else field
        for field in changed["fields"]
    ]

    assert breaks(schema, changed)


def test_a_field_with_a_default_may_be_added_in_a_new_version() -> None:
    """The one way to grow is open, and needs its default; the published file itself stays."""
    old = load(schema_files("alert")[-1])
    new, bare = copy.deepcopy(old), copy.deepcopy(old)
    new["fields"].append({"name": "owner", "type": ["null", "string"], "default": None})
    bare["fields"].append({"name": "owner", "type": "string"})

    assert breaks(old, new) == []
    assert "reader_field_missing_default_value" in breaks(old, bare)[0]
    assert without_words(old) != without_words(new)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_has_the_fields_of_its_message(kind: Kind) -> None:
    """The newest schema names the fields of the type in messages.py, in order, and no others."""
    assert list(get_type_hints(MESSAGES[kind])) == field_names(load(schema_files(kind)[-1]))


def test_a_schema_lists_the_words_its_message_may_use() -> None:
    """Statuses and severities are those of messages.py, and each kind of alert is described."""
    fields = {field["name"]: field for field in load(schema_files("alert")[-1])["fields"]}

    assert list(get_args(messages.AlertStatus)) == fields["status"]["type"]["symbols"]
    assert list(get_args(messages.Severity)) == fields["severity"]["type"]["symbols"]
    assert f"One of {', '.join(get_args(messages.AlertKind))}." in fields["kind"]["doc"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_field_says_what_it_means(path: Path) -> None:
    """Each field has words of its own, and a time in ``_ms`` names its unit and epoch."""
    for field in load(path)["fields"]:
        assert field["doc"].endswith("."), field["name"]
        if field["name"] in DURATIONS:
            assert "in milliseconds" in field["doc"], field["name"]
        elif field["name"].endswith("_ms"):
            assert "in milliseconds since the epoch (UTC)" in field["doc"], field["name"]
