"""The dispatcher: one module a subcommand, imported only when it is the one asked for.

A subcommand's module has `add_parser(subparsers)` and `run(args) -> int`. So `segue --help` costs nothing, and a module that
is missing or broken harms its own command only.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from cli.errors import UserError


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: its word, the module that holds it, and the line shown by `segue --help`."""

    name: str
    module: str
    help: str


COMMANDS = (
    Command("demo", "cli.demo", "everything at once: broker, cluster, job and a simulated shop, live in the terminal"),
    Command("replay", "cli.replay", "play a CSV or JSON-lines file as events through a field map"),
    Command("up", "cli.up", "start the local broker and cluster"),
    Command("down", "cli.up", "stop them"),
    Command("status", "cli.up", "show them: addresses, jobs, topics"),
    Command("submit", "cli.submit", "start the job on a Flink cluster"),
    Command("stop", "cli.submit", "stop the job, with a savepoint if asked"),
    Command("rules", "cli.rules", "check, test, apply, list and compare rules"),
    Command("models", "cli.models", "check, train, try, apply, list and compare models"),
    Command("tail", "cli.tail", "follow who enters and leaves which segment"),
    Command("explain", "cli.explain", "say why a customer is in a segment or not, now or at a time of the past"),
    Command("doctor", "cli.doctor", "say what is missing or wrong, and how to mend it"),
    Command("test", "cli.test", "run the whole test suite, or with --fast the quick part"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code: 0 good, 1 the command says no, 2 a user's error, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = next((c for c in COMMANDS if words and c.name == words[0]), None)
    try:
        module = load(chosen) if chosen else None
        args = build_parser(chosen, module).parse_args(words)
        if module is None:
            build_parser(None, None).print_help()
            return 2
        code = module.run(args)
        sys.stdout.flush()
        return 0 if code is None else int(code)
    except UserError as error:
        print(f"segue: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"       {error.hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # `segue tail | head`: the reader has enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def load(command: Command) -> ModuleType:
    """The module of a subcommand; that it is missing is said in one line, any other failure of an import is a bug and is shown."""
    try:
        return importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        if error.name != command.module:
            raise
        raise UserError(f"`segue {command.name}` is not part of this copy ({command.module} is missing)") from None


def build_parser(chosen: Command | None, module: ModuleType | None) -> argparse.ArgumentParser:
    """The parser of the whole command, where only the chosen subcommand knows its options."""
    parser = argparse.ArgumentParser(
        prog="segue", description="Real-time customer segmentation on Flink, rules in YAML."
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    if module is None:
        for command in COMMANDS:
            subparsers.add_parser(command.name, help=command.help, add_help=False)
        return parser
    module.add_parser(subparsers)
    if chosen is not None and chosen.name not in subparsers.choices:
        raise UserError(f"{chosen.module} does not know the command `{chosen.name}`")
    return parser
