"""`segue submit` and `segue stop`: the job onto a Flink cluster, and off it again with all that it knows."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cli.errors import UserError
from cli.flink_rest import FlinkError, FlinkRest, Job, root_cause
from cli.paths import ROOT, flink_home
from cli.processes import Process, tail, wait_until
from cli.progress import step
from cli.target import Target, target
from flink_jobs.settings import Settings

CLIENT_TIMEOUT = 180.0
RUN_TIMEOUT = 120.0
SAVEPOINT_TIMEOUT = 600.0
# After so many seconds it is said that slots are lacking: a cluster that makes its own may need that long.
SLOTS_NOTICE = 4.0
# To the start of a terminal's line, where the step that is under way stands, and all of it gone.
CLEAR = "\r\x1b[K"

_HOMELESS = "Cannot map checkpoint/savepoint state"
"""What Flink says of a snapshot with state of an operator that the job has not; it goes on to name an option of its own client."""

_JOB = re.compile(r"^job ([0-9a-f]{32})$", re.MULTILINE)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `submit` and `stop` to the `segue` command."""
    submit = subparsers.add_parser(
        "submit",
        help="start the job on a Flink cluster",
        description="Starts the segments job on the cluster that the settings name, else on the local one (`segue up`).",
    )
    submit.add_argument(
        "--settings", type=Path, metavar="FILE", help="settings file (YAML); SEGUE_ variables go on top"
    )
    submit.add_argument(
        "--rules", type=Path, metavar="DIR", help="rule files to begin with; default: the newest set on the rules topic"
    )
    submit.add_argument(
        "--from-savepoint",
        metavar="PATH|latest",
        help="start from a savepoint or a retained checkpoint; `latest`: the newest in the checkpoint directory",
    )
    submit.set_defaults(run=run_submit)
    stop = subparsers.add_parser(
        "stop",
        help="stop the job, with a savepoint if asked",
        description="Stops the job: at once, or with a savepoint.",
    )
    stop.add_argument("--settings", type=Path, metavar="FILE", help="settings file (YAML); SEGUE_ variables go on top")
    stop.add_argument(
        "--savepoint", nargs="?", const="", metavar="DIR", help="take a savepoint; default: in the checkpoint directory"
    )
    stop.add_argument(
        "--drain",
        choices=("yes", "no"),
        default="no",
        help="`yes` lets all time pass first: every window ends, so it is for a job that will not go on; default: no",
    )
    stop.set_defaults(run=run_stop)


def run(args: argparse.Namespace) -> int:
    """Does what the command asked for."""
    return run_stop(args) if args.command == "stop" else run_submit(args)


def run_submit(args: argparse.Namespace) -> int:
    """Submits the job and waits until it runs."""
    to = target(args.settings)
    if args.rules is not None and not args.rules.is_dir():
        raise UserError(f"{args.rules} is no folder of rule files", "the project's own are in rules/catalog")
    begun = time.monotonic()
    flink = FlinkRest(to.settings.flink.rest)
    from_savepoint = args.from_savepoint or ""
    if from_savepoint == "latest":
        from_savepoint = str(newest_savepoint(to.settings))
        print(f"from     {from_savepoint}")
    job = submit(to, flink, settings_file=args.settings, rules=args.rules, from_savepoint=from_savepoint)
    print(f"job      {job}  ({to.settings.job.name})")
    print(f"web page {flink.job_page(job)}", flush=True)
    wait_running(flink, job)
    print(f"running  after {time.monotonic() - begun:.1f} s")
    return 0


