"""A standalone Flink cluster on the loopback interface: a JobManager and TaskManagers of one slot each, from pip's distribution.

The JVMs are started directly, not by Flink's scripts: these ask a JVM of its own to work out the memory before each start, and
daemonise in ways of theirs. So the memory is worked out here, in the terms that Flink itself uses. pip's package is never altered: the
classpath is a folder of links to its jars and ours, the settings are a folder in the run directory.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from cli.errors import UserError
from cli.paths import JARS, ROOT, flink_home
from cli.processes import GRACE, Process, WaitError, free_port, is_free, is_listening, stop_all, tail, wait_until

LOG_SETTINGS = """\
shutdownHook = disable
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:log.file}
appender.file.filePattern = ${sys:log.file}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{ISO8601} %-5p %-40c{1} %m%n%throwable
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 20MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
logger.pekko.name = org.apache.pekko
logger.pekko.level = warn
logger.kafka.name = org.apache.kafka
logger.kafka.level = warn
# The connector brings its own Kafka client; its sink makes a producer for each checkpoint, which tells its hundred settings.
logger.connector.name = org.apache.flink.kafka.shaded
logger.connector.level = warn
logger.sink.name = org.apache.flink.connector.kafka.sink.internal
logger.sink.level = warn
logger.netty.name = org.jboss.netty.channel.DefaultChannelPipeline
logger.netty.level = off
"""

# Parts of a JVM's memory that have one sensible size here, in megabytes.
METASPACE = 256
OVERHEAD = 128
FRAMEWORK_HEAP = 128
FRAMEWORK_OFF_HEAP = 96
TASK_OFF_HEAP = 32
NETWORK = 64
JOB_MANAGER_OFF_HEAP = 64

# How often a start is tried again when a port was taken between our choice and the server's bind.
ATTEMPTS = 3

# Asking the cluster on the loopback interface never goes through a proxy.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def megabytes(size: str) -> int:
    """A size as Flink writes it, in whole megabytes.

    >>> megabytes("1600m"), megabytes("2g"), megabytes("512 mb")
    (1600, 2048, 512)
    """
    match = re.fullmatch(r"\s*(\d+)\s*(m|mb|g|gb)\s*", size, re.IGNORECASE)
    if match is None:
        raise UserError(f"{size!r} is not a size of memory", "write it like 1600m or 2g")
    return int(match.group(1)) * (1024 if match.group(2).lower().startswith("g") else 1)


@dataclass(slots=True)
class TaskManager:
    """A TaskManager: the id by which Flink knows it, and its process."""

    id: str
    process: Process

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self.process.pid

    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process.alive()


class Flink:
    """A cluster in `directory`; a context manager, or `start()` and `stop()`.

    Sizes of memory are of whole processes. `managed_memory` of each TaskManager is what RocksDB may use. `settings` are Flink options
    that overrule ours.
    """

    def __init__(
        self,
        directory: Path,
        *,
        task_managers: int = 1,
        web_port: int = 0,
        job_manager_memory: str = "768m",
        task_manager_memory: str = "1600m",
        managed_memory: str = "256m",
        settings: Mapping[str, str] | None = None,
        jars: Path = JARS,
        detached: bool = False,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.directory = directory.resolve()
        self.wanted_task_managers = task_managers
        self.wanted_web_port = web_port
        self.web_port = web_port
        self.rpc_port = 0
        self.job_manager_memory = megabytes(job_manager_memory)
        self.task_manager_memory = megabytes(task_manager_memory)
        self.managed_memory = megabytes(managed_memory)
        self.settings = dict(settings or {})
        self.jars = jars
        self.detached = detached
        self.on_change = on_change
        self.job_manager: Process | None = None
        self.task_managers: list[TaskManager] = []
        self._started = 0

    @property
    def rest_url(self) -> str:
        """Where its REST interface and its web page are."""
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def conf_dir(self) -> Path:
        """The folder of its settings, FLINK_CONF_DIR of a client."""
        return self.directory / "conf"

    @property
    def lib_dir(self) -> Path:
        """The folder of its classpath, FLINK_LIB_DIR of a client."""
        return self.directory / "lib"

    @property
    def log_dir(self) -> Path:
        """The folder of its logs."""
        return self.directory / "log"

    @property
    def checkpoint_dir(self) -> Path:
        """Where jobs keep their checkpoints unless they say otherwise."""
        return self.directory / "checkpoints"

    @property
    def savepoint_dir(self) -> Path:
        """Where jobs keep their savepoints unless they say otherwise."""
        return self.directory / "savepoints"

    def client_environment(self) -> dict[str, str]:
        """The environment for a client (`flink`, or a PyFlink program) that is to find this cluster."""
        from cli.toolchain import java_environment

        return {
            **java_environment(),
            "FLINK_HOME": str(flink_home()),
            "FLINK_CONF_DIR": str(self.conf_dir),
            "FLINK_LIB_DIR": str(self.lib_dir),
            "FLINK_LOG_DIR": str(self.log_dir),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        }

    def start(self, timeout: float = 90.0) -> None:
        """Start what of it does not run, and wait until all slots are there."""
        try:
            self.start_job_manager(timeout, meanwhile=self._launch_missing)
            self._launch_missing()
            for manager in self.task_managers:
                self._wait_for(manager, timeout)
        except BaseException:
            self.stop(grace=2.0)
            raise

    def start_job_manager(self, timeout: float = 90.0, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Start the JobManager, on the ports it had before if there were any, and wait until it answers; nothing if it runs."""
        if self.job_manager is not None and self.job_manager.alive():
            return
        if not any((self.jars / "connector").glob("*.jar")):
            raise UserError(f"there are no jars for the cluster in {self.jars}", "`segue up` fetches them")
        for attempt in range(1, ATTEMPTS + 1):
            self._choose_ports()
            self._configure()
            log = self.log_dir / "jobmanager.log"
            heap = self.job_manager_memory - METASPACE - OVERHEAD - JOB_MANAGER_OFF_HEAP
            if heap < 128:
                raise UserError(f"{self.job_manager_memory} MB are too little for a JobManager", "512m is the least")
            process = self.job_manager = self._launch(
                "the JobManager",
                log,
                [
                    f"-Xmx{heap}m",
                    f"-Xms{heap}m",
                    "-XX:+UseSerialGC",
                    "-XX:TieredStopAtLevel=1",
                    f"-XX:MaxMetaspaceSize={METASPACE}m",
                ],
                [
                    "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
                    "--executionMode",
                    "cluster",
                ],
                [],
            )
            self.on_change()
            # TaskManagers look for the JobManager until it is there, so they need not wait for it to start.
            meanwhile()
            try:
                wait_until(self.answers, timeout, "the JobManager answers", process=process, log=log)
                return
            except WaitError:
                text = tail(log, 400) + tail(self.log_dir / "jobmanager.out", 100)
                taken = not process.alive() and re.search("Address already in use|BindException|Could not bind", text)
                process.kill()
                # These were told the old port.
                stop_all([manager.process for manager in self.task_managers], grace=0.0)
                self.task_managers = []
                if not taken or self.wanted_web_port or attempt == ATTEMPTS:
                    raise
                self.web_port = self.rpc_port = 0

    def start_task_manager(self, timeout: float = 90.0) -> TaskManager:
        """Start one more TaskManager and wait until its slot is there."""
        manager = self._launch_task_manager()
        self.task_managers.append(manager)
        self.on_change()
        self._wait_for(manager, timeout)
        return manager

    def kill_job_manager(self) -> None:
        """Kill the JobManager as a crash would; `start_job_manager()` starts another on the same ports."""
        if self.job_manager is not None:
            self.job_manager.crash()

    def kill_task_manager(self, index: int = 0) -> TaskManager:
        """Kill a TaskManager as a crash would, and forget it; what it has started is left to notice that. Gives back what was killed."""
        manager = self.task_managers.pop(index)
        manager.process.crash()
        self.on_change()
        return manager

    def stop_task_manager(self, index: int = 0, grace: float = GRACE) -> TaskManager:
        """End a TaskManager in order, and forget it."""
        manager = self.task_managers.pop(index)
        manager.process.stop(grace)
        self.on_change()
        return manager

    def stop(self, grace: float = GRACE) -> None:
        """End all of it; checkpoints and savepoints stay."""
        processes = [manager.process for manager in self.task_managers]
        if self.job_manager is not None:
            processes.append(self.job_manager)
        stop_all(processes, grace)
        self.task_managers = []
        self.job_manager = None
        shutil.rmtree(self.directory / "tmp", ignore_errors=True)
        self.on_change()

    def alive(self) -> bool:
        """Whether the JobManager and at least one TaskManager run."""
        return self.job_manager is not None and self.job_manager.alive() and any(m.alive() for m in self.task_managers)

    def answers(self, timeout: float = 2.0) -> bool:
        """Whether its REST interface answers."""
        if self.web_port == 0 or not is_listening(self.web_port):
            return False
        try:
            return "flink-version" in self.rest("/overview", timeout)
        except UserError:
            return False

    def rest(self, path: str, timeout: float = 10.0) -> Any:
        """The answer to a GET on the REST interface, read as JSON."""
        return get_json(self.rest_url + path, timeout)

    def slots(self) -> int:
        """How many slots there are, free or not."""
        return sum(int(manager["slotsNumber"]) for manager in self.rest("/taskmanagers")["taskmanagers"])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def state(self) -> dict[str, Any]:
        """What is needed to find it again."""
        return {
            "rest_url": self.rest_url,
            "web_port": self.web_port,
            "rpc_port": self.rpc_port,
            "conf_dir": str(self.conf_dir),
            "lib_dir": str(self.lib_dir),
            "checkpoint_dir": str(self.checkpoint_dir),
            "savepoint_dir": str(self.savepoint_dir),
            "job_manager": self.job_manager.state() if self.job_manager else None,
            "task_managers": [{"id": m.id, "process": m.process.state()} for m in self.task_managers],
            "started": self._started,
        }

    def attach(self, state: Mapping[str, Any]) -> None:
        """Take over ports and processes from what `state()` gave."""
        self.web_port = int(state["web_port"])
        self.rpc_port = int(state["rpc_port"])
        self.job_manager = Process.attach(state["job_manager"]) if state.get("job_manager") else None
        self.task_managers = [TaskManager(str(m["id"]), Process.attach(m["process"])) for m in state["task_managers"]]
        self._started = int(state["started"])

    def _choose_ports(self) -> None:
        if self.wanted_web_port:
            if not is_free(self.wanted_web_port):
                raise UserError(f"port {self.wanted_web_port} is taken", "choose another for Flink's web page")
            self.web_port = self.wanted_web_port
        elif not self.web_port or not is_free(self.web_port):
            self.web_port = free_port()
        while not self.rpc_port or self.rpc_port == self.web_port or not is_free(self.rpc_port):
            self.rpc_port = free_port()

    def _configure(self) -> None:
        home = flink_home()
        pip_settings = yaml.safe_load((home / "conf" / "config.yaml").read_text("utf-8"))
        self.settings_in_use = {
            # What Flink needs to look into Java 17's own classes, as its distribution has it.
            "env.java.opts.all": str(pip_settings["env"]["java"]["opts"]["all"]),
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": str(self.rpc_port),
            "jobmanager.bind-host": "127.0.0.1",
            "rest.address": "127.0.0.1",
            "rest.port": str(self.web_port),
            "rest.bind-address": "127.0.0.1",
            "rest.bind-port": str(self.web_port),
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": "1",
            "parallelism.default": "1",
            "jobmanager.execution.failover-strategy": "region",
            "restart-strategy.type": "exponential-delay",
            "restart-strategy.exponential-delay.initial-backoff": "500 ms",
            "restart-strategy.exponential-delay.max-backoff": "30 s",
            "restart-strategy.exponential-delay.backoff-multiplier": "2",
            "restart-strategy.exponential-delay.reset-backoff-threshold": "2 min",
            "execution.checkpointing.dir": self.checkpoint_dir.as_uri(),
            "execution.checkpointing.savepoint-dir": self.savepoint_dir.as_uri(),
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            # One that was killed is missed within seconds; a busy one is given time. After a JobManager's quick return, the timeout is
            # how long the TaskManagers take to notice that it is not the one they knew.
            "heartbeat.interval": "2 s",
            "heartbeat.timeout": "15 s",
            "io.tmp.dirs": str(self.directory / "tmp"),
            "python.executable": sys.executable,
            "python.client.executable": sys.executable,
            **self.settings,
        }
        for folder in (self.conf_dir, self.log_dir, self.checkpoint_dir, self.savepoint_dir, self.directory / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.settings_in_use, width=10_000, sort_keys=False)
        (self.conf_dir / "config.yaml").write_text(text, "utf-8")
        for name in ("log4j.properties", "log4j-console.properties", "log4j-cli.properties"):
            (self.conf_dir / name).write_text(LOG_SETTINGS, "utf-8")
        self._link_jars(home)

    def _link_jars(self, home: Path) -> None:
        shutil.rmtree(self.lib_dir, ignore_errors=True)
        self.lib_dir.mkdir(parents=True)
        # PyFlink's jar belongs here too: shipped with each job, the second job in a JVM fails.
        folders = [home / "lib", self.jars / "connector", self.jars / "job"]
        found = [jar for folder in folders for jar in folder.glob("*.jar")] + list(
            (home / "opt").glob("flink-python-*.jar")
        )
        for jar in found:
            (self.lib_dir / jar.name).symlink_to(jar.resolve())

    def _launch(self, name: str, log: Path, options: list[str], main: list[str], dynamic: list[str]) -> Process:
        from cli.toolchain import java

        if log.exists():
            log.replace(log.with_name(log.name + ".old"))
        # As Flink's own scripts have it: what it is built from comes last.
        jars = sorted(self.lib_dir.glob("*.jar"), key=lambda jar: (jar.name.startswith("flink-dist"), jar.name))
        command: list[str | Path] = [
            java(),
            *options,
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:+IgnoreUnrecognizedVMOptions",
            *self._java_options(),
            "-Djava.net.preferIPv4Stack=true",
            f"-Dlog.file={log}",
            f"-Dlog4j.configurationFile={(self.conf_dir / 'log4j.properties').as_uri()}",
            "-classpath",
            os.pathsep.join(map(str, jars)),
            main[0],
            "--configDir",
            self.conf_dir,
            *main[1:],
            *[word for option in dynamic for word in ("-D", option)],
        ]
        out = log.with_suffix(".out")
        return Process.start(
            name, command, log=out, env=self.client_environment(), cwd=self.directory, detached=self.detached
        )

    def _java_options(self) -> list[str]:
        written = yaml.safe_load((self.conf_dir / "config.yaml").read_text("utf-8"))
        return str(written["env.java.opts.all"]).split()

    def _launch_task_manager(self) -> TaskManager:
        fixed = (
            METASPACE + OVERHEAD + FRAMEWORK_HEAP + FRAMEWORK_OFF_HEAP + TASK_OFF_HEAP + NETWORK + self.managed_memory
        )
        task_heap = self.task_manager_memory - fixed
        if task_heap < 64:
            raise UserError(
                f"{self.task_manager_memory} MB are too little for a TaskManager",
                f"with these settings {fixed + 64}m is the least",
            )
        # After a crash the next one must not be taken for the one that died.
        self._started += 1
        name = f"taskmanager-{self._started}"
        sizes = {
            "framework.heap.size": FRAMEWORK_HEAP,
            "framework.off-heap.size": FRAMEWORK_OFF_HEAP,
            "task.heap.size": task_heap,
            "task.off-heap.size": TASK_OFF_HEAP,
            "network.min": NETWORK,
            "network.max": NETWORK,
            "managed.size": self.managed_memory,
            "jvm-metaspace.size": METASPACE,
            "jvm-overhead.min": OVERHEAD,
            "jvm-overhead.max": OVERHEAD,
        }
        heap = FRAMEWORK_HEAP + task_heap
        direct = FRAMEWORK_OFF_HEAP + TASK_OFF_HEAP + NETWORK
        process = self._launch(
            f"the TaskManager {self._started}",
            self.log_dir / f"{name}.log",
            [
                f"-Xmx{heap}m",
                f"-Xms{heap}m",
                f"-XX:MaxDirectMemorySize={direct}m",
                f"-XX:MaxMetaspaceSize={METASPACE}m",
                "-XX:+UseG1GC",
            ],
            ["org.apache.flink.runtime.taskexecutor.TaskManagerRunner"],
            [
                f"taskmanager.resource-id={name}",
                "taskmanager.cpu.cores=1.0",
                *[f"taskmanager.memory.{key}={value}m" for key, value in sizes.items()],
            ],
        )
        return TaskManager(name, process)

    def _launch_missing(self) -> None:
        self.task_managers = [manager for manager in self.task_managers if manager.alive()]
        while len(self.task_managers) < self.wanted_task_managers:
            self.task_managers.append(self._launch_task_manager())
            self.on_change()

    def _wait_for(self, manager: TaskManager, timeout: float) -> None:
        wait_until(
            lambda: manager.id in {m["id"] for m in self.rest("/taskmanagers")["taskmanagers"] if m["slotsNumber"]},
            timeout,
            f"the slot of {manager.id} is there",
            process=manager.process,
            log=self.log_dir / f"{manager.id}.log",
            interval=0.1,
        )


def get_json(url: str, timeout: float = 10.0) -> Any:
    """The answer to a GET, read as JSON; `UserError` if nobody answers or with something else."""
    try:
        with _opener.open(url, timeout=timeout) as answer:
            return json.load(answer)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UserError(f"{url} does not answer: {error}") from error
