"""`segue rules`: check, test, publish, list, compare and roll back the rules.

What is published is the whole rule set at one version; the job that runs follows the newest without a restart.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from cli import applying, check, measure, testing, trial, versions
from cli.paths import CATALOG
from cli.rule_files import count, short, write_json
from rules.errors import RuleErrors


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `rules` to the `segue` command."""
    parser = subparsers.add_parser(
        "rules",
        help="check, test, apply, list, compare and roll back rules",
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
        takes_path: bool = True,
    ) -> argparse.ArgumentParser:
        found = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if takes_path:
            shown = f"folder of rule files or one of them; default: {short(path)}" if path else "folder of rule files"
            found.add_argument("path", nargs="?", type=Path, default=path, metavar="PATH", help=shown)
        found.add_argument("--json", action="store_true", help="one JSON object instead of text")
        if kafka:
            found.add_argument(
                "--settings", type=Path, metavar="FILE", help="settings file; default: the local cluster"
            )
            found.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka, instead of the settings'")
        found.set_defaults(run_action=run)
        return found

    check.add_action(action)
    testing.add_action(action)
    applying.add_actions(action)
    versions.add_actions(action)
    trial.add_actions(action)
    measure.add_actions(action)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs one action: 0 good, 1 the rules are wrong or a test fails."""
    try:
        action: Callable[[argparse.Namespace], int] = args.run_action
        return action(args)
    except RuleErrors as refused:
        if args.json:
            write_json({"valid": False, "errors": [asdict(error) for error in refused.errors], "more": refused.more})
        else:
            _print_errors(refused)
        return 1


# --- output -------------------------------------------------------------------------------------------------------


def _print_errors(refused: RuleErrors) -> None:
    for error in refused.errors:
        check.print_remark(error)
    total = len(refused.errors) + refused.more
    more = f" ({refused.more:,} not shown)" if refused.more else ""
    print(f"{count(total, 'error')} in {count(len({error.file for error in refused.errors}), 'file')}{more}")
