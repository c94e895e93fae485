"""Child processes that are started, found again and ended by id: never by name, and never a recycled id.

A process is known by its pid and the moment at which it started (in clock ticks since boot, field 22 of `/proc/<pid>/stat`): a
pid alone may long since belong to somebody else. Each runs in a session of its own, so that a Ctrl-C in the terminal
reaches only the command, which then ends what it started in order, together with whatever that has started.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cli.errors import UserError

# How often a condition is looked at while it is waited for, in seconds.
POLL = 0.05
# How long a process has for its shutdown hooks, and how long until one killed outright must be gone, in seconds.
GRACE = 15.0
DEATH = 10.0

# The kernel ties a child to the thread that started it, not to the process. So one thread, which lives as long as this process,
# starts them all: then it does not matter which thread asked for it.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
# If this process was killed before the tie was made, nobody will end the child: then it does not begin at all.
_UNLESS_ORPHANED = '[ "$PPID" = "$0" ] && exec "$@"'


class WaitError(UserError):
    """What was waited for did not come, or the process it was to come from has ended."""


def wait_until(
    condition: Callable[[], object],
    timeout: float,
    what: str,
    *,
    process: Process | None = None,
    log: Path | None = None,
    interval: float = POLL,
) -> None:
    """Wait until `condition()` is true, for at most `timeout` seconds.

    Raises `WaitError` when the time is over, or at once when `process` (which is to bring it about) has ended. Its message
    says what was waited for, its hint shows the tail of the log. Whatever the condition itself raises goes through.
    """
    log = log or (process.log if process else None)
    deadline = time.monotonic() + timeout
    while True:
        if condition():
            return
        if process is not None and not process.alive():
            code = process.exit_code()
            ended = f"{process.name} has ended" + (f" with exit code {code}" if code is not None else "")
            raise WaitError(f"{what}: {ended}", tail_hint(log))
        if time.monotonic() >= deadline:
            raise WaitError(f"{what}: not within {timeout:g} s", tail_hint(log))
        time.sleep(interval)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, or nothing if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 64 * 1024))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def tail_hint(log: Path | None) -> str:
    """The last lines of a log as a hint, with its path."""
    if log is None:
        return ""
    last = tail(log)
    return f"the last lines of {log}:\n{last}" if last else f"its log {log} is empty"


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface now."""
    with socket.socket() as probe:
        # As servers do: a connection of the last owner that has not quite died does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_listening(port: int, timeout: float = 1.0) -> bool:
    """Whether somebody accepts connections on this port of the loopback interface."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Stat:
    """What `/proc/<pid>/stat` says of a process."""

    state: str
    session: int
    started: int


def stat_of(pid: int) -> Stat | None:
    """What the kernel says of a process; None if there is none with this id."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name, in brackets, may itself hold blanks and brackets: what counts comes after the last one.
    rest = text.rpartition(")")[2].split()
    return Stat(state=rest[0], session=int(rest[3]), started=int(rest[19]))


def processes_of_session(session: int) -> list[int]:
    """The living processes of a session, in no order."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = stat_of(int(entry))
            if stat is not None and stat.session == session and stat.state not in "ZX":
                found.append(int(entry))
    return found


@dataclass(slots=True)
class Process:
    """A process that this command, or an earlier one, has started."""

    name: str
    pid: int
    started: int
    log: Path | None = None
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        detached: bool = False,
    ) -> Process:
        """Start a program with its output in `log` (the last run's is kept beside it as `.old`).

        Unless `detached`, it dies with this command, even if that is killed outright.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size:
            log.replace(log.with_name(log.name + ".old"))
        words = [str(word) for word in command]
        if not detached and (setpriv := shutil.which("setpriv")):
            words = [setpriv, "--pdeathsig", "KILL", "sh", "-c", _UNLESS_ORPHANED, str(os.getpid()), *words]
        with log.open("wb") as output:
            try:
                child = _starter.submit(
                    subprocess.Popen[bytes],
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=None if env is None else dict(env),
                    cwd=cwd,
                    start_new_session=True,
                ).result()
            except OSError as error:
                raise UserError(f"{name} cannot be started: {error}") from error
        stat = stat_of(child.pid)
        return cls(name, child.pid, stat.started if stat else -1, log, child)

    def alive(self) -> bool:
        """Whether the process itself, not another that was given its id, still runs."""
        if self._child is not None:
            # To ask is also what takes a child that has ended from the table of processes.
            return self._child.poll() is None
        stat = stat_of(self.pid)
        return stat is not None and stat.started == self.started and stat.state not in "ZX"

    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None if it runs or was started by another command."""
        return None if self._child is None else self._child.poll()

    def members(self) -> list[int]:
        """All living processes of its session: itself and what it has started, also when it has ended before them."""
        stat = stat_of(self.pid)
        # The kernel gives out no id that still names a session. So: another process with this id means that all ours are gone.
        if stat is not None and stat.started != self.started:
            return []
        return processes_of_session(self.pid)

    def signal(self, number: int) -> None:
        """Send a signal to the process itself; nothing happens if it has ended."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def crash(self, timeout: float = DEATH) -> None:
        """Kill the process alone, as the kernel does when memory is short; what it has started is left to notice that."""
        self.signal(signal.SIGKILL)
        wait_until(lambda: not self.alive(), timeout, f"{self.name} is killed")

    def kill(self, timeout: float = DEATH) -> None:
        """Kill it and all that it has started; returns when nothing of it is left."""

        def gone() -> bool:
            members = self.members()
            for pid in members:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return not members and not self.alive()

        wait_until(gone, timeout, f"{self.name} is killed")

    def stop(self, grace: float = GRACE, *, asked: bool = False) -> None:
        """Ask it to end (unless it was `asked`), wait up to `grace` seconds, then kill what is left of it; returns when nothing is."""
        if not asked:
            self.signal(signal.SIGTERM)
        try:
            wait_until(lambda: not self.alive(), grace, f"{self.name} ends")
            wait_until(lambda: not self.members(), min(grace, 2.0), f"what {self.name} has started ends")
        except WaitError:
            pass
        self.kill()

    def state(self) -> dict[str, object]:
        """What is needed to find it again, for a state file."""
        return {"name": self.name, "pid": self.pid, "started": self.started, "log": str(self.log) if self.log else None}

    @classmethod
    def attach(cls, state: Mapping[str, object]) -> Process:
        """The process that `state()` was taken of; it may have ended meanwhile, which `alive()` says."""
        pid, started, log = state["pid"], state["started"], state.get("log")
        if not isinstance(pid, int) or not isinstance(started, int):
            raise UserError(f"a state file names no process: {dict(state)!r}")
        return cls(str(state["name"]), pid, started, Path(str(log)) if log else None)


def stop_all(processes: Sequence[Process], grace: float = GRACE) -> None:
    """Ask several to end at the same time, then see each to its end."""
    for process in processes:
        process.signal(signal.SIGTERM)
    first: BaseException | None = None
    for process in processes:
        try:
            # Once is enough: a program that is asked again while it ends may die of it.
            process.stop(grace, asked=True)
        except WaitError as error:
            first = first or error
    if first is not None:
        raise first
