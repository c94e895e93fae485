"""Processes are known by id and start, ended wholly, and nothing foreign is ever touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.errors import UserError
from cli.processes import (
    Process,
    WaitError,
    free_port,
    is_free,
    is_listening,
    processes_of_session,
    stat_of,
    stop_all,
    tail,
    wait_until,
)

SLEEP = "import time; time.sleep(600)"
FOREVER = 3600.0
"""Seconds: whoever waits so long for what is there already has failed."""

# Ends only when killed, and says when it has seen to that.
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)
# Starts a child in the same session, then ends itself on SIGTERM while the child goes on.
PARENT = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]); time.sleep(600)"


def start(tmp_path: Path, code: str, name: str = "it", **more: object) -> Process:
    return Process.start(name, [sys.executable, "-c", code], log=tmp_path / f"{name}.log", **more)  # type: ignore[arg-type]


def says_ready(process: Process) -> None:
    assert process.log is not None
    log = process.log
    wait_until(lambda: "ready" in tail(log), 20, "it is ready", process=process)


def test_a_process_that_obeys_is_not_waited_for_any_longer(tmp_path: Path) -> None:
    process = start(tmp_path, SLEEP)
    assert process.alive()
    process.stop(grace=FOREVER)
    assert not process.alive()
    assert process.exit_code() == -signal.SIGTERM


def test_one_that_does_not_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, STUBBORN)
    says_ready(process)
    process.stop(grace=0.2)
    assert not process.alive()
    assert process.exit_code() == -signal.SIGKILL


def test_what_it_has_started_ends_with_it(tmp_path: Path) -> None:
    process = start(tmp_path, PARENT)
    says_ready(process)
    assert len(process.members()) == 2
    process.stop(grace=0.2)
    assert process.members() == []
    assert processes_of_session(process.pid) == []


def test_a_crash_leaves_its_children_to_notice(tmp_path: Path) -> None:
    process = start(tmp_path, PARENT)
    says_ready(process)
    process.crash()
    assert not process.alive()
    assert len(process.members()) == 1  # an orphan is still known as ours
    process.kill()
    assert process.members() == []


def test_a_recycled_id_is_not_ours(tmp_path: Path) -> None:
    """The state file of a process that ended long ago may name the id of somebody else's now."""
    foreign = start(tmp_path, SLEEP)
    try:
        ours = Process.attach({**foreign.state(), "started": foreign.started - 1})
        assert not ours.alive()
        assert ours.members() == []
        ours.stop(grace=0.1)
        ours.crash()
        ours.kill()
        assert foreign.alive()
    finally:
        foreign.kill()


def test_it_is_found_again_from_its_state(tmp_path: Path) -> None:
    process = start(tmp_path, SLEEP)
    again = Process.attach(process.state())
    assert again == process
    assert again.alive()
    again.stop(grace=10)
    assert not process.alive()


def test_a_state_that_names_no_process_is_refused() -> None:
    with pytest.raises(UserError, match="names no process"):
        Process.attach({"name": "it", "pid": "17", "started": 4})


def test_a_program_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it cannot be started"):
        Process.start("it", [tmp_path / "missing"], log=tmp_path / "it.log", detached=True)


@pytest.mark.parametrize("pause", [0, 0.5], ids=["", "killed before the tie is made"])
def test_it_dies_with_the_command_that_started_it(tmp_path: Path, pause: float) -> None:
    """A test run or demo that is killed outright leaves nothing behind; `segue up` does, on purpose."""
    slow = tmp_path / "setpriv"
    slow.write_text(f'#!/bin/sh\nsleep {pause}\nexec {shutil.which("setpriv")} "$@"\n', "utf-8")
    slow.chmod(0o755)
    code = (
        "import sys, time; from pathlib import Path; from cli.processes import Process\n"
        f"for name, kept in (('tied', False), ('kept', True)):\n"
        f"    log = Path({str(tmp_path)!r}) / f'{{name}}.log'\n"
        f"    print(Process.start(name, [sys.executable, '-c', {SLEEP!r}], log=log, detached=kept).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as command:
        assert command.stdout is not None
        pids = [int(command.stdout.readline()), int(command.stdout.readline())]
        stats = [stat_of(pid) for pid in pids]
        assert all(stats)
        tied, kept = (Process("it", pid, stat.started) for pid, stat in zip(pids, stats, strict=True) if stat)
        command.kill()
    try:
        wait_until(lambda: not tied.alive(), 10, "the process that is tied has ended")
        assert kept.alive()
    finally:
        tied.kill()
        kept.kill()


def test_several_are_ended_side_by_side(tmp_path: Path) -> None:
    # Told to end, each waits until all four have been told: if one were waited for before the next is told, it would be killed.
    told = tmp_path / "told"
    told.mkdir()
    code = f"""
import os, pathlib, signal, sys, time
told = pathlib.Path({str(told)!r})
def end(*_):
    (told / str(os.getpid())).touch()
    while len(list(told.iterdir())) < 4:
        time.sleep(0.01)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(600)
"""
    several = [start(tmp_path, code, f"slow{number}") for number in range(4)]
    for process in several:
        says_ready(process)
    stop_all(several, grace=20)
    assert [process.exit_code() for process in several] == [0, 0, 0, 0]


def test_waiting_ends_when_the_condition_holds() -> None:
    answers = iter([False, False, True])
    wait_until(lambda: next(answers), 10, "it comes", interval=0.001)
    assert list(answers) == []


def test_waiting_in_vain_shows_the_log(tmp_path: Path) -> None:
    log = tmp_path / "it.log"
    log.write_text("one\ntwo\n")
    with pytest.raises(WaitError, match=r"it comes: not within 0\.02 s") as caught:
        wait_until(lambda: False, 0.02, "it comes", log=log, interval=0.01)
    assert caught.value.hint.endswith("one\ntwo")


def test_waiting_for_a_process_that_ended_is_given_up_at_once(tmp_path: Path) -> None:
    process = start(tmp_path, "print('what went wrong'); raise SystemExit(3)")
    with pytest.raises(WaitError, match="it has ended with exit code 3") as caught:
        wait_until(lambda: False, FOREVER, "it comes", process=process)
    assert "what went wrong" in caught.value.hint


def test_the_log_of_the_last_run_is_kept(tmp_path: Path) -> None:
    for word in ("first", "second"):
        process = start(tmp_path, f"print({word!r})")
        wait_until(lambda p=process: not p.alive(), 20, "it ends")  # type: ignore[misc]
    assert tail(tmp_path / "it.log") == "second"
    assert tail(tmp_path / "it.log.old") == "first"


def test_ports_are_of_the_loopback_interface_and_free() -> None:
    import socket

    port = free_port()
    assert is_free(port)
    assert not is_listening(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        assert is_listening(port)


def test_a_name_with_brackets_does_not_confuse(tmp_path: Path) -> None:
    """The kernel prints the name of a program unescaped, in brackets, among the fields."""
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to(os.path.realpath("/bin/sleep"))
    process = Process.start("it", [program, "600"], log=tmp_path / "it.log", detached=True)
    try:
        stat = stat_of(process.pid)
        assert stat is not None
        assert stat.session == process.pid
        assert process.alive()
    finally:
        process.kill()
