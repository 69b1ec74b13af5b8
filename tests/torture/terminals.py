"""Windows of terminals, held against a calculation from the logs; see ``terminals_oracle``.

Of windows over labels those still on their way may be missing, in one event of a hundred; none may
be there that was not known by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import Message

from tests.kafka import terminals_oracle as oracle
from tests.kafka.topic_reader import as_json, read_all

MISSED = 0.01
"""In which share of events a label on its way may be missing."""

_NEVER_S = 1 << 40
_OVER = 'by="terminal_id", over=("1d", "7d", "30d"), aggregates=("count", "mean")'
_FEATURES = f"""        Window("amount", {_OVER}),
        LabelWindow({_OVER}),
    ],
    model="""


def with_terminals(pipeline: str) -> str:
    """Return the text of a pipeline file with windows of terminals.

    >>> "LabelWindow(by" in with_terminals("    features=[\\n    ],\\n    model=None")
    True
    """
    text = pipeline.replace("import (\n", "import (\n    LabelWindow,\n", 1)
    parts = text.split("    ],\n    model=")
    assert len(parts) == 2, "the example's features look another way now"
    return _FEATURES.join(parts)


@dataclass
class Terminals:
    """What predictions say of terminals, beside what they should."""

    expected: Mapping[int, list[float]]
    compared: int = 0
    wrong: int = 0
    early: int = 0
    missed: int = 0
    incomplete: int = 0
    shown: list[str] = field(default_factory=list)

    def take(self, message: Message, said: Mapping[str, Any]) -> None:
        """Judge a prediction; one that says that it is incomplete is only counted."""
        self.compared += 1
        if any(header[0] == "incomplete" for header in message.headers() or ()):
            self.incomplete += 1
            return
        actual = np.array(oracle.as_row(said["features"]))
        wanted = np.array(self.expected[int(said["id"])])
        own, labels = slice(0, 6), slice(6, 12, 2)
        if not np.allclose(actual[own], wanted[own], rtol=0, atol=1e-9):
            self.wrong += 1
            if self.wrong <= 3:
                self.shown.append(f"terminal of {said['id']}: {actual[own]} for {wanted[own]}")
        self.early += bool((actual[labels] > wanted[labels]).any())
        self.missed += bool((actual[labels] < wanted[labels]).any())

    def notes(self) -> list[str]:
        """Say what was found."""
        return [
            f"terminals: {self.wrong} wrong, {self.early} with a label too early, {self.missed} "
            f"without one on its way, {self.incomplete} incomplete, of {self.compared:,}",
            *self.shown,
        ]

    def faults(self) -> list[str]:
        """Say what must not be."""
        found = [f"{self.wrong} windows of terminals are wrong"] if self.wrong else []
        found += [f"{self.early} have a label too early"] if self.early else []
        if self.missed > MISSED * self.compared:
            found.append(f"{self.missed} of {self.compared} miss a label")
        return found


def expected_of(address: str, name: str) -> dict[int, list[float]]:
    """Return the features of terminals that follow from the logs, by the payment's id."""
    labels: dict[int, tuple[int, float]] = {}

    def label(message: Message) -> None:
        said = as_json(message)
        labels[said["transaction_id"]] = (said["fraud"], message.timestamp()[1] / 1000)

    def payment(message: Message) -> oracle.Payment:
        row = as_json(message)
        fraud, known_s = labels.get(row["transaction_id"], (0, _NEVER_S))
        at_s = int(np.datetime64(row["event_time"].removesuffix("Z"), "s").astype(np.int64))
        where = (message.partition() or 0, message.offset() or 0, row["transaction_id"])
        return oracle.Payment(*where, at_s, row["terminal_id"], row["amount"], fraud, known_s)

    read_all(address, f"{name}.labels", label)
    return oracle.features_of(read_all(address, f"{name}.transactions", payment))
