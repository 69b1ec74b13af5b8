"""The demo on the screen: live in a terminal, a plain line now and then where it is piped."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamproc.cli.common import printable
from streamproc.demo.observer import NO_SKILL, Observer, SeenAlert
from streamproc.demo.scenario import PIPELINE_FILE, START_MS, in_force, said
from streamproc.simulator import DAY_MS

_LIVE_EVERY_S = 0.25
_PLAIN_EVERY_S = 5.0
_RATE_OVER_S = 2.0
_BAR = 20
_SHOWN_ALERTS = 6


class View(Protocol):
    """What shows a run; ``now_s`` are seconds of any clock."""

    def refresh(self, now_s: float) -> None:
        """Show the figures, if it is time to."""

    def alert(self, seen: SeenAlert) -> None:
        """Show that an alert opened or resolved."""

    def close_with(self, result: dict[str, Any], failed: list[str]) -> None:
        """Show the summary and where to go next."""


@contextmanager
def make_view(console: Console, observer: Observer) -> Iterator[View]:
    """Return the live view on a terminal, the plain one elsewhere."""
    if not console.is_terminal:
        yield _Plain(console, observer)
        return
    live = _Live(console, observer)
    with live.on_screen:
        yield live
        live.draw()


class _Rate:
    """Events per second over the last seconds."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, int]] = []

    def update(self, now_s: float, events: int) -> float:
        self._marks.append((now_s, events))
        while len(self._marks) > 2 and self._marks[1][0] < now_s - _RATE_OVER_S:
            del self._marks[0]
        first_s, first = self._marks[0]
        return (events - first) / max(now_s - first_s, 1e-3)


class _Shown:
    """What both views share: the console, the figures, and the end."""

    every_s = _PLAIN_EVERY_S

    def __init__(self, console: Console, observer: Observer) -> None:
        self.console = console
        self.observer = observer
        self.rate = 0.0
        self._rate = _Rate()
        self._next_s = 0.0

    def due(self, now_s: float) -> bool:
        """Whether to show the figures anew; brings the rate up to date."""
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self.every_s
        self.rate = self._rate.update(now_s, self.observer.events)
        return True

    def close_with(self, result: dict[str, Any], failed: list[str]) -> None:
        self.console.print(Padding(_summary(self.observer, result), (1, 0, 0, 0)))
        if not failed:
            self.console.print(_next())


class _Plain(_Shown):
    """A line every few seconds, and one for each alert that opens or resolves."""

    def refresh(self, now_s: float) -> None:
        if not self.due(now_s):
            return
        at = self.observer
        auc, never = at.aucs()
        self.console.print(
            f"day {_day(at):2d} of {at.scenario.days}  {at.events:,} events, {self.rate:,.0f}/s  "
            f"p50 {_ms(at, 50)}, p99 {_ms(at, 99)}  AUC {_auc(auc)}, never learning {_auc(never)}",
            soft_wrap=True,
        )

    def alert(self, seen: SeenAlert) -> None:
        status = "resolved" if seen.resolved else "opened"
        self.console.print(f"{_moment(self.observer.now_ms)}  {status}: {_about(seen)}")
        if not seen.resolved:
            indent = " " * 4
            self.console.print(
                textwrap.fill(
                    printable(seen.alert["summary"]),
                    self.console.width,
                    initial_indent=indent,
                    subsequent_indent=indent,
                )
            )


class _Live(_Shown):
    """Redraws its lines in place; the alerts stand below the figures."""

    every_s = _LIVE_EVERY_S

    def __init__(self, console: Console, observer: Observer) -> None:
        super().__init__(console, observer)
        self.on_screen = Live(
            self._drawing(), console=console, auto_refresh=False, vertical_overflow="crop"
        )

    def refresh(self, now_s: float) -> None:
        if self.due(now_s):
            self.draw()

    def alert(self, seen: SeenAlert) -> None:
        self.draw()

    def draw(self) -> None:
        """Draw the figures as they are."""
        self.on_screen.update(self._drawing(), refresh=True)

    def _drawing(self) -> RenderableType:
        return Group(_figures(self.observer, self.rate), Text(), _alerts(self.observer))


