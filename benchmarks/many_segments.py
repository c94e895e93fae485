"""What a rule set of 1,000 segments costs: `python -m benchmarks.many_segments [--quick] [--json] [--write]`.

Each event touches ten segments, whether there are ten or a thousand: the others name events that do not occur. What is compared is the time
of a step. Beside it stand how long a thousand files take to be checked, and to be read and compiled as a job does when it starts or
follows a new version, and how fast the core steps under twenty segments of the catalogue.
"""

from __future__ import annotations

import dataclasses
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from benchmarks.engine import Rules
from benchmarks.results import deliver, machine, options
from benchmarks.workload import CATALOG, Workload, copy_rules
from profiles import Event, Profile, decode_event
from rules.compiler import compile_plan
from rules.definition import EventRef, Segment
from rules.rule_set import RuleSet, load_directory
from rules.step import step

MANY: Final = 1_000
CATALOGUE: Final = 20

_TEMPLATES: Final = (
    "{event: NAME, within: 7d, count: {gte: 3}}",
    "{event: NAME, per: properties.product_id, within: 7d, count: {gt: 3}}",
    "{all: [{event: NAME, within: 30d}, {absent: Order Completed, within: 14d}]}",
    "{aggregate: {of: properties.revenue, fn: sum, event: NAME, within: 90d, gte: 200}}",
    "{sequence: {steps: [{event: NAME}, {not: Order Completed, for: 30m}]}}",
    "{aggregate: {fn: trend, event: NAME, within: 7d, against: 28d, lt: 0.5}}",
    "{all: [{trait: {email_consent: true}}, {since: NAME, lte: 30d}]}",
    "{engagement: {points: {NAME: 1, Order Completed: 10}, half_life: 7d, gte: 20}}",
)
"""Conditions of many kinds; NAME stands for an event that only they ask for."""


def rule_files(count: int) -> dict[str, str]:
    """So many different rule files by name, each with a scenario."""
    files = {}
    for number in range(count):
        when = _TEMPLATES[number % len(_TEMPLATES)].replace("NAME", f"Event {number}")
        tests = f"[{{given: [{{at: 0m, event: Event {number}}}], expect: [{{at: 0m, in: false}}], transitions: any}}]"
        files[f"segment-{number:04d}.yaml"] = (
            f"segment: segment-{number:04d}\nname: Number {number}\nowner: growth@example.com\nwhen: {when}\n"
            + ("exit: {after: 72h}\n" if "sequence" in when else "")
            + f"tests: {tests}\n"
        )
    return files


def write_files(folder: Path, count: int) -> None:
    """The rule files in a folder."""
    folder.mkdir(parents=True)
    for name, text in rule_files(count).items():
        (folder / name).write_text(text, "utf-8")


def surrounded(segments: Sequence[Segment], count: int) -> list[Segment]:
    """These segments and copies of them, to `count`, whose events have names that do not occur."""

    found = list(segments)
    number = 0
    while len(found) < count:
        number += 1
        for one in segments[: count - len(found)]:
            found.append(dataclasses.replace(_elsewhere(one, number), name=f"{one.name}-{number}"))
    return found


def _elsewhere(one: Any, number: int) -> Any:
    """A definition with the names of its events changed, wherever they stand in it."""
    if isinstance(one, EventRef):
        return dataclasses.replace(one, event=f"{one.event} of shop {number}")
    if isinstance(one, tuple):
        return tuple(_elsewhere(part, number) for part in one)
    if not dataclasses.is_dataclass(one) or isinstance(one, type):
        return one
    names = [field.name for field in dataclasses.fields(one)]
    return dataclasses.replace(one, **{name: _elsewhere(getattr(one, name), number) for name in names})


def micros_per_event(rule_sets: dict[str, Rules], events: Sequence[Event], rounds: int) -> dict[str, float]:
    """Microseconds of one step under each plan: the median of rounds in which they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in rule_sets}
    for _ in range(rounds):
        for name, rules in rule_sets.items():
            profiles = dict[str, Profile | None]()
            get = profiles.get
            gc.collect()
            gc.disable()
            begun = time.perf_counter()
            for event in events:
                profiles[event.customer], _ = step(get(event.customer), rules, event, 0)
            taken[name].append((time.perf_counter() - begun) / len(events) * 1e6)
            gc.enable()
    return {name: statistics.median(found) for name, found in taken.items()}


def seconds(work: Callable[[], object], rounds: int) -> float:
    """How long something takes: the median."""
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def perform(folder: Path, quick: bool) -> dict[str, Any]:
    """Everything measured, as one object."""
    rounds = 3 if quick else 5
    workload = Workload(60_000, 3_000) if quick else Workload(400_000, 20_000)
    events = [
        decode_event(value, key.decode(), at, partition, offset)
        for key, value, at, partition, offset in workload.records()
    ]
    ten = load_directory(copy_rules(folder / "ten")).segments
    catalogue = load_directory(CATALOG).segments[:CATALOGUE]
    steps = micros_per_event(
        {
            "10": Rules(1, compile_plan(ten)),
            "1000": Rules(1, compile_plan(surrounded(ten, MANY))),
            "catalogue": Rules(1, compile_plan(catalogue)),
        },
        events,
        rounds,
    )
    write_files(folder / "many", MANY)
    payload = load_directory(folder / "many").to_payload()
    return {
        "benchmark": "many_segments",
        "machine": machine(),
        "events": len(events),
        "ratios": {"1000_over_10": round(steps["1000"] / steps["10"], 2)},
        "micros_per_event": {name: round(value, 2) for name, value in steps.items()},
        "catalogue_events_per_second": round(1e6 / steps["catalogue"]),
        "check_seconds": round(seconds(lambda: load_directory(folder / "many"), rounds), 2),
        "start_seconds": round(seconds(lambda: RuleSet.from_payload(payload).plan, rounds), 2),
    }


def table(found: dict[str, Any]) -> str:
    """The report for people: the ratio first."""
    micros = found["micros_per_event"]
    return "\n".join(
        (
            "| | |",
            "|---|---:|",
            f"| a step with 1,000 segments over one with 10, each event touching the same | {found['ratios']['1000_over_10']:.2f} |",
            f"| a step with 10 segments | {micros['10']:.2f} µs |",
            f"| a step with 1,000 segments | {micros['1000']:.2f} µs |",
            f"| steps a second under {CATALOGUE} segments of the catalogue | {found['catalogue_events_per_second']:,} |",
            f"| reading and checking 1,000 files | {found['check_seconds']:.2f} s |",
            f"| reading and compiling them as published | {found['start_seconds']:.2f} s |",
            "",
            f"{found['events']:,} events of the simulated shop, one thread.",
        )
    )


def main() -> int:
    """Measure and report."""
    parser = options("Measure what many segments cost.", "fewer events, under a minute")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segue-benchmark-") as folder:
        found = perform(Path(folder), arguments.quick)
    deliver(found, table(found), write=arguments.write, as_json=arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
