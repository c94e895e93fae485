"""`segue rules check`: what is wrong with rule files, what was hardly meant, and what each segment costs each customer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from cli.paths import CATALOG, MODELS, is_within
from cli.rule_files import AddAction, count, load_rules, short, write_json
from rules.cost import Cost, Costs, costs
from rules.errors import RuleError, RuleErrors, RuleWarning
from rules.rule_set import RuleSet

_MOST_ROWS: Final = 40
_SHOWN_SHARERS: Final = 2


def add_action(action: AddAction) -> None:
    """Adds `check` to `segue rules`."""
    parser = action("check", run, "say what is wrong with rule files, how to mend it, and what each segment costs")
    words = f"show what each segment costs, all of them; unless told, the {_MOST_ROWS} that cost most. --no-cost: none"
    parser.add_argument("--cost", action=argparse.BooleanOptionalAction, help=words)
    words = f"warn of rules that can hardly ask these models so; default: {short(MODELS)} for rules of {short(CATALOG)}"
    parser.add_argument("--models", type=Path, metavar="DIR", help=words)


def run(args: argparse.Namespace) -> int:
    """Check them; what is wrong is raised."""
    rules = load_rules(args.path)
    warnings = sorted([*rules.warnings, *_of_models(args, rules)])
    found = costs(rules.plan, rules.segments) if args.cost is not False else None
    if args.json:
        write_json(
            {
                "valid": True,
                "segments": [one.name for one in rules.segments],
                "warnings": [asdict(warning) for warning in warnings],
                **(costs_as_json(found) if found else {}),
            }
        )
        return 0
    if found:
        print_costs(found, len(found.segments) if args.cost else _MOST_ROWS)
    for warning in warnings:
        print_remark(warning, "warning: ")
    print(f"{count(len(rules.segments), 'segment')} checked, {count(len(warnings), 'warning')}")
    return 0


def _of_models(args: argparse.Namespace, rules: RuleSet) -> list[RuleWarning]:
    """What the rules hardly mean to ask of models: the models that are named, or the catalogue's where the rules are."""
    if not any(one.condition.scores for one in rules.plan.segments):
        return []

    def look(folder: Path) -> Iterable[RuleWarning]:
        # They take their time, which rules that ask no model need not wait for.
        from cli.model_files import load_models
        from online_models.doubts import of_rules

        return of_rules(rules, load_models(folder).models)

    return warned_beside(args.models, MODELS if is_within(args.path, CATALOG) else None, "models check", look)


def warned_beside(
    named: Path | None, usual: Path | None, check: str, look: Callable[[Path], Iterable[RuleWarning]]
) -> list[RuleWarning]:
    """What `look` warns of beside the files of a folder: the one that is named, else the usual one if there is any.

    Where the usual one is not valid, which `segue CHECK` would say, that is said and nothing is warned of.
    """
    folder = named or usual
    if folder is None:
        return []
    try:
        return list(look(folder))
    except RuleErrors:
        if named is not None:
            raise
        print(f"segue: {short(folder)} is not valid (`segue {check}`): left out here", file=sys.stderr)
        return []


def print_remark(remark: RuleError, kind: str = "") -> None:
    """What is wrong and where, and below it how to mend it."""
    print(f"{remark.file}:{remark.line}:{remark.column}: {kind}{remark.message}")
    if remark.hint:
        print(f"    {remark.hint}")


def costs_as_json(found: Costs) -> dict[str, object]:
    """What `--json` says of costs: each segment with its slots, each slot with its segments, and all together."""
    return {
        "cost": [asdict(one) for one in found.segments],
        "slots": [asdict(one) for one in found.slots.values()],
        "bytes": found.bytes,
        "typical": found.typical,
        "besides": found.besides,
    }


def print_costs(found: Costs, rows: int) -> None:
    """A line a segment, those that cost most where there are more than `rows`, and below them what all cost together."""
    ranked = sorted(found.segments, key=lambda one: (-one.bytes, one.segment))
    shown = sorted(ranked[:rows], key=lambda one: one.segment)
    table = [("bytes a customer", "at most", "typical", "waits for", "exact", "shares with")]
    table += [(one.segment, *_cells(one, found)) for one in shown]
    if len(ranked) > rows:
        table.append((f"... {len(ranked) - rows:,} that cost less (--cost)", "", "", "", "", ""))
    table.append(("together, shared once", f"{found.bytes:,}", f"{found.typical:,}", "", "", ""))
    for line in _lines(table):
        print(line)
    print(f"besides, whatever the rules: at most {found.besides:,} bytes of traits and of ids of events")
    print("one timer a customer: the earliest of what the segments wait for\n")


def _cells(one: Cost, found: Costs) -> tuple[str, str, str, str, str]:
    waits = ", ".join(kind if times == 1 else f"{times} {kind}s" for kind, times in one.waits.items())
    beyond = dict.fromkeys(found.slots[key].beyond for key in one.slots)
    exact = "; ".join(text for text in beyond if text)
    sharers = found.shares_with(one)
    more = f" +{len(sharers) - _SHOWN_SHARERS}" if len(sharers) > _SHOWN_SHARERS else ""
    shared = ", ".join(sharers[:_SHOWN_SHARERS]) + more
    return f"{one.bytes:,}", f"{one.typical:,}", waits or "-", f"up to {exact}" if exact else "yes", shared or "-"


def _lines(table: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The rows in columns, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [
            f"{cell:>{width}}" if place in (1, 2) else f"{cell:{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
