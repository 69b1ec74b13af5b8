"""The payments that the benchmarks run on, as files and on Kafka."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from benchmarks.processes import ROOT
from streamproc.files import Row, rows
from streamproc.kafka import topics
from streamproc.kafka.producing import Produced, produce
from streamproc.pipeline import Pipeline
from streamproc.timeline import Entry, Kind, LabelColumns, timeline

FOLDER = ROOT.parent / "shared" / "data" / "payments"
LABEL_DELAY_MS = 7 * 86_400_000
PARTITIONS = 4


def months(*names: str) -> list[Path]:
    """Return the files of these months of 2018, such as ``"07"``; those that are there."""
    found = (FOLDER / f"transactions-2018-{name}.csv.gz" for name in names)
    return [path for path in found if path.is_file()]


def named(folder: Path, name: str, inputs: str) -> Path:
    """Write the example's pipeline file under another name and with other inputs.

    So that runs share a Kafka, and those with the same ``inputs`` what was produced.
    """
    source = (ROOT / "examples" / "payments.py").read_text()
    source, names = re.subn(r'name="payments"', f'name="{name}"', source)
    source, topic_names = re.subn(r'"payments\.(\w+)"', rf'"{inputs}.\1"', source)
    if (names, topic_names) != (1, 2):
        raise RuntimeError("examples/payments.py does not look as the benchmarks expect it")
    path = folder / f"{name}.py"
    path.write_text(source)
    return path


def send(
    files: Sequence[Path], pipeline: Pipeline, brokers: str, most: int | None = None
) -> Produced:
    """Produce the files' events, at most so many, and the labels due before the last of them."""
    config = {"bootstrap.servers": brokers}
    topics.create(config, pipeline, partitions=PARTITIONS)
    assert pipeline.topics.labels is not None
    names: dict[Kind, str] = {"event": pipeline.topics.events, "label": pipeline.topics.labels}
    return produce(_entries(files, pipeline, most), config, names)


def _entries(files: Sequence[Path], pipeline: Pipeline, most: int | None = None) -> Iterator[Entry]:
    return due(islice((row for path in files for row in rows(path)), most), pipeline)


def due(payments: Iterable[Row], pipeline: Pipeline) -> Iterator[Entry]:
    """Yield payments and the labels that are due before the last of them, 7 days late."""
    events, labels = pipeline.events, pipeline.labels
    assert labels is not None
    merged = timeline(
        payments,
        id=events.id,
        key=events.key,
        time=events.time,
        labels=LabelColumns(labels.id, labels.value, labels.time),
        label_delay_ms=LABEL_DELAY_MS,
        leave_out=("fraud_scenario",),
    )
    tail = list[Entry]()
    for entry in merged:
        if entry.kind == "event":
            yield from tail
            tail = []
            yield entry
        else:
            tail.append(entry)  # those after the last event are not due while it is scored
