"""The bare core in a loop, without an engine around it: `python benchmarks/core_loop.py [--quick] [--json]`.

Four figures, in events a second of one thread, from the least to the most that is done for each event:

- `step`: `rules.step.step` alone, on decoded events, with decoded profiles in a dict;
- `decode_step`: with the decoding of the event's JSON;
- `decode_state_step`: and with the profile decoded and encoded for each event, and the outputs encoded;
- `worker`: the worker's own batches with timers, as the operator sends them, but no pipe and no JVM.

As in the worker, the garbage collector is off. Each figure is the best of the rounds: what disturbs a loop only slows it.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from benchmarks.engine import NEVER, Engine, Rules, decode_profile, encode_profile, load_rules
from benchmarks.spec import Spec
from benchmarks.tally import Tally
from benchmarks.workload import CATALOG, DISORDER, RULES, Record, Workload, copy_rules
from flink_jobs.batch import Arrival
from flink_jobs.frames import PROTOCOL_VERSION
from flink_jobs.worker import Worker, WorkerSettings
from profiles import Profile, decode_event
from rules.rule_set import load_directory
from rules.step import step

CHUNK = 20_000
BATCH = 1_000


def chunks(workload: Workload) -> Iterator[list[Record]]:
    """The records in lists, so that reading them is not part of what is measured."""
    records = workload.records()
    while chunk := list(itertools.islice(records, CHUNK)):
        yield [tuple(record) for record in chunk]  # type: ignore[misc]  (Python is slower to unpack anything else)


def run_step(workload: Workload, rules: Rules) -> float:
    """Seconds for `step` alone."""
    profiles: dict[str, Profile | None] = {}
    seconds = 0.0
    for chunk in chunks(workload):
        events = [decode_event(value, key.decode(), at, -1, -1) for key, value, at, _, _ in chunk]
        begun = time.perf_counter()
        for event in events:
            customer = event.customer
            profiles[customer], _ = step(profiles.get(customer), rules, event, 0)
        seconds += time.perf_counter() - begun
    return seconds


def run_decode_step(workload: Workload, rules: Rules) -> float:
    """Seconds for decoding each event and the step."""
    profiles: dict[bytes, Profile | None] = {}
    seconds = 0.0
    for chunk in chunks(workload):
        begun = time.perf_counter()
        for key, value, at, partition, offset in chunk:
            event = decode_event(value, key.decode(), at, partition, offset)
            profiles[key], _ = step(profiles.get(key), rules, event, 0)
        seconds += time.perf_counter() - begun
    return seconds


def run_decode_state_step(workload: Workload, rules: Rules) -> float:
    """Seconds for decoding event and profile, the step, and encoding profile and outputs."""
    states: dict[bytes, bytes] = {}
    engine = Engine(rules)
    seconds = 0.0
    for chunk in chunks(workload):
        begun = time.perf_counter()
        for key, value, at, _, _ in chunk:
            held = states.get(key)
            profile = None if held is None else decode_profile(held)
            profile, _, _ = engine.arrive(profile, key.decode(), value, at)
            if profile is not None:
                states[key] = encode_profile(profile)
        seconds += time.perf_counter() - begun
    return seconds


def run_worker(workload: Workload, rules_folder: Path) -> float:
    """Seconds that the worker takes for its frames; the loop plays the operator, and its own time does not count."""
    worker = Worker(lambda: time.time_ns() // 1_000_000)
    settings = WorkerSettings("segue/benchmark", "events", 300_000, 730 * 86_400_000, 48)
    worker.hello(PROTOCOL_VERSION, 0, 1, msgspec.json.encode(settings))
    worker.follow(load_directory(rules_folder).to_payload())
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
    states: dict[str, bytes] = {}
    due: dict[str, int] = {}
    agenda: list[tuple[int, str]] = []
    seconds, newest = 0.0, 0

    def exchange(watermark: int, groups: dict[str, list[Arrival]]) -> float:
        frame = encode((2, watermark, [(key, states.get(key), arrivals) for key, arrivals in groups.items()]))
        begun = time.perf_counter()
        answer = worker.answer(frame)
        passed = time.perf_counter() - begun
        for customer, (state, next_timer) in zip(groups, decode(answer)[1], strict=True):
            if state:
                states[customer] = state
            if next_timer < due.get(customer, NEVER):
                due[customer] = next_timer
                heapq.heappush(agenda, (next_timer, customer))
        return passed

    for chunk in chunks(workload):
        for begin in range(0, len(chunk), BATCH):
            groups: dict[str, list[Arrival]] = {}
            watermark = max(0, newest - DISORDER)
            for key, value, at, partition, offset in chunk[begin : begin + BATCH]:
                arrival = (value, at, partition, offset, len(value), None)
                groups.setdefault(key.decode(), []).append(arrival)
                newest = max(newest, at)
            seconds += exchange(watermark, groups)
            watermark = newest - DISORDER
            fired: dict[str, list[Arrival]] = {}
            while agenda and agenda[0][0] <= watermark:
                moment, customer = heapq.heappop(agenda)
                if due.get(customer) == moment:
                    del due[customer]
                    fired[customer] = [(None, moment, -1, -1, 0, None)]
            if fired:
                seconds += exchange(watermark, fired)
    return seconds


def expected(workload: Workload, rules: Rules, cut: int, timers: bool) -> Tally:
    """The transitions that must come out: with timers, or noticed at the customer's next event only."""
    engine, tally = Engine(rules), Tally(cut)
    profiles: dict[str, Profile | None] = {}
    armed: dict[str, int] = {}
    agenda: list[tuple[int, str]] = []

    def keep(customer: str, profile: Profile | None, next_timer: int) -> None:
        profiles[customer] = profile
        if timers and next_timer < armed.get(customer, NEVER):
            armed[customer] = next_timer
            heapq.heappush(agenda, (next_timer, customer))

    watermark = 0
    gc.disable()  # what is kept holds no cycles, and there is much of it
    for key, value, at, _, _ in workload.records():
        customer = key.decode()
        event = decode_event(value, customer, at, -1, -1)
        profile, decision = step(profiles.get(customer), engine.rules, event, watermark)
        for one in decision.transitions:
            tally.add(one.id, one.effective_at)
        keep(customer, profile, decision.next_timer)
        if not timers:
            continue
        # Of records that arrive within the bound none is older than this.
        watermark = max(watermark, at - DISORDER)
        while agenda and agenda[0][0] <= watermark:
            due, customer = heapq.heappop(agenda)
            if armed.get(customer) != due:
                continue
            del armed[customer]
            profile, decision, _ = engine.wake(profiles.get(customer), customer, due, watermark)
            for one in decision.transitions:
                tally.add(one.id, one.effective_at)
            keep(customer, profile, decision.next_timer)
    gc.enable()
    return tally


