"""What a change of the rules costs under load: `python -m benchmarks.rule_change [--quick] [--json] [--write]`.

Open loop at 5,000 events a second, with the ten rules live: the simulated shop, and every 20 ms a probe, the large purchase of a
customer never seen before, which enters a segment at once and under any of the rules. In the middle, `segue rules apply` runs beside it on
the same machine, with one segment changed and one new: the past of all customers is counted from the events topic, handed over to
the job, and every customer is brought under the new rules. Lag is the latency of the probes, from the moment at which each was to be sent,
less the median of the calm before.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from benchmarks import segue_job
from benchmarks.latency import BEHIND_SECONDS, percentile
from benchmarks.results import deliver, machine, options
from benchmarks.spec import Found, Plan, Spec
from benchmarks.stage import Stage, peers_python
from benchmarks.workload import ROOT, copy_rules
from cli.errors import UserError
from cli.processes import Process, tail, wait_until
from cli.progress import step
from cli.submit import wait_running
from flink_jobs.settings import Settings
from flink_jobs.topics import read_topic

RATE: Final = 5_000
PROBES_A_SECOND: Final = 50
CUSTOMERS: Final = 30_000
CHECKPOINT_SECONDS: Final = 10.0
ALLOWED_SECONDS: Final = 1.0
"""The most that a change of the rules may add to the latency."""

_APPLY_SECONDS: Final = 120.0
_METRICS_SECONDS: Final = 15.0
_STAGES: Final = ("warming", "taken in", "live", "reconciled")
_COUNTED: Final = ("handovers", "merged", "reconciled", "backfill_overflow", "dead_lettered")

NEW_SEGMENT: Final = """\
segment: keen-viewer
name: Looks around a lot
owner: merchandising@example.com
description: Viewed five products or more within three days, whichever they were.
when:
  event: Product Viewed
  within: 3d
  count: {gte: 5}
