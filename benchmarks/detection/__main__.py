"""``make detect``: how soon changes are seen, at one false alarm in 100,000 events, beside others.

Peers run with the thresholds of `fitted.json`; ``--fit`` (``make detect-full``) fits them again.
Writes `benchmarks/detection.json` and the tables of `docs/detection.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.detection import fits, tables
from benchmarks.detection.agreement import disagreements
from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.measure import Detector, delay
from benchmarks.detection.originals import PYTHON
from benchmarks.detection.ours import OURS
from benchmarks.detection.peers import PEERS
from benchmarks.detection.streams import ROWS, Row, changed
from benchmarks.processes import ROOT
from streamproc.errors import StreamprocError

PROCESSES = 2
REPETITIONS, STREAMS = 400, 500
"""Of ours: of each delay, and of the mean time between false alarms."""

PAGE = ROOT / "docs" / "detection.md"
Task = tuple[str, str, int]
"""What is measured (`fit`, `peer`, `ours`, `baseline`), the kind of stream, which detector."""


def main() -> None:
    """Run it; a mistake is one line."""
    asked = _arguments()
    try:
        _run(asked)
    except StreamprocError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _run(asked: argparse.Namespace) -> None:
    began_s = time.monotonic()
    if not PYTHON.exists():
        raise StreamprocError(f"{PYTHON}: not there; `make detect` installs it")
    apart, versions = disagreements()
    if apart:
        raise StreamprocError(f"ports alarm elsewhere than the originals: {', '.join(apart)}")
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    print(f"Ports alarm where the originals do, on the test streams ({said}).", flush=True)
    if asked.fit:
        numbered = [("fit", stream, PEERS.index(peer)) for peer, stream in fits.tasks()]
        fits.written([it for many in _all(numbered) for it in many], versions)
    found = dict[str, list[Any]](peer=[], ours=[], baseline=[])
    for task, many in _pairs(_tasks()):
        found[task[0]] += many
    ours, peers, baselines = (_in_order(found[it]) for it in ("ours", "peer", "baseline"))
    print(tables.into_page(PAGE, ours, peers, baselines, list(fits.read().values())))
    _write(asked.out, ours, [*peers, *baselines])
    print(f"\nin {(time.monotonic() - began_s) / 60:.0f} minutes; written to {asked.out}")


def _tasks() -> list[Task]:
    """Return what there is to measure, with the slowest first, so that processes end together."""
    numbered = sorted(enumerate(PEERS), key=lambda it: it[1].streams * it[1].repetitions)
    return [
        *(("ours", stream, 0) for stream in OURS),
        *(("peer", stream, at) for at, peer in numbered for stream in peer.sees),
        *(
            ("baseline", stream, at)
            for at in range(len(BASELINES))
            for stream in dict.fromkeys(row.stream for row in ROWS)
        ),
    ]


def measured(task: Task) -> list[dict[str, Any]]:
    """Carry out one task, in a process of its own."""
    what, stream, at = task
    if what == "fit":
        return [fits.fitted_peer(PEERS[at], stream)]
    if what == "ours":
        own = OURS[stream]
        return _delays(own, fits.fit(own, stream, STREAMS), stream, STREAMS, REPETITIONS)
    if what == "baseline":
        detector, threshold = BASELINES[at]
        return _delays(detector, threshold, stream, 100, REPETITIONS)
    peer = PEERS[at]
    threshold = fits.read()[peer.name, stream]["threshold"]
    return _delays(peer, threshold, stream, peer.streams, peer.repetitions)


def _delays(
    detector: Detector, threshold: float, stream: str, streams: int, repetitions: int
) -> list[tables.Figures]:
    mtfa = fits.rate(detector, threshold, stream, streams).mtfa

    def of(row: Row) -> tables.Figures:
        late = delay(detector, threshold, [changed(row, it) for it in range(repetitions)])
        return tables.figures(detector.name, stream, row.change, threshold, mtfa, late)

    return [of(row) for row in ROWS if row.stream == stream]


def _pairs(tasks: list[Task]) -> Iterable[tuple[Task, list[dict[str, Any]]]]:
    with ProcessPoolExecutor(PROCESSES) as pool:
        running = {pool.submit(measured, task): task for task in tasks}
        for done in as_completed(running):
            yield running[done], done.result()


def _all(tasks: list[Task]) -> list[list[dict[str, Any]]]:
    return [many for _, many in _pairs(tasks)]


def _in_order(many: list[tables.Figures]) -> list[tables.Figures]:
    rows = [(row.stream, row.change) for row in ROWS]
    names = [peer.name for peer in PEERS] + [it.name for it, _ in BASELINES]
    place: Callable[[str], int] = {name: at for at, name in enumerate(names)}.__getitem__
    own = {detector.name for detector in OURS.values()}
    return sorted(
        many,
        key=lambda it: (
            -1 if it["detector"] in own else place(it["detector"]),
            rows.index((it["stream"], it["change"])),
        ),
    )


def _write(out: Path, ours: list[tables.Figures], others: list[tables.Figures]) -> None:
    """Write this part's figures, and leave those of other parts that the file has."""
    kept = json.loads(out.read_text()) if out.exists() else {}
    kept["rows"] = tables.rows(ours, others)
    kept["detectors"] = [*ours, *others]
    out.write_text(json.dumps(kept, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--fit", action="store_true", help="fit the peers' thresholds again")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "detection.json", help="where figures go"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