def measure(workload: Workload, rules_folder: Path, rounds: int) -> dict[str, float]:
    """Events a second of each variation, the best of the rounds."""
    rules = load_rules(rules_folder)
    runs: dict[str, Callable[[], float]] = {
        "step": lambda: run_step(workload, rules),
        "decode_step": lambda: run_decode_step(workload, rules),
        "decode_state_step": lambda: run_decode_state_step(workload, rules),
        "worker": lambda: run_worker(workload, rules_folder),
    }
    seconds: dict[str, float] = {}
    for _ in range(rounds):
        for name, run in runs.items():
            gc.collect()
            gc.freeze()
            gc.disable()
            seconds[name] = min(seconds.get(name, float("inf")), run())
            gc.enable()
    return {name: workload.events / value for name, value in seconds.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the bare core in a loop.")
    parser.add_argument("--quick", action="store_true", help="fewer events, under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--events", type=int, default=0, help="how many events (and a customer for twenty of them)")
    parser.add_argument("--spec", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.spec:
        spec = Spec.read(arguments.spec)
        found = measure(Workload(spec.events, spec.customers, spec.seed), Path(spec.rules), rounds=1)
        Path(spec.result).write_bytes(msgspec.json.encode(found))
        return 0
    events = arguments.events or (200_000 if arguments.quick else 1_000_000)
    workload = Workload(events, max(20, events // 20))
    import tempfile

    with tempfile.TemporaryDirectory(prefix="segue-benchmark-") as folder:
        found = measure(workload, copy_rules(Path(folder)), rounds=2 if arguments.quick else 3)
    if arguments.json:
        print(msgspec.json.encode({"benchmark": "core_loop", "events": events, "events_per_second": found}).decode())
        return 0
    print(f"{events:,} events, {workload.customers:,} customers, {len(RULES)} rules of {CATALOG.name}, one thread")
    for name, rate in found.items():
        print(f"  {name:18} {rate:>10,.0f} events/s  {1e6 / rate:6.2f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
