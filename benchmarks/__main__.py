"""``make bench``: measure what is claimed, print it, and write ``benchmarks/latest.json``."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import features, latency, monitors, payments, restart, soak, watched
from benchmarks.load import LABEL_DELAY_S
from benchmarks.processes import Process
from benchmarks.throughput import Run, run_worker
from streamproc.pipeline import Pipeline
from tests.kafka_server import KafkaServer
from tests.servers import java_missing
from tests.torture.terminals import with_terminals

LATEST = Path(__file__).with_name("latest.json")
_ONCE, _LEAST = "exactly_once", "at_least_once"
RATIO, MEMORY_EVENTS = 2.0, 1_000_000
OVER_DEQUES, STAGE_US, FLAT = 20.0, 3.0, 1.2
P99_MS = {_LEAST: 25.0, _ONCE: 50.0}
P50_REKEYED_MS, P99_REKEYED_MS = 100.0, 300.0
SHARE = 0.85
"""Of the throughput at least once, what is left exactly once."""

_TIMEOUT_S = 600.0
_ORDER = ("bare", _LEAST, _ONCE, "bare", _LEAST, _ONCE, "bare")


def main() -> None:
    """Run what was asked for on a Kafka of its own."""
    asked = _arguments()
    if len(asked.only) == 1 and asked.only[0] in _CPU_ALONE:
        _written(_told_before() | _PARTS[asked.only[0]](Path(), ""))
        return
    if asked.only == ["soak"]:
        _written(_told_before() | for_long(asked.minutes))
        return
    if missing := java_missing():
        sys.exit(f"no Apache Kafka to measure on: {missing}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started ends
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="streamproc-bench-") as folder:
        kafka = KafkaServer(Path(folder))
        try:
            for name in asked.only:
                figures |= _PARTS[name](Path(folder), kafka.address)
        finally:
            kafka.stop()
    _written(figures)


def _told_before() -> dict[str, float]:
    """Return the figures of earlier runs, which an hour more is not to cost."""
    return dict(json.loads(LATEST.read_text())) if LATEST.is_file() else {}


def _written(figures: dict[str, float]) -> None:
    LATEST.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\nwritten to {LATEST.parent.name}/{LATEST.name}")


def throughput(folder: Path, brokers: str) -> dict[str, float]:
    """Compare the worker with the bare loop, by turns."""
    files = payments.months("07")
    if not files:
        return _left_out("throughput", "the payments of July are not there")
    sent = payments.send(files, _pipeline(folder, "produced", "july"), brokers).sent
    events, labels = sent["event"], sent["label"]
    _title(f"Throughput: July, {events:,} payments and {labels:,} labels, 4 partitions")
    runs: dict[str, list[Run]] = {_LEAST: [], _ONCE: []}
    bare = list[dict[str, float]]()
    for turn, what in enumerate(_ORDER):
        if what == "bare":
            log = folder / f"bare-{turn}.log"
            with Process(["-m", "benchmarks.bare", str(files[0])], log, {}) as process:
                bare.append(json.loads(process.wait(_TIMEOUT_S)))
            _row(f"bare loop, run {turn + 1}", bare[-1]["events_per_s"], _cpu(bare[-1]))
            continue
        path = payments.named(folder, f"worker-{turn}", "july")
        run = run_worker(path, brokers, events, _TIMEOUT_S, what)
        runs[what].append(run)
        _row(_spoken(what), run.events_per_s, run.cpu_us_per_event)
    cpu, rates = (
        {what: median(getattr(run, figure) for run in done) for what, done in runs.items()}
        for figure in ("cpu_us_per_event", "events_per_s")
    )
    bare_cpu_us = median(map(_cpu, bare))
    cpu_us, rate, ratio = cpu[_LEAST], rates[_LEAST], cpu[_LEAST] / bare_cpu_us
    for what in runs:
        _row(f"{_spoken(what)}, median", rates[what], cpu[what])
    _row("bare loop, median", median(run["events_per_s"] for run in bare), bare_cpu_us)
    share = rates[_ONCE] / rate
    _verdict(f"throughput exactly once / at least once: {share:.2f}", share >= SHARE, f"{SHARE}")
    _verdict(f"CPU an event, worker / bare loop: {ratio:.2f}", ratio <= RATIO, f"at most {RATIO}")
    print(
        "In it, on both sides: six windows, the calendar, the score, learning from labels\n"
        "7 days late. On the worker's alone: Kafka in and out, JSON, labels joined, model\n"
        "versions published and taken up, drift and bias."
    )
    return {
        "events_per_s": round(rate, 1),
        "cpu_us_per_event": round(cpu_us, 2),
        "bare_loop_cpu_us_per_event": round(bare_cpu_us, 2),
        "ratio": round(cpu[_ONCE] / bare_cpu_us, 3),
        "ratio_at_least_once": round(ratio, 3),
        "events_per_s_exactly_once": round(rates[_ONCE], 1),
    }


def end_to_end(folder: Path, brokers: str) -> dict[str, float]:
    """Measure the latency at a steady rate, with either guarantee."""
    least = _end_to_end(folder, brokers, _LEAST)
    once = _end_to_end(folder, brokers, _ONCE)
    rekeyed = _end_to_end(folder, brokers, _ONCE, terminals=True)
    return {
        **least,
        **{name.replace("_ms", "_exactly_once_ms"): ms for name, ms in once.items()},
        **{name.replace("_ms", "_rekeyed_ms"): ms for name, ms in rekeyed.items()},
    }


def _end_to_end(
    folder: Path, brokers: str, guarantee: str, terminals: bool = False
) -> dict[str, float]:
    name = f"latency-{guarantee.replace('_', '-')}{'-rekeyed' if terminals else ''}"
    path = payments.named(folder, name, name)
    if terminals:
        path.write_text(with_terminals(path.read_text()))
    found = latency.measure(path, brokers, guarantee)
    by = ", windows by terminal too" if terminals else ""
    _title(
        f"End to end: {latency.RATE:,} events/s, {_spoken(guarantee)}{by},\n"
        "produce() to prediction held"
    )
    print(f"  {'window':<12}{'events':>8}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}", end="")
    print(f"{'p99.9 ms':>10}{'most ms':>9}")
    for each in (*found.windows, found.overall):
        name = f"{latency.WINDOW_S:.0f} s, no {each['window']}"
        shown = "all of them" if each["window"] == "all" else name
        print(
            f"  {shown:<12}{each['events']:>8,}{each['p50_ms']:>9.1f}{each['p90_ms']:>9.1f}", end=""
        )
        print(f"{each['p99_ms']:>9.1f}{each['p99.9_ms']:>10.1f}{each['most_ms']:>9.1f}")
    load = found.load
    print(
        f"  the load: {load['cpu_share']:.0%} of a core, {load['most_late_ms']:.0f} ms late; "
        f"worker: {found.worker_cpu_us_per_event:.0f} µs an event;\n"
        f"  {found.outcomes:,} labels joined, {LABEL_DELAY_S:.0f} s after their events"
    )
    p50_ms, p99_ms = found.overall["p50_ms"], found.overall["p99_ms"]
    most_ms = P99_REKEYED_MS if terminals else P99_MS[guarantee]
    _verdict(f"p99 {p99_ms:.1f} ms", p99_ms <= most_ms, f"at most {most_ms:.0f} ms")
    if terminals:
        claim = f"at most {P50_REKEYED_MS:.0f} ms"
        _verdict(f"p50 {p50_ms:.1f} ms", p50_ms <= P50_REKEYED_MS, claim)
    return {"p50_ms": round(p50_ms, 2), "p99_ms": round(p99_ms, 2)}


def memory(folder: Path, brokers: str) -> dict[str, float]:
    """Measure the worker's memory after a million events."""
    files = payments.months("05", "06", "07", "08")
    if len(files) < 4:
        return _left_out("memory", "the payments of May to August are not all there")
    pipeline = _pipeline(folder, "memory", "months")
    sent = payments.send(files, pipeline, brokers, MEMORY_EVENTS).sent
    path = folder / "memory.py"
    run = run_worker(path, brokers, sent["event"], _TIMEOUT_S, _LEAST)
    _title(f"Memory: May to August, {sent['event']:,} payments, {run.outcomes:,} labels joined")
    print(f"  the worker's resident memory: {run.rss_mb:,.0f} MiB", end="")
    print(f" ({run.events_per_s:,.0f} events/s, {run.cpu_us_per_event:.1f} µs of CPU an event)")
    return {"rss_mb": round(run.rss_mb, 1)}


