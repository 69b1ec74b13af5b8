"""The benchmark's figures, as tables a person reads and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.detection.fits import EQUAL
from benchmarks.detection.measure import TARGET, Delay, mtr
from benchmarks.detection.peers import PEERS
from benchmarks.detection.streams import HORIZON, ROWS, USUAL

GOALS: dict[str, float] = {
    "mean + 0.1 sd": 1_500,
    "mean + 0.25 sd": 325,
    "mean + 0.5 sd": 115,
    "mean + 1 sd": 50,
    "spread x 1.25": 225,
    "normal to t3": 250,
    "correlation 0 to 0.5": 500,
    "5 % moved": 1_000,
    "new one of 0.2 %": 800,
    "0.10 to 0.12": 2_350,
    "0.10 to 0.15": 510,
    "0.10 to 0.2": 170,
    "0.10 to 0.3": 65,
    "0.01 to 0.02": 1_600,
}
"""Mean delays to be below, in events."""

MISSED, BEHIND = 0.01, 1.1
TUNED = {peer.name for peer in PEERS if peer.tuned}
FULL_NAMES = {peer.name: f"{peer.package} {peer.name}" for peer in PEERS}

Figures = dict[str, Any]
"""Of one detector on one change, as `figures` makes them."""


def figures(
    detector: str, stream: str, change: str, threshold: float, mtfa: float, late: Delay
) -> Figures:
    """Return what is kept of a measured delay; infinite numbers become None."""
    ratio = mtr(mtfa, late)
    return {
        "detector": detector,
        "stream": stream,
        "change": change,
        "threshold": threshold if math.isfinite(threshold) else None,
        "mtfa_events": round(mtfa) if math.isfinite(mtfa) else None,
        "mean_delay_events": round(late.mean, 1),
        "standard_error_events": round(late.se, 1),
        "missed": round(late.missed, 4),
        "mean_delay_of_seen_events": round(late.mean_of_seen, 1) if late.missed < 1 else None,
        "mtr": round(ratio, 1) if ratio is not None and math.isfinite(ratio) else None,
        "repetitions": late.repetitions,
    }


def best(peers: Sequence[Figures], stream: str, change: str) -> Figures | None:
    """Return the peer with the least mean delay on a change, of those of an equal MTFA.

    None where there is none, or where the best misses at least as often as pure chance would.
    """
    low, high = EQUAL
    by_chance = math.exp(-HORIZON / TARGET)
    able = [
        it
        for it in peers
        if (it["stream"], it["change"]) == (stream, change)
        and it["detector"] not in TUNED
        and low <= (it["mtfa_events"] or math.inf) / TARGET <= high
        and it["missed"] < by_chance - 0.1
    ]
    return min(able, key=lambda it: (it["mean_delay_events"], it["detector"]), default=None)


def rows(ours: Sequence[Figures], peers: Sequence[Figures]) -> list[dict[str, Any]]:
    """Return a line for each change: ours beside the best peer; the horizon where none sees it."""
    found = []
    for row in ROWS:
        for own in ours:
            if (own["stream"], own["change"]) != (row.stream, row.change):
                continue
            peer = best(peers, row.stream, row.change)
            found.append(
                {
                    "stream": row.stream,
                    "change": row.change,
                    "mean_delay_events": own["mean_delay_events"],
                    "missed": own["missed"],
                    "best_peer": FULL_NAMES[peer["detector"]] if peer else None,
                    "best_peer_delay_events": peer["mean_delay_events"] if peer else HORIZON,
                }
            )
    return found


def summary(ours: Sequence[Figures], peers: Sequence[Figures]) -> str:
    """Return ours beside the best peer, change by change."""
    head = ("change", "ours", "± SE", "missed", "goal", "best peer", "its delay", "")
    lines = []
    for own, line in zip(ours, rows(ours, peers), strict=True):
        goal, its = GOALS[line["change"]], line["best_peer_delay_events"]
        said = "" if own["mean_delay_events"] <= goal and own["missed"] <= MISSED else "above goal"
        if own["mean_delay_events"] > BEHIND * its:
            said = "behind"
        lines.append(
            (
                *(f"{line['stream']}: {line['change']}", _number(own["mean_delay_events"])),
                *(_number(own["standard_error_events"]), _share(own["missed"]), _number(goal)),
                *(line["best_peer"] or "none sees it", _number(its), said),
            )
        )
    return table(head, lines)


def by_stream(stream: str, measured: Sequence[Figures]) -> str:
    """Return a table of every detector on each change of a stream: mean delay, and share missed."""
    changes = [row.change for row in ROWS if row.stream == stream]
    names = list(dict.fromkeys(it["detector"] for it in measured if it["stream"] == stream))
    cells = {(it["detector"], it["change"]): it for it in measured if it["stream"] == stream}
    lines = []
    for name in names:
        mtfa = cells[name, changes[0]]["mtfa_events"]
        star = "*" if name in TUNED else ""
        lines.append(
            (
                name + star,
                _thousands(mtfa) if mtfa else "∞",
                *(_cell(cells.get((name, change))) for change in changes),
            )
        )
    short = [it.replace("mean + ", "+").replace("spread", "sd") for it in changes]
    return table((stream, "MTFA", *short), lines)


def as_they_come(fits: Sequence[dict[str, Any]]) -> str:
    """Return how often peers are wrong by their default settings, and where they were fitted to."""
    head = ("stream", "peer", "setting", "default", "its MTFA", "fitted", "its MTFA", "± SE")
    lines = []
    for it in fits:
        rare = f"over {_thousands(it['events'])}" if it["default_alarms"] == 0 else "-"
        by_default = it["default_mtfa_events"]
        lines.append(
            (
                *(it["stream"], it["peer"], it["knob"]),
                "-" if it["default"] is None else f"{it['default']:g}",
                _thousands(by_default) if by_default else rare,
                f"{it['threshold']:.4g}",
                _thousands(it["mtfa_events"]),
                f"{it['mtfa_relative_se']:.0%}",
            )
        )
    return table(head, lines)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown whose columns are in line; numbers to the right.

    >>> print(table(("name", "n"), [("a", "1"), ("b", "10")]))
    | name |  n |
    | ---- | -: |
    | a    |  1 |
    | b    | 10 |
    """
    columns = list(zip(head, *lines, strict=True))
    widths = [max(2, *map(len, column)) for column in columns]
    right = [
        all(cell[:1].isdigit() or cell[:5] in ("-", "∞", "over ") for cell in column[1:])
        for column in columns
    ]

    def line(cells: Sequence[str]) -> str:
        sides = zip(cells, widths, right, strict=True)
        return "| " + " | ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in sides) + " |"

    rule = ["-" * (w - r) + ":" * r for w, r in zip(widths, right, strict=True)]
    return "\n".join([line(head), line(rule), *map(line, lines)])


