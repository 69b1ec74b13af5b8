"""An alert's evidence, and the distribution before and since, as a picture (SVG)."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from streamproc.cli.common import printable
from streamproc.cli.evidence import cell_text, span_of
from streamproc.explaining import Explanation
from streamproc.monitors.finding import when

_WIDE, _PLOT, _LEFT, _TOP, _LINE, _NAMES = 900, 240, 150, 70, 24, 220
_INK, _THEN, _NOW, _ALARM = "#1b1f24", "#8c959f", "#0969da", "#cf222e"


def svg(found: Explanation) -> str:
    """Return the picture.

    >>> alert = {"summary": "a < b", "first_seen_ms": 0, "key": "covariate_drift/x"}
    >>> svg(Explanation(alert))[:38]
    '<svg xmlns="http://www.w3.org/2000/svg'
    """
    under = _TOP + (_PLOT + 60 if found.points else 0)
    tables = under + (_LINE * (len(found.bars) + 2) if found.bars else 0)
    high = tables + _LINE * (1 + sum(len(table.rows) + 2 for table in found.tables))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDE}" height="{high}" '
        f'viewBox="0 0 {_WIDE} {high}" font-family="sans-serif" font-size="13" fill="{_INK}">',
        f'<rect width="{_WIDE}" height="{high}" fill="#ffffff"/>',
        _text(16, 24, found.alert["key"], size=16),
        _text(16, 44, found.alert["summary"][:140]),
        *_curve(found),
        *_pairs(found, under),
        *_tables(found, tables),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _curve(found: Explanation) -> Iterator[str]:
    """Yield the evidence over time, the alarm's level and when it began."""
    points = found.points
    if not points:
        return
    levels = [(point.start_ms, point.beside) for point in points if point.beside is not None]
    values = [*(point.value for point in points), *(level for _, level in levels)]
    low, top = min(0.0, *values), max(1e-12, *values)
    first, last = points[0].start_ms, points[-1].start_ms

    def at(time_ms: int) -> float:
        part = (time_ms - first) / max(last - first, 1)
        return _LEFT + (_WIDE - _LEFT - 20) * min(max(part, 0.0), 1.0)

    def height(value: float) -> float:
        return _TOP + _PLOT * (1 - (value - low) / max(top - low, 1e-12))

    if levels:
        path = " ".join(f"{at(time_ms):.1f},{height(level):.1f}" for time_ms, level in levels)
        yield (f'<polyline points="{path}" fill="none" stroke="{_ALARM}" stroke-dasharray="4 4"/>')
        yield _text(16, height(levels[-1][1]) + 4, found.beside)
    onset = at(found.alert["first_seen_ms"])
    yield _rule(onset, _TOP, onset, _TOP + _PLOT, _THEN, dashed=True)
    yield _text(onset + 4, _TOP + 12, span_of(found))
    yield _rule(_LEFT, height(0.0), _WIDE - 20, height(0.0), _THEN)
    path = " ".join(f"{at(p.start_ms):.1f},{height(p.value):.1f}" for p in points)
    yield f'<polyline points="{path}" fill="none" stroke="{_NOW}" stroke-width="1.5"/>'
    yield _text(_LEFT, _TOP - 4, found.unit)
    for level in (low, top):
        yield _text(_LEFT - 60, height(level) + 4, f"{level:.3g}")
    yield _text(_LEFT, _TOP + _PLOT + 20, f"{when(first)} to {when(last)}")


def _pairs(found: Explanation, top: float) -> Iterator[str]:
    """Yield the bars: before and since, side by side."""
    if not found.bars:
        return
    largest = max(max(bar.then_share, bar.now_share) for bar in found.bars) or 1.0
    room = (_WIDE - _LEFT - 20) / 2
    yield _text(_LEFT, top + 14, f"before, of {found.bars[0].then_n:,}")
    yield _text(_LEFT + room, top + 14, f"since, of {found.bars[0].now_n:,}")
    for i, bar in enumerate(found.bars):
        y = top + _LINE * (i + 1)
        yield _text(16, y + 13, bar.label[:20])
        for x, share, colour in (
            (_LEFT, bar.then_share, _THEN),
            (_LEFT + room, bar.now_share, _NOW),
        ):
            wide = (room - 70) * share / largest
            yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="16" fill="{colour}"/>'
            yield _text(x + wide + 6, y + 13, f"{share:.1%}")


def _tables(found: Explanation, top: float) -> Iterator[str]:
    """Yield the tables, one under the other."""
    y = top
    for table in found.tables:
        room = (_WIDE - _NAMES - 20) / max(len(table.head) - 1, 1)
        for row in (table.head, *table.rows):
            y += _LINE
            for i, cell in enumerate(row):
                x = 16 if not i else _NAMES + room * (i - 1)
                yield _text(x, y, cell_text(cell)[:32])
        y += _LINE


def _text(x: float, y: float, text: str, size: int = 13) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}">{escape(printable(text))}</text>'


def _rule(x: float, y: float, x2: float, y2: float, colour: str, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="4 4"' if dashed else ""
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dash}/>'
