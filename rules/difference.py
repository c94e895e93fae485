"""What the step from one rule set to another changes, segment by segment."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from profiles.zones import UTC
from rules.measured import used_bounds
from rules.population import FILE as POPULATION_FILE
from rules.population import Population
from rules.project import FILE as PROJECT_FILE

if TYPE_CHECKING:
    from rules.rule_set import RuleSet


@dataclass(frozen=True)
class SegmentDiff:
    """What became of one segment. `reworded`: the text is another, the meaning is not.

    `text` is a unified diff of its file, and of what its meaning takes from beside it: those bounds
    of the population that its rule compares with, and the project's time zone.
    """

    segment: str
    kind: Literal["added", "removed", "changed", "reworded"]
    text: str


def diff(old: RuleSet | None, new: RuleSet) -> list[SegmentDiff]:
    """What the step from `old` to `new` changes, by segment in order of names; `old` None is a set without segments."""
    before = old.texts if old else {}
    meant = old.digests if old else {}
    measured, measured_now = _bounds(old), _bounds(new)
    found = []
    for name in sorted(before.keys() | new.texts.keys()):
        then, now = before.get(name), new.texts.get(name)
        if then == now and meant.get(name) == new.digests.get(name):
            continue
        kind: Literal["added", "removed", "changed", "reworded"]
        if then is None:
            kind = "added"
        elif now is None:
            kind = "removed"
        else:
            kind = "reworded" if meant[name] == new.digests[name] else "changed"
        file = f"{name}.yaml"
        lines = _unified(
            (then or "").splitlines(),
            (now or "").splitlines(),
            _of_version(file, old) if then is not None else "(nothing)",
            file if now is not None else "(nothing)",
        )
        if kind == "changed":
            moved = measured.get(name, []), measured_now.get(name, [])
            lines += _unified(*moved, _of_version(POPULATION_FILE, old), POPULATION_FILE)
            if old is not None and _moved(old, new, name):
                texts = old.project.text.splitlines(), new.project.text.splitlines()
                lines += _unified(*texts, _of_version(PROJECT_FILE, old), PROJECT_FILE)
        found.append(SegmentDiff(name, kind, "\n".join(lines)))
    return found


def _moved(old: RuleSet, new: RuleSet, name: str) -> bool:
    """Whether a segment is in another time zone now because the project is."""
    then, now = (next(one.zone for one in rules.segments if one.name == name) or UTC for rules in (old, new))
    projects = old.project.zone, new.project.zone
    return projects[0] != projects[1] and then != now and (then == projects[0] or now == projects[1])


def _of_version(file: str, rules: RuleSet | None) -> str:
    return f"{file} (version {rules.version})" if rules else "(nothing)"


def _unified(then: Iterable[str], now: Iterable[str], then_called: str, now_called: str) -> list[str]:
    return list(difflib.unified_diff(list(then), list(now), then_called, now_called, lineterm=""))


def _bounds(rules: RuleSet | None) -> dict[str, list[str]]:
    """The bounds that each segment compares with, a line each as they stand in the file of the population."""
    if rules is None:
        return {}
    used = {one.name: used_bounds(one, rules.population) for one in rules.segments}
    return {name: Population(bounds).lines() for name, bounds in used.items() if bounds}