def start_again(folder: Path, brokers: str) -> dict[str, float]:
    """Measure a start with a large state, and what snapshots cost at that size."""
    found = restart.measure(payments.named(folder, "restart", "restart"), brokers)
    _title(
        f"Restart: {restart.ENTITIES:,} customers and as many predictions that wait; killed\n"
        f"under {restart.RATE:,} events/s, then started again"
    )
    steps = found.steps
    for step, text in (
        ("serving", "imports, brokers asked, name taken"),
        ("partitions", "partitions assigned"),
        ("state_restored", "first state back"),
    ):
        print(f"  {text:<40}{steps.get(step, float('nan')):>8.2f} s")
    print(f"  {'first prediction read':<40}{found.first_output_s:>8.2f} s")
    print(
        f"  slowest partition: {steps.get('thaw_ms', 0):,.0f} ms to read its snapshot, "
        f"{steps.get('replay_ms', 0):,.0f} ms to replay\n"
        f"  {steps.get('replayed_events', 0):,.0f} events; {found.stored_mb:,.0f} MiB are stored, "
        f"{found.rss_mb:,.0f} MiB resident before"
    )
    share = found.snapshot_cpu_share
    _verdict(f"first output {found.first_output_s:.1f} s", found.first_output_s <= 5, "5 s")
    _verdict(f"snapshots {share:.1%} of the worker's CPU", share <= 0.05, "at most 5 %")
    print(f"  (that is {found.snapshot_core_share:.1%} of a core)")
    return {
        "restart_first_output_s": round(found.first_output_s, 2),
        "snapshot_cpu_share": round(share, 4),
    }


