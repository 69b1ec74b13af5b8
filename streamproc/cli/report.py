"""What a backtest found: how good the predictions were, beside what is no better than nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from streamproc.cli.common import printable, width
from streamproc.cli.course import Course
from streamproc.cli.performance_table import newest, tell_performance
from streamproc.messages import Alert
from streamproc.metrics import prequential_report
from streamproc.models.scoring import Scorer
from streamproc.pipeline import Pipeline
from streamproc.tasks.records import Output

_MOST_ALERTS = 20
_UNLEARNT = "main@0"
_WORDS = {"auc": "AUC", "roc": "ROC", "mae": "MAE", "rmse": "RMSE", "r2": "R²", "f1": "F1"}
_TITLES = {"model": "model", "frozen": "frozen", "baseline": "no skill"}
_SPANS = {"all": "all outcomes", "learnt": "scored by a version that had learnt"}

Metrics = dict[str, dict[str, float | None]]


class Report:
    """Collects what a replay puts out: labels, scores, alerts and dead letters.

    The ``frozen`` model is the first published version, which never learns again; until there is
    one, it is the model that has learnt nothing, as in production.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.predictions = self.late = self.versions = 0
        self.seconds = 0.0
        self.dead_letters: Counter[str] = Counter()
        self.alerts: dict[str, Alert] = {}
        self.metrics: dict[str, Metrics] = {}
        self.performance: list[dict[str, Any]] = []
        self.course = Course()
        self._opened: dict[str, int] = {}
        self._labels: list[Any] = []
        self._scores: dict[str, list[Any]] = {"model": [], "frozen": []}
        self._learnt: list[bool] = []

    @property
    def outcomes(self) -> int:
        """How many predictions met their label."""
        return len(self._labels)

    @property
    def unlearnt(self) -> int:
        """How many of them were scored by a model that had learnt nothing."""
        return self.outcomes - sum(self._learnt)

    @property
    def of_learning(self) -> str | None:
        """Why next to nothing had been learnt, if so."""
        return self.course.of_learning(self.pipeline, self.outcomes, self.unlearnt)

    @property
    def of_finding(self) -> str | None:
        """Why no change could be found, if so."""
        return None if self.alerts else self.course.of_finding(self.pipeline)

    def add(self, output: Output, models: Sequence[Scorer]) -> None:
        """Take in what a task put out; ``models`` are the versions published so far."""
        records = output.records
        self.predictions += len(records.get("predictions", ()))
        for out in records.get("outcomes", ()):
            self._outcome(orjson.loads(out["value"] or b"{}"), models)
        for out in records.get("alerts", ()):
            alert: Alert = orjson.loads(out["value"] or b"{}")
            self.alerts[alert["alert_id"]] = alert
            self._opened.setdefault(alert["alert_id"], self.predictions)
        if reports := records.get("metrics"):
            told = (orjson.loads(out["value"] or b"{}") for out in reports)
            self.performance = newest([*self.performance, *told])
        for out in records.get("dead_letters", ()):
            self.dead_letters[dict(out.get("headers", ())).get("reason", b"").decode()] += 1

    def finish(self, late: int, versions: int, seconds: float) -> None:
        """Compute the metrics, once all is in."""
        self.late, self.versions, self.seconds = late, versions, seconds
        if self.outcomes:
            self.metrics["all"] = self._compare(range(self.outcomes))
        learnt = [number for number, was in enumerate(self._learnt) if was]
        if learnt and len(learnt) < self.outcomes:
            self.metrics["learnt"] = self._compare(learnt)

    def as_json(self, file: Path, out: Path | None) -> dict[str, Any]:
        """Return all of it, for programs."""
        return {
            "pipeline": self.pipeline.name,
            "file": str(file),
            "events": self.predictions + self.dead_letters.total(),
            "predictions": self.predictions,
            "outcomes": self.outcomes,
            "outcomes_before_learning": self.unlearnt,
            "late": self.late,
            "versions": self.versions,
            "metrics": self.metrics,
            "performance": self.performance,
            "alerts": [
                {
                    "alert_id": key,
                    "kind": alert["kind"],
                    "subject": alert["subject"],
                    "slice": alert["slice"],
                    "severity": alert["severity"],
                    "first_seen_ms": alert["first_seen_ms"],
                    "opened_after_events": self._opened[key],
                    "resolved": alert["status"] == "resolved",
                    "summary": alert["summary"],
                }
                for key, alert in self.alerts.items()
            ],
            "notes": [note for note in (self.of_learning, self.of_finding) if note],
            "dead_letters": dict(self.dead_letters),
            "seconds": round(self.seconds, 3),
            "out": None if out is None else str(out),
        }

    def _outcome(self, outcome: dict[str, Any], models: Sequence[Scorer]) -> None:
        score = outcome["score"]
        learnt = outcome["model"] != _UNLEARNT
        self._labels.append(outcome["label"])
        self._learnt.append(learnt)
        self._scores["model"].append(score)
        frozen = models[0].score(outcome["features"])[0] if learnt and models else score
        self._scores["frozen"].append(frozen)

    def _compare(self, rows: Sequence[int]) -> Metrics:
        pipeline = self.pipeline
        labels = [self._labels[row] for row in rows]
        found: Metrics = {}
        for who, scores in self._scores.items():
            scored = [scores[row] for row in rows]
            report = prequential_report(
                pipeline.kind, labels, scored, pipeline.threshold, pipeline.classes
            )
            prefix = "baseline_"
            own = {name: it for name, it in report.items() if not name.startswith(prefix)}
            found[who] = own
            found["baseline"] = {
                name.removeprefix(prefix): it for name, it in report.items() if name not in own
            }
        return found


