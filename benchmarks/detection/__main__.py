"""``make detect``: whether monitors keep to their budget, and how soon changes are seen.

Peers run with the thresholds of `fitted.json`; ``--fit`` (``make detect-full``) fits them again.
Writes `benchmarks/detection.json` and the tables of `docs/detection.md`; of parts that don't run,
both keep what they have.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.detection import bias, false_alarms, fits, real, real_tables, tables
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
REPETITIONS, STREAMS = 400, 100
"""Of baselines: of each delay, and of the mean time between false alarms."""

PARTS = ("real", "false_alarms", "rows", "bias")
PAGE = ROOT / "docs" / "detection.md"
Task = tuple[Any, ...]
"""What is measured, and of what: arguments of one of `MEASURES`."""


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
    if "real" in asked.parts and not real.DATA.exists():
        raise StreamprocError(f"{real.DATA}: not there; name the other parts by --parts")
    apart, versions = disagreements()
    if apart:
        raise StreamprocError(f"ports alarm elsewhere than the originals: {', '.join(apart)}")
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    print(f"Ports alarm where the originals do, on the test streams ({said}).", flush=True)
    if asked.fit:
        fitted = _all([("fit", stream, PEERS.index(peer)) for peer, stream in fits.tasks()])
        fits.written([it for many in fitted.values() for it in many], versions)
    found = _all([task for part in asked.parts for task in _tasks(part, asked.share)])
    kept = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    for part in asked.parts:
        figures, told = _told(part, found)
        kept.update(figures)
        if part != "real":
            kept.setdefault("share", {})[part] = asked.share
            told = tables.said_of_share(told, asked.share)
        tables.into_page(PAGE, told)
        print("\n\n".join(told.values()), end="\n\n")
    asked.out.write_text(json.dumps(kept, indent=2) + "\n")
    minutes = (time.monotonic() - began_s) / 60
    print(f"in {minutes:.0f} minutes, {asked.share:g} of the streams; written to {asked.out}")


def _tasks(part: str, share: float) -> list[Task]:
    """Return what a part measures, with the slowest first, so that processes end together."""

    def of(count: int) -> int:
        return max(2, round(count * share))

    if part == "real":
        return [("real", name) for name in real.PARTS]
    if part == "false_alarms":
        each = [(kind, of(false_alarms.DEPENDENT_STREAMS)) for kind in false_alarms.DEPENDENT]
        strict = [(kind, of(false_alarms.STREAMS)) for kind in false_alarms.INDEPENDENT]
        return [
            *(("features", kind, seed) for kind, n in (*each, *strict) for seed in range(n)),
            *(("slices", kind, seed) for kind, n in strict for seed in range(n)),
        ]
    if part == "bias":
        delays = [(*world, row) for world in bias.PUBLISHED for row in (1, 0)]
        return [
            *(("bias", *each, of(bias.REPETITIONS)) for each in delays),
            *(("no bias", base, it) for base in (0.01, 0.1) for it in range(of(bias.SEEDS))),
        ]
    numbered = sorted(enumerate(PEERS), key=lambda it: it[1].streams * it[1].repetitions)
    return [
        *(("ours", stream, share) for stream in OURS),
        *(("peer", stream, at, share) for at, peer in numbered for stream in peer.sees),
        *(
            ("baseline", stream, at, share)
            for at in range(len(BASELINES))
            for stream in dict.fromkeys(row.stream for row in ROWS)
        ),
    ]


def _fit(stream: str, at: int) -> list[dict[str, Any]]:
    return [fits.fitted_peer(PEERS[at], stream)]


def _ours(stream: str, share: float) -> list[tables.Figures]:
    own = OURS[stream]
    streams = round(own.streams * share)
    threshold = fits.fit(own, stream, streams)
    return _delays(own, threshold, stream, streams, round(own.repetitions * share))


def _peer(stream: str, at: int, share: float) -> list[tables.Figures]:
    peer = PEERS[at]
    threshold = fits.read()[peer.name, stream]["threshold"]
    streams, repetitions = round(peer.streams * share), round(peer.repetitions * share)
    return _delays(peer, threshold, stream, streams, repetitions)


def _baseline(stream: str, at: int, share: float) -> list[tables.Figures]:
    detector, threshold = BASELINES[at]
    return _delays(detector, threshold, stream, round(STREAMS * share), round(REPETITIONS * share))


MEASURES: dict[str, Callable[..., Any]] = {
    "fit": _fit,
    "ours": _ours,
    "peer": _peer,
    "baseline": _baseline,
    "features": false_alarms.features,
    "slices": false_alarms.slices,
    "bias": bias.measured,
    "no bias": bias.false_alarms,
    "real": lambda name: real.measured([name]),
}


def measured(task: Task) -> Any:
    """Carry out one task, in a process of its own."""
    what, *arguments = task
    return MEASURES[what](*arguments)


def _delays(
    detector: Detector, threshold: float, stream: str, streams: int, repetitions: int
) -> list[tables.Figures]:
    mtfa = fits.rate(detector, threshold, stream, streams).mtfa

    def of(row: Row) -> tables.Figures:
        late = delay(detector, threshold, [changed(row, it) for it in range(repetitions)])
        return tables.figures(detector.name, stream, row.change, threshold, mtfa, late)

    return [of(row) for row in ROWS if row.stream == stream]


def _all(tasks: list[Task]) -> dict[Task, Any]:
    """Return what each task found, in the order of the tasks; say how far it is."""
    began_s = time.monotonic()
    with ProcessPoolExecutor(PROCESSES) as pool:
        running = {task: pool.submit(measured, task) for task in tasks}
        try:
            for done, each in enumerate(as_completed(running.values()), 1):
                each.result()  # a mistake is told now
                if done * 20 // len(tasks) > (done - 1) * 20 // len(tasks):
                    minutes = (time.monotonic() - began_s) / 60
                    print(f"{done} of {len(tasks)} measured in {minutes:.0f} minutes", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return {task: each.result() for task, each in running.items()}


def _told(part: str, found: dict[Task, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a part's figures, and its tables by their marks in the page."""

    def of(what: str) -> list[Any]:
        return [it for task, it in found.items() if task[0] == what]

    if part == "real":
        streams = {name: figures for each in of("real") for name, figures in each.items()}
        return {"real": streams}, {"real": real_tables.text(streams)}
    if part == "false_alarms":
        counts = false_alarms.counted(found)
        return false_alarms.figures(counts), {"detect: false alarms": false_alarms.text(counts)}
    if part == "bias":
        biased = {"false_alarms": bias.together(of("no bias")), "rows": of("bias")}
        return {"bias": biased}, {"detect: bias": bias.text(biased)}
    ours, peers, baselines = (
        _in_order([it for many in of(what) for it in many]) for what in ("ours", "peer", "baseline")
    )
    figures = {"rows": tables.rows(ours, peers), "detectors": [*ours, *peers, *baselines]}
    return figures, tables.of_detectors(ours, peers, baselines, list(fits.read().values()))


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


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--fit", action="store_true", help="fit the peers' thresholds again")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="all, if none is named"
    )
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the streams and repetitions, for a quick look"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "detection.json", help="where figures go"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
