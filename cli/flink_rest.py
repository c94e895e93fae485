"""Flink's REST interface, as far as it is needed: jobs, why they fail, metrics, checkpoints, savepoints. No dependency but Python."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from cli.errors import UserError

ENDED: Final = frozenset({"FINISHED", "CANCELED", "FAILED", "SUSPENDED"})
"""Job states from which a job does not come back."""

_POLL: Final = 0.2

# Flink takes no address of more than 4096 bytes.
_AT_ONCE: Final = 64


class FlinkUnreachable(UserError):
    """Nobody answers at the address, or not as Flink does."""


class FlinkError(UserError):
    """Flink answered that it will not; `status` is the HTTP status."""

    def __init__(self, message: str, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint)
        self.status = status


@dataclass(frozen=True, slots=True)
class Overview:
    """A cluster: its Flink version, how many TaskManagers it has, and their slots."""

    version: str
    task_managers: int
    slots: int
    free_slots: int


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the cluster lists it. `started` is in epoch milliseconds."""

    id: str
    name: str
    state: str
    started: int

    @property
    def ended(self) -> bool:
        """Whether it is over for good."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class Vertex:
    """A part of the job's graph that is deployed as one; `name` joins those of its operators."""

    id: str
    name: str
    state: str
    parallelism: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A completed checkpoint or savepoint. Times in epoch milliseconds, duration in milliseconds, size in bytes."""

    number: int
    path: str
    completed: int
    duration: int
    size: int


@dataclass(frozen=True, slots=True)
class SavepointStatus:
    """How a savepoint that was asked for goes on: `path` once it is there, `failure` if it will not be."""

    done: bool
    path: str = ""
    failure: str = ""


class FlinkRest:
    """One cluster's REST endpoint. `address` is `host:port`, or a URL."""

    def __init__(self, address: str, timeout: float = 10.0) -> None:
        self.url = (address if address.startswith(("http://", "https://")) else f"http://{address}").rstrip("/")
        self.timeout = timeout
        # A proxy of the environment has no business between us and a cluster, least of all on the loopback interface.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def overview(self) -> Overview:
        """The cluster's version and resources."""
        got = self._get("/overview")
        return Overview(
            str(got.get("flink-version", "?")),
            int(got.get("taskmanagers", 0)),
            int(got.get("slots-total", 0)),
            int(got.get("slots-available", 0)),
        )

    def reachable(self) -> bool:
        """Whether a Flink cluster answers here."""
        try:
            self.overview()
        except (FlinkUnreachable, FlinkError):
            return False
        return True

    def jobs(self) -> list[Job]:
        """All jobs that the cluster remembers, the newest first."""
        found = [
            Job(str(one["jid"]), str(one["name"]), str(one["state"]), int(one.get("start-time", 0)))
            for one in self._get("/jobs/overview")["jobs"]
        ]
        return sorted(found, key=lambda job: -job.started)

    def live_jobs(self, name: str | None = None) -> list[Job]:
        """The jobs that are not over, of this name if one is given."""
        return [job for job in self.jobs() if not job.ended and name in (None, job.name)]

    def state(self, job: str) -> str:
        """The state of a job: RUNNING, RESTARTING, FAILED ..."""
        return str(self._get(f"/jobs/{quote(job)}/status")["status"])

    def vertices(self, job: str) -> list[Vertex]:
        """The parts of a job's graph."""
        return [
            Vertex(str(one["id"]), str(one["name"]), str(one["status"]), int(one["parallelism"]))
            for one in self._get(f"/jobs/{quote(job)}")["vertices"]
        ]

    def runs(self, job: str) -> bool:
        """Whether each part of the job runs; the job itself says so as soon as it waits for its parts."""
        if self.state(job) != "RUNNING":
            return False
        # The sources of a job with an end are done before the rest of it is.
        return all(one.state in ("RUNNING", "FINISHED") for one in self.vertices(job))

    def failures(self, job: str, most: int = 5) -> list[str]:
        """Stack traces of what has gone wrong, the newest first."""
        got = self._get(f"/jobs/{quote(job)}/exceptions?maxExceptions={most}")
        entries = [one.get("stacktrace") for one in got.get("exceptionHistory", {}).get("entries", [])]
        return [str(one) for one in entries or [got.get("root-exception")] if one]

    def totals(self, job: str, operator: str = "segments") -> dict[str, int]:
        """What an operator of ours has counted since the job first started, by name, summed over its subtasks; none before all have told.

        Each subtask tells all that it has counted in one text, so what was counted together is read together. One subtask's share alone
        says nothing: after a rescale one may hold what was received, and another what became of it.
        """
        of = next((one for one in self.vertices(job) if operator in one.name), None)
        if of is None:
            return {}
        base = f"/jobs/{quote(job)}/vertices/{quote(of.id)}/metrics"
        names = [f"{subtask}.{operator}.segue.totals" for subtask in range(of.parallelism)]
        found: Counter[str] = Counter()
        for begin in range(0, len(names), _AT_ONCE):
            some = names[begin : begin + _AT_ONCE]
            told = self._get(f"{base}?get={quote(','.join(some))}")
            if len(told) < len(some):
                return {}
            for one in told:
                found.update(json.loads(one["value"]))
        return dict(found)

    def latest_checkpoint(self, job: str) -> Checkpoint | None:
        """The newest completed checkpoint; None before the first."""
        one = (self._get(f"/jobs/{quote(job)}/checkpoints").get("latest") or {}).get("completed")
        if not one:
            return None
        return Checkpoint(
            int(one["id"]),
            str(one.get("external_path", "")),
            int(one["latest_ack_timestamp"]),
            int(one["end_to_end_duration"]),
            int(one.get("state_size", 0)),
        )

    def stop_with_savepoint(self, job: str, directory: str | None = None, *, drain: bool = False) -> str:
        """Ask for a savepoint after which the job ends; the request's id. Without a directory, the cluster's or the job's own."""
        body: dict[str, Any] = {"drain": drain, "formatType": "CANONICAL"}
        if directory:
            body["targetDirectory"] = directory
        return str(self._send("POST", f"/jobs/{quote(job)}/stop", body)["request-id"])

    def savepoint(self, job: str, request: str) -> SavepointStatus:
        """How the savepoint that was asked for goes on."""
        got = self._get(f"/jobs/{quote(job)}/savepoints/{quote(request)}")
        if got["status"]["id"] != "COMPLETED":
            return SavepointStatus(False)
        operation = got.get("operation") or {}
        if failure := operation.get("failure-cause"):
            trace = failure.get("stack-trace") or failure.get("class") or "no cause is given"
            return SavepointStatus(True, failure=root_cause(str(trace)))
        return SavepointStatus(True, path=str(operation.get("location", "")))

    def cancel(self, job: str) -> None:
        """Ask the job to end at once."""
        self._send("PATCH", f"/jobs/{quote(job)}?mode=cancel", None)

    def wait_ended(self, job: str, timeout: float = 60.0) -> str:
        """Wait until the job is over; its final state."""
        deadline = time.monotonic() + timeout
        while (state := self.state(job)) not in ENDED:
            if time.monotonic() >= deadline:
                raise FlinkError(f"job {job} is still {state} after {timeout:g} s", f"see {self.job_page(job)}")
            time.sleep(_POLL)
        return state

    def job_page(self, job: str) -> str:
        """The address of the job on Flink's web page."""
        return f"{self.url}/#/job/running/{job}/overview"

    def _get(self, path: str) -> Any:
        return self._send("GET", path, None)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)  # noqa: S310  (http)
        try:
            with self._opener.open(request, timeout=self.timeout) as answer:
                text = answer.read()
            return json.loads(text) if text else {}
        except urllib.error.HTTPError as error:
            raise FlinkError(*_complaint(method, path, error), status=error.code) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise FlinkUnreachable(
                f"no Flink cluster answers at {self.url} ({reason})", "is it up? `segue status`"
            ) from None


