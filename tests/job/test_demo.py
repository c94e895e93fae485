"""`segue demo` as a stranger runs it: a child process, judged by what it prints, its exit code, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cli.paths import ROOT
from cli.processes import processes_of_session, stat_of, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("jars")]


@dataclass
class Run:
    """A demo that runs, and every process that it was seen to have: its pid, and when that started."""

    child: subprocess.Popen[str]
    directory: Path
    seen: dict[int, int] = field(default_factory=dict)

    def look(self) -> bool:
        """Note what it has started so far; True while it runs."""
        for leader in self.leaders():
            for pid in processes_of_session(leader):
                stat = stat_of(pid)
                if stat is not None:
                    self.seen[pid] = stat.started
        return self.child.poll() is None

    def leaders(self) -> list[int]:
        """The processes that it says it has started; each is the leader of a session."""
        found = []
        for name in ("cluster.json", "demo.json"):
            try:
                text = (self.directory / name).read_text("utf-8")
            except FileNotFoundError:
                continue
            found += [int(one) for one in re.findall(r'"pid": (\d+)', text)]
        return found

    def left(self) -> list[int]:
        """Which of them are still there."""
        return [pid for pid, started in self.seen.items() if (stat := stat_of(pid)) and stat.started == started]

    def finish(self, timeout: float) -> tuple[int, str, str]:
        """Watch it to its end: exit code, output, errors."""
        wait_until(lambda: not self.look(), timeout, "the demo ends")
        out, err = self.child.communicate()
        return self.child.returncode, out, err


@contextmanager
def demo(directory: Path, *words: str) -> Iterator[Run]:
    # What names another cluster in the environment of whoever tries the demo must not lead it there.
    environment = {**os.environ, "SEGUE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9", "SEGUE_JOB__NAME": "of-somebody-else"}
    # To files, as a pipe that nobody reads would hold it up.
    with (directory / "out").open("w+") as out, (directory / "err").open("w+") as err:
        child = subprocess.Popen(
            [ROOT / "segue", "demo", "--dir", directory / "demo", *words],
            stdout=out,
            stderr=err,
            text=True,
            env=environment,
            start_new_session=True,
        )
        run = Run(child, directory / "demo")
        try:
            yield run
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()


def said(directory: Path) -> tuple[str, str]:
    return (directory / "out").read_text("utf-8"), (directory / "err").read_text("utf-8")


def test_it_shows_transitions_sums_up_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path, "--for", "20s", "--customers", "300", "--rate", "40", "--seed", "7") as run:
        code, *_ = run.finish(400)
        out, err = said(tmp_path)
        assert code == 0, err
        assert len(run.seen) >= 5, "broker, JobManager, TaskManager, worker and shop"
        assert run.left() == []
    lines = re.findall(r"^ *(\d+) s +running .*?([\d,]+) transitions", out, re.MULTILINE)
    assert len(lines) >= 2, out
    transitions = re.search(r"transitions +([\d,]+), of these ([\d,]+) while it ran live", out)
    assert transitions is not None, out
    assert int(transitions.group(1).replace(",", "")) > int(transitions.group(2).replace(",", "")) > 0
    assert "unaccounted" not in out
    applied = re.search(r"records +([\d,]+) = ([\d,]+) applied", out)
    assert applied is not None and int(applied.group(2).replace(",", "")) > 3000
    for segment in ("recently-abandoned-cart", "recent-buyer", "viewed-not-bought", "high-value"):
        assert re.search(rf"^ *{segment} +[1-9]", out, re.MULTILINE), f"{segment} is empty:\n{out}"
    assert not (tmp_path / "demo" / "cluster.json").exists()


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("the broker is starting", signal.SIGINT),
        ("the history is being played", signal.SIGTERM),
        ("the job is being submitted", signal.SIGINT),
    ],
)
def test_it_ends_at_once_wherever_it_is_interrupted(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    reached: dict[str, Callable[[Run], bool]] = {
        "the broker is starting": lambda run: bool(run.leaders()),
        "the history is being played": lambda run: (run.directory / "demo.json").exists(),
        "the job is being submitted": lambda run: (run.directory / "submit.log").exists(),
    }
    with demo(tmp_path, "--customers", "300") as run:
        wait_until(lambda: not run.look() or reached[moment](run), 200, moment)
        assert run.child.poll() is None, said(tmp_path)
        run.look()
        run.child.send_signal(number)
        code, *_ = run.finish(60)
        assert code == 130, said(tmp_path)
        assert run.seen
        assert run.left() == []
        assert "Traceback" not in said(tmp_path)[1]


def test_nothing_outlives_it_even_if_it_is_killed(tmp_path: Path) -> None:
    with demo(tmp_path, "--customers", "300") as run:
        wait_until(lambda: not run.look() or len(run.leaders()) >= 3, 200, "the cluster starts")
        run.look()
        run.child.kill()
        run.child.wait()
        wait_until(lambda: not run.left(), 20, "the kernel ends what it has started")
        assert json.loads((tmp_path / "demo" / "cluster.json").read_text())["version"] >= 1
