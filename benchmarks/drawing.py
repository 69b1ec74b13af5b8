"""A plot of the handbook's test week, as SVG written by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from html import escape

import numpy as np

from benchmarks.protocol import Figures, Floats, Integers

_COLOURS = ("#8a8f98", "#1668b0")
_WIDTH, _HEIGHT = 880, 420
_SIZE = 300
_LEFT, _RIGHT, _TOP = 60, 500, 50


def plotted(
    week: date,
    curves: Mapping[str, tuple[Integers, Floats]],
    found: Mapping[str, Figures],
) -> str:
    """Return precision over recall, and the card precision of each day, for each model."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#24292f">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        *_frame(_LEFT, "recall", "precision of payments", (0, 0.25, 0.5, 0.75, 1), 1.0),
        *_frame(_RIGHT, "day", "card precision@100", (), _most(found)),
    ]
    for colour, (name, (fraud, scores)) in zip(_COLOURS, curves.items(), strict=False):
        recall, precision = precision_recall(fraud, scores)
        lines.append(_line(_LEFT, recall, precision, 1.0, colour))
        cards = found[name].cards
        places = [(i + 0.5) / max(len(cards), 1) for i in range(len(cards))]
        lines.append(_line(_RIGHT, places, cards, _most(found), colour))
    days = max((len(each.cards) for each in found.values()), default=0)
    for i in range(days):
        x = _RIGHT + _SIZE * (i + 0.5) / days
        day = week + timedelta(days=i)
        lines.append(_text(x, _TOP + _SIZE + 16, f"{day:%d/%m}", "middle"))
    for i, (name, figures) in enumerate(found.items()):
        x, y = _LEFT + 400 * i, 24
        said = f"{name}: average precision {figures.average_precision:.3f}"
        lines.append(f'<rect x="{x}" y="{y - 9}" width="14" height="4" fill="{_COLOURS[i % 2]}"/>')
        lines.append(_text(x + 20, y, said, "start"))
    return "\n".join([*lines, "</svg>"]) + "\n"


def precision_recall(fraud: Integers, scores: Floats) -> tuple[Floats, Floats]:
    """Return recall and precision with each distinct score as the threshold, highest first.

    >>> recall, precision = precision_recall(np.array([1, 0, 1]), np.array([0.9, 0.5, 0.4]))
    >>> recall.tolist(), precision.round(2).tolist()
    ([0.5, 0.5, 1.0], [1.0, 0.5, 0.67])
    """
    order = np.argsort(-scores, kind="stable")
    true = np.cumsum(fraud[order]).astype(np.float64)
    last = np.append(np.diff(scores[order]) != 0, True)
    said = np.flatnonzero(last) + 1.0
    return true[last] / true[-1], true[last] / said


def _most(found: Mapping[str, Figures]) -> float:
    highest = max((max(each.cards, default=0.0) for each in found.values()), default=0.0)
    return max(0.1, math.ceil(highest * 10) / 10)


def _frame(left: int, below: str, beside: str, at: Iterable[float], most: float) -> list[str]:
    bottom, middle = _TOP + _SIZE, _TOP + _SIZE / 2
    lines = [
        f'<rect x="{left}" y="{_TOP}" width="{_SIZE}" height="{_SIZE}" fill="none" '
        'stroke="#d0d7de"/>',
        _text(left + _SIZE / 2, bottom + 38, below, "middle"),
        f'<text x="{left - 42}" y="{middle}" text-anchor="middle" '
        f'transform="rotate(-90 {left - 42} {middle})">{beside}</text>',
    ]
    lines += [_text(left + _SIZE * x, bottom + 16, f"{x:g}", "middle") for x in at]
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - _SIZE * share
        lines.append(_text(left - 6, y + 4, f"{share * most:.3g}", "end"))
        lines.append(f'<path d="M{left} {y}h{_SIZE}" stroke="#eaeef2"/>')
    return lines


def _line(left: int, xs: Iterable[float], ys: Iterable[float], most: float, colour: str) -> str:
    points = list[str]()
    for x, y in zip(xs, ys, strict=True):
        point = f"{left + _SIZE * x:.0f},{_TOP + _SIZE * (1 - y / most):.0f}"  # far fewer so
        if not points or points[-1] != point:
            points.append(point)
    shown = " ".join(points)
    return f'<polyline points="{shown}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
