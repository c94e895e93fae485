"""`segue doctor`: what is missing or wrong, and how to mend it. Looks only; changes and starts nothing."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import toolchain
from cli.errors import UserError
from cli.paths import LOGS, ROOT, RUN, STATE, flink_home, shown
from cli.processes import free_port

if TYPE_CHECKING:
    from cli.cluster import LocalCluster

OK, WARN, FAIL = "ok", "warn", "fail"

# What a first start needs: environment, jars, and room for topics and state; a warning below the first, a failure below the second.
DISK_COMFORT, DISK_NEED = 5 * 1024**3, 2 * 1024**3
MEMORY_COMFORT, MEMORY_NEED = 4 * 1024**3, 2 * 1024**3
# A checkpoint that is older than this many milliseconds is a warning.
CHECKPOINT_AGE = 120_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, what was seen, and how to mend it if it needs that."""

    name: str
    state: str
    seen: str
    mend: str = ""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `segue doctor`."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what is missing or wrong, and how to mend it",
        description="Look at this machine, this copy, and the local cluster. Exit code 1 if something fails.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="also read this settings file, as the job would")


def run(args: argparse.Namespace) -> int:
    """Look at everything, and say it."""
    found: list[Finding] = []
    for name, look in checks(args.settings):
        try:
            found += look()
        except UserError as error:
            found.append(Finding(name, FAIL, error.message, error.hint.partition("\n")[0]))
        except Exception as error:  # noqa: BLE001 (that one look goes wrong must not hide what the others find)
            found.append(Finding(name, FAIL, f"cannot be looked at: {type(error).__name__}: {error}"))
    if args.json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        show(found)
    return 1 if any(finding.state == FAIL for finding in found) else 0


