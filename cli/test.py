"""`segue test`: everything that can be checked, the quickest first; stops at the first stage that fails.

Ends with one line of the form `N passed, N failed`, over the tests of all stages. A stage that fails without a test of its own that
failed (a style check, a crash) counts as one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.errors import UserError
from cli.paths import CATALOG, OPERATOR, ROOT, STATE, shown

# How long an interrupted stage has to end what it has started, in seconds.
LAST_WORDS = 60.0
NO_TESTS_COLLECTED = 5
# Tests of the core share nothing, so each processor takes some; four at most, as each process imports all there is.
SIDE_BY_SIDE = ("--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a stage: the exit code, and its tests counted."""

    code: int
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    said: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: its name, what it runs, and the folders that must be there for it."""

    name: str
    run: Callable[[], Outcome]
    needs: tuple[Path, ...] = ()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `segue test`."""
    parser = subparsers.add_parser(
        "test",
        help="run the whole test suite",
        description="Run the whole test suite: style, types, imports, tests of the core, of the operator, of the real job.",
    )
    parser.add_argument(
        "--fast", action="store_true", help="only what needs neither Java, Kafka nor Flink: under two minutes"
    )
    parser.add_argument("--keep-going", action="store_true", help="run the stages after one that failed too")
    parser.add_argument(
        "pytest_args", nargs="*", metavar="-- PYTEST ARGS", help="given to every pytest stage, after --"
    )


def run(args: argparse.Namespace) -> int:
    """Run the stages in order."""
    if not (ROOT / "tests").is_dir():
        raise UserError(f"{ROOT / 'tests'} is missing", "this copy of the project is not whole: clone it again")
    outcomes: list[Outcome] = []
    broken: list[str] = []
    begun = time.monotonic()
    for stage in stages(args.fast, args.pytest_args):
        print(f"\n=== {stage.name}", flush=True)
        started = time.monotonic()
        missing = [folder for folder in stage.needs if not folder.exists()]
        outcome = Outcome(1, said=f"{shown(missing[0])} is missing") if missing else stage.run()
        if outcome.code and not outcome.failed:
            outcome = Outcome(outcome.code, outcome.passed, 1, outcome.skipped, outcome.said)
        if outcome.said:
            print(outcome.said.rstrip())
        word = "FAILED" if outcome.code else "ok"
        counts = f", {outcome.passed} passed, {outcome.failed} failed" if outcome.passed else ""
        print(f"=== {stage.name}: {word} ({time.monotonic() - started:.1f}s{counts})", flush=True)
        outcomes.append(outcome)
        if outcome.code:
            broken.append(stage.name)
            if not args.keep_going:
                break
    print(f"\n{time.monotonic() - begun:.0f}s in all", end="")
    skipped = sum(outcome.skipped for outcome in outcomes)
    print(f", {skipped} tests skipped" if skipped else "", end="")
    print(f"; failed: {', '.join(broken)}" if broken else "")
    print(f"{sum(o.passed for o in outcomes)} passed, {sum(o.failed for o in outcomes)} failed", flush=True)
    return 1 if broken else 0


def stages(fast: bool, pytest_args: Sequence[str]) -> list[Stage]:
    """All stages, or the quick ones."""
    tests = ROOT / "tests"
    unit, properties, job, faults = tests / "unit", tests / "properties", tests / "job", tests / "faults"

    def module(*words: str) -> Callable[[], Outcome]:
        return lambda: check([sys.executable, "-m", *words])

    quick = [
        Stage("ruff format", module("ruff", "format", "--check", ".")),
        Stage("ruff check", module("ruff", "check", ".")),
        Stage("mypy", module("mypy")),
        Stage("lint-imports", lambda: check([Path(sys.executable).parent / "lint-imports", "--no-cache"])),
        Stage(
            "tests of the core",
            lambda: pytest(
                "core",
                [unit, properties],
                ["-q", *SIDE_BY_SIDE, *(["-m", "not slow", "--hypothesis-profile=quick"] if fast else [])],
                pytest_args,
            ),
            (unit, properties),
        ),
        Stage("scenarios of the rules", lambda: stream(cli_command("rules", "test", str(CATALOG))), (CATALOG,)),
    ]
    if fast:
        return quick
    return [
        *quick,
        Stage("tests of the operator", operator_tests, (OPERATOR,)),
        Stage("tests of the job", lambda: pytest("job", [job], [], pytest_args), (job,)),
        Stage("tests of faults", lambda: pytest("faults", [faults], [], pytest_args), (faults,)),
    ]


