"""What `streamproc alerts show` prints beyond the facts: evidence, then and now, examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamproc.cli.common import printable
from streamproc.explaining import Explanation, Point
from streamproc.monitors.finding import when

WIDTH, HEIGHT = 80, 10
_PLOT = 66
_BAR = 20
_FULL, _PARTS = "█", " ▏▎▍▌▋▊▉"


def drawn(found: Explanation) -> Iterator[str]:
    """Yield the lines, none of more than 80 columns."""
    for lines in (_plot(found), _bars(found), _slices(found), _examples(found)):
        yield from (line[:WIDTH] for line in lines)
    yield from (line[:WIDTH] for line in _beside(found))


def columns_of(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most so many points: of each stretch of time the one farthest from 0.

    >>> [p.value for p in columns_of([Point(0, 1.0), Point(1, -3.0), Point(2, 2.0)], 2)]
    [1.0, -3.0]
    """
    if len(points) <= most:
        return list(points)
    found = []
    for i in range(most):
        part = points[i * len(points) // most : (i + 1) * len(points) // most]
        found.append(max(part, key=lambda point: abs(point.value)))
    return found


def _plot(found: Explanation) -> Iterator[str]:
    """Yield a plot of the evidence: a row a level, a column a stretch of time."""
    points = columns_of(found.points, _PLOT)
    if not points:
        yield "no evidence in the log of sums any more, or none that this kind of alert is made of"
        return
    evidence = found.unit == "evidence"
    top = max([1.0 if evidence else 0.0, *(point.value for point in points)])
    low = min([0.0, *(point.value for point in points)])
    span = max(top - low, 1e-12)
    yield f"{found.unit}{', 1 is an alarm' if evidence else ', by outcome'}"
    for row in range(HEIGHT, 0, -1):
        least, most = low + span * (row - 1) / HEIGHT, low + span * row / HEIGHT
        mark = "┄" if evidence and least < 1.0 <= most else " "
        cells = [_cell(point.value - low, least - low, most - low, mark) for point in points]
        yield f"{most:>9.3g} {'┤'}{''.join(cells)}"
    onset = sum(p.start_ms < found.alert["first_seen_ms"] for p in points)
    yield " " * 10 + "└" + "─" * onset + "▲" + "─" * max(len(points) - onset - 1, 0)
    yield f"{'':11}{when(points[0].start_ms)} to {when(points[-1].start_ms)}"
    yield f"{'':11}▲ since {when(found.alert['first_seen_ms'])}"
    yield ""


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
        label = printable(bar.label)[:wide]
        yield (
            f"{label:<{wide}}  {then:<{_BAR}} {bar.then_share:>6.1%}   "
            f"{now:<{_BAR}} {bar.now_share:>6.1%}"
        ).rstrip()
    yield ""


def _bar(share: float, largest: float) -> str:
    eighths = round(8 * _BAR * share / largest)
    return (_FULL * (eighths // 8) + _PARTS[eighths % 8]).rstrip()


def _slices(found: Explanation) -> Iterator[str]:
    if not found.slices:
        return
    yield f"{'slice, since then':<36}{'outcomes':>12}{'observed':>14}{'predicted':>14}"
    for name, n, observed, predicted in found.slices:
        label = printable(name or "overall")
        yield f"{label[:35]:<36}{n:>12,.0f}{observed:>14,.1f}{predicted:>14,.1f}"
    yield ""


def _examples(found: Explanation) -> Iterator[str]:
    if not found.examples:
        return
    yield "examples since then"
    for row in found.examples:
        score = f"{row.score:.4g}" if isinstance(row.score, float) else ""
        yield f"  {printable(row.id)}  score {score}  {printable(row.model)}"
        told = (
            f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in zip(found.names, row.values, strict=True)
        )
        yield f"    {printable(', '.join(told))}"
    yield ""


def _beside(found: Explanation) -> Iterator[str]:
    """Yield the versions, and what else changed at the time."""
    if found.models_then or found.models_now:
        yield f"model before  {', '.join(found.models_then[-3:]) or 'not known'}"
        yield f"model since   {', '.join(found.models_now[-3:]) or 'not known'}"
    changed = [
        f"  {when(each['first_seen_ms'])}  {each['status']}  {printable(each['key'])}"
        for each in found.others
    ]
    changed += [
        f"  {when(each['label_time_ms'])}  version {each['model']}" for each in found.versions
    ]
    if changed:
        yield "what else changed at the time"
        yield from changed
    if found.known_from_ms is not None:
        yield f"the log of sums goes back to {when(found.known_from_ms)}"
