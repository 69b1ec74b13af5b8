"""Reading the documentation as the tests need it: rows of tables, blocks of code, headings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
OPERATING = ROOT / "docs" / "operating.md"


def section(page: Path, heading: str) -> str:
    """Return what stands under a heading, up to the next one of its rank or above."""
    text = page.read_text("utf-8")
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.M)
    assert found, f"{page.name} has no heading {heading!r}"
    end = re.search(rf"^#{{1,{len(found[1])}}} ", text[found.end() :], re.M)
    return text[found.end() :][: end.start() if end else None]


def rows(text: str) -> list[list[str]]:
    """Return the cells of every row of the tables in a text, without their heads."""
    lines = text.splitlines()
    found = []
    for number, line in enumerate(lines):
        is_head = number + 1 < len(lines) and lines[number + 1].startswith("|--")
        if line.startswith("| ") and not is_head:
            found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


def named(text: str) -> list[str]:
    """Return what the first cells of a text's tables name between backticks, in order."""
    return [name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[0])]


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


def commands(page: Path) -> list[list[str]]:
    """Return the words of each call of ``streamproc`` in fenced or indented code of a page."""
    text = page.read_text("utf-8")
    code = [*blocks(page, "bash"), *re.findall(r"^    .*(?:\n    .*)*", text, re.M)]
    found = []
    for line in "\n".join(code).replace("\\\n", " ").splitlines():
        for part in line.split("|"):
            if (at := part.find("streamproc ")) >= 0 and re.fullmatch(
                r"(\s*[A-Z_]+=\S+)*\s*", part[:at]
            ):
                found.append(shlex.split(part[at:])[1:])
    return found


def anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as GitHub makes them for links."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    heads = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