def show(found: list[Finding]) -> None:
    """A line each, with how to mend it below."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    colours = {OK: "green", WARN: "yellow", FAIL: "red"}
    width = max(len(finding.name) for finding in found)
    for finding in found:
        state = f"[{colours[finding.state]}]{finding.state:<4}[/]"
        console.print(f"{state}  {finding.name:<{width}}  {escape(finding.seen)}", soft_wrap=True)
        if finding.mend and finding.state != OK:
            console.print(f"      {'':<{width}}  -> {escape(finding.mend)}", soft_wrap=True)
    counts = {state: sum(finding.state == state for finding in found) for state in colours}
    console.print(f"{counts[OK]} ok, {counts[WARN]} to note, {counts[FAIL]} to mend")


def checks(settings: Path | None) -> Iterator[tuple[str, Callable[[], list[Finding]]]]:
    """What is looked at, in the order in which things depend on each other."""
    yield "Python", python
    yield ".venv", environment
    yield "Java", java
    yield "Maven", maven
    yield "jars", jars
    yield "operator", operator
    yield "disk", disk
    yield "memory", memory
    yield "ports", ports
    yield "Docker", docker
    yield "text", encoding
    yield "settings", lambda: settings_file(settings)
    yield "cluster", lambda: cluster(settings)


def python() -> list[Finding]:
    """The version that the locked packages exist for."""
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] in ((3, 11), (3, 12))
    return [Finding("Python", OK if good else FAIL, version, "install Python 3.11 or 3.12, delete .venv, start again")]


def environment() -> list[Finding]:
    """Whether what is installed is what the lock says."""
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        return [Finding(".venv", WARN, f"runs in {sys.prefix}, not in .venv", "start by `./segue`")]
    found = []
    for kind, lock in (("run", "requirements.txt"), ("tune", "requirements-tune.txt"), ("dev", "requirements-dev.txt")):
        stamp = ROOT / ".venv" / f".segue-lock-{kind}"
        if not stamp.exists():
            if kind == "run":
                found.append(Finding(".venv", FAIL, f"not made whole from {lock}", "start any command by `./segue`"))
            continue
        same = stamp.read_text("utf-8").strip() == hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()
        seen = f"in step with {lock}" if same else f"{lock} has changed since"
        found.append(Finding(".venv", OK if same else WARN, seen, "the next `./segue` brings it in step"))
    found.append(Finding("Flink", OK, shown(flink_home())))
    return found


def java() -> list[Finding]:
    """Java to run on, and to compile with."""
    path, version = toolchain.find_java()
    if path is None or version < toolchain.MINIMUM_JAVA:
        seen = f"version {version} at {path}" if path else "none found"
        return [
            Finding("Java", FAIL, seen, "install Java 17 (Debian, Ubuntu: `apt-get install openjdk-17-jdk-headless`)")
        ]
    if not toolchain.has_compiler() and not toolchain.ready():
        mend = "install a JDK (Debian, Ubuntu: `apt-get install openjdk-17-jdk-headless`)"
        return [Finding("Java", FAIL, f"version {version} at {path}, without a compiler", mend)]
    return [Finding("Java", OK, f"version {version} at {path}")]


def maven() -> list[Finding]:
    """Maven, which is needed until all jars are there."""
    found = shutil.which("mvn")
    if found:
        return [Finding("Maven", OK, found)]
    state = WARN if toolchain.ready() else FAIL
    return [Finding("Maven", state, "not found", "install it (Debian, Ubuntu: `apt-get install maven`)")]


def jars() -> list[Finding]:
    """What Maven fetches."""
    return [
        Finding(
            "jars",
            OK if one.ready() else WARN,
            f"{one.what}: {'there' if one.ready() else 'not fetched yet'}",
            "`segue up` fetches it",
        )
        for one in toolchain.fetched_jars()
    ]


def operator() -> list[Finding]:
    """Whether the operator was built, from the sources that are there now."""
    jar = toolchain.operator_jars()
    if jar.ready():
        return [Finding("operator", OK, "built from the sources as they are")]
    built = (jar.folder / toolchain.OPERATOR_JAR).exists()
    seen = "its sources have changed since it was built" if built else "not built yet"
    return [Finding("operator", WARN, seen, "`segue up` builds it; a running cluster takes it at its next start")]


def disk() -> list[Finding]:
    """Room for what is kept in `.segue`."""
    free = shutil.disk_usage(STATE if STATE.exists() else ROOT).free
    state = OK if free >= DISK_COMFORT else WARN if free >= DISK_NEED else FAIL
    writable = os.access(STATE if STATE.exists() else ROOT, os.W_OK)
    found = [Finding("disk", state, f"{free / 1024**3:.1f} GB free", "free some: topics and state are kept in .segue")]
    if not writable:
        found.append(Finding("disk", FAIL, f"{shown(STATE)} cannot be written to", "make it writable for this user"))
    return found


def memory() -> list[Finding]:
    """Memory for broker, JobManager and TaskManager, which take about 3 GB at most."""
    lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    for limit, used in (("memory.max", "memory.current"),):  # a container's own limit
        group = Path("/sys/fs/cgroup")
        if (group / limit).exists() and (text := (group / limit).read_text().strip()) != "max":
            free = min(free, int(text) - int((group / used).read_text()))
    state = OK if free >= MEMORY_COMFORT else WARN if free >= MEMORY_NEED else FAIL
    return [
        Finding(
            "memory", state, f"{free / 1024**3:.1f} GB available", "end something else: the cluster takes about 3 GB"
        )
    ]


def ports() -> list[Finding]:
    """Whether servers can listen on the loopback interface."""
    try:
        free_port()
    except OSError as error:
        return [
            Finding(
                "ports",
                FAIL,
                f"no port of 127.0.0.1 can be had: {error}",
                "let this user listen on the loopback interface",
            )
        ]
    return [Finding("ports", OK, "the loopback interface has free ones")]


def docker() -> list[Finding]:
    """Docker, which nothing but the container path needs."""
    import subprocess

    if shutil.which("docker") is None:
        return [Finding("Docker", OK, "not installed, and not needed: tests use the native broker")]
    try:
        done = subprocess.run(
            ["docker", "info", "--format", "{{.ServerVersion}}"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [Finding("Docker", WARN, "the engine does not answer within 10 s", "restart it, or do without")]
    if done.returncode or not done.stdout.strip():
        return [Finding("Docker", OK, "no engine answers, and none is needed: tests use the native broker")]
    return [Finding("Docker", OK, f"engine {done.stdout.strip()}")]


def encoding() -> list[Finding]:
    """Whether names that are not English can be shown."""
    name = (sys.stdout.encoding or "none").lower()
    good = name.replace("-", "") == "utf8"
    return [
        Finding("text", OK if good else WARN, f"output is {name}", "set LANG=C.UTF-8, or other letters are shown as ?")
    ]


def settings_file(path: Path | None) -> list[Finding]:
    """Whether the settings can be read: the file that was given, and the environment."""
    from flink_jobs.settings import SettingsError, load_settings

    try:
        load_settings(path, os.environ)
    except SettingsError as error:
        return [Finding("settings", FAIL, str(error), "correct it there")]
    return [Finding("settings", OK, f"{path or 'the defaults'} and the environment can be read")]


def cluster(path: Path | None) -> list[Finding]:
    """The local cluster: whether it answers, what runs on it, whether its topics are as they should be."""
    from cli.cluster import LocalCluster

    local = LocalCluster.find(RUN)
    if local is None or not local.any_alive():
        return [Finding("cluster", WARN, "no local cluster is up", "start one with `segue up`")]
    found = []
    for name, alive, answers, log in (
        ("broker", local.broker.alive(), local.broker.answers, local.broker.log),
        ("JobManager", "jobmanager" in local.pids(), local.flink.answers, local.flink.log_dir / "jobmanager.log"),
    ):
        if not alive:
            found.append(Finding(name, FAIL, "has ended", f"see {shown(log)}; `segue up` starts it again"))
        elif not answers():
            found.append(Finding(name, FAIL, "runs and does not answer", f"see {shown(log)}; `segue down`, `segue up`"))
        else:
            found.append(Finding(name, OK, local.bootstrap_servers if name == "broker" else local.rest_url))
    if any(finding.state == FAIL for finding in found):
        return found
    for manager in local.flink.task_managers:
        log = local.flink.log_dir / f"{manager.id}.log"
        mend = f"see {shown(log)}; `segue up` starts another"
        found.append(Finding("TaskManager", OK if manager.alive() else FAIL, manager.id, mend))
    return [*found, *jobs(local), *topics(local, path)]


def jobs(local: LocalCluster) -> list[Finding]:
    """The jobs that are not over, and how old their last checkpoint is."""
    live = [job for job in local.flink.rest("/jobs/overview")["jobs"] if job["state"] not in ("FINISHED", "CANCELED")]
    if not live:
        return [Finding("job", WARN, "none runs", "start it with `segue submit`")]
    found = []
    for job in live:
        page = f"{local.rest_url}/#/job/running/{job['jid']}/overview"
        state = {"RUNNING": OK, "FAILED": FAIL}.get(job["state"], WARN)
        found.append(Finding("job", state, f"{job['name']} is {job['state']}", f"see {page} and {shown(LOGS)}"))
        if job["state"] == "RUNNING":
            found.append(checkpoint(local.flink.rest(f"/jobs/{job['jid']}/checkpoints"), job))
    return found


def checkpoint(answer: dict[str, Any], job: dict[str, Any]) -> Finding:
    """How old a job's last checkpoint is, and whether the newest try failed."""
    now = time.time() * 1000
    latest = answer.get("latest") or {}
    done, failed = latest.get("completed"), latest.get("failed")
    mend = "what it commits is seen only after a checkpoint: look at the job's page for what holds it up"
    if failed and (not done or failed["trigger_timestamp"] > done["trigger_timestamp"]):
        return Finding(
            "checkpoint", FAIL, f"the last one failed: {failed.get('failure_message') or 'no reason given'}", mend
        )
    if not done:
        young = now - job["start-time"] < CHECKPOINT_AGE
        return Finding("checkpoint", OK if young else FAIL, "none yet", mend)
    age = now - done["latest_ack_timestamp"]
    seen = (
        f"{age / 1000:.0f} s ago, took {done['end_to_end_duration'] / 1000:.1f} s, {done['state_size'] / 1024:.0f} kB"
    )
    return Finding("checkpoint", OK if age < CHECKPOINT_AGE else WARN, seen, mend)


