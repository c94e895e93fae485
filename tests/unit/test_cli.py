"""The dispatcher: quick help, errors in a line, exit codes; and the stages of `segue test`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import types
from pathlib import Path

import pytest

from cli import main as dispatcher
from cli import test as stages
from cli.doctor import CHECKPOINT_AGE, FAIL, OK, WARN, checkpoint, setting
from cli.errors import UserError
from cli.paths import ROOT


def fake(monkeypatch: pytest.MonkeyPatch, run: object) -> None:
    """Have `segue status` be something else."""
    module = types.ModuleType("cli.up")
    module.add_parser = lambda subparsers: subparsers.add_parser("status")  # type: ignore[attr-defined]
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cli.up", module)


def test_help_imports_no_subcommand() -> None:
    code = (
        "import sys; from cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('cli', 'kafka', 'rich', 'yaml')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['cli', 'cli.errors', 'cli.main']"
    for command in dispatcher.COMMANDS:
        assert f"    {command.name} " in done.stdout


@pytest.mark.parametrize("command", dispatcher.COMMANDS, ids=lambda command: command.name)
def test_every_command_can_be_asked_for_its_options(
    command: dispatcher.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        dispatcher.main([command.name, "--help"])
    assert caught.value.code == 0
    assert f"usage: segue {command.name}" in capsys.readouterr().out


def test_an_error_of_the_user_is_a_line_and_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: argparse.Namespace) -> int:
        raise UserError("it is not there", "make it")

    fake(monkeypatch, run)
    assert dispatcher.main(["status"]) == 2
    assert capsys.readouterr().err == "segue: it is not there\n       make it\n"


def test_an_interrupt_is_130_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    fake(monkeypatch, run)
    assert dispatcher.main(["status"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_the_exit_code_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, lambda _: 1)
    assert dispatcher.main(["status"]) == 1


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: argparse.Namespace) -> int:
        raise ZeroDivisionError

    fake(monkeypatch, run)
    with pytest.raises(ZeroDivisionError):
        dispatcher.main(["status"])


def test_a_command_whose_module_is_missing_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dispatcher, "COMMANDS", (dispatcher.Command("gone", "cli.gone", "what is gone"),))
    assert dispatcher.main(["gone"]) == 2
    assert capsys.readouterr().err == "segue: `segue gone` is not part of this copy (cli.gone is missing)\n"


def test_nothing_asked_for_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatcher.main([]) == 2
    assert "usage: segue" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("results", "keep_going", "code", "last", "ran"),
    [
        ([(0, 3, 0), (0, 4, 0)], False, 0, "7 passed, 0 failed", 2),
        ([(1, 3, 2), (0, 4, 0)], False, 1, "3 passed, 2 failed", 1),
        ([(1, 3, 2), (0, 4, 0)], True, 1, "7 passed, 2 failed", 2),
        # A stage without tests, or one that crashed, is a failure that must be seen in the sum.
        ([(1, 0, 0), (0, 4, 0)], True, 1, "4 passed, 1 failed", 2),
        ([(-9, 5, 0)], True, 1, "5 passed, 1 failed", 1),
    ],
)
def test_stages_are_summed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    results: list[tuple[int, int, int]],
    keep_going: bool,
    code: int,
    last: str,
    ran: int,
) -> None:
    begun: list[int] = []

    def stage(number: int) -> stages.Outcome:
        begun.append(number)
        return stages.Outcome(*results[number])

    made = [stages.Stage(f"stage {n}", lambda n=n: stage(n)) for n in range(len(results))]  # type: ignore[misc]
    monkeypatch.setattr(stages, "stages", lambda *_: made)
    args = argparse.Namespace(fast=False, keep_going=keep_going, pytest_args=[])
    assert stages.run(args) == code
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert len(begun) == ran


def test_a_stage_whose_folder_is_missing_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = [stages.Stage("tests of nothing", lambda: stages.Outcome(0, 9), (tmp_path / "nothing",))]
    monkeypatch.setattr(stages, "stages", lambda *_: made)
    assert stages.run(argparse.Namespace(fast=True, keep_going=False, pytest_args=[])) == 1
    out = capsys.readouterr().out
    assert f"{tmp_path / 'nothing'} is missing" in out
    assert out.splitlines()[-1] == "0 passed, 1 failed"


def test_tests_are_counted_from_the_report(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10"></testsuite></testsuites>'
    )
    assert stages.counted(report) == (4, 3, 3)
    assert stages.counted(tmp_path / "missing.xml") == (0, 0, 0)


def test_the_sum_of_maven_is_told_from_that_of_a_class() -> None:
    assert stages.SUREFIRE.search("[INFO] Tests run: 7, Failures: 1, Errors: 2, Skipped: 3\n")
    assert not stages.SUREFIRE.search(
        "[INFO] Tests run: 7, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 2.1 s -- in X\n"
    )


def test_a_checkpoint_that_is_old_or_failed_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    now = 1_000_000_000
    job = {"start-time": now - 10 * CHECKPOINT_AGE}

    def done(age: int) -> dict[str, int]:
        return {
            "latest_ack_timestamp": now - age,
            "trigger_timestamp": now - age,
            "end_to_end_duration": 40,
            "state_size": 2048,
        }

    assert checkpoint({"latest": {"completed": done(CHECKPOINT_AGE - 1)}}, job).state == OK
    assert checkpoint({"latest": {"completed": done(CHECKPOINT_AGE)}}, job).state == WARN
    assert checkpoint({"latest": {}}, job).state == FAIL
    assert checkpoint({"latest": {}}, {"start-time": now - 1}).state == OK
    failed = {"trigger_timestamp": now - 5, "failure_message": "disk full"}
    found = checkpoint({"latest": {"completed": done(10), "failed": failed}}, job)
    assert (found.state, "disk full" in found.seen) == (FAIL, True)
    assert checkpoint({"latest": {"completed": done(1), "failed": failed}}, job).state == OK


def test_a_setting_is_found_wherever_the_client_puts_it() -> None:
    answer = {"topic": {"rules": {"cleanup.policy": {"value": "compact", "source": 1}}}}
    assert setting(answer, "cleanup.policy") == "compact"
    assert setting({"topic": {"rules": {}}}, "cleanup.policy") is None
