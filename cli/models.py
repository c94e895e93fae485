"""`segue models`: check, train, try, publish and look at models that learn while the job runs.

Definitions travel with the rules, versions and what is told of them over topics of their own.
"""

from __future__ import annotations

import argparse
from typing import Protocol

from cli import model_applying, model_check, model_trial, model_tune, model_versions
from cli.actions import Run, add_options, run, sentence


class AddModelAction(Protocol):
    """Adds an action to `segue models`; `kafka` gives it the options that name one."""

    def __call__(self, name: str, run: Run, text: str, *, kafka: bool = True) -> argparse.ArgumentParser: ...


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `models` to the `segue` command."""
    parser = subparsers.add_parser(
        "models",
        help="check, train, try, apply, list and compare models",
        description="Models are YAML files. They learn in the running job; docs/models.md says how.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")

    def action(name: str, run: Run, text: str, *, kafka: bool = True) -> argparse.ArgumentParser:
        found = actions.add_parser(name, help=text, description=sentence(text))
        add_options(found, run, kafka=kafka)
        return found

    model_check.add_action(action)
    model_trial.add_actions(action)
    model_tune.add_action(action, model_trial.add_history)
    model_applying.add_actions(action)
    model_versions.add_actions(action)
    parser.set_defaults(run=run)