def _figures(at: Observer, rate: float) -> RenderableType:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(style="bold", width=15)
    table.add_column(justify="right", width=8)
    table.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
    days = at.scenario.days
    table.add_row("Stream", _moment(at.now_ms)[:6], _progress(at, days))
    table.add_row("Events", f"{at.events:,}", f"{rate:,.0f} a second")
    recent = f"p50 {_ms(at, 50, True)}, p99 {_ms(at, 99, True)}, from event to prediction"
    table.add_row("Predictions", f"{at.predictions:,}", recent)
    table.add_row("Labels joined", f"{at.outcomes:,}", "a day late, learnt from as they come")
    table.add_row("Model versions", f"{at.versions:,}", f"{at.learnt:,} outcomes learnt")
    auc, never = at.aucs()
    rows = (("AUC, learning", auc), ("never learning", never), ("no skill", NO_SKILL))
    for name, value in rows:
        table.add_row(
            name, _auc(value), ProgressBar(1.0, value or 0.0, width=_BAR, complete_style="cyan")
        )
    faults = in_force(at.scenario.faults, at.now_ms)
    told = Text("; ".join(said(fault) for fault in faults) or "nothing", "yellow" if faults else "")
    line = Table.grid(padding=(0, 2))
    line.add_row(Text("Injected now   ", "bold"), told)
    return Group(table, line)


def _progress(at: Observer, days: int) -> RenderableType:
    line = Table.grid(padding=(0, 1))
    line.add_row(
        ProgressBar(days, _day(at), width=_BAR, complete_style="cyan"), f"day {_day(at)} of {days}"
    )
    return line


def _alerts(at: Observer) -> RenderableType:
    if not at.alerts:
        return Text("No alert yet.", style="dim")
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    # Open ones first, the newest on top: what does not fit on the screen is cut off below.
    shown = sorted(at.alerts, key=lambda seen: (seen.resolved, -seen.opened_ms))
    for seen in shown[:_SHOWN_ALERTS]:
        style, word = ("green", "resolved") if seen.resolved else ("bold red", "open")
        table.add_row(Text(word, style), Text(_about(seen), "bold"))
        table.add_row("", Text(_life(seen) if seen.resolved else seen.alert["summary"]))
    return table


def _summary(at: Observer, result: dict[str, Any]) -> RenderableType:
    table = Table(title="What it amounts to", title_justify="left", show_header=False, width=80)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("", ratio=1)
    events = f"in {result['seconds']:.0f} s, {result['events'] / result['seconds']:,.0f} a second"
    table.add_row("events", f"{at.events:,}", events)
    whole = f"{at.missing:,} missing, {at.duplicates:,} twice; p50 {_ms(at, 50)}, p99 {_ms(at, 99)}"
    table.add_row("predictions", f"{at.predictions:,}", whole)
    table.add_row("labels joined", f"{at.outcomes:,}", f"of {at.labels:,} sent")
    table.add_row("model versions", f"{at.versions:,}", f"from {at.learnt:,} outcomes")
    auc, never = at.aucs()
    beside = f"never learning {_auc(never)}, no skill {NO_SKILL:.3f}"
    table.add_row("AUC", _auc(auc), beside)
    table.add_row("false alarms", f"{at.false_alarms:,}", "alerts that no injected fault explains")
    if at.dead_letters:
        table.add_row("dead letters", f"{at.dead_letters:,}", "records that could not be used")
    for seen in at.alerts:
        after = seen.opened_after_events
        told = "a false alarm" if after is None else f"opened after {after:,} events"
        state = "resolved" if seen.resolved else "still open"
        table.add_row("alert", state, f"{_about(seen)}, {told}")
    return table


def _next() -> RenderableType:
    here = f"{PIPELINE_FILE}"
    steps = (
        ("This pipeline, drawn", f"streamproc check {here}"),
        ("A pipeline of yours", "README.md, Your first pipeline in ten minutes"),
        ("On files, no broker", "streamproc backtest PIPELINE FILE"),
        ("On a Kafka of yours", "STREAMPROC_BROKERS=host:9092 streamproc worker PIPELINE"),
        ("What others consume", "README.md, The topics are the interface"),
    )
    table = Table.grid(padding=(0, 2))
    for what, how in steps:
        table.add_row(Text(what, "bold"), Text(how, overflow="fold"))
    return Group(Text("\nWhere to go next"), table)


def _about(seen: SeenAlert) -> str:
    alert = seen.alert
    where = ", ".join(f"{name}={value}" for name, value in (alert["slice"] or {}).items())
    return f"{alert['kind']}, {alert['subject']}" + (f" where {where}" if where else "")


def _life(seen: SeenAlert) -> str:
    resolved = _moment(seen.resolved_ms or 0)
    return f"opened {_moment(seen.opened_ms)}, resolved {resolved}"


def _day(at: Observer) -> int:
    return min(max(0, at.now_ms - START_MS) // DAY_MS + 1, at.scenario.days)


def _moment(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(max(time_ms, START_MS) / 1_000, UTC):%d %b %H:%M}"


def _ms(at: Observer, percent: float, recent: bool = False) -> str:
    found = at.latency_s(percent, recent)
    return "-" if found is None else f"{found * 1_000:,.0f} ms"


def _auc(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
