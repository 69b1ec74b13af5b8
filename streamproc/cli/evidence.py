"""What `streamproc alerts show` prints beyond the facts: evidence, then and now, examples."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from streamproc.cli.common import printable, shortened
from streamproc.explaining import Cell, Explanation, Point
from streamproc.monitors.finding import when

WIDTH, HEIGHT = 80, 10
_PLOT = 66
_BAR = 20
_NAME, _COLUMN = 36, 14
_MOST_LINES = 3
_FULL, _PARTS = "█", " ▏▎▍▌▋▊▉"


def drawn(found: Explanation) -> Iterator[str]:
    """Yield the lines, none of more than 80 columns."""
    for lines in (_plot(found), _bars(found), _tables(found), _examples(found), _beside(found)):
        yield from (shortened(line, WIDTH) for line in lines)


def columns_of(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most so many points: of each stretch of time the mean, of evidence the most.

    >>> [p.value for p in columns_of([Point(0, 1.0), Point(1, -3.0), Point(2, 2.0)], 2)]
    [1.0, -3.0]
    >>> columns_of([Point(0, 0.5, 10), Point(1, 0.0, 30)], 1)
    [Point(start_ms=0, value=0.125, n=40, beside=None)]
    """
    if len(points) <= most:
        return list(points)
    parts = [points[i * len(points) // most : (i + 1) * len(points) // most] for i in range(most)]
    return [_one(part) for part in parts]


def _one(part: Sequence[Point]) -> Point:
    n = sum(point.n for point in part)
    if not n:
        return max(part, key=lambda point: abs(point.value))
    value = sum(point.value * point.n for point in part) / n
    return Point(part[0].start_ms, value, n, part[-1].beside)


def _plot(found: Explanation) -> Iterator[str]:
    """Yield a plot of the evidence: a row a level, a column a stretch of time."""
    points = columns_of(found.points, _PLOT)
    if not points:
        yield "no evidence in the log of sums any more"
        yield ""
        return
    beside = [point.beside for point in points if point.beside is not None]
    top = max([0.0, *(point.value for point in points), *beside])
    low = min([0.0, *(point.value for point in points), *beside])
    span = max(top - low, 1e-12)
    yield f"{printable(found.unit)}{f', ┄ is {found.beside}' if beside else ''}"
    for row in range(HEIGHT, 0, -1):
        least, most = low + span * (row - 1) / HEIGHT, low + span * row / HEIGHT
        cells = [
            _cell(point.value - low, least - low, most - low, _mark(point, least, most, row == 1))
            for point in points
        ]
        yield f"{most:>9.3g} {'┤'}{''.join(cells)}".rstrip()
    onset = sum(p.start_ms < found.first_ms for p in points)
    yield " " * 10 + "└" + "─" * onset + "▲" + "─" * max(len(points) - onset - 1, 0)
    yield f"{'':11}{when(points[0].start_ms)} to {when(points[-1].start_ms)}"
    yield f"{'':11}▲ {span_of(found)}"
    yield ""


def span_of(found: Explanation) -> str:
    """Return since when it is, and until when it was."""
    until = "" if found.until_ms is None else f" until {when(found.until_ms)}"
    return f"since {when(found.first_ms)}{until}"


def _mark(point: Point, least: float, most: float, lowest: bool) -> str:
    """Return what stands where a column is not filled: the level that it is held against."""
    if point.beside is None:
        return " "
    here = least < point.beside <= most or (lowest and point.beside <= least)
    return "┄" if here else " "


def _cell(value: float, least: float, most: float, mark: str) -> str:
    if value >= most:
        return _FULL
    part = int(8 * (value - least) / (most - least)) if value > least else 0
    return "▁▂▃▄▅▆▇"[part - 1] if part else mark


def _bars(found: Explanation) -> Iterator[str]:
    if not found.bars:
        return
    then_n, now_n = found.bars[0].then_n, found.bars[0].now_n
    wide = min(max(len(printable(bar.label)) for bar in found.bars), 18)
    largest = max(max(bar.then_share, bar.now_share) for bar in found.bars) or 1.0
    head = f"before, of {then_n:,}"
    yield f"{'':{wide}}  {head:<{_BAR + 8}}  since, of {now_n:,}"
    for bar in found.bars:
        then, now = (_bar(share, largest) for share in (bar.then_share, bar.now_share))
        label = shortened(printable(bar.label), wide)
        yield (
            f"{label:<{wide}}  {then:<{_BAR}} {bar.then_share:>6.1%}   "
            f"{now:<{_BAR}} {bar.now_share:>6.1%}"
        ).rstrip()
    yield ""


def _bar(share: float, largest: float) -> str:
    eighths = round(8 * _BAR * share / largest)
    return (_FULL * (eighths // 8) + _PARTS[eighths % 8]).rstrip()


def _tables(found: Explanation) -> Iterator[str]:
    for table in found.tables:
        columns = max(len(table.head) - 1, 1)
        most = max(_NAME, WIDTH - columns * _COLUMN - 1)
        name = min(most, max(len(cell_text(row[0])) for row in (table.head, *table.rows))) + 1
        wide = min((WIDTH - name) // columns, _COLUMN)
        for row in (table.head, *table.rows):
            first, *rest = map(cell_text, row)
            cells = "".join(f"{shortened(each, wide - 1):>{wide}}" for each in rest)
            yield f"{shortened(first, name - 1):<{name}}{cells}"
        yield ""


def cell_text(cell: Cell) -> str:
    """Return a cell of a table.

    >>> [cell_text(cell) for cell in (None, "a", 1234567.0, 0.123456, 1e-9, 12.5)]
    ['-', 'a', '1,234,567', '0.1235', '1e-09', '12.5']
    """
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return printable(cell)
    whole = float(cell).is_integer() and abs(cell) < 1e15
    return f"{cell:,.0f}" if whole else f"{cell:.4g}" if abs(cell) < 1e4 else f"{cell:,.1f}"


def _examples(found: Explanation) -> Iterator[str]:
    if not found.examples:
        return
    yield "examples since then"
    for row in found.examples:
        score = f"  score {row.score:.4g}" if isinstance(row.score, int | float) else ""
        observed = "" if row.observed is None else f"  observed {row.observed:.6g}"
        yield f"  {printable(row.id)}{score}{observed}  {printable(row.model)}"
        told = ", ".join(
            f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in row.values.items()
        )
        yield from textwrap.wrap(
            printable(told), WIDTH, initial_indent="    ", subsequent_indent="    ",
            max_lines=_MOST_LINES, placeholder=" …",
        )  # fmt: skip
    yield ""


def _beside(found: Explanation) -> Iterator[str]:
    """Yield what there is not, the versions, and what else changed at the time."""
    yield from (printable(note) for note in found.notes)
    if not found.examples and not any("examples" in note for note in found.notes):
        yield "no examples: no sample of events since then is in the log of sums"
    if found.models_then or found.models_now:
        yield f"model before  {_versions(found.models_then)}"
        yield f"model since   {_versions(found.models_now)}"
    changed = [
        f"  {when(each['first_seen_ms'])}  {each['status']}  {printable(each['key'])}"
        for each in found.others
    ]
    changed += [
        f"  {when(each['label_time_ms'])}  version {each['model']} learnt up to then"
        for each in found.versions
    ]
    if changed:
        yield "what else changed at the time"
        yield from changed
    if found.known_from_ms is not None:
        yield f"the log of sums goes back to {when(found.known_from_ms)}"


def _versions(models: Sequence[str]) -> str:
    """Return versions in a few words.

    >>> _versions([]), _versions(["main@1"]), _versions(["main@1", "main@2", "main@9"])
    ('not known', 'main@1', 'main@1 to main@9, 3 in all')
    """
    if len(models) > 2:
        return f"{printable(models[0])} to {printable(models[-1])}, {len(models)} in all"
    return printable(", ".join(models)) or "not known"