def topics(local: LocalCluster, path: Path | None) -> list[Finding]:
    """Whether the job's topics are there, with the cleanup policy that each needs."""
    import dataclasses

    from kafka import KafkaAdminClient
    from kafka.admin import ConfigResource, ConfigResourceType

    from flink_jobs.settings import load_settings
    from flink_jobs.topics import expected_topics

    settings = load_settings(path, os.environ)
    settings = dataclasses.replace(
        settings, kafka=dataclasses.replace(settings.kafka, bootstrap_servers=local.bootstrap_servers)
    )
    admin = KafkaAdminClient(bootstrap_servers=local.bootstrap_servers)
    found = []
    try:
        present = set(admin.list_topics())
        for topic in expected_topics(settings):
            wanted = "compact" if topic.compacted else "delete"
            if topic.name not in present:
                found.append(Finding("topic", WARN, f"{topic.name} is missing", "`segue submit` creates it"))
                continue
            answer = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)], config_filter="all")
            policy = setting(answer, "cleanup.policy")
            mend = f"set cleanup.policy={wanted}: it is never altered for you"
            fits = policy is None or ("compact" in policy) == topic.compacted
            found.append(Finding("topic", OK if fits else FAIL, f"{topic.name}, cleanup.policy={policy}", mend))
    finally:
        admin.close()
    return found


def setting(answer: Any, name: str) -> str | None:
    """A setting in what the Kafka client answers: mappings within mappings, with the resource on the way."""
    if isinstance(answer, dict):
        for key, value in answer.items():
            if key == name:
                return str(value["value"]) if isinstance(value, dict) else str(value)
            if (found := setting(value, name)) is not None:
                return found
    return None
