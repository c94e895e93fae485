"""`segue rules test`: the tests in rule files, those of a name, again at each change, and as a report for CI systems."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from cli.errors import UserError
from cli.rule_files import AddAction, load_rules, neighbours, write_json
from cli.rule_tests import print_tests, run_tests, tests_as_json
from rules.errors import RuleErrors
from rules.rule_set import RuleSet
from rules.scenario import Result

POLL_SECONDS: Final = 0.3
_CLEAR: Final = "\x1b[2J\x1b[H"

Stamps = dict[Path, tuple[int, int]]


def add_action(action: AddAction) -> None:
    """Adds `test` to `segue rules`."""
    parser = action("test", run, "run the tests in rule files in virtual time")
    parser.add_argument(
        "-k", dest="only", metavar="NAME", default="", help="only tests whose segment or name has this in it"
    )
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write a JUnit XML report, as CI systems read it")
    parser.add_argument("--watch", action="store_true", help="run again whenever a file changes, until Ctrl-C")


def run(args: argparse.Namespace) -> int:
    """Run the tests: 0 all passed, 1 some failed."""
    if args.watch and args.json:
        raise UserError("--watch is for people, --json for programs", "use one of them")
    return watch(args, lambda: time.sleep(POLL_SECONDS)) if args.watch else run_once(args)


def run_once(args: argparse.Namespace) -> int:
    """Run them one time, and say how they went."""
    rules = chosen(load_rules(args.path), args.only)
    began = time.perf_counter()
    results = run_tests(rules, neighbours(args.path))
    took = time.perf_counter() - began
    if args.junit:
        write_report(args.junit, results, took)
    if args.json:
        write_json(tests_as_json(results))
    else:
        print_tests(rules, results, took, untested=not args.only)
    return 1 if any(not result.passed for result in results) else 0


def chosen(rules: RuleSet, only: str) -> RuleSet:
    """The rules with those tests alone whose segment or name has `only` in it, whatever the case."""
    if not only:
        return rules
    word = only.casefold()
    scenarios = {
        segment: tuple(one for one in found if word in f"{segment} {one.name}".casefold())
        for segment, found in rules.scenarios.items()
    }
    if not any(scenarios.values()):
        raise UserError(f"no test and no segment with tests has {only!r} in its name")
    return dataclasses.replace(rules, scenarios=scenarios)


def stamps(path: Path) -> Stamps:
    """When each rule file at a path was written, and its size: what changes when somebody saves one."""
    found: Stamps = {}
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.suffix in (".yaml", ".yml"):
            try:
                status = file.stat()
            except FileNotFoundError:  # editors put a file aside while they write the new one
                continue
            found[file] = (status.st_mtime_ns, status.st_size)
    return found


def watch(args: argparse.Namespace, pause: Callable[[], None]) -> int:
    """Run the tests again at each change until Ctrl-C. Polls: a few hundred files cost nothing, and it works on every file system."""
    code, seen = 0, None
    try:
        while True:
            now = stamps(args.path)
            if now != seen:
                seen = now
                code = _again(args)
            pause()
    except KeyboardInterrupt:
        print(flush=True)
        return code


def _again(args: argparse.Namespace) -> int:
    """One round on a clean screen; what is wrong with the files is shown, and does not end the watching."""
    if sys.stdout.isatty():
        print(_CLEAR, end="")
    try:
        code = run_once(args)
    except RuleErrors as refused:
        print(refused)
        code = 1
    except UserError as error:
        print(error.message)
        code = 2
    print("watching; Ctrl-C ends", flush=True)
    return code


def write_report(file: Path, results: list[Result], took: float) -> None:
    """The results as JUnit XML: a suite for each segment, a case for each test."""
    failed = sum(not result.passed for result in results)
    root = ET.Element(
        "testsuites", name="segue rules", tests=str(len(results)), failures=str(failed), time=f"{took:.3f}"
    )
    suites: dict[str, list[Result]] = {}
    for result in results:
        suites.setdefault(result.segment, []).append(result)
    for segment, own in suites.items():
        bad = str(sum(not result.passed for result in own))
        suite = ET.SubElement(
            root, "testsuite", name=segment, tests=str(len(own)), failures=bad, errors="0", skipped="0"
        )
        for result in own:
            case = ET.SubElement(
                suite,
                "testcase",
                classname=segment,
                name=_legal(result.scenario.name),
                file=result.file,
                line=str(result.scenario.line),
            )
            if not result.passed:
                failure = ET.SubElement(case, "failure", message=_legal(result.failures[0].message))
                failure.text = _legal("\n".join(map(str, result.failures)))
    try:
        ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UserError(f"the report cannot be written to {file}: {error.strerror}") from error


def _legal(text: str) -> str:
    """The text without characters that XML cannot hold at all."""
    return "".join(
        one if one in "\t\n" or " " <= one <= "\ud7ff" or "\ue000" <= one <= "\ufffd" or one > "\uffff" else "\ufffd"
        for one in text
    )
