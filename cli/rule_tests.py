"""The tests in rule files: running them, and how they went; for people, or as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.rule_files import count
from rules.definition import Segment
from rules.rule_set import RuleSet
from rules.scenario import Result, run_scenarios


def run_tests(rules: RuleSet, around: tuple[Segment, ...] = ()) -> list[Result]:
    """The tests of every rule file, in virtual time; `around` are segments that are not tested, but may have a say."""
    names = {one.name for one in rules.segments}
    others = (*rules.segments, *(one for one in around if one.name not in names))
    return [
        result
        for segment in rules.segments
        for result in run_scenarios(segment, rules.scenarios.get(segment.name, ()), others)
    ]


def print_tests(rules: RuleSet, results: list[Result], took: float | None = None, untested: bool = True) -> None:
    """A line a segment, with what has failed, and the sum with the seconds it took. `untested`: name segments without tests too."""
    console = Console(highlight=False, soft_wrap=True)
    for segment in rules.segments:
        own = [result for result in results if result.segment == segment.name]
        failed = [result for result in own if not result.passed]
        if not own and not untested:
            continue
        if not own:
            console.print(Text.assemble(("- ", "yellow"), segment.name, ("  no tests", "yellow")))
            continue
        mark, colour = ("✗ ", "red") if failed else ("✓ ", "green")
        console.print(Text.assemble((mark, colour), segment.name, (f"  {count(len(own), 'test')}", "dim")))
        for failure in (failure for result in failed for failure in result.failures):
            console.print(Text(str(failure)))
    bad = sum(not result.passed for result in results)
    time = "" if took is None else f" in {took:.2f} s"
    console.print(Text(f"{len(results) - bad} passed, {bad} failed{time}", "red" if bad else "green"))


def tests_as_json(results: list[Result]) -> dict[str, Any]:
    """How each test went, for programs."""
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