def _cell(it: Figures | None) -> str:
    if it is None:
        return "-"
    missed = f"/{it['missed']:.0%}" if it["missed"] else ""
    return f"{_number(it['mean_delay_events'])}{missed}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _thousands(value: float) -> str:
    return f"{value / 1000:.0f}k" if value < 1e6 else f"{value / 1e6:.1f}M"


def _share(value: float) -> str:
    return f"{value:.1%}" if value else "0"


def put(text: str, name: str, table_: str) -> str:
    """Replace what is between the marks of a table in a page; raise ValueError if it has none.

    >>> put("<!-- a -->old<!-- /a -->.", "a", "new")
    '<!-- a -->\\n\\nnew\\n\\n<!-- /a -->.'
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the page has no {begin} with {end} after it")
    return f"{before}{begin}\n\n{table_}\n\n{end}{after}"


def of_detectors(
    ours: Sequence[Figures],
    peers: Sequence[Figures],
    baselines: Sequence[Figures],
    fits: Sequence[dict[str, Any]],
) -> dict[str, str]:
    """Return the tables of part 2 by their marks in the page."""
    tables = {"detect: summary": summary(ours, peers)}
    for stream in USUAL:
        measured = [*ours, *peers, *baselines]
        tables[f"detect: {stream}"] = by_stream(stream, measured)
    tables["detect: defaults"] = as_they_come(fits)
    return tables


def said_of_share(tables: Mapping[str, str], share: float) -> dict[str, str]:
    """Say above the first table that not all streams were run, if so.

    >>> said_of_share({"a": "| a |", "b": "| b |"}, 0.1)["a"]
    'Of 10 % of the streams and repetitions.\\n\\n| a |'
    """
    first = next(iter(tables))
    said = f"Of {100 * share:g} % of the streams and repetitions.\n\n" if share < 1 else ""
    return {**tables, first: said + tables[first]}


def into_page(page: Path, tables: Mapping[str, str]) -> None:
    """Write tables into the page, by their marks."""
    text = page.read_text()
    for name, each in tables.items():
        text = put(text, name, each)
    page.write_text(text)
