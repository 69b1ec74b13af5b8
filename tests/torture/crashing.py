"""A worker that ends itself, as a crash would, at a named point: ``POINT TIMES PIPELINE``.

``python -m tests.torture.crashing after_offsets 20 payments.py`` ends the twentieth time that
offsets have been sent to a transaction. Everything else is as in ``streamproc worker``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confluent_kafka

from streamproc.cli import fix_hashes

EXIT_CODE = 70

POINTS = {
    # A name -> how often it is passed before the crash, at most.
    "before_name": 1,
    "after_name": 1,
    "before_assign": 1,
    "after_assign": 1,
    "before_restore": 3,
    "after_restore": 3,
    "before_begin": 50,
    "after_begin": 50,
    "before_produce": 100,
    "after_produce": 100,
    "before_offsets": 50,
    "after_offsets": 50,
    "before_commit": 50,
    "after_commit": 50,
    "before_store": 1,
    "after_store": 1,
    "before_thaw": 3,
    "after_thaw": 3,
    "before_freeze": 8,
    "after_freeze": 8,
    "before_tables": 8,
    "after_tables": 8,
    "before_prune": 8,
    "after_prune": 8,
}
_EVERY_S = 0.5  # snapshots come so often that their points are passed soon


def _around(point: str, reached: Callable[[str], None], call: Callable[..., Any]) -> Any:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        reached(f"before_{point}")
        result = call(*args, **kwargs)
        reached(f"after_{point}")
        return result

    return wrapped


def main(point: str, times: int, pipeline: str) -> None:
    """Put the points in place and run the worker."""
    from agents import keeping, restore, score
    from agents.poller import Poller
    from agents.worker import run_worker
    from streamproc.cli import logs
    from streamproc.models.versions import Store
    from streamproc.pipeline import Pipeline
    from streamproc.settings import Settings
    from streamproc.state.snapshots import Snapshots
    from streamproc.tasks import frozen

    keeping.EVERY_S = _EVERY_S
    left = [times]

    def reached(name: str) -> None:
        left[0] -= name == point
        if left[0] <= 0:
            os._exit(EXIT_CODE)

    class Producer(confluent_kafka.Producer):
        """Passes its points on the way."""

        init_transactions = _around("name", reached, confluent_kafka.Producer.init_transactions)
        begin_transaction = _around("begin", reached, confluent_kafka.Producer.begin_transaction)
        produce_batch = _around("produce", reached, confluent_kafka.Producer.produce_batch)
        send_offsets_to_transaction = _around(
            "offsets", reached, confluent_kafka.Producer.send_offsets_to_transaction
        )
        commit_transaction = _around("commit", reached, confluent_kafka.Producer.commit_transaction)

    for where, name, what in (
        (confluent_kafka, "Producer", Producer),
        (Poller, "_assign", _around("assign", reached, Poller._assign)),
        (Store, "put", _around("store", reached, Store.put)),
        (score, "restore_score", _around("restore", reached, restore.restore_score)),
        (restore, "thaw", _around("thaw", reached, frozen.thaw)),
        (frozen.Freezer, "begin", _around("freeze", reached, frozen.Freezer.begin)),
        (Snapshots, "_put", _around("tables", reached, Snapshots._put)),
        (Snapshots, "_prune", _around("prune", reached, Snapshots._prune)),
    ):
        setattr(where, name, what)
    logs.configure()
    run_worker(Pipeline.load(Path(pipeline)), Settings.load())
    os._exit(0)


if __name__ == "__main__":
    fix_hashes()
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
