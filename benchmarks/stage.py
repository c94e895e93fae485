"""Where the contenders perform: one native broker, one Flink cluster of one slot, topics, and programs that are run to their end."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from kafka.admin import KafkaAdminClient, NewTopic

from benchmarks.workload import CACHE, PARTITIONS, ROOT, Workload
from cli import toolchain
from cli.cluster import LocalCluster
from cli.errors import UserError
from cli.flink_rest import FlinkRest, root_cause
from cli.processes import Process, tail, wait_until
from cli.progress import step

REQUIREMENTS: Final = Path(__file__).resolve().parent / "requirements.txt"
VENV: Final = ROOT / ".venv-bench"
INSTALL_SECONDS: Final = 900.0
CLIENT_SECONDS: Final = 120.0


def peers_python() -> Path:
    """The Python of `.venv-bench`, which has the other contenders; made at first use from the locked requirements."""
    python, stamp = VENV / "bin" / "python", VENV / ".lock"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == digest:
        return python
    # Packages of another environment on PYTHONPATH would count as installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
        "-q",
    ]
    steps: tuple[tuple[str, list[str | Path]], ...] = (
        ("making .venv-bench", [sys.executable, "-m", "venv", "--clear", VENV]),
        ("installing benchmarks/requirements.txt into it", [*pip, "--require-hashes", "-r", REQUIREMENTS]),
    )
    for what, words in steps:
        with step(what):
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, env=environment
            )
        if done.returncode:
            raise UserError(f"{what} failed", done.stderr.strip()[-1500:])
    stamp.write_text(digest)
    return python


@dataclass(frozen=True)
class Job:
    """A Flink job that has ended: when it was created and when it finished, epoch ms."""

    id: str
    started: int
    ended: int

    @property
    def seconds(self) -> float:
        return (self.ended - self.started) / 1000


class Stage:
    """A context manager: everything that it starts has ended, and what it kept on disk is gone, when it is left."""

    def __init__(self, *, flink: bool = True) -> None:
        self.folder = CACHE / f"run-{os.getpid()}"
        self.log_folder = CACHE / "log"
        # Flink's thread mode runs Python inside the JVM, which finds the locked packages in no other way.
        os.environ["PYTHONPATH"] = sysconfig.get_paths()["purelib"]
        toolchain.ensure()
        self.cluster = LocalCluster(self.folder, task_managers=1)
        self.with_flink = flink
        self._serial = 0

    def __enter__(self) -> Self:
        for left in CACHE.glob("run-*"):  # by one that was killed outright
            if not Path(f"/proc/{left.name.removeprefix('run-')}").exists():
                shutil.rmtree(left, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with step("starting the broker and the cluster" if self.with_flink else "starting the broker"):
                if self.with_flink:
                    self.cluster.start()
                else:
                    self.cluster.broker.start()
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.cluster.stop()
        finally:
            self._clear()

    def _clear(self) -> None:
        logs = self.folder / "flink" / "log"
        if logs.is_dir():
            shutil.copytree(logs, self.log_folder / "flink", dirs_exist_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def bootstrap(self) -> str:
        return self.cluster.bootstrap_servers

    @property
    def rest_address(self) -> str:
        return self.cluster.rest_url.partition("://")[2]

    @property
    def rest(self) -> FlinkRest:
        return FlinkRest(self.cluster.rest_url)

    def unique(self, name: str) -> str:
        """A name that was not given before: for topics, groups, transactions."""
        self._serial += 1
        return f"{name}-{self._serial}"

    def create_topics(self, *names: str, partitions: int = PARTITIONS) -> None:
        # Records bear the shop's time, which lies further back than Kafka keeps things by itself.
        settings = {"retention.ms": "-1"}
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            admin.create_topics(
                [
                    NewTopic(name=name, num_partitions=partitions, replication_factor=1, topic_configs=settings)
                    for name in names
                ]
            )
        finally:
            admin.close()

    def delete_topics(self, *names: str) -> None:
        """So that what a contender has written does not lie in the way, or on the disk, of the next one."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            admin.delete_topics(list(names))
        finally:
            admin.close()

    def fill(self, workload: Workload) -> str:
        """Produce the workload to a topic of its own; the topic's name."""
        topic = self.unique("events")
        self.create_topics(topic)
        words: list[str | Path] = [peers_python(), "-m", "benchmarks.fill", self.bootstrap, topic]
        words += [str(value) for value in (workload.events, workload.customers, workload.seed)]
        with step(f"producing {workload.events:,} events"):
            self.run("fill", words, timeout=60 + workload.events / 2_000)
        return topic

    def run(
        self, name: str, words: Sequence[str | Path], *, timeout: float, environment: Mapping[str, str] | None = None
    ) -> float:
        """Run a program to its end; how many seconds it took. `UserError` with the last lines of its log if it fails."""
        log = self.log_folder / f"{name}.log"
        begun = time.monotonic()
        base = {**os.environ, "PYTHONPATH": str(ROOT)} if environment is None else dict(environment)
        process = Process.start(name, words, log=log, env=base, cwd=ROOT)
        try:
            wait_until(lambda: not process.alive(), timeout, f"{name} ends", log=log, interval=0.02)
        finally:
            process.kill()
        if process.exit_code() != 0:
            raise UserError(f"{name} failed", tail(log, 30))
        return time.monotonic() - begun

    def cpu_seconds(self) -> float:
        """Processor time that has gone into contenders so far: TaskManagers and what they started, and programs that have ended."""
        ticks = 0
        for manager in self.cluster.flink.task_managers:
            stat = Path(f"/proc/{manager.pid}/stat").read_text("utf-8", "replace")
            # utime, stime, and those of its children that have ended, such as workers.
            ticks += sum(int(field) for field in stat.rpartition(")")[2].split()[11:15])
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ticks / os.sysconf("SC_CLK_TCK") + ended.ru_utime + ended.ru_stime

    def flink_environment(self) -> dict[str, str]:
        """What a PyFlink program needs in order to find the cluster."""
        return self.cluster.flink.client_environment()

    def submit_job(self, name: str, words: Sequence[str | Path]) -> str:
        """Run a PyFlink program that submits one job; the job's id."""
        known = {job.id for job in self.rest.jobs()}
        self.run(name, words, timeout=CLIENT_SECONDS, environment=self.flink_environment())
        new = [job for job in self.rest.jobs() if job.id not in known]
        if len(new) != 1:
            raise UserError(f"{name} submitted {len(new)} jobs", tail(self.log_folder / f"{name}.log", 30))
        return new[0].id

    def finish_job(self, name: str, job: str, *, timeout: float) -> Job:
        """Wait until the job has finished. One that fails, or fails and starts again, ends in `UserError`."""
        rest = self.rest
        deadline = time.monotonic() + timeout
        while (state := rest.state(job)) != "FINISHED":
            failures = rest.failures(job)
            if failures or state in ("FAILED", "CANCELED") or time.monotonic() >= deadline:
                self.cancel(job)
                why = root_cause(failures[-1]) if failures else f"it was {state} after {timeout:g} s"
                raise UserError(f"the job of {name} did not finish", why)
            time.sleep(0.1)
        while (got := self.cluster.flink.rest(f"/jobs/{job}"))["end-time"] < 0:
            # It has finished, but has yet to be put among those that have.
            if time.monotonic() >= deadline:
                raise UserError(f"Flink does not say when the job of {name} finished")
            time.sleep(0.1)
        return Job(job, int(got["start-time"]), int(got["end-time"]))

    def cancel(self, job: str) -> None:
        """End a job at once, if it has not ended."""
        try:
            if self.rest.state(job) not in ("FINISHED", "FAILED", "CANCELED"):
                self.rest.cancel(job)
                self.rest.wait_ended(job)
        except (UserError, urllib.error.URLError):
            pass  # the cluster is ended anyway
