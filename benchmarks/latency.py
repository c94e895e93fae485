"""How long after an event its transition can be read: `python benchmarks/latency.py [--quick] [--json]`.

Open loop at 1,000 events a second: the simulated shop, and among it probes, large purchases of customers never seen before, each of
which enters a segment at once. Latency is from the moment at which a probe was to be sent to that at which a consumer has its
transition in hand: through the producer, Kafka, Flink, the worker and Kafka again. At-least-once delivery, which is visible at once; and
exactly-once with a checkpoint every second, for comparison: what is committed can be seen no sooner.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from benchmarks.results import deliver, machine, options
from benchmarks.spec import Found, Plan, Spec
from benchmarks.stage import Stage, peers_python
from benchmarks.workload import copy_rules
from cli.errors import UserError
from cli.progress import step
from cli.submit import wait_running

RATE: Final = 1_000
CHECKPOINT_SECONDS: Final = {"at_least_once": 10.0, "exactly_once": 1.0}
TITLES: Final = {
    "at_least_once": "at least once, checkpoint every 10 s",
    "exactly_once": "exactly once, checkpoint every 1 s",
}
BEHIND_SECONDS: Final = 0.01
"""A sender whose 99th percentile is later than this did not keep its timetable."""


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values do not exceed (nearest rank).

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5), percentile([1.0, 2.0, 3.0, 4.0], 0.99)
    (2.0, 4.0)
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def measure(stage: Stage, delivery: str, rate: int, warm_up: float, seconds: float) -> dict[str, Any]:
    """Run the job with this delivery guarantee under load; latencies in milliseconds."""
    name = stage.unique(delivery.replace("_", "-"))
    exactly_once = delivery == "exactly_once"
    spec = Spec(
        bootstrap=stage.bootstrap,
        topic=f"{name}-events",
        ends=[],
        events=0,
        customers=0,
        seed=1,
        rules=str(copy_rules(stage.folder / "rules")),
        changes=f"{name}-changes",
        memberships=f"{name}-memberships",
        result="",
        folder=str(stage.folder),
        commit_seconds=CHECKPOINT_SECONDS[delivery],
        exactly_once=exactly_once,
        mode="live",
        rest=stage.rest_address,
    )
    file, plan_file, result = (stage.folder / f"{name}-{part}.json" for part in ("spec", "plan", "found"))
    file.write_bytes(msgspec.json.encode(spec))
    stage.create_topics(spec.topic, spec.changes, spec.memberships)
    plan = Plan(spec.bootstrap, spec.topic, spec.changes, exactly_once, rate, warm_up, seconds, str(result))
    plan_file.write_bytes(msgspec.json.encode(plan))
    with step(f"submitting the job, {TITLES[delivery]}"):
        job = stage.submit_job(name, [sys.executable, "-m", "benchmarks.segue_job", file])
        wait_running(stage.rest, job, quiet=True)
    try:
        with step(f"{rate:,} events a second for {warm_up + seconds:g} s"):
            words: list[str | Path] = [peers_python(), "-m", "benchmarks.probe", plan_file]
            stage.run(f"{name}-probe", words, timeout=60 + 2 * (warm_up + seconds))
        failures = stage.rest.failures(job)
    finally:
        stage.cancel(job)
    if failures:
        raise UserError("the job failed under way", failures[-1][:2000])
    return summary(msgspec.json.decode(result.read_bytes(), type=Found))


def summary(found: Found) -> dict[str, Any]:
    """Percentiles in milliseconds."""
    if not found.latencies:
        raise UserError("no probe was answered")
    cuts = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    behind = percentile(found.delays, 0.99)
    return {
        **{f"{name}_ms": round(percentile(found.latencies, share) * 1000, 1) for name, share in cuts.items()},
        "probes": found.probes,
        "missing": found.missing,
        "events": found.events,
        "sender_p99_ms": round(behind * 1000, 2),
        "sender_max_ms": round(found.delays[-1] * 1000, 2),
        "sender_fell_behind": behind > BEHIND_SECONDS,
    }


def table(found: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        "| delivery | p50 ms | p90 ms | p99 ms | max ms | probes | sender late, p99 ms |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, one in found["deliveries"].items():
        values = [f"{one[f'{cut}_ms']:,.1f}" for cut in ("p50", "p90", "p99", "max")]
        probes = f"{one['probes']:,}" + (f", {one['missing']} unanswered" if one["missing"] else "")
        behind = f"{one['sender_p99_ms']:.2f}" + (": fell behind" if one["sender_fell_behind"] else "")
        lines.append(f"| {TITLES[name]} | {' | '.join(values)} | {probes} | {behind} |")
    lines += [
        "",
        f"{found['rate']:,} events a second for {found['seconds']:g} s after a warm-up of {found['warm_up']:g} s.",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = options("Measure latency, open loop, from the intended time of sending.", "shorter, under a minute")
    parser.add_argument("--rate", type=int, default=RATE, help=f"events a second; default: {RATE}")
    parser.add_argument("--only", choices=sorted(TITLES), help="one delivery guarantee")
    arguments = parser.parse_args()
    warm_up, seconds = (4.0, 8.0) if arguments.quick else (20.0, 60.0)
    try:
        with Stage() as stage:
            peers_python()
            deliveries = {
                name: measure(stage, name, arguments.rate, warm_up, seconds)
                for name in TITLES
                if arguments.only in (None, name)
            }
    except UserError as error:
        print(f"latency: {error}", error.hint, sep="\n", file=sys.stderr)
        return 2
    found: dict[str, Any] = {
        "benchmark": "latency",
        "machine": machine(),
        "rate": arguments.rate,
        "warm_up": warm_up,
        "seconds": seconds,
        "deliveries": deliveries,
    }
    deliver(found, table(found), write=arguments.write, as_json=arguments.json)
    return 1 if any(one["missing"] for one in deliveries.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
