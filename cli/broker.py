"""A Kafka broker of one node on the loopback interface, without Docker: broker and KRaft controller in one JVM.

Everything it keeps is in the folder it is given, so it comes up again with its topics. For development and tests: one replica.
"""

from __future__ import annotations

import base64
import re
import subprocess
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cli.errors import UserError
from cli.paths import JARS
from cli.processes import GRACE, Process, WaitError, free_port, is_free, tail, wait_until

LOG_SETTINGS = """\
status = warn
shutdownHook = disable
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
# That it is up, and on which port.
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
# Complains about each client that leaves.
logger.network.name = org.apache.kafka.common.network.Selector
logger.network.level = error
"""

# How often a start is tried again when a port was taken between our choice and the broker's bind.
ATTEMPTS = 3


class Broker:
    """A broker in `directory`; a context manager, or `start()` and `stop()`.

    `settings` are server properties that overrule ours. A port given as 0 is chosen when it starts, and kept for the next start
    if it is still free then.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        heap: str = "512m",
        message_max_bytes: int = 1_048_588,
        settings: Mapping[str, str] | None = None,
        jars: Path = JARS / "broker",
        detached: bool = False,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.directory = directory.resolve()
        self.wanted_port = port
        self.port = port
        self.controller_port = 0
        self.heap = heap
        self.message_max_bytes = message_max_bytes
        self.settings = dict(settings or {})
        self.jars = jars
        self.detached = detached
        self.on_change = on_change
        self.process: Process | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Where clients find it."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the broker says."""
        return self.directory / "broker.log"

    @property
    def pid(self) -> int:
        """The id of the broker's process."""
        if self.process is None:
            raise UserError("the Kafka broker has not been started")
        return self.process.pid

    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.alive()

    def answers(self, timeout: float = 3.0) -> bool:
        """Whether it accepts clients and has itself registered as a broker."""
        return self.port != 0 and broker_answers(self.bootstrap_servers, timeout)

    def start(self, timeout: float = 60.0) -> None:
        """Start it and wait until it answers; does nothing if it runs."""
        if self.alive():
            return
        if not any(self.jars.glob("kafka_*.jar")):
            raise UserError(f"there is no Kafka broker in {self.jars}", "`segue up` fetches it")
        self.directory.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            self._choose_ports()
            self._configure()
            self._format()
            process = self.process = Process.start(
                "the Kafka broker",
                self._java(f"-Xmx{self.heap}", f"-Xms{self.heap}", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError")
                + ["kafka.Kafka", str(self.directory / "server.properties")],
                log=self.log,
                detached=self.detached,
            )
            self.on_change()
            try:
                wait_until(self.answers, timeout, "the Kafka broker answers", process=process)
                return
            except WaitError:
                # Somebody took the port between our choice and the broker's bind: with another one it works.
                taken = not process.alive() and "Address already in use" in tail(self.log, 200)
                process.kill()
                if not taken or self.wanted_port or attempt == ATTEMPTS:
                    raise
                self.port = self.controller_port = 0
            except BaseException:
                process.kill()
                raise

    def stop(self, grace: float = GRACE) -> None:
        """End it in order; its data stay."""
        if self.process is not None:
            self.process.stop(grace)
            self.process = None
            self.on_change()

    def kill(self) -> None:
        """Kill it outright, as a crash would; `start()` brings it up again with its data and the same port."""
        if self.process is not None:
            self.process.kill()

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
            "bootstrap_servers": self.bootstrap_servers,
            "port": self.port,
            "controller_port": self.controller_port,
            "process": self.process.state() if self.process else None,
        }

    def attach(self, state: Mapping[str, Any]) -> None:
        """Take over ports and process from what `state()` gave."""
        self.port = int(state["port"])
        self.controller_port = int(state["controller_port"])
        self.process = Process.attach(state["process"]) if state.get("process") else None

    def _choose_ports(self) -> None:
        if not self.port:
            self.port, self.controller_port = self._last_ports()
        if self.wanted_port:
            if not is_free(self.wanted_port):
                raise UserError(f"port {self.wanted_port} is taken", "choose another for the Kafka broker")
            self.port = self.wanted_port
        elif not self.port or not is_free(self.port):
            self.port = free_port()
        while not self.controller_port or self.controller_port == self.port or not is_free(self.controller_port):
            self.controller_port = free_port()

    def _last_ports(self) -> tuple[int, int]:
        """The ports of the last run in this folder, for clients that still know them; zeros if there are none."""
        try:
            text = (self.directory / "server.properties").read_text("utf-8")
        except OSError:
            return 0, 0
        found = re.search(
            r"^listeners=PLAINTEXT://127\.0\.0\.1:(\d+),CONTROLLER://127\.0\.0\.1:(\d+)$", text, re.MULTILINE
        )
        return (int(found.group(1)), int(found.group(2))) if found else (0, 0)

    def _configure(self) -> None:
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.directory / "data"),
            "message.max.bytes": str(self.message_max_bytes),
            "replica.fetch.max.bytes": str(self.message_max_bytes),
            # A misspelt topic is an error, not a new topic with the wrong cleanup policy.
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "num.network.threads": "2",
            "num.io.threads": "4",
            "num.recovery.threads.per.data.dir": "2",
            # Buffer of the cleaner of compacted topics: 128 MB of heap unless told.
            "log.cleaner.dedupe.buffer.size": "16777216",
            "log.segment.bytes": "134217728",
            "initial.broker.registration.timeout.ms": "30000",
            # After a crash, a broker is let in again only when its former self is taken to be dead: 9 s unless told.
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "1000",
            **self.settings,
        }
        text = "".join(f"{key}={value}\n" for key, value in settings.items())
        (self.directory / "server.properties").write_text(text, "utf-8")
        (self.directory / "log4j2.properties").write_text(LOG_SETTINGS, "utf-8")

    def _format(self) -> None:
        """Prepare the data folder once, as KRaft asks for."""
        data = self.directory / "data"
        if (data / "meta.properties").exists():
            return
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # An id that begins with a dash would be read as an option.
        command = self._java("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1") + [
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster}",
            "--config",
            str(self.directory / "server.properties"),
            "--ignore-formatted",
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False
        )
        if done.returncode:
            raise UserError(
                f"the data folder of the Kafka broker, {data}, cannot be prepared",
                (done.stderr or done.stdout).strip()[-800:],
            )

    def _java(self, *options: str) -> list[str]:
        from cli.toolchain import java

        return [
            str(java()),
            *options,
            "-Djava.awt.headless=true",
            "-Djava.net.preferIPv4Stack=true",
            f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}",
            "-cp",
            f"{self.jars}/*",
        ]


def broker_answers(bootstrap_servers: str, timeout: float = 3.0) -> bool:
    """Whether a Kafka cluster answers at this address and knows of at least one broker."""
    from cli.processes import is_listening

    host, _, port = bootstrap_servers.partition(",")[0].rpartition(":")
    # The client's own way of finding nobody there takes seconds and fills the terminal.
    if host == "127.0.0.1" and not is_listening(int(port)):
        return False
    import logging

    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    noise = logging.getLogger("kafka")
    before, noise.level = noise.level, logging.CRITICAL
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=bootstrap_servers,
            request_timeout_ms=int(timeout * 1000),
            bootstrap_timeout_ms=int(timeout * 1000),
        )
    except (KafkaError, OSError):
        noise.level = before
        return False
    try:
        return bool(admin.describe_cluster().get("brokers"))
    except (KafkaError, OSError):
        return False
    finally:
        admin.close()
        noise.level = before