def cli_command(*words: str) -> list[str | Path]:
    """A command of ours."""
    return [sys.executable, "-m", "cli", *words]


def check(command: Sequence[str | Path]) -> Outcome:
    """Run a program that is only heard of when it complains."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return Outcome(done.returncode, said=done.stdout if done.returncode else "")


def stream(command: Sequence[str | Path], seen: Callable[[str], None] | None = None, cwd: Path = ROOT) -> Outcome:
    """Run a program whose output is shown as it comes, line by line given to `seen` too if that is asked for.

    When interrupted, the program (which is interrupted too) is given time to end what it has started.
    """
    child = subprocess.Popen(
        list(map(str, command)),
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if seen else None,
        stderr=subprocess.STDOUT if seen else None,
        text=True,
        errors="replace",
    )
    try:
        if seen and child.stdout:
            for line in child.stdout:
                print(line, end="", flush=True)
                seen(line)
        return Outcome(child.wait())
    except BaseException:
        try:
            child.send_signal(signal.SIGINT)
            child.wait(LAST_WORDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            child.kill()
            child.wait()
        raise


def environment() -> dict[str, str]:
    """For programs of ours: where our packages are, and colours only where they are seen."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}


def pytest(name: str, folders: Sequence[Path], options: Sequence[str], extra: Sequence[str]) -> Outcome:
    """Run tests, and count them from the report that pytest writes for machines."""
    report = STATE / "test" / f"{name}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    words = ["-m", "pytest", f"--junitxml={report}", *options, *extra, *map(str, folders)]
    outcome = stream([sys.executable, *words])
    passed, failed, skipped = counted(report)
    # With a choice of tests of one's own (-k), a stage may well have none of them.
    code = 0 if outcome.code == NO_TESTS_COLLECTED and extra else outcome.code
    return Outcome(code, passed, failed, skipped)


def counted(report: Path) -> tuple[int, int, int]:
    """Passed, failed (errors too) and skipped tests of a JUnit report; zeros if there is none."""
    try:
        suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 (pytest has just written it)
    except (OSError, ET.ParseError):
        return 0, 0, 0
    passed = failed = skipped = 0
    for suite in suites:
        tests, bad, left = (int(suite.get(key, "0")) for key in ("tests", "failures", "skipped"))
        bad += int(suite.get("errors", "0"))
        passed, failed, skipped = passed + tests - bad - left, failed + bad, skipped + left
    return passed, failed, skipped


SUREFIRE = re.compile(r"Tests run: (\d+), Failures: (\d+), Errors: (\d+), Skipped: (\d+)\s*$")


def operator_tests() -> Outcome:
    """Run the tests of the operator, and count them from the summary of Maven."""
    from cli.toolchain import java, maven_program

    java()
    program = maven_program()
    found = (0, 0, 0, 0)

    def seen(line: str) -> None:
        nonlocal found
        # Those of a single class end with the time taken; the last of the others is the sum.
        if match := SUREFIRE.search(re.sub(r"\x1b\[[0-9;]*m", "", line)):
            found = tuple(map(int, match.groups()))  # type: ignore[assignment]

    words = ["--batch-mode", "--no-transfer-progress", "-Dstyle.color=never", "test"]
    outcome = stream([shutil.which(str(program)) or program, *words], seen, OPERATOR)
    tests, failures, errors, skipped = found
    code = outcome.code or (0 if tests else 1)
    return Outcome(code, tests - failures - errors - skipped, failures + errors, skipped)
