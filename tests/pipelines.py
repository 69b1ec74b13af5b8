"""Pipelines for tests that care about one side of them."""

from __future__ import annotations

from dataclasses import dataclass

from streamproc.pipeline import Topics


@dataclass(frozen=True)
class OnlyTopics:
    """A pipeline of which only the names of its topics matter."""

    topics: Topics
    horizon_ms: int = 0
    lookup_topics: tuple[str, ...] = ()
    reports: bool = False
    reaction_topics: tuple[str, ...] = ()

    def rekeyed(self, partitions: int) -> tuple[tuple[str, ...], ...]:
        """Return that some windows are by another entity."""
        return (("shop",),) if partitions > 1 else ()


def topics_of(name: str, labels: bool = True) -> OnlyTopics:
    """Return a pipeline whose topics, inputs included, begin with ``name``."""
    owned = (
        "predictions", "outcomes", "models", "alerts", "late", "journal", "learn", "buckets",
        "operations", "rekeyed", "windows", "metrics",
    )  # fmt: skip
    return OnlyTopics(
        Topics(
            events=f"{name}.events",
            labels=f"{name}.labels" if labels else None,
            dead_letters=f"{name}.dead-letters",
            **{topic: f"{name}.{topic}" for topic in owned},
        )
    )
