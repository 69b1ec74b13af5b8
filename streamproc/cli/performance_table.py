"""A report of performance as a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from streamproc.cli.common import printable

_TITLES = {
    "model": "model",
    "guessed": "guessed",
    "zero_rule": "zero-rule",
    "random": "random",
    "own": "your own",
}
_WORDS = {
    "auc": "AUC",
    "roc": "ROC",
    "ece": "ECE",
    "r2": "R²",
    "f": "F",
    "acper": "ACPER",
    "mse": "MSE",
    "mae": "MAE",
    "mdae": "MdAE",
}


def newest(reports: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the last report of each slice: all first, then the largest; outcomes, then guesses.

    >>> some = [{"about": "outcomes", "slice": None, "n": n} for n in (1, 2)]
    >>> newest(some)
    [{'about': 'outcomes', 'slice': None, 'n': 2}]
    """
    found: dict[tuple[str, Any], dict[str, Any]] = {}
    for report in reports:
        of = report["slice"]
        found[report["about"], tuple(sorted(of.items())) if of else None] = dict(report)
    return sorted(
        found.values(),
        key=lambda it: (it["slice"] is not None, it["about"], -it["n"], str(it["slice"])),
    )


def tell_performance(report: Mapping[str, Any], console: Console) -> None:
    """Print what a report is about, and a table of its metrics."""
    console.print(_about(report), style="bold", markup=False)
    console.print(_table(report["metrics"]))


def _about(report: Mapping[str, Any]) -> str:
    slice_ = ", ".join(f"{field}={value}" for field, value in (report["slice"] or {}).items())
    what = {"outcomes": "outcomes", "predictions": "predictions without their labels"}
    about = f"{report['n']:,} {what.get(report['about'], report['about'])}"
    if report["event_from_ms"] is not None:
        since, until = (_moment(report[name]) for name in ("event_from_ms", "event_to_ms"))
        about += f", events of {since} to {until}"
    return f"{printable(slice_)}: {about}" if slice_ else about


def _table(metrics: Mapping[str, Mapping[str, float | None]]) -> Table:
    """Return a row a metric, a column for the model and each of what is beside it."""
    table = Table(box=None, pad_edge=False)
    table.add_column("", min_width=18)
    shown = [who for who in _TITLES if who in metrics]
    for who in shown:
        table.add_column(_TITLES[who], justify="right", min_width=9)
    for name in dict.fromkeys(name for who in shown for name in metrics[who]):
        cells = [metrics[who].get(name) for who in shown]
        table.add_row(words(name), *("-" if cell is None else f"{cell:.4f}" for cell in cells))
    return table


def words(name: str) -> str:
    """Return a metric's name for people.

    >>> words("roc_auc_error"), words("accuracy/not_paid"), words("f_beta")
    ('ROC AUC error', 'accuracy/not_paid', 'F beta')
    """
    if "/" in name:
        return printable(name)
    if name.startswith("ndcg@"):
        return "nDCG@" + name.removeprefix("ndcg@")
    return " ".join(_WORDS.get(word, word) for word in name.split("_"))


def _moment(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M}"
