"""What part 3 measured, as tables of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.detection.sea import CONCEPTS

MARKS = "<!-- real -->", "<!-- /real -->"
_NO_ALERT = "-"


def text(found: dict[str, Any]) -> str:
    """Return the figures of `real.measured` in Markdown, those parts that are there."""
    parts = {
        "payments_with_faults": faults,
        "payments_as_they_are": lambda part: alerts("Payments as they are, 136 days", part),
        "electricity": lambda part: alerts("Electricity, 944 days", part),
        "sea": sea,
        "nab": nab,
    }
    return "\n\n".join(tell(found[name]) for name, tell in parts.items() if name in found)


def into_page(page: Path, told: str) -> None:
    """Put it between the page's marks, or at the end of a page that has none."""
    old = page.read_text() if page.exists() else ""
    before, start, rest = old.partition(MARKS[0])
    if not start:
        before = f"{old.rstrip()}\n\n" if old else ""
    _, _, after = rest.partition(MARKS[1])
    page.write_text(f"{before}{MARKS[0]}\n{told}\n{MARKS[1]}{after or chr(10)}")


def faults(part: dict[str, Any]) -> str:
    """Return what became of each fault."""
    lines = [
        "**Payments with faults**, June and July.",
        "",
        "| fault | detected, days after it began | resolved, days after it ended | alerts |",
        "|---|---|---|---|",
    ]
    for one in part["faults"]:
        days = [_NO_ALERT if one[it] is None else f"{one[it]:.1f}" for it in _DAYS]
        lines.append(f"| {one['fault']} | {days[0]} | {days[1]} | {one['alerts']} |")
    said = [f"- {one['summary']}" for one in part["faults"] if one["summary"]]
    return "\n".join([*lines, "", "As told:", "", *said, "", *_listed("Beside", part["beside"])])


_DAYS = ("detected_days", "resolved_days")


def alerts(title: str, part: dict[str, Any]) -> str:
    """Return how many alerts there were, and what they said."""
    allowed = part["false_alarms_allowed"]
    head = f"**{title}**: {part['alerts']} alerts; the budget is {allowed} false ones."
    return "\n".join([head, "", *_listed("Alerts", part["told"])])


def sea(part: dict[str, Any]) -> str:
    """Return the delay after each change of concept, of ours and of River's detectors."""
    changes = " | ".join(f"row {row:,}" for row in CONCEPTS)
    lines = [
        "**SEA**, a row a minute, buckets of 30 rows: rows after each change of concept until it "
        "is told.",
        "",
        f"| detector | of | {changes} | alerts beside |",
        f"|---|---|{'---|' * len(CONCEPTS)}---|",
    ]
    for one in part["lines"]:
        delays = " | ".join(_NO_ALERT if it is None else f"{it:,}" for it in one["delays"])
        lines.append(f"| {one['detector']} | {one['of']} | {delays} | {one['beside']} |")
    return "\n".join([*lines, "", *_listed("Alerts", part["told"])])


def nab(part: dict[str, Any]) -> str:
    """Return the scores of all detectors, the best first."""
    names = "small noise | ambient | EC2 | traffic | machine | taxi"
    lines = [
        "**NAB**, standard profile, six of its series (17 windows).",
        "",
        f"| detector | setting | {names} | normalised |",
        f"|---|---|{'---|' * 7}",
    ]
    for one in sorted(part["lines"], key=lambda line: -line["normalised"]):
        scores = " | ".join(f"{score:.2f}" for score in one["scores"])
        lines.append(
            f"| {one['detector']} | {one['setting']} | {scores} | {one['normalised']:.1f} |"
        )
    return "\n".join(lines)


def _listed(title: str, told: list[str]) -> list[str]:
    return [f"{title}: none."] if not told else [f"{title}:", "", *(f"- {line}" for line in told)]