def windows(folder: Path, brokers: str) -> dict[str, float]:
    """Compare compiled windows with deques, and measure the whole feature stage."""
    found = features.measure()
    _title("Features: counts and sums over 1, 7 and 30 days by two entities; CPU an event")
    for name, us in (
        ("deques in plain Python", found.deques_us),
        ("compiled windows", found.windows_us),
        ("the whole stage, from JSON", found.stage_us),
        ("one window, 1,000 entities", found.flat[1_000]),
        ("one window, 1 million", found.flat[1_000_000]),
    ):
        print(f"  {name:<28}{us:>8.2f} µs")
    times, flat = found.windows_over_deques, found.flat_1m_over_1k
    _verdict(f"{times:.1f} times deques", times >= OVER_DEQUES, f"at least {OVER_DEQUES:.0f}")
    _verdict(f"stage {found.stage_us:.2f} µs", found.stage_us <= STAGE_US, f"{STAGE_US:.0f} µs")
    _verdict(f"1 million / 1,000 entities: {flat:.2f}", flat <= FLAT, f"at most {FLAT}")
    print(f"  an entity and window: {found.bytes_per_window:.0f} bytes, its records among them")
    return {
        "windows_over_deques": round(times, 2),
        "feature_us_per_event": round(found.stage_us, 3),
        "flat_1m_over_1k": round(flat, 3),
        "bytes_per_window": round(found.bytes_per_window, 1),
    }


def watching(folder: Path, brokers: str) -> dict[str, float]:
    """Measure what monitors cost an event, beside scoring and learning."""
    if not payments.months("07"):
        return _left_out("monitors", "the payments of July are not there")
    _title("Monitors: CPU an event in µs, payments of July, without brokers")
    print(f"  {'series, slices, bucket':<24}{'scoring':>9}{'decode':>9}{'drift..':>9}", end="")
    print(f"{'bias..':>9}{'judge':>9}{'all':>9}{'bytes':>9}")
    figures: dict[str, float] = {}
    for name, pipeline in (("example", monitors.example()), ("wide", monitors.wide())):
        for bucket in ("1h", "1d"):
            found = monitors.measure(pipeline, bucket)
            print(f"  {f'{found.series}, {found.slices}, {bucket}':<24}", end="")
            for us in (found.scoring_us, found.decoding_us, found.predictions_us,
                       found.outcomes_us, found.judge_us, found.monitors_us):  # fmt: skip
                print(f"{us:>9.2f}", end="")
            print(f"{found.sums_bytes:>9.0f}")
            figures[f"monitors_us_per_event_{name}_{bucket}"] = round(found.monitors_us, 2)
            figures[f"scoring_us_per_event_{name}_{bucket}"] = round(found.scoring_us, 2)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        many = fresh.submit(monitors.measure_many).result()  # no memory that others left behind
    print(
        f"  one judge, {monitors.MANY:,} series of {monitors.PARTITIONS} partitions: "
        f"{many.ms_per_bucket:.0f} ms a bucket, {many.us_per_row:.1f} µs a row,\n"
        f"  {many.kb_per_series:.0f} kB a series"
    )
    figures["judge_ms_per_bucket"] = round(many.ms_per_bucket, 1)
    figures["judge_kb_per_series"] = round(many.kb_per_series, 1)
    return figures


