"""`segue models`: check, train, try, publish and look at models that learn while the job runs.

Definitions travel with the rules, versions and what is told of them over topics of their own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from cli import model_applying, model_check, model_trial, model_versions
from cli.check import print_remark
from cli.rule_files import count, write_json
from rules.errors import RuleErrors


class AddModelAction(Protocol):
    """Adds an action to `segue models`; `kafka` gives it the options that name one."""

    def __call__(
        self, name: str, run: Callable[[argparse.Namespace], int], text: str, *, kafka: bool = True
    ) -> argparse.ArgumentParser: ...


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `models` to the `segue` command."""
    parser = subparsers.add_parser(
        "models",
        help="check, train, try, apply, list and compare models",
        description="Models are YAML files. They learn in the running job; docs/models.md says how.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")

    def action(
        name: str, run: Callable[[argparse.Namespace], int], text: str, *, kafka: bool = True
    ) -> argparse.ArgumentParser:
        found = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        found.add_argument("--json", action="store_true", help="one JSON object instead of text")
        if kafka:
            words = "settings file; default: the local cluster"
            found.add_argument("--settings", type=Path, metavar="FILE", help=words)
            found.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka, instead of the settings'")
        found.set_defaults(run_action=run)
        return found

    model_check.add_action(action)
    model_trial.add_actions(action)
    model_applying.add_actions(action)
    model_versions.add_actions(action)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs one action: 0 good, 1 the files are wrong."""
    try:
        action: Callable[[argparse.Namespace], int] = args.run_action
        return action(args)
    except RuleErrors as refused:
        if args.json:
            write_json({"valid": False, "errors": [asdict(error) for error in refused.errors], "more": refused.more})
            return 1
        for error in refused.errors:
            print_remark(error)
        total = len(refused.errors) + refused.more
        more = f" ({refused.more:,} not shown)" if refused.more else ""
        print(f"{count(total, 'error')} in {count(len({error.file for error in refused.errors}), 'file')}{more}")
        return 1