def submit(
    to: Target,
    flink: FlinkRest,
    *,
    settings_file: Path | None = None,
    rules: Path | None = None,
    from_savepoint: str = "",
    variables: Mapping[str, str] | None = None,
    log: Path | None = None,
    quiet: bool = False,
) -> str:
    """Runs the job's program, which hands the job to the cluster; the job's id. Does not wait until it runs.

    `variables` go on top of the environment, as settings. Refuses where a job of this name is there already: the two would write
    under one transactional id, and each would cut off the other.
    """
    name = to.settings.job.name
    with step("asking the cluster", quiet=quiet):
        refuse_second(flink, name)
    words: list[str | Path] = [sys.executable, ROOT / "flink_jobs" / "segments.py"]
    if settings_file is not None:
        words += ["--settings", settings_file.resolve()]
    if rules is not None:
        words += ["--rules", rules.resolve()]
    if from_savepoint:
        words += ["--from-savepoint", from_savepoint]
    environment = {**client_environment(to), **to.variables, **(variables or {})}
    with tempfile.TemporaryDirectory(prefix="segue-submit-") as folder:
        log = log or Path(folder) / "submit.log"
        with step(f"submitting the job {name}", quiet=quiet):
            client = Process.start("the job's program", words, log=log, env=environment, cwd=ROOT)
            try:
                wait_until(lambda: not client.alive(), CLIENT_TIMEOUT, "the job is handed to the cluster", log=log)
            finally:
                client.kill()
        text = log.read_text("utf-8", "replace")
        for warning in re.findall(r"^warning: (.*)$", text, re.MULTILINE):
            print(f"segue: {warning}", file=sys.stderr)
        found = _JOB.search(text)
        if client.exit_code() != 0 or found is None:
            raise UserError("the job could not be submitted", client_failure(text) or tail(log))
        return found.group(1)


def refuse_second(flink: FlinkRest, name: str) -> None:
    """Raises `UserError` if a job of this name is on the cluster."""
    for other in flink.live_jobs(name):
        raise UserError(
            f"a job named {name} is on this cluster already ({other.id}, {other.state}); two of one name would cut off each other's"
            " transactions",
            "stop it with `segue stop --savepoint`, or give this one another `job.name`",
        )


