"""`segue rules check`: what is wrong with rule files, what was hardly meant, and with `--cost` what each segment takes."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from cli.rule_files import AddAction, count, load_rules, write_json
from rules.cost import Cost, costs, total
from rules.errors import RuleError


def add_action(action: AddAction) -> None:
    """Adds `check` to `segue rules`."""
    parser = action("check", run, "say what is wrong with rule files: file, line, column and how to mend it")
    parser.add_argument("--cost", action="store_true", help="also show how much state each segment takes at most")


def run(args: argparse.Namespace) -> int:
    """Check them; what is wrong is raised."""
    rules = load_rules(args.path)
    if args.json:
        found = {
            "valid": True,
            "segments": [one.name for one in rules.segments],
            "warnings": [asdict(warning) for warning in rules.warnings],
        }
        if args.cost:
            found |= {"cost": [asdict(one) for one in costs(rules.plan)], "bytes": total(rules.plan)}
        write_json(found)
        return 0
    for warning in rules.warnings:
        print_remark(warning, "warning: ")
    if args.cost:
        print_costs(costs(rules.plan), total(rules.plan))
    print(f"{count(len(rules.segments), 'segment')} checked, {count(len(rules.warnings), 'warning')}")
    return 0


def print_remark(remark: RuleError, kind: str = "") -> None:
    """What is wrong and where, and below it how to mend it."""
    print(f"{remark.file}:{remark.line}:{remark.column}: {kind}{remark.message}")
    if remark.hint:
        print(f"    {remark.hint}")


def print_costs(found: list[Cost], together: int) -> None:
    """A line a segment: bytes at most, how many of its slots are shared, from how many numbers on a window is merged."""
    width = max(len(one.segment) for one in found)
    for one in found:
        exact = "exact" if one.exact is None else f"exact up to {one.exact} numbers of a window"
        shared = f"{one.shared} of {count(one.slots, 'slot')} shared"
        print(f"{one.segment:{width}}  at most {one.bytes:>9,} bytes a customer  {shared:>20}  {exact}")
    print(f"{'together':{width}}  at most {together:>9,} bytes a customer")
