"""In which order segments are evaluated: whoever is asked for comes before those who ask.

All segments of a group are evaluated together, as one decides over the others. Where nothing is asked, names decide.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from rules.definition import All, AnyOf, AtLeast, Condition, Hysteresis, Member, Not, Points, Segment


class CycleError(ValueError):
    """Segments ask for each other in a circle; `names` are those on it, in order."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"segments ask for each other in a circle: {' -> '.join((*names, names[0]))}")
        self.names = names


def parts(condition: Condition) -> tuple[Condition, ...]:
    """The conditions that a condition is made of; none for one that looks at the customer."""
    match condition:
        case All() | AnyOf() | AtLeast():
            return condition.of
        case Not():
            return (condition.of,)
        case Points():
            return tuple(part for part, _ in condition.of)
        case Hysteresis():
            return (condition.enter, condition.leave)
        case _:
            return ()


def leaves(condition: Condition) -> Iterator[Condition]:
    """Every condition in this one that looks at the customer, in order."""
    inner = parts(condition)
    if not inner:
        yield condition
    for part in inner:
        yield from leaves(part)


def asks_for(segment: Segment) -> set[str]:
    """The segments whose membership this one's rule asks for."""
    return {one.segment for one in leaves(segment.when) if isinstance(one, Member)}


def evaluation_order(segments: Iterable[Segment]) -> list[Segment]:
    """The segments in their order of evaluation; `CycleError` if there is none. Names that are not among them do not matter."""
    by_name = {one.name: one for one in segments}
    unit_of = {name: f"group {one.group.name}" if one.group else name for name, one in by_name.items()}
    members: dict[str, list[str]] = {}
    for name in sorted(by_name):
        members.setdefault(unit_of[name], []).append(name)
    needs = {
        unit: {unit_of[asked] for name in names for asked in asks_for(by_name[name]) if asked in by_name}
        for unit, names in members.items()
    }
    waiting: dict[str, set[str]] = {unit: set(asked) for unit, asked in needs.items()}
    askers: dict[str, list[str]] = {}
    for unit, asked in needs.items():
        for one in asked:
            askers.setdefault(one, []).append(unit)
    ready = [(names[0], unit) for unit, names in members.items() if not waiting[unit]]
    heapq.heapify(ready)
    ordered: list[Segment] = []
    while ready:
        _, unit = heapq.heappop(ready)
        del waiting[unit]
        ordered += [by_name[name] for name in members[unit]]
        for asker in askers.get(unit, ()):
            waiting[asker].discard(unit)
            if not waiting[asker]:
                heapq.heappush(ready, (members[asker][0], asker))
    if waiting:
        raise CycleError(_circle(by_name, unit_of, members))
    return ordered


def _circle(by_name: dict[str, Segment], unit_of: dict[str, str], members: dict[str, list[str]]) -> list[str]:
    """The names on one circle. A segment that asks for another of its own group stands on one."""

    def follow(path: list[str], seen: set[str]) -> list[str] | None:
        unit = unit_of[path[-1]]
        for name in members[unit]:
            for asked in sorted(asks_for(by_name[name]) & by_name.keys()):
                step = [*path[:-1], name]
                units = [unit_of[one] for one in step]
                if unit_of[asked] in units:
                    return step[units.index(unit_of[asked]) :]
                if unit_of[asked] not in seen:
                    seen.add(unit_of[asked])
                    if found := follow([*step, asked], seen):
                        return found
        return None

    for name in sorted(by_name):
        if found := follow([name], {unit_of[name]}):
            return found
    raise AssertionError("there is no circle")
