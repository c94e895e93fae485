"""What the `segue rules` actions share: rule files checked as a whole, and how versions and differences are shown."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from rich.console import Console
from rich.text import Text

from cli.paths import CATALOG
from rules.budget import over_budget
from rules.definition import Segment
from rules.duration import format_duration
from rules.errors import RuleError, RuleErrors
from rules.population import FILE as POPULATION_FILE
from rules.population import read_population
from rules.rule_set import RuleSet, SegmentDiff, load_directory, load_file, read_rule_file

COLOURS: Final = {"added": "green", "removed": "red", "changed": "yellow", "reworded": "dim"}


def load_rules(path: Path) -> RuleSet:
    """The rules at a path, checked as far as they can be before they run."""
    shown = short(path)
    rules = load_file(shown) if path.is_file() else load_directory(shown)
    check_plan(rules, str(shown))
    return rules


def neighbours(path: Path) -> tuple[Segment, ...]:
    """The segments that stand in one folder with a rule file, for its tests: it may ask for them, or be of one group with them.

    None where something is wrong with any of them: `segue rules check` says what.
    """
    if not path.is_file():
        return ()
    try:
        return load_directory(path.parent).segments
    except RuleErrors:
        return ()


def check_plan(rules: RuleSet, shown: str) -> None:
    """Refuse rules that are right each for itself, but that no plan can be made of, or whose state may become too large."""
    try:
        plan = rules.plan
    except ValueError as error:
        raise RuleErrors([RuleError(shown, 1, 1, str(error))]) from None
    if refused := list(over_budget(rules.segments, plan, rules.texts)):
        raise RuleErrors(refused)


def local_texts(folder: Path) -> dict[str, str]:
    """The texts of a folder's files by their names in it, valid or not; none if there is no such folder.

    They are those of `RuleSet.files`: the rule files, that of the project, and the population in the words in which it travels.
    """
    files = sorted(one for one in folder.rglob("*.yaml") if one.is_file())
    inner = {file: file.relative_to(folder) for file in files}
    found = {
        name.as_posix(): read_rule_file(file)
        for file, name in inner.items()
        if not any(part.startswith(".") for part in name.parts)
    }
    if (measured := folder / POPULATION_FILE).is_file():
        found[POPULATION_FILE] = _as_it_travels(read_rule_file(measured))
    return found


def _as_it_travels(text: str) -> str:
    """The text of a population however it was set out by hand; one that is not valid as it stands."""
    try:
        return read_population(text, POPULATION_FILE).to_text()
    except RuleErrors:
        return text


def short(path: Path) -> Path:
    """The path from where the user stands, if it lies below."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def user() -> str:
    """Who publishes, if they do not say it themselves."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run as a user who has no name
        return os.environ.get("HOSTNAME", "")


def write_json(value: Any) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, ensure_ascii=False))


def changes_as_json(changes: list[SegmentDiff]) -> list[dict[str, str]]:
    """Differences as they are in `--json` output."""
    return [asdict(change) for change in changes]


def print_changes(changes: list[SegmentDiff]) -> None:
    """Differences in full, a coloured diff for each segment."""
    console = Console(highlight=False, soft_wrap=True)
    for change in changes:
        console.print(Text(f"\n{change.kind} {change.segment}", COLOURS[change.kind]))
        for line in change.text.splitlines():
            colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
            console.print(Text(line, colour))


def count(number: int, what: str) -> str:
    """A number and what it counts.

    >>> count(1, "segment"), count(2000, "segment")
    ('1 segment', '2,000 segments')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def ago(created_at: int) -> str:
    """How long ago, in one unit: who published something today wants to know that it was today."""
    passed = max(0, int(time.time() * 1000) - created_at)
    for unit in (86_400_000, 3_600_000, 60_000, 1000):
        if passed >= unit:
            return f"{format_duration(passed - passed % unit)} ago"
    return "just now"


class AddAction(Protocol):
    """Adds an action to `segue rules`: `kafka` gives it the options that name one, `takes_path` a PATH."""

    def __call__(
        self,
        name: str,
        run: Callable[[argparse.Namespace], int],
        text: str,
        *,
        kafka: bool = False,
        path: Path | None = CATALOG,
        takes_path: bool = True,
    ) -> argparse.ArgumentParser: ...