"""


@dataclass(frozen=True)
class Times:
    """Seconds: a warm-up, the calm before the change, and what follows, in which all of the change must fall."""

    warm_up: float
    calm: float
    rest: float


FULL: Final = Times(20.0, 10.0, 70.0)
QUICK: Final = Times(10.0, 5.0, 45.0)


def change_rules(folder: Path) -> None:
    """One segment that asks for less than before, and one with a window that was not there."""
    file = folder / "repeat-viewer.yaml"
    # Its tests tell of the rule as it was.
    text = file.read_text("utf-8").partition("\ntests:")[0]
    changed = text.replace("count: {gt: 3}", "count: {gt: 2}")
    if changed == text:
        raise UserError(f"{file.name} is not the rule that this benchmark changes")
    file.write_text(changed + "\n", "utf-8")
    (folder / "keen-viewer.yaml").write_text(NEW_SEGMENT, "utf-8")


def measure(stage: Stage, rate: int, times: Times) -> dict[str, Any]:
    """Run the job under load and change its rules under way."""
    spec = _spec(stage)
    settings = segue_job.settings(spec)
    settings_file, spec_file, plan_file, result = (
        stage.folder / f"change-{part}" for part in ("settings.yaml", "spec.json", "plan.json", "found.json")
    )
    settings_file.write_text(json.dumps(settings_as_document(settings)), "utf-8")
    spec_file.write_bytes(msgspec.json.encode(spec))
    stage.create_topics(spec.topic, spec.changes, spec.memberships)
    folder = copy_rules(stage.folder / "changed-rules")
    apply = [sys.executable, "-m", "cli", "rules", "apply", folder, "--settings", settings_file, "--json"]
    with step("publishing the ten rules and submitting the job"):
        stage.run("rules-before", [*apply, "--no-backfill"], timeout=_APPLY_SECONDS)
        job = stage.submit_job("change-job", [sys.executable, "-m", "benchmarks.segue_job", spec_file])
        wait_running(stage.rest, job, quiet=True)
    change_rules(folder)
    try:
        plan = Plan(
            spec.bootstrap,
            spec.topic,
            spec.changes,
            committed=False,
            rate=rate,
            warm_up=times.warm_up,
            seconds=times.calm + times.rest,
            result=str(result),
            every=max(1, rate // PROBES_A_SECOND),
            customers=CUSTOMERS,
        )
        plan = msgspec.structs.replace(plan, start=time.time() + plan.time_to_make)
        plan_file.write_bytes(msgspec.json.encode(plan))
        with step(
            f"{rate:,} events a second for {times.warm_up + times.calm + times.rest:g} s, and a change of the rules"
        ):
            began, ended = _under_load(stage, plan, plan_file, times, apply)
        restarts = int(stage.cluster.flink.rest(f"/jobs/{job}/metrics?get=numRestarts")[0]["value"])
        totals, failures = _totals(stage, job), stage.rest.failures(job)
    finally:
        stage.cancel(job)
    if failures:
        raise UserError("the job failed under way", failures[-1][:2000])
    found = msgspec.json.decode(result.read_bytes(), type=Found)
    backfill = json.loads((stage.log_folder / "rules-apply.log").read_text("utf-8").splitlines()[-1])["backfill"]
    said = [json.loads(record.value or b"null") for record in read_topic(settings, settings.topics.rule_status)]
    return {
        "restarts": restarts,
        "apply_seconds": round(ended - began, 1),
        "backfill": backfill,
        "stages": stages(said, began),
        "counted": {name: totals.get(name, 0) for name in _COUNTED},
        **summary(found, began, ended),
    }


def _spec(stage: Stage) -> Spec:
    return Spec(
        bootstrap=stage.bootstrap,
        topic="change-events",
        ends=[],
        events=0,
        customers=CUSTOMERS,
        seed=1,
        rules="",
        changes="change-changes",
        memberships="change-memberships",
        result="",
        folder=str(stage.folder),
        commit_seconds=CHECKPOINT_SECONDS,
        exactly_once=False,
        mode="live",
        rest=stage.rest_address,
    )


def settings_as_document(settings: Settings) -> dict[str, Any]:
    """What `segue rules apply` needs to know of the job, as a settings file has it."""
    job, checkpoints = settings.job, settings.checkpoints
    return {
        "kafka": {"bootstrap_servers": settings.kafka.bootstrap_servers, "partitions": settings.kafka.partitions},
        "topics": asdict(settings.topics),
        "job": {"name": job.name, "delivery": job.delivery, "disorder": f"{job.disorder}ms"},
        "checkpoints": {"interval": f"{checkpoints.interval}ms"},
    }


def _under_load(
    stage: Stage, plan: Plan, plan_file: Path, times: Times, apply: Sequence[str | Path]
) -> tuple[float, float]:
    """Send the traffic, and apply the rules in the middle: when that began and ended, epoch seconds."""
    environment = stage.flink_environment() | {"PYTHONPATH": str(ROOT)}
    log, apply_log = (stage.log_folder / f"{name}.log" for name in ("rules-probe", "rules-apply"))
    over = plan.start + plan.warm_up + plan.seconds
    words: list[str | Path] = [peers_python(), "-m", "benchmarks.probe", plan_file]
    probe = Process.start("rules-probe", words, log=log, env=environment, cwd=ROOT)
    try:
        wait_until(
            lambda: not probe.alive() or time.time() >= plan.start + times.warm_up + times.calm,
            over - time.time(),
            "the calm is over",
            log=log,
        )
        began = time.time()
        change = Process.start("rules-apply", apply, log=apply_log, env=environment, cwd=ROOT)
        try:
            wait_until(lambda: not change.alive(), _APPLY_SECONDS, "the rules are applied", log=apply_log)
        finally:
            change.kill()
        ended = time.time()
        if change.exit_code() != 0:
            raise UserError("the rules were not applied", tail(apply_log, 30))
        if ended > over:
            raise UserError(f"the change took {ended - began:.0f} s, longer than the traffic: nothing was measured")
        wait_until(lambda: not probe.alive(), over - time.time() + 60, "the traffic ends", log=log)
    finally:
        probe.kill()
    if probe.exit_code() != 0:
        raise UserError("the traffic was not sent", tail(log, 30))
    return began, ended


def _totals(stage: Stage, job: str) -> dict[str, int]:
    """What the job has counted. Flink fetches metrics from the tasks only once they have been asked for."""
    deadline = time.monotonic() + _METRICS_SECONDS
    while not (found := stage.rest.totals(job)).get("merged") and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def stages(said: Sequence[Mapping[str, Any]], began: float) -> dict[str, Any]:
    """When the job came to each stage of the newest version, in seconds from `began`, and what it said with it."""
    newest = max(int(one["version"]) for one in said)
    found: dict[str, Any] = {}
    for one in said:
        if one["version"] == newest and one["stage"] in _STAGES:
            at = datetime.fromisoformat(one["at"]).timestamp()
            found[one["stage"]] = {"seconds": round(at - began, 2), "detail": one["detail"]}
    return found


def cuts(latencies: Sequence[float]) -> dict[str, float]:
    """Percentiles in milliseconds."""
    ordered = sorted(latencies)
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {name: round(percentile(ordered, share) * 1000, 1) for name, share in shares.items()}


def summary(found: Found, began: float, ended: float) -> dict[str, Any]:
    """Latencies before, during and after the change, and for each second from five before it; lag is what the change added."""
    spans = {
        "calm": [latency for at, latency in found.answers if at < began],
        "change": [latency for at, latency in found.answers if began <= at <= ended],
        "after": [latency for at, latency in found.answers if at > ended],
    }
    if not all(spans.values()):
        raise UserError("no probe was answered before, during or after the change")
    seconds: dict[int, list[float]] = {}
    for at, latency in found.answers:
        if began - 5 <= at:
            seconds.setdefault(int((at - began) // 1), []).append(latency)
    phases = {name: cuts(values) for name, values in spans.items()}
    # What a change leaves behind counts too: the lag of a burst at its end is seen after it.
    worst = max(phases["change"]["max_ms"], phases["after"]["max_ms"])
    lag = worst - phases["calm"]["p50_ms"]
    behind = percentile(found.delays, 0.99)
    return {
        "phases": phases,
        "by_second": [{"second": second, **cuts(values)} for second, values in sorted(seconds.items())],
        "lag_ms": round(lag, 1),
        "lag_p99_ms": round(phases["change"]["p99_ms"] - phases["calm"]["p50_ms"], 1),
        "holds": lag <= ALLOWED_SECONDS * 1000 and not found.missing,
        "probes": found.probes,
        "missing": found.missing,
        "sender_p99_ms": round(behind * 1000, 2),
        "sender_max_ms": round(found.delays[-1] * 1000, 2),
        "sender_fell_behind": behind > BEHIND_SECONDS,
    }


def table(found: dict[str, Any]) -> str:
    """The report for people."""
    lines = ["| probes | p50 ms | p99 ms | max ms |", "|---|---:|---:|---:|"]
    titles = {"calm": "the calm before", "change": "while the rules change", "after": "afterwards"}
    for name, title in titles.items():
        one = found["phases"][name]
        lines.append(f"| {title} | {one['p50_ms']:,.1f} | {one['p99_ms']:,.1f} | {one['max_ms']:,.1f} |")
    slowest = max((one for one in found["by_second"] if one["second"] >= 0), key=lambda one: float(one["max_ms"]))
    counted, backfill = found["counted"], found["backfill"]
    came = ", ".join(f"{name} after {one['seconds']:g} s" for name, one in found["stages"].items())
    behind = " (fell behind)" if found["sender_fell_behind"] else ""
    missing = f", {found['missing']} unanswered" if found["missing"] else ""
    lines += [
        "",
        f"Worst lag, above the calm's median: {found['lag_ms']:,.0f} ms {slowest['second']} s after the change began "
        f"(99th percentile of the change: {found['lag_p99_ms']:,.0f} ms); restarts: {found['restarts']}.",
        f"`rules apply` took {found['apply_seconds']:g} s: {came}. It counted {backfill['events']:,} events of "
        f"{backfill['customers']:,} customers in {backfill['seconds']:.1f} s; {counted['handovers']:,} were handed over, "
        f"{counted['reconciled']:,} gone through afterwards, {counted['merged']:,} merged.",
        f"{found['rate']:,} events a second, {found['probes']:,} probes{missing}; sender late by {found['sender_p99_ms']:.2f} ms "
        f"at the 99th percentile, {found['sender_max_ms']:.0f} ms at most{behind}.",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = options("Measure what a change of the rules costs under load.", "shorter, with less of a past to count")
    parser.add_argument("--rate", type=int, default=RATE, help=f"events a second; default: {RATE}")
    arguments = parser.parse_args()
    times = QUICK if arguments.quick else FULL
    try:
        peers_python()
        with Stage() as stage:
            measured = measure(stage, arguments.rate, times)
    except UserError as error:
        print(f"rule_change: {error}", error.hint, sep="\n", file=sys.stderr)
        return 2
    found = {
        "benchmark": "rule_change",
        "machine": machine(),
        "rate": arguments.rate,
        **asdict(times),
        **measured,
    }
    deliver(found, table(found), write=arguments.write, as_json=arguments.json)
    return 0 if found["holds"] and not found["restarts"] else 1


if __name__ == "__main__":
    sys.exit(main())
