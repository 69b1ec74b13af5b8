"""Reading features of an entity while the worker runs: what its windows hold just now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson

from agents.rekeyed import RekeyedStage
from agents.score import ScoreStage
from streamproc.features import FeatureSet
from streamproc.features.rekeyed import EntityWindows

_ANSWER_S = 2.0


def online_features(
    score: ScoreStage, rekeyed: RekeyedStage | None = None
) -> Callable[[str, tuple[str, ...]], bytes | None]:
    """Return what answers for an entity, by these fields or the key; for other threads to call.

    It is computed by the loop that this is called in, between two of its rounds. Raises
    ``TimeoutError`` where that doesn't come to it within 2 s.
    """
    loop = asyncio.get_running_loop()

    async def look(entity: str, by: tuple[str, ...]) -> bytes | None:
        key = score.deployment.pipeline.events.key
        fields = by or (key,)
        here: list[tuple[int, FeatureSet | EntityWindows, int]] = [
            (n, task.features, task.watermark_ms) for n, task in score.tasks.items()
        ]
        for n, task in rekeyed.tasks.items() if rekeyed is not None else ():
            here.append((n, task.state, task.sources.released[0]))
        for partition, windows, newest_ms in here:
            found = windows.current(entity, fields)
            if found is not None:
                told = {"entity": entity, "by": list(fields), "partition": partition}
                told |= {"newest_event_ms": newest_ms, "features": found}
                return orjson.dumps(told)
        return None

    def ask(entity: str, by: tuple[str, ...]) -> bytes | None:
        return asyncio.run_coroutine_threadsafe(look(entity, by), loop).result(_ANSWER_S)

    return ask