def tell(report: Report, file: Path, out: Path | None, alerts: Path | None = None) -> None:
    """Print a report for people, at most 80 columns wide; ``file`` is the pipeline's."""
    console = Console(width=width(), highlight=False)
    speed = report.predictions / max(report.seconds, 1e-9)
    console.print(
        f"{report.predictions:,} predictions, {report.outcomes:,} with a label; "
        f"{report.versions:,} model versions\nin {report.seconds:.1f} s ({speed:,.0f} events/s)"
    )
    for span, metrics in report.metrics.items():
        console.print()
        console.print(_table(_SPANS[span], metrics))
    if report.metrics:
        console.print()
        console.print("frozen: the first version, never learning again.", style="dim")
    elif report.pipeline.labels is not None and report.predictions:
        console.print(f"no prediction met a label: no row has {report.pipeline.labels.value!r}")
    if report.of_learning:
        console.print(report.of_learning)
    for each in report.performance:
        if each["slice"] is None and each["about"] == "outcomes":
            console.print("\nthe last window, as a monitor reports it:")
            tell_performance(each, console)
    _tell_alerts(report, console)
    if report.late:
        console.print(f"\nevents later than {report.pipeline.lateness}: {report.late:,}")
    if report.dead_letters:
        console.print(f"\ndead letters: {report.dead_letters.total():,}")
        for reason, count in report.dead_letters.most_common():
            console.print(f"  {count:>9,}  {reason}")
    if out is not None:
        typer.echo(f"\npredictions written to {out}")
    if alerts is not None:
        typer.echo(f"\nalerts written to {alerts}; to see them:")
        typer.echo(f"  streamproc alerts list --all --of {alerts}")
        typer.echo(f"  streamproc alerts show ID {file} --of {alerts}")


def _table(title: str, metrics: Metrics) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", min_width=18)
    for who in _TITLES:
        table.add_column(_TITLES[who], justify="right", min_width=10)
    for name in metrics["model"]:
        cells = [metrics[who].get(name) for who in _TITLES]
        words = " ".join(_WORDS.get(word, word) for word in name.split("_"))
        table.add_row(words, *("-" if cell is None else f"{cell:.4f}" for cell in cells))
    return table


def _tell_alerts(report: Report, console: Console) -> None:
    if not report.pipeline.monitors:
        return
    still = sum(alert["status"] != "resolved" for alert in report.alerts.values())
    told = (
        f"{len(report.alerts)}, of which {still} still open at the end" if report.alerts else "none"
    )
    console.print(f"\nalerts: {told}")
    if report.of_finding:
        console.print(report.of_finding)
    for alert in list(report.alerts.values())[:_MOST_ALERTS]:
        moment = datetime.fromtimestamp(alert["first_seen_ms"] / 1000, UTC)
        about = f"{alert['kind']} {alert['subject']}"
        if alert["slice"]:
            about += " " + ", ".join(f"{name}={value}" for name, value in alert["slice"].items())
        state = "resolved" if alert["status"] == "resolved" else "open"
        line = f"  {moment:%Y-%m-%d %H:%M}  {state:<8}  {alert['severity']:<8}  {printable(about)}"
        console.print(line, markup=False, no_wrap=True, overflow="ellipsis")
    if len(report.alerts) > _MOST_ALERTS:
        console.print(f"  and {len(report.alerts) - _MOST_ALERTS} more; --json has them all")
