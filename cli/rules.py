"""`segue rules`: check, test, publish, list and compare the rules.

What is published is the whole rule set at one version; the job that runs follows the newest without a restart.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.errors import UserError
from cli.paths import CATALOG
from cli.published import apply_rules, read_published, summary
from cli.target import kafka_settings
from rules.duration import format_duration
from rules.errors import RuleError, RuleErrors
from rules.rule_set import RuleSet, SegmentDiff, diff, load_directory, load_file
from rules.scenario import Result, run_scenarios

_COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "reworded": "dim"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `rules` to the `segue` command."""
    parser = subparsers.add_parser(
        "rules",
        help="check, test, apply, list and compare rules",
        description="Rules are YAML files, one segment each. What is applied is followed by the running job at once.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")

    def action(
        name: str,
        run: Callable[[argparse.Namespace], int],
        text: str,
        *,
        kafka: bool = False,
        path: Path | None = CATALOG,
    ) -> argparse.ArgumentParser:
        found = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        shown = f"folder of rule files or one of them; default: {_short(path)}" if path else "folder of rule files"
        found.add_argument("path", nargs="?", type=Path, default=path, metavar="PATH", help=shown)
        found.add_argument("--json", action="store_true", help="one JSON object instead of text")
        if kafka:
            found.add_argument(
                "--settings", type=Path, metavar="FILE", help="settings file; default: the local cluster"
            )
            found.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka, instead of the settings'")
        found.set_defaults(run_action=run)
        return found

    action("check", _check, "say what is wrong with rule files: file, line, column and how to mend it")
    action("test", _test, "run the tests in rule files in virtual time")
    apply = action("apply", _apply, "check, test and publish the rules as the next version", kafka=True)
    apply.add_argument("-m", "--message", help="what this version is about; default: what has changed")
    apply.add_argument("--author", help="who publishes it; default: the user's name")
    apply.add_argument("--no-tests", action="store_true", help="publish without running the tests")
    apply.add_argument("--force", action="store_true", help="publish even if only wording has changed, or nothing")
    listing = "list the published versions and the segments of the newest; with PATH, the segments of rule files"
    action("list", _list, listing, kafka=True, path=None)
    action("diff", _diff, "compare rule files with the newest published version", kafka=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs one action: 0 good, 1 the rules are wrong or a test fails."""
    try:
        action: Callable[[argparse.Namespace], int] = args.run_action
        return action(args)
    except RuleErrors as refused:
        if args.json:
            _write_json({"valid": False, "errors": [asdict(error) for error in refused.errors], "more": refused.more})
        else:
            _print_errors(refused)
        return 1


# --- actions ------------------------------------------------------------------------------------------------------


def _check(args: argparse.Namespace) -> int:
    rules = _load(args.path)
    if args.json:
        warnings = [asdict(warning) for warning in rules.warnings]
        _write_json({"valid": True, "segments": [one.name for one in rules.segments], "warnings": warnings})
        return 0
    for warning in rules.warnings:
        _print_remark(warning, "warning: ")
    print(f"{_count(len(rules.segments), 'segment')} checked, {_count(len(rules.warnings), 'warning')}")
    return 0


def _test(args: argparse.Namespace) -> int:
    rules = _load(args.path)
    results = _run_tests(rules)
    if args.json:
        _write_json(_tests_as_json(results))
    else:
        _print_tests(rules, results)
    return 1 if any(not result.passed for result in results) else 0


def _apply(args: argparse.Namespace) -> int:
    if not args.path.is_dir():
        raise UserError(f"{_short(args.path)} is no folder", "a rule set is published whole: name the folder")
    local = _load(args.path)
    passed = 0
    if not args.no_tests:
        results = _run_tests(local)
        failed = [result for result in results if not result.passed]
        if failed:
            if args.json:
                _write_json(_tests_as_json(results))
            else:
                _print_tests(local, results)
                print("nothing was published", file=sys.stderr)
            return 1
        passed = len(results)
    settings = kafka_settings(args.settings, args.bootstrap)
    author = args.author or _user()
    applied = apply_rules(settings, local, author=author, message=args.message or "", force=args.force)
    version, changes = applied.rules.version, applied.changes
    if args.json:
        _write_json({"published": applied.published, "version": version, "changes": _changes_as_json(changes)})
        return 0
    if not applied.published:
        differ = f"; {_count(len(changes), 'file')} worded differently (--force publishes)" if changes else ""
        print(f"nothing changed: version {version} means the same{differ}")
        return 0
    tested = "not tested" if args.no_tests else f"{_count(passed, 'test')} passed"
    print(f"version {version} published: {_count(len(applied.rules.segments), 'segment')}, {tested}")
    for change in changes:
        print(f"  {change.kind:<8} {change.segment}")
    return 0


def _list(args: argparse.Namespace) -> int:
    if args.path is not None:
        return _list_local(args)
    settings = kafka_settings(args.settings, args.bootstrap)
    published = read_published(settings)
    headers = sorted(published.headers, key=lambda header: -header.version)
    if args.json:
        newest = published.rules
        segments = [_segment_as_json(newest, one.name) for one in newest.segments] if newest else []
        _write_json({"versions": [asdict(header) for header in headers], "segments": segments})
        return 0
    if not headers:
        print(f"topic {settings.topics.rules} holds no rules: `segue rules apply` publishes some")
        return 0
    table = Table(box=None, pad_edge=False)
    for title in ("version", "published", "by", "segments", "about"):
        table.add_column(title, justify="right" if title in ("version", "segments") else "left", overflow="fold")
    for header in headers[:30]:
        valid = published.rules is not None and header.version <= published.rules.version
        version = str(header.version) if valid else f"{header.version} (not valid)"
        when = _ago(header.created_at)
        table.add_row(version, when, Text(header.author), str(len(header.segments)), Text(header.message))
    console = Console(highlight=False)
    console.print(table)
    if len(headers) > 30:
        console.print(f"... and {len(headers) - 30} older ones")
    if published.rules is not None:
        console.print(f"\nsegments of version {published.rules.version}:")
        console.print(_segments_table(published.rules))
    return 0


def _list_local(args: argparse.Namespace) -> int:
    rules = _load(args.path)
    if args.json:
        _write_json({"versions": [], "segments": [_segment_as_json(rules, one.name) for one in rules.segments]})
    else:
        Console(highlight=False).print(_segments_table(rules, published=False))
    return 0


def _diff(args: argparse.Namespace) -> int:
    local = _load(args.path)
    before = read_published(kafka_settings(args.settings, args.bootstrap)).rules
    changes = diff(before, local)
    if not args.path.is_dir():
        changes = [change for change in changes if change.kind != "removed"]  # the others were not asked for
    if args.json:
        _write_json({"version": before.version if before else None, "changes": _changes_as_json(changes)})
        return 0
    newest = f"version {before.version}" if before else "nothing (no version is published)"
    if not changes:
        print(f"no difference to {newest}")
        return 0
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"compared with {newest}: {summary(changes)}")
    for change in changes:
        console.print(Text(f"\n{change.kind} {change.segment}", _COLOURS[change.kind]))
        for line in change.text.splitlines():
            colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
            console.print(Text(line, colour))
    return 0


# --- the work of several actions ----------------------------------------------------------------------------------


def _load(path: Path) -> RuleSet:
    """The rules at a path, checked as far as they can be before they run."""
    shown = _short(path)
    rules = load_file(shown) if path.is_file() else load_directory(shown)
    try:
        _ = rules.plan
    except ValueError as error:
        raise RuleErrors([RuleError(str(shown), 1, 1, str(error))]) from None
    return rules


def _short(path: Path) -> Path:
    """The path from where the user stands, if it lies below."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def _run_tests(rules: RuleSet) -> list[Result]:
    return [
        result for segment in rules.segments for result in run_scenarios(segment, rules.scenarios.get(segment.name, ()))
    ]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run as a user who has no name
        return os.environ.get("HOSTNAME", "")


# --- output -------------------------------------------------------------------------------------------------------


def _write_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _print_remark(remark: RuleError, kind: str = "") -> None:
    print(f"{remark.file}:{remark.line}:{remark.column}: {kind}{remark.message}")
    if remark.hint:
        print(f"    {remark.hint}")


def _print_errors(refused: RuleErrors) -> None:
    for error in refused.errors:
        _print_remark(error)
    total = len(refused.errors) + refused.more
    more = f" ({refused.more:,} not shown)" if refused.more else ""
    print(f"{_count(total, 'error')} in {_count(len({error.file for error in refused.errors}), 'file')}{more}")


def _print_tests(rules: RuleSet, results: list[Result]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for segment in rules.segments:
        own = [result for result in results if result.segment == segment.name]
        failed = [result for result in own if not result.passed]
        if not own:
            console.print(Text.assemble(("- ", "yellow"), segment.name, ("  no tests", "yellow")))
            continue
        mark, colour = ("✗ ", "red") if failed else ("✓ ", "green")
        console.print(Text.assemble((mark, colour), segment.name, (f"  {_count(len(own), 'test')}", "dim")))
        for failure in (failure for result in failed for failure in result.failures):
            console.print(Text(str(failure)))
    bad = sum(not result.passed for result in results)
    console.print(Text(f"{len(results) - bad} passed, {bad} failed", "red" if bad else "green"))


def _tests_as_json(results: list[Result]) -> dict[str, Any]:
    bad = [result for result in results if not result.passed]
    return {
        "passed": len(results) - len(bad),
        "failed": len(bad),
        "tests": [
            {
                "segment": result.segment,
                "name": result.scenario.name,
                "file": result.file,
                "line": result.scenario.line,
                "passed": result.passed,
                "failures": [asdict(failure) for failure in result.failures],
            }
            for result in results
        ],
    }


def _changes_as_json(changes: list[SegmentDiff]) -> list[dict[str, str]]:
    return [asdict(change) for change in changes]


def _segment_as_json(rules: RuleSet, name: str) -> dict[str, Any]:
    segment = next(one for one in rules.segments if one.name == name)
    return {
        "segment": name,
        "version": segment.version,
        "name": segment.title,
        "owner": segment.owner,
        "description": segment.description,
        "digest": segment.digest,
        "tests": len(rules.scenarios.get(name, ())),
    }


def _segments_table(rules: RuleSet, *, published: bool = True) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("segment", "name", "owner", *(("since version",) if published else ("tests",))):
        table.add_column(title, justify="right" if title in ("since version", "tests") else "left", overflow="fold")
    for segment in rules.segments:
        last = segment.version if published else len(rules.scenarios.get(segment.name, ()))
        table.add_row(Text(segment.name), Text(segment.title), Text(segment.owner), str(last))
    return table


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _ago(created_at: int) -> str:
    """How long ago, in one unit: who published something today wants to know that it was today."""
    passed = max(0, int(time.time() * 1000) - created_at)
    for unit in (86_400_000, 3_600_000, 60_000, 1000):
        if passed >= unit:
            return f"{format_duration(passed - passed % unit)} ago"
    return "just now"
