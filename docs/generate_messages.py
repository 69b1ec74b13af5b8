"""Write ``docs/messages.md`` from the schemas, the examples and the words around them.

Run ``python docs/generate_messages.py`` after a change to ``schemas/``, to ``docs/examples/`` or to
``docs/messages.template.md``; a test fails when the page is not what this makes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "messages.md"
TEMPLATE = DOCS / "messages.template.md"
_NOTE = "<!-- Made by docs/generate_messages.py; edit messages.template.md or schemas/. -->\n\n"


def page() -> str:
    """Return the page as it should be."""
    text = TEMPLATE.read_text("utf-8")
    return _NOTE + re.sub(r"\{\{(\w+)-(v\d+)\}\}", lambda found: section(found[1], found[2]), text)


def section(kind: str, version: str) -> str:
    """Return one message: its meaning, its fields in a table, and an example."""
    schema = json.loads((DOCS.parent / "schemas" / f"{kind}-{version}.avsc").read_text("utf-8"))
    example = (DOCS / "examples" / f"{kind}.json").read_text("utf-8").strip()
    rows = [
        f"| `{field['name']}` | {type_in_words(field['type'])} | {as_text(field['doc'])} |"
        for field in schema["fields"]
    ]
    table = "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])
    link = f"[`schemas/{kind}-{version}.avsc`](../schemas/{kind}-{version}.avsc)"
    return f"{schema['doc']} Schema: {link}.\n\n{table}\n\n```json\n{example}\n```"


def as_text(words: str) -> str:
    """Return words as Markdown that shows them as they are."""
    return words.replace("<", "&lt;").replace("|", "\\|")


def type_in_words(avro: Any) -> str:
    """Return an Avro type as a reader of JSON would call it.

    >>> type_in_words(["null", {"type": "map", "values": "string"}])
    'map to text, or null'
    """
    if isinstance(avro, list):
        branches = [type_in_words(branch) for branch in avro if branch != "null"]
        *first, last = branches + ["null"] * ("null" in avro)
        return f"{', '.join(first)}, or {last}" if first else last
    if isinstance(avro, dict) and avro["type"] == "map":
        values = type_in_words(avro["values"])
        return f"map to {values if ', ' not in values else f'({values})'}"
    if isinstance(avro, dict) and avro["type"] == "enum":
        return " / ".join(f"`{symbol}`" for symbol in avro["symbols"])
    if isinstance(avro, dict) and avro["type"] == "array":
        return f"list of {type_in_words(avro['items'])}"
    if isinstance(avro, dict) and avro["type"] == "record":
        fields = (f"`{it['name']}` ({type_in_words(it['type'])})" for it in avro["fields"])
        return f"objects with {', '.join(fields)}"
    names = {"string": "text", "long": "integer", "double": "number"}
    return names.get(avro, str(avro))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