def client_environment(to: Target) -> dict[str, str]:
    """The environment of the job's program. Where the cluster is a local one: its jars and its Java."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path}
    # It runs for seconds only: what the better compiler and a second collector would win, they cost several times over.
    environment.setdefault("JVM_ARGS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    if to.local is not None:
        from cli.toolchain import java_home

        environment |= {
            "JAVA_HOME": str(java_home()),
            # Without it PyFlink looks for itself, and puts its own folder of jars in the place of the one named here.
            "FLINK_HOME": str(flink_home()),
            "FLINK_CONF_DIR": to.local.conf_dir,
            "FLINK_LIB_DIR": to.local.lib_dir,
            "FLINK_LOG_DIR": to.local.log_dir,
        }
    return environment


def client_failure(text: str) -> str:
    """What the job's program died of: its own word, else the innermost cause of Java's, else Python's last line."""
    if own := re.findall(r"^error: (.*)", text, re.MULTILINE):
        return str(own[-1])
    if _HOMELESS in text:
        return (
            "the snapshot holds the state of a part that this job does not have, as the learner's where the rules topic holds no models:\n"
            "publish them again (`segue models apply`), or name the snapshot of the right job. To give that state up, set\n"
            "`execution.state-recovery.ignore-unclaimed-state: true` under `flink.properties` for this one start"
        )
    if "Caused by: " in text:
        return root_cause(text[text.index("Caused by: ") :])
    lines = [line for line in text.strip().splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    return "\n".join(lines[-6:])


def wait_running(flink: FlinkRest, job: str, *, timeout: float = RUN_TIMEOUT, quiet: bool = False) -> None:
    """Wait until each part of the job runs. Raises `UserError` with the cause when it fails, or fails to start twice."""
    with step("waiting until the job runs", quiet=quiet):
        begun = time.monotonic()
        told = quiet
        while not flink.runs(job):
            state = flink.state(job)
            failures = flink.failures(job)
            if state in ("FAILED", "CANCELED", "SUSPENDED") or len(failures) > 1:
                cause = root_cause(failures[0]) if failures else "no cause is given"
                again = "" if state == "FAILED" else f"\nIt goes on trying; `segue stop` ends it. {flink.job_page(job)}"
                raise UserError(f"the job does not start (it is {state})", f"{cause}{again}")
            if state == "FINISHED":
                return
            passed = time.monotonic() - begun
            if passed >= timeout:
                raise UserError(
                    f"the job does not run after {timeout:g} s (it is {state})", _why_waiting(flink, job, failures)
                )
            if not told and not failures and passed >= SLOTS_NOTICE:
                told = True
                if waiting := _lacks_slots(flink, job):
                    print(f"{CLEAR if sys.stderr.isatty() else ''}segue: {waiting}", file=sys.stderr, flush=True)
            time.sleep(0.1)


def _why_waiting(flink: FlinkRest, job: str, failures: list[str]) -> str:
    if failures:
        return root_cause(failures[0])
    return _lacks_slots(flink, job) or f"see {flink.job_page(job)}"


def _lacks_slots(flink: FlinkRest, job: str) -> str:
    """That the cluster has too few slots for the job, in words; empty if it has enough."""
    waiting = [one.parallelism for one in flink.vertices(job) if one.state in ("CREATED", "SCHEDULED")]
    cluster = flink.overview()
    if not waiting or cluster.free_slots >= max(waiting):
        return ""
    return (
        f"the job wants {max(waiting)} slots; the cluster has {cluster.slots}, of which {cluster.free_slots} are free:"
        " add TaskManagers or lower `job.parallelism`"
    )


def newest_savepoint(settings: Settings) -> Path:
    """The newest completed checkpoint or savepoint under the checkpoint directory; `UserError` if there is none to be seen."""
    directory = settings.checkpoints.directory
    if not directory:
        raise UserError(
            "`checkpoints.directory` is not set, so there is no place to look for the latest", "name a path"
        )
    root = local_path(directory)
    if root is None:
        raise UserError(
            f"{directory} cannot be looked into from here", "name the path of the savepoint or checkpoint itself"
        )
    # `_metadata` is written last, so where it is, the rest is.
    found = [path for path in root.glob("**/_metadata") if path.is_file() and path.stat().st_size]
    if not found:
        raise UserError(
            f"there is no completed checkpoint or savepoint under {root}", "submit without --from-savepoint"
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent


def local_path(uri: str) -> Path | None:
    """The path of a `file:` URI, or of a plain path; None for another scheme.

    >>> local_path("file:///a/b"), local_path("/a"), local_path("s3://bucket/a")
    (PosixPath('/a/b'), PosixPath('/a'), None)
    """
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def run_stop(args: argparse.Namespace) -> int:
    """Stops the job of the settings' name."""
    to = target(args.settings)
    flink = FlinkRest(to.settings.flink.rest)
    jobs = flink.live_jobs(to.settings.job.name)
    if not jobs:
        raise UserError(
            f"no job named {to.settings.job.name} is on the cluster at {flink.url}", "`segue status` lists what is"
        )
    for job in jobs:
        if args.savepoint is None:
            cancel(flink, job)
            print(f"cancelled {job.id}")
            print("resume   segue submit --from-savepoint latest")
            continue
        path = stop_with_savepoint(flink, job, args.savepoint, drain=args.drain == "yes")
        print(f"stopped  {job.id}")
        print(f"kept     {path}")
        print(f"resume   segue submit{f' --settings {args.settings}' if args.settings else ''} --from-savepoint {path}")
    return 0


def cancel(flink: FlinkRest, job: Job) -> None:
    """End the job at once; what was not committed is not seen, and is made anew from the last checkpoint."""
    with step(f"cancelling {job.name}"):
        flink.cancel(job.id)
        flink.wait_ended(job.id)


def stop_with_savepoint(flink: FlinkRest, job: Job, directory: str = "", *, drain: bool = False) -> str:
    """End the job in order; the path of the savepoint from which it goes on."""
    if directory and "://" not in directory and not directory.startswith("file:"):
        directory = Path(directory).resolve().as_uri()
    with step(f"stopping {job.name} with a savepoint"):
        request = flink.stop_with_savepoint(job.id, directory or None, drain=drain)
        deadline = time.monotonic() + SAVEPOINT_TIMEOUT
        while not (status := flink.savepoint(job.id, request)).done:
            if time.monotonic() >= deadline:
                raise FlinkError(
                    f"there is no savepoint after {SAVEPOINT_TIMEOUT:g} s", f"see {flink.job_page(job.id)}"
                )
            time.sleep(0.2)
        if status.failure:
            raise FlinkError("the savepoint failed, so the job was not stopped", status.failure)
        flink.wait_ended(job.id)
    return status.path


__all__ = ["add_parser", "newest_savepoint", "run", "submit", "wait_running"]
