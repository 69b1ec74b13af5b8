"""The message reference says what the schemas and the code say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from streamproc.errors import BadRecord
from streamproc.tasks.records import dead_letter

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "messages.md"


class Dead:
    """A record that can't be used."""

    def topic(self) -> str:
        """Return where it was read."""
        return "events"

    def partition(self) -> int:
        """Return in which partition."""
        return 2

    def offset(self) -> int:
        """Return at which offset."""
        return 7

    def key(self) -> bytes | None:
        """Return its key."""
        return b"4961"

    def value(self) -> bytes | None:
        """Return its value."""
        return b"{"

    def timestamp(self) -> tuple[int, int]:
        """Return when it was written, in milliseconds, behind the kind of time."""
        return 1, 0

    def headers(self) -> list[tuple[str, bytes]] | None:
        """Return what it had of its own."""
        return None


def test_the_page_is_what_the_generator_makes() -> None:
    """A change to a schema, an example or the template is also one to the page."""
    made = runpy.run_path(str(ROOT / "docs" / "generate_messages.py"))

    assert made["page"]() == PAGE.read_text("utf-8"), "run python docs/generate_messages.py"


def test_every_message_is_on_the_page() -> None:
    """No schema is left undocumented."""
    page = PAGE.read_text("utf-8")

    missing = [p.name for p in (ROOT / "schemas").iterdir() if f"schemas/{p.name}" not in page]

    assert missing == []
    assert "{{" not in page


def test_every_header_of_a_dead_letter_is_on_the_page() -> None:
    """The table of headers is that of the code, in its order."""
    headers = dead_letter(Dead(), BadRecord("not_json", "it is none"), "score")["headers"]
    table = PAGE.read_text("utf-8").split("## Dead letters")[1]

    assert [name for name, _ in headers] == re.findall(r"^\| `(\w+)` \|", table, re.M)[:6]


def test_every_reason_for_a_dead_letter_is_on_the_page() -> None:
    """A reason that some code gives is one that the table explains."""
    sources = [path.read_text("utf-8") for path in (ROOT / "streamproc").rglob("*.py")]
    given = {slug for text in sources for slug in re.findall(r'BadRecord\(\s*"(\w+)"', text)}
    table = PAGE.read_text("utf-8").split("## Dead letters")[1]

    assert given, "no reasons found in the code"
    assert sorted(slug for slug in given if f"`{slug}`" not in table) == []
