"""Run scenarios, print a table, and end with 1 where something was lost, repeated or wrong."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.kafka_server import KafkaServer
from tests.servers import ROOT, java_missing
from tests.torture import oracle
from tests.torture.field import Field
from tests.torture.proxy import Proxy
from tests.torture.scenarios import SCENARIOS, Scenario

DATA = ROOT.parent / "shared/data/payments/transactions-2018-07.csv.gz"
RATE = 300
_HEAD = (
    f"  {'scenario':<9}{'rounds':>7}{'events':>9}{'lost':>6}{'again':>7}{'windows':>9}{'scores':>8}"
    f"{'outcomes':>10}{'p95 s':>7}{'most s':>8}"
)


def main() -> None:
    """Run what was asked for, on a Kafka of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    chosen = os.environ.get("SCENARIO", "")
    parser.add_argument("scenario", nargs="*", default=chosen.split(), help="which; else all")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "0")) or None)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    if unknown := set(asked.scenario) - set(SCENARIOS):
        parser.error(f"{sorted(unknown)} are none of {list(SCENARIOS)}")
    if missing := java_missing():
        sys.exit(f"no Apache Kafka to break: {missing}")
    if not DATA.is_file():
        sys.exit(f"{DATA}: the payments are not there")
    print(_HEAD, flush=True)
    failed = [
        name
        for name in asked.scenario or SCENARIOS
        if not run(name, SCENARIOS[name], asked.rounds, asked.seed)
    ]
    told = f"{', '.join(failed)} failed" if failed else "all held"
    print(f"\ntotal: {len(asked.scenario or SCENARIOS)} scenarios, {told}")
    sys.exit(1 if failed else 0)


def run(name: str, scenario: Scenario, most: int | None, seed: int) -> bool:
    """Run one scenario and print its row; return whether what it promises held."""
    rounds = min(scenario.rounds, most or scenario.rounds)
    with tempfile.TemporaryDirectory(prefix="streamproc-torture-") as text:
        folder = Path(text)
        try:
            times_s, found = break_it(name, scenario, folder, rounds, seed)
        except Exception:
            kept = Path(tempfile.gettempdir()) / f"torture-{name}-{time.time_ns()}"
            kept.mkdir()
            for log in folder.glob("*.log"):
                (kept / log.name).write_bytes(log.read_bytes())
            print(f"  {name}: broken off; logs in {kept}")
            raise
    p95_s = times_s[min(len(times_s) - 1, int(len(times_s) * 0.95))]
    slow = "" if p95_s <= scenario.within_s else f", slow: within {scenario.within_s:.0f} s asked"
    windows, outcomes = found.wrong_windows, found.outcomes_lost + found.outcomes_repeated
    print(
        f"  {name:<9}{rounds:>7}{found.events:>9,}{found.lost:>6}{found.repeated:>7}{windows:>9}"
        f"{found.wrong_scores:>8}{outcomes:>10}{p95_s:>7.2f}{times_s[-1]:>8.2f}"
        f"  {'holds' if found.holds else 'FAILED'}{slow}",
        flush=True,
    )
    return found.holds


def break_it(
    name: str, scenario: Scenario, folder: Path, rounds: int, seed: int
) -> tuple[list[float], oracle.Verdict]:
    """Run a scenario on a Kafka of its own; return the recoveries, sorted, and what was found."""
    proxy = Proxy() if scenario.proxied else None
    kafka = KafkaServer(folder, proxy.port if proxy else None)
    try:
        if proxy:
            proxy.forward_to(kafka.behind_proxy)
        with Field(kafka, folder, name, DATA, RATE, seed, proxy) as field:
            times_s = sorted(scenario.round(field) for _ in range(rounds))
            field.stop_flow()
            oracle.settle(kafka.address, name)
            for worker in field.workers.values():
                worker.stop()
        return times_s, oracle.judge(kafka.address, name, DATA, folder / "store")
    finally:
        kafka.stop()
        if proxy:
            proxy.close()


if __name__ == "__main__":
    main()