def _complaint(method: str, path: str, error: urllib.error.HTTPError) -> tuple[str, str]:
    try:
        errors = json.loads(error.read()).get("errors", [])
        text = root_cause("\n".join(map(str, errors)))
    except (OSError, ValueError, AttributeError):
        text = ""
    return f"Flink refuses {method} {path.partition('?')[0]} with {error.code}", text


_FRAME = re.compile(r"^\s*(at |\.\.\. \d+ (more|common))")


def root_cause(trace: str, most: int = 8) -> str:
    """The first lines of what a Java stack trace comes down to, without frames: our own operator's word, else the innermost cause.

    >>> root_cause("a.JobException: no\\n\\tat a.B.c\\nCaused by: d.DiskError: it said\\nlast words\\n\\tat e.F.g")
    'd.DiskError: it said\\nlast words'
    >>> root_cause("segue.WorkerFailure: cannot start `x`\\n\\tat a.B.c\\nCaused by: java.io.IOException: error=2")
    'segue.WorkerFailure: cannot start `x`'
    """
    # What each cause says, from the outermost on. `Suppressed:` and what comes with it are indented, and no causes.
    causes: list[list[str]] = [[]]
    speaking = True
    for line in trace.strip().splitlines():
        if line.startswith("Caused by: "):
            causes.append([])
            line, speaking = line.removeprefix("Caused by: "), True
        speaking = speaking and not _FRAME.match(line)
        if speaking:
            causes[-1].append(line)
    own = next((words for words in causes if words and words[0].startswith("segue.")), causes[-1])
    return "\n".join(own[:most]).strip()
