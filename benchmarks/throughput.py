"""Events a second of Segue and of other ways to do the same: `python benchmarks/throughput.py [--quick] [--json]`.

One run fills one topic on one native broker; then each contender in turn reads all of it, with the same core, the same ten rules
and the same two outputs. What is compared is the span from its first to its last transition, which is seen from outside and
leaves starts and ends out; the whole time, with starts, stands beside it. Rounds interleave the contenders; medians count.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from benchmarks.core_loop import expected
from benchmarks.engine import load_rules
from benchmarks.results import deliver, machine
from benchmarks.spec import Spec
from benchmarks.stage import Stage, peers_python
from benchmarks.tally import Summary
from benchmarks.workload import DISORDER, RULES, Workload, catalogue, copy_rules
from cli.errors import UserError
from cli.progress import step

FULL: Final = Workload(2_000_000, 100_000)
QUICK: Final = Workload(120_000, 15_000)
LONGEST_SECONDS: Final = 1_800.0

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Contender:
    """One way to do it. `share` is the part of the events that it is given, so that slow ones do not take hours.

    `flink` says that it is a PyFlink program, else it runs in `.venv-bench`; `timers`, that it notices in event time what falls due;
    `quick`, that it takes part in a quick run.
    """

    name: str
    title: str
    module: str
    mode: str = ""
    flink: bool = False
    timers: bool = False
    exactly_once: bool = True
    share: float = 1.0
    quick: bool = True


CONTENDERS: Final = (
    Contender("segue", "Segue, heap, exactly once", "segue_job", "heap", flink=True, timers=True),
    Contender(
        "segue_rocksdb", "Segue, RocksDB, exactly once", "segue_job", "rocksdb", flink=True, timers=True, quick=False
    ),
    Contender("segue_models", "Segue with three models", "segue_job", "models", flink=True, timers=True, quick=False),
    Contender(
        "obvious",
        "PyFlink as in its tutorial, process mode",
        "obvious_job",
        "process",
        True,
        True,
        share=0.1,
    ),
    Contender(
        "obvious_thread", "PyFlink as in its tutorial, thread mode", "obvious_job", "thread", True, True, share=0.2
    ),
    Contender("quix", "Quix Streams, RocksDB, exactly once", "quix_job"),
    Contender(
        "quix_at_least_once", "Quix Streams, RocksDB, at least once", "quix_job", exactly_once=False, quick=False
    ),
    Contender("bytewax", "Bytewax, nothing durable", "bytewax_job", exactly_once=False),
)
CORE: Final = {
    "step": "bare core: step alone",
    "decode_step": "bare core: JSON and step",
    "decode_state_step": "bare core: JSON, state codec, step, outputs",
    "worker": "bare core: the worker's batches, with timers",
}
NAMES: Final = (*[one.name for one in CONTENDERS], "core")


@dataclass
class Score:
    """What the rounds of one contender gave: events, seconds at work, in all and of processor time, and what was wrong."""

    events: int = 0
    working: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def rate(self) -> float:
        return self.events / statistics.median(self.working)

    def whole_rate(self) -> float:
        return self.events / statistics.median(self.whole)

    def cpu_micros(self) -> float:
        """Processor time for each event, start included, in microseconds."""
        return statistics.median(self.cpu) / self.events * 1e6


class Run:
    """One run: the stage, the topic, the rules, and what must come out."""

    def __init__(self, stage: Stage, workload: Workload, names: Sequence[str]) -> None:
        self.stage = stage
        self.workload = workload
        self.rules = copy_rules(stage.folder / "rules", names)
        self.topic = stage.fill(workload)
        self._expected: dict[tuple[int, bool], Summary] = {}
        self._ends: dict[int, list[int]] = {}
        self._cuts: dict[int, int] = {}

    def warm_up(self, contenders: Sequence[Contender]) -> None:
        """Have the cluster's JVM run our job once, so that what is measured is the work and not its compiler.

        Meanwhile work out what must come out.
        """
        with ThreadPoolExecutor(max_workers=1) as pool:
            warm = pool.submit(self.perform, CONTENDERS[0]) if any(one.flink for one in contenders) else None
            try:
                for one in contenders:
                    self.expected(self.part(one), one.timers)
            except BaseException:
                self.stage.cluster.stop()  # so that the job need not be waited for
                raise
            if warm is not None:
                spec, _, _ = warm.result()
                self.stage.delete_topics(spec.changes, spec.memberships)

    def play(self, contender: Contender, score: Score) -> None:
        """Let a contender perform once, and judge it."""
        spec, whole, cpu = self.perform(contender)
        score.whole.append(whole)
        score.cpu.append(cpu)
        self.judge(contender, spec, score)
        self.stage.delete_topics(spec.changes, spec.memberships)

    def part(self, contender: Contender) -> Workload:
        """The events that it is given."""
        return self.workload.prefix(int(self.workload.events * contender.share))

    def perform(self, contender: Contender) -> tuple[Spec, float, float]:
        """Let a contender perform once: what it was told, seconds in all, and of processor time."""
        part = self.part(contender)
        name = self.stage.unique(contender.name.replace("_", "-"))
        result = self.stage.folder / f"{name}.json"
        spec = Spec(
            bootstrap=self.stage.bootstrap,
            topic=self.topic,
            ends=self.ends(part),
            events=part.events,
            customers=part.customers,
            seed=part.seed,
            rules=str(self.rules),
            changes=f"{name}-changes",
            memberships=f"{name}-memberships",
            result=str(result),
            folder=str(self.stage.folder),
            exactly_once=contender.exactly_once,
            mode=contender.mode,
            rest=self.stage.rest_address if contender.flink else "",
        )
        file = self.stage.folder / f"{name}-spec.json"
        file.write_bytes(msgspec.json.encode(spec))
        # In earnest the memberships' topic is compacted, which asks for keys, and those a PyFlink sink has none of.
        self.stage.create_topics(spec.changes, spec.memberships)
        words: list[str | Path] = ["-m", f"benchmarks.{contender.module}", file]
        with step(f"{contender.title}: {part.events:,} events"):
            before = self.stage.cpu_seconds()
            if contender.flink:
                job = self.stage.submit_job(name, [sys.executable, *words])
                before = self.stage.cpu_seconds()  # the program that submits is no part of it
                whole = self.stage.finish_job(name, job, timeout=LONGEST_SECONDS).seconds
            else:
                whole = self.stage.run(name, [peers_python(), *words], timeout=LONGEST_SECONDS)
        return spec, whole, self.stage.cpu_seconds() - before

    def judge(self, contender: Contender, spec: Spec, score: Score) -> None:
        """Count what came out, and hold it against what must."""
        part = self.part(contender)
        counted = self.stage.folder / "counted.json"
        words: list[str | Path] = [
            peers_python(),
            "-m",
            "benchmarks.count",
            spec.bootstrap,
            spec.changes,
            str(self.cut(part)),
            counted,
        ]
        with step("counting its transitions"):
            self.stage.run("count", words, timeout=600)
        found = msgspec.json.decode(counted.read_bytes())
        tally = msgspec.convert(found["tally"], Summary)
        score.events = part.events
        score.working.append(found["seconds"])
        want = self.expected(part, contender.timers)
        if contender.timers:
            # How far time gets before the input ends is up to the engine; all that took effect by the cut must be there.
            right = (tally.settled, tally.settled_digest) == (want.settled, want.settled_digest)
            counts = f"{tally.settled:,} transitions of {want.settled:,} by the cut"
        else:
            right = (tally.transitions, tally.digest) == (want.transitions, want.digest)
            counts = f"{tally.transitions:,} transitions of {want.transitions:,}"
        if not right:
            score.problems.append(f"{counts}{'' if tally.settled != want.settled else ', others than expected'}")
        if tally.repeated and contender.exactly_once:
            score.problems.append(f"{tally.repeated:,} transitions more than once")

    def core(self) -> dict[str, float]:
        """Events a second of the bare core, in a process of its own as the worker is one."""
        part = self.workload.prefix(max(60_000, self.workload.events // 4))
        result, file = self.stage.folder / "core.json", self.stage.folder / "core-spec.json"
        spec = Spec("", "", [], part.events, part.customers, part.seed, str(self.rules), "", "", str(result), "")
        file.write_bytes(msgspec.json.encode(spec))
        with step("the bare core"):
            self.stage.run(
                "core", [sys.executable, "-m", "benchmarks.core_loop", "--spec", file], timeout=LONGEST_SECONDS
            )
        found: dict[str, float] = msgspec.json.decode(result.read_bytes())
        return found

    def ends(self, part: Workload) -> list[int]:
        return remembered(self._ends, part.events, part.ends)

    def cut(self, part: Workload) -> int:
        """The time of the record half-way: whatever an engine does at the end of its input, it has passed that."""

        def find() -> int:
            records = part.records()
            return next(one.at for index, one in enumerate(records, 1) if index >= part.events / 2) - 2 * DISORDER

        return remembered(self._cuts, part.events, find)

    def expected(self, part: Workload, timers: bool) -> Summary:
        def find() -> Summary:
            with step("working out what must come out"):
                return expected(part, load_rules(self.rules), self.cut(part), timers).summary()

        return remembered(self._expected, (part.events, timers), find)


def remembered(known: dict[K, V], key: K, find: Callable[[], V]) -> V:
    """The value for the key, found at first use."""
    if key not in known:
        known[key] = find()
    return known[key]


def ratios(rates: dict[str, float]) -> dict[str, float]:
    """How many times as fast as the others; the obvious job counts as PyFlink runs it unless told, and in its faster mode beside that."""
    ours = rates.get("segue")
    if ours is None:
        return {}
    rivals = {
        "vs_obvious": "obvious",
        "vs_obvious_thread": "obvious_thread",
        "vs_quix": "quix",
        "vs_bytewax": "bytewax",
    }
    found = {name: ours / rates[rival] for name, rival in rivals.items() if rates.get(rival)}
    if "segue_models" in rates:
        found["with_models"] = rates["segue_models"] / ours
    if "core" in rates:
        found["of_bare_core"] = ours / rates["core"]
    return found


def report(
    scores: dict[str, Score], core: dict[str, float], workload: Workload, rounds: int, rules: int
) -> dict[str, Any]:
    """Everything as one object."""
    rates = {name: score.rate() for name, score in scores.items()}
    if core:
        rates["core"] = core["decode_step"]
    titles = {one.name: one.title for one in CONTENDERS}
    return {
        # With and without models, and nobody else, is a question of its own.
        "benchmark": "throughput" if set(scores) != {"segue", "segue_models"} else "with_models",
        "machine": machine(),
        "events": workload.events,
        "customers": workload.customers,
        "rules": rules,
        "rounds": rounds,
        "ratios": {name: round(value, 2) for name, value in ratios(rates).items()},
        "events_per_second": {name: round(rate) for name, rate in rates.items()}
        | {f"core_{k}": round(v) for k, v in core.items()},
        "contenders": {
            name: {
                "title": titles[name],
                "events": score.events,
                "events_per_second": round(score.rate()),
                "with_start": round(score.whole_rate()),
                "cpu_micros": round(score.cpu_micros(), 1),
                "seconds": [round(one, 2) for one in score.working],
                "problems": score.problems,
            }
            for name, score in scores.items()
        },
        "core": {name: round(rate) for name, rate in core.items()},
        "complete": not any(score.problems for score in scores.values()),
    }


def table(found: dict[str, Any]) -> str:
    """The report for people: ratios first."""
    lines = ["| Segue against | times as fast |", "|---|---:|"]
    words = {
        "vs_obvious": "the obvious PyFlink job (process mode, PyFlink's default)",
        "vs_obvious_thread": "the obvious PyFlink job in thread mode",
        "vs_quix": "Quix Streams",
        "vs_bytewax": "Bytewax",
        "of_bare_core": "the bare core in a loop",
        "with_models": "itself without models, with two linear ones and clusters scoring and learning",
    }
    lines += [f"| {words[name]} | {value:.2f} |" for name, value in found["ratios"].items()]
    lines += ["", "| contender | events | events/s | with its start | CPU µs/event | transitions |"]
    lines.append("|---|---:|---:|---:|---:|---|")
    for one in found["contenders"].values():
        right = "; ".join(dict.fromkeys(one["problems"])) or "all, once each"
        rates = f"{one['events']:,} | {one['events_per_second']:,} | {one['with_start']:,} | {one['cpu_micros']:,.1f}"
        lines.append(f"| {one['title']} | {rates} | {right} |")
    lines += [f"| {CORE[name]} | | {rate:,} | | {1e6 / rate:.1f} | |" for name, rate in found["core"].items()]
    lines += [
        "",
        f"{found['events']:,} events, {found['customers']:,} customers, {found['rules']} rules, "
        f"median of {found['rounds']} round{'s' if found['rounds'] > 1 else ''}; one slot, one worker, one process each.",
    ]
    return "\n".join(lines)


def perform(names: list[str], workload: Workload, rounds: int, rules: Sequence[str] = RULES) -> dict[str, Any]:
    """Run the contenders of these names, round by round, under the rules of these names."""
    chosen = [one for one in CONTENDERS if one.name in names]
    scores = {one.name: Score() for one in chosen}
    core: dict[str, float] = {}
    with Stage(flink=any(one.flink for one in chosen)) as stage:
        run = Run(stage, workload, rules)
        run.warm_up(chosen)
        for number in range(rounds):
            if "core" in names:
                core = {name: max(rate, core.get(name, 0.0)) for name, rate in run.core().items()}
            # Whoever comes first finds cold caches and a cool processor: so not always the same one.
            for contender in chosen if number % 2 == 0 else reversed(chosen):
                run.play(contender, scores[contender.name])
    return report(scores, core, workload, rounds, len(rules))


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure throughput against other ways of doing the same.")
    parser.add_argument("--quick", action="store_true", help="fewer events, one round, under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--only", default="", metavar="NAME,...", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--events", type=int, default=0, help="how many events; customers in proportion")
    parser.add_argument("--rounds", type=int, default=0, help="default: 3, with --quick 1")
    parser.add_argument(
        "--catalogue", action="store_true", help="all rules of the catalogue that ask for no model, not ten"
    )
    parser.add_argument("--write", action="store_true", help="put the result into benchmarks/RESULTS.md")
    arguments = parser.parse_args()
    names = (
        arguments.only.split(",")
        if arguments.only
        else [one.name for one in CONTENDERS if one.quick or not arguments.quick] + ["core"]
    )
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"no contender {', '.join(unknown)}; there are {', '.join(NAMES)}")
    workload = QUICK if arguments.quick else FULL
    if arguments.events:
        workload = Workload(arguments.events, max(20, arguments.events * workload.customers // workload.events))
    try:
        rules = catalogue() if arguments.catalogue else RULES
        found = perform(names, workload, arguments.rounds or (1 if arguments.quick else 3), rules)
        if arguments.catalogue:
            found["benchmark"] += "_catalogue"  # under other rules every question has another answer
    except UserError as error:
        print(f"throughput: {error}", error.hint, sep="\n", file=sys.stderr)
        return 2
    deliver(found, table(found), write=arguments.write, as_json=arguments.json)
    return 0 if found["complete"] else 1


if __name__ == "__main__":
    sys.exit(main())
