"""Run scenarios, print a table, and end with 1 where something was lost, repeated or wrong."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from tests.kafka_server import KafkaServer
from tests.servers import java_missing
from tests.torture import oracle
from tests.torture.field import Field
from tests.torture.payments import FILES
from tests.torture.proxy import Proxy
from tests.torture.scenarios import SCENARIOS, Scenario

_HEAD = (
    f"{'scenario':<8}{'rounds':>7}{'events':>10}{'lost':>5}{'again':>6}{'wind.':>6}{'score':>6}"
    f"{'outc.':>6}{'alerts':>7}{'p95 s':>6}{'most':>6}"
)


def main() -> None:
    """Run what was asked for, on a Kafka of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    chosen = os.environ.get("SCENARIO", "")
    parser.add_argument("scenario", nargs="*", default=chosen.split(), help="which; else all")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "0")) or None)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "7")))
    asked = parser.parse_args()
    # `alerts` are those of each number of partitions.
    several = {"alerts": [name for name in SCENARIOS if name.startswith("alerts")]}
    names = [each for name in asked.scenario for each in several.get(name, [name])]
    if unknown := set(names) - set(SCENARIOS):
        parser.error(f"{sorted(unknown)} are none of {[*SCENARIOS, *several]}")
    if asked.rounds is not None and asked.rounds < 1:
        parser.error("at least one round")
    if missing := java_missing():
        sys.exit(f"no Apache Kafka to break: {missing}")
    if absent := [file for file in FILES if not file.is_file()]:
        sys.exit(f"{absent[0]}: the payments are not there")
    print(_HEAD, flush=True)
    began_s = time.monotonic()
    names = names or list(SCENARIOS)
    failed = [name for name in names if not run(name, SCENARIOS[name], asked.rounds, asked.seed)]
    told = f"{', '.join(failed)} failed" if failed else "all held"
    took_min = (time.monotonic() - began_s) / 60
    print(f"\ntotal: {len(names)} scenarios in {took_min:.0f} min, {told}")
    sys.exit(1 if failed else 0)


def run(name: str, scenario: Scenario, most: int | None, seed: int) -> bool:
    """Run one scenario and print its row; return whether what it promises held."""
    rounds = min(scenario.rounds, most or scenario.rounds)
    with tempfile.TemporaryDirectory(prefix="streamproc-torture-") as text:
        folder = Path(text)
        try:
            times_s, found = break_it(name, scenario, folder, rounds, seed)
        except Exception as error:  # whatever it is, the other scenarios have their turn
            kept = _keep_logs(folder, name)
            print(f"{name:<8}{rounds:>7}  FAILED: broken off")
            _tell([f"{type(error).__name__}: {error}", f"logs in {kept}"])
            return False
        if not found.holds:
            found.notes.append(f"logs in {_keep_logs(folder, name)}")
    p95_s = times_s[min(len(times_s) - 1, int(len(times_s) * 0.95))]
    outcomes = found.outcomes_lost + found.outcomes_repeated
    print(
        f"{name:<8}{rounds:>7}{found.events:>10,}{found.lost:>5}{found.repeated:>6}"
        f"{found.wrong_windows:>6}{found.wrong_scores:>6}{outcomes:>6}{found.alerts_repeated:>7}"
        f"{p95_s:>6.1f}{times_s[-1]:>6.1f} {'holds' if found.holds else 'FAILED'}"
    )
    slow = f"slow: 95 of 100 within {scenario.within_s:.0f} s asked"
    _tell([slow] if p95_s > scenario.within_s else [])
    _tell([*found.faults, *found.notes])
    return found.holds


def _tell(notes: list[str]) -> None:
    """Print what there is to say of a row, below it."""
    for note in notes:
        lines = textwrap.wrap(note, 70, initial_indent=" " * 9, subsequent_indent=" " * 11)
        print("\n".join(lines[:20]), flush=True)


def _keep_logs(folder: Path, name: str) -> Path:
    """Copy the logs to where they stay; return the folder."""
    kept = Path(tempfile.gettempdir()) / f"torture-{name}-{time.time_ns()}"
    kept.mkdir()
    for log in folder.glob("*.log"):
        (kept / log.name).write_bytes(log.read_bytes())
    return kept


def break_it(
    name: str, scenario: Scenario, folder: Path, rounds: int, seed: int
) -> tuple[list[float], oracle.Verdict]:
    """Run a scenario on a Kafka of its own; return the recoveries, sorted, and what was found."""
    proxy = Proxy() if scenario.proxied else None
    kafka = KafkaServer(folder, proxy.port if proxy else None)
    try:
        if proxy:
            proxy.forward_to(kafka.behind_proxy)
        with Field(kafka, folder, name, scenario.setup, seed, proxy) as field:
            times_s = sorted(scenario.round(field) for _ in range(rounds))
            field.stop_flow()
            oracle.settle(kafka.address, name)
            notes, faults = scenario.after(field)
            schemas = field.avro.schemas if field.avro else {}
            for worker in field.workers.values():
                worker.stop()
        found = oracle.judge(
            kafka.address, name, folder / "store", schemas, scenario.setup.terminals
        )
        found.notes += [*notes, f"{found.alerts} steps of alerts, {found.versions} model versions"]
        found.faults += faults
        return times_s, found
    finally:
        kafka.stop()
        if proxy:
            proxy.close()


if __name__ == "__main__":
    main()
