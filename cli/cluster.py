"""The local cluster: a Kafka broker and a Flink cluster side by side, and the file by which other commands find them.

    with LocalCluster(directory, task_managers=2) as cluster:
        cluster.bootstrap_servers, cluster.rest_url, cluster.flink.task_managers[0].pid

`Broker` and `Flink` can be had alone as well. Nothing listens beyond the loopback interface; all of it lives in one folder.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cli.broker import Broker
from cli.errors import UserError
from cli.flink import Flink, TaskManager
from cli.processes import GRACE

__all__ = ["STATE_FILE", "Broker", "Flink", "LocalCluster", "TaskManager"]

STATE_FILE = "cluster.json"
STATE_VERSION = 1


class LocalCluster:
    """A broker and a Flink cluster in `run_dir`; a context manager, or `start()` and `stop()`.

    A port given as 0 is chosen at the start. Unless `detached` it dies with this process; `segue up` leaves it behind.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        task_managers: int = 1,
        kafka_port: int = 0,
        web_port: int = 0,
        broker_heap: str = "512m",
        message_max_bytes: int = 1_048_588,
        job_manager_memory: str = "768m",
        task_manager_memory: str = "1600m",
        managed_memory: str = "256m",
        broker_settings: Mapping[str, str] | None = None,
        flink_settings: Mapping[str, str] | None = None,
        detached: bool = False,
    ) -> None:
        self.run_dir = run_dir.resolve()
        self.options: dict[str, Any] = {
            "task_managers": task_managers,
            "kafka_port": kafka_port,
            "web_port": web_port,
            "broker_heap": broker_heap,
            "message_max_bytes": message_max_bytes,
            "job_manager_memory": job_manager_memory,
            "task_manager_memory": task_manager_memory,
            "managed_memory": managed_memory,
            "broker_settings": dict(broker_settings or {}),
            "flink_settings": dict(flink_settings or {}),
            "detached": detached,
        }
        self._saving = threading.Lock()
        self._keep_state = True
        self.broker = Broker(
            self.run_dir / "kafka",
            port=kafka_port,
            heap=broker_heap,
            message_max_bytes=message_max_bytes,
            settings=broker_settings,
            detached=detached,
            on_change=self._save,
        )
        self.flink = Flink(
            self.run_dir / "flink",
            task_managers=task_managers,
            web_port=web_port,
            job_manager_memory=job_manager_memory,
            task_manager_memory=task_manager_memory,
            managed_memory=managed_memory,
            settings=flink_settings,
            detached=detached,
            on_change=self._save,
        )

    @classmethod
    def find(cls, run_dir: Path) -> LocalCluster | None:
        """The cluster that was started in this folder, whether all, some or none of it still runs; None if there was none."""
        file = run_dir / STATE_FILE
        try:
            state = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read: {error}", "end what it names by hand, then delete it") from error
        if state.get("version") != STATE_VERSION:
            raise UserError(
                f"{file} was written by another version of this command", "`segue down` with that version, or delete it"
            )
        cluster = cls(run_dir, **state["options"])
        cluster.broker.attach(state["broker"])
        cluster.flink.attach(state["flink"])
        return cluster

    @classmethod
    def attach(cls, run_dir: Path) -> LocalCluster:
        """The cluster that runs in this folder; `UserError` if none does."""
        cluster = cls.find(run_dir)
        if cluster is None or not (cluster.broker.alive() and cluster.flink.alive()):
            raise UserError("no local cluster is up", "start one with `segue up`")
        return cluster

    @property
    def bootstrap_servers(self) -> str:
        """Where Kafka clients find the broker."""
        return self.broker.bootstrap_servers

    @property
    def rest_url(self) -> str:
        """Where Flink's REST interface and web page are."""
        return self.flink.rest_url

    def alive(self) -> bool:
        """Whether broker, JobManager and at least one TaskManager run."""
        return self.broker.alive() and self.flink.alive()

    def any_alive(self) -> bool:
        """Whether anything of it runs."""
        return bool(self.pids())

    def pids(self) -> dict[str, int]:
        """The processes that run, by name."""
        manager = self.flink.job_manager
        found = {"broker": self.broker.pid} if self.broker.alive() else {}
        if manager is not None and manager.alive():
            found["jobmanager"] = manager.pid
        return found | {m.id: m.pid for m in self.flink.task_managers if m.alive()}

    def start(self, timeout: float = 120.0) -> None:
        """Start what of it does not run, side by side, and wait until all of it answers. If that fails, none of it is left."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="cluster")
        try:
            for part in [pool.submit(self.broker.start, timeout), pool.submit(self.flink.start, timeout)]:
                part.result()
        except BaseException:
            # The other part may be anywhere in its start: end what it has started, see it give up, and end what came last.
            self._end(grace=2.0)
            pool.shutdown(wait=True, cancel_futures=True)
            self._end(grace=2.0)
            raise
        pool.shutdown(wait=True)
        self._save()

    def stop(self, grace: float = GRACE) -> None:
        """End all of it; what it has kept on disk stays."""
        self._end(grace)
        self._keep_state = False
        (self.run_dir / STATE_FILE).unlink(missing_ok=True)
        self._keep_state = True

    def erase(self) -> None:
        """Delete everything that it has kept; only when it is stopped."""
        if self.any_alive():
            raise UserError("the local cluster is up", "stop it first")
        for folder in (self.broker.directory, self.flink.directory):
            shutil.rmtree(folder, ignore_errors=True)

    def scale(self, task_managers: int) -> None:
        """Have this many TaskManagers."""
        self.flink.task_managers = [m for m in self.flink.task_managers if m.alive()]
        self.options["task_managers"] = self.flink.wanted_task_managers = task_managers
        while len(self.flink.task_managers) > task_managers:
            self.flink.stop_task_manager(-1)

    def state(self) -> dict[str, Any]:
        """Addresses and processes, as they are written to the state file."""
        return {
            "version": STATE_VERSION,
            "bootstrap_servers": self.bootstrap_servers,
            "rest_url": self.rest_url,
            "broker": self.broker.state(),
            "flink": self.flink.state(),
            "options": self.options,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, grace: float) -> None:
        with ThreadPoolExecutor(max_workers=2) as pool:
            parts = [pool.submit(self.broker.stop, grace), pool.submit(self.flink.stop, grace)]
        for part in parts:
            part.result()

    def _save(self) -> None:
        """Write the state file, whole or not at all: after every start and end, so that nothing is ever running unknown."""
        with self._saving:
            if not self._keep_state or not self.run_dir.is_dir():
                return
            file = self.run_dir / STATE_FILE
            new = file.with_name(f"{STATE_FILE}.new{os.getpid()}")
            new.write_text(json.dumps(self.state(), indent=2) + "\n", "utf-8")
            new.replace(file)