def watched_workers(folder: Path, brokers: str) -> dict[str, float]:
    """Measure what monitors cost a worker on Kafka."""
    if not payments.months("07"):
        return _left_out("watched", "the payments of July are not there")
    _title("A worker on July's backlog, exactly once: CPU an event in µs, all threads")
    print(f"  {'':<10}{'unwatched':>12}{'hourly buckets':>24}{'daily buckets':>24}", flush=True)
    figures: dict[str, float] = {}
    for cost in watched.measured(folder, brokers):
        print(f"  {cost.name:<10}{cost.without_us:>12.1f}", end="")
        for bucket, us in (("1h", cost.hourly_us), ("1d", cost.daily_us)):
            print(f"{f'{us:.1f}, {cost.share(us):.0%} theirs':>24}", end="")
            figures[f"monitors_share_of_worker_{cost.name}_{bucket}"] = round(cost.share(us), 3)
        print(flush=True)
        figures[f"worker_us_per_event_unwatched_{cost.name}"] = round(cost.without_us, 1)
    return figures


def for_long(minutes: float) -> dict[str, float]:
    """Measure whether memory is flat over months of events."""
    _title(
        f"Soak: {soak.ENTITIES:,} entities, one in a hundred active, for {minutes:g} minutes;\n"
        "a row of windows, labels and snapshots"
    )
    print("     min      day   RSS MiB    entities       let go  windows MiB        events")
    with tempfile.TemporaryDirectory(prefix="streamproc-soak-") as folder:
        found = soak.measure(Path(folder), minutes, _told_sample)
    last, slope = found.samples[-1], found.slope_mb_per_h
    print(f"  {found.dead_letters:,} dead letters; warm after {found.warm_day:.0f} days")
    figures: dict[str, float] = {
        "soak_minutes": round(last.elapsed_s / 60, 1),
        "soak_days": round(last.day, 1),
        "soak_entities": last.entities,
        "soak_entities_expired": last.expired,
        "soak_rss_mb": round(last.rss_mb, 1),
    }
    if slope is None or found.flat is None:
        print("  too short for a verdict on memory: it is yet to be as full as it gets")
        return figures
    claim = f"at most {soak.FLAT_SHARE:.0%} of its median an hour"
    _verdict(f"memory grows by {slope:+.1f} MiB an hour", found.flat, claim)
    return {**figures, "soak_rss_slope_mb_per_h": round(slope, 2)}


def _told_sample(each: soak.Sample) -> None:
    print(
        f"  {each.elapsed_s / 60:>6.1f}{each.day:>9.1f}{each.rss_mb:>10,.0f}{each.entities:>12,}"
        f"{each.expired:>13,}{each.window_mb:>13,.0f}{each.events:>14,}",
        flush=True,
    )


_PARTS = {
    "features": windows,
    "monitors": watching,
    "throughput": throughput,
    "watched": watched_workers,
    "latency": end_to_end,
    "memory": memory,
    "restart": start_again,
}
_CPU_ALONE = ("features", "monitors")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", help="what to measure; else all but soak")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long soak runs")
    asked = parser.parse_args()
    if asked.only == ["soak"]:
        return asked
    if unknown := set(asked.only) - set(_PARTS):
        parser.error(f"{unknown} are none of {list(_PARTS)}, and soak goes by itself")
    asked.only = asked.only or list(_PARTS)
    return asked


def _spoken(guarantee: str) -> str:
    return guarantee.replace("_", " ")


def _pipeline(folder: Path, name: str, inputs: str) -> Pipeline:
    return Pipeline.load(payments.named(folder, name, inputs))


def _cpu(run: dict[str, Any]) -> float:
    return float(run["cpu_us_per_event"])


def _title(text: str) -> None:
    print(f"\n{text}", flush=True)


def _row(name: str, events_per_s: float, cpu_us: float) -> None:
    print(f"  {name:<20}{events_per_s:>10,.0f} events/s{cpu_us:>10.1f} µs CPU an event", flush=True)


def _verdict(figure: str, holds: bool, claim: str) -> None:
    print(f"  {figure}: {'HOLDS' if holds else 'DOES NOT HOLD'} (claimed: {claim})", flush=True)


def _left_out(name: str, why: str) -> dict[str, float]:
    print(f"\n{name} is left out: {why}")
    return {}


if __name__ == "__main__":
    main()
