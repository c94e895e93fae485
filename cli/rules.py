"""`segue rules`: check, test, publish, list, compare and roll back the rules.

What is published is the whole rule set at one version; the job that runs follows the newest without a restart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cli import applying, check, measure, testing, trial, versions
from cli.actions import Run, add_options, run, sentence
from cli.paths import CATALOG
from cli.rule_files import short


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
        run: Run,
        text: str,
        *,
        kafka: bool = False,
        path: Path | None = CATALOG,
        takes_path: bool = True,
    ) -> argparse.ArgumentParser:
        found = actions.add_parser(name, help=text, description=sentence(text))
        if takes_path:
            shown = f"folder of rule files or one of them; default: {short(path)}" if path else "folder of rule files"
            found.add_argument("path", nargs="?", type=Path, default=path, metavar="PATH", help=shown)
        add_options(found, run, kafka=kafka)
        return found

    check.add_action(action)
    testing.add_action(action)
    applying.add_actions(action)
    versions.add_actions(action)
    trial.add_actions(action)
    measure.add_actions(action)
    parser.set_defaults(run=run)
