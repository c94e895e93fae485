"""What the actions of `segue rules` and `segue models` have in common: their options, and how files that are wrong are shown."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from cli.check import print_remark
from cli.rule_files import count, write_json
from rules.errors import RuleErrors

Run = Callable[[argparse.Namespace], int]


def sentence(text: str) -> str:
    """The words of an action as the description of its own help."""
    return f"{text[0].upper()}{text[1:]}."


def add_options(parser: argparse.ArgumentParser, run: Run, *, kafka: bool) -> None:
    """Gives an action what all have: `--json`, with `kafka` the options that name one, and the function that runs it."""
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    if kafka:
        parser.add_argument("--settings", type=Path, metavar="FILE", help="settings file; default: the local cluster")
        parser.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka, instead of the settings'")
    parser.set_defaults(run_action=run)


def run(args: argparse.Namespace) -> int:
    """Runs one action: 0 good, 1 the files are wrong or a test fails."""
    try:
        action: Run = args.run_action
        return action(args)
    except RuleErrors as refused:
        if args.json:
            write_json({"valid": False, "errors": [asdict(error) for error in refused.errors], "more": refused.more})
        else:
            _print_errors(refused)
        return 1


def _print_errors(refused: RuleErrors) -> None:
    for error in refused.errors:
        print_remark(error)
    total = len(refused.errors) + refused.more
    more = f" ({refused.more:,} not shown)" if refused.more else ""
    print(f"{count(total, 'error')} in {count(len({error.file for error in refused.errors}), 'file')}{more}")
