"""`engagement`: points for what a customer does, which halve with time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from profiles.document import Mapping, Node, Sequence
from profiles.profile import NEVER, Profile
from profiles.values import MICROS
from rules.compiled import Compiled
from rules.decay import Decay, left, looks_again
from rules.definition import Condition, Engagement, EventRef, Operator, Trait
from rules.duration import format_duration
from rules.kinds.kind import Key, Kind
from rules.predicates import compare_exactly, only_from_below, reads, thresholds, turns_at

if TYPE_CHECKING:
    from rules.compiler import Compiler
    from rules.condition_reader import ConditionReader

MOST_POINTS: Final = 10_000
"""For one event. With so many, ninety thousand events within one half-life can be added up."""

_MOST_ENTRIES: Final = 50
_OPERATORS: Final = (Operator.GTE, Operator.GT, Operator.LTE, Operator.LT, Operator.BETWEEN)
_EXAMPLE: Final = "write `points: {Product Viewed: 1, Order Completed: 10}`"
_ENTRY: Final = "write `{event: Product Viewed, where: {...}, points: 1}`"


def _read(reader: ConditionReader, outer: Mapping) -> Condition:
    node = reader.mapping(outer["engagement"], "`engagement`", f"{_EXAMPLE} in it")
    if node is None:
        return Trait(())
    before = len(reader.errors)
    reader.known_keys(node, ENGAGEMENT)
    for key, hint in (("points", _EXAMPLE), ("half_life", "say how fast points fade: `half_life: 7d`")):
        if key not in node:
            reader.wrong(node, f"{key!r} is missing here", hint)
    if len(reader.errors) > before:
        return Trait(())
    points = read_points(reader, node["points"])
    tests = reader.numbers(node, _OPERATORS, "`engagement`", "number")
    return reader.with_exit(node, Engagement(points, reader.duration(node["half_life"], "`half_life`"), tests))


def read_points(reader: ConditionReader, node: Node) -> tuple[tuple[EventRef, float], ...]:
    """What which events bring: by name, or a list of events with `where`."""
    found: list[tuple[EventRef, float]] = []
    if isinstance(node, Sequence):
        for entry in reader.entries(node, "`points`", _MOST_ENTRIES, _ENTRY):
            one = reader.mapping(entry, "an entry of `points`", _ENTRY)
            if one is None:
                continue
            reader.only(one, ("event", "where", "points"))
            if missing := [key for key in ("event", "points") if key not in one]:
                reader.wrong(one, f"{missing[0]!r} is missing here", _ENTRY)
                continue
            ref = EventRef(reader.event_name(one["event"], "`event`"), reader.where(one))
            if any(_same(ref, other) for other, _ in found):
                reader.wrong(one, "these events have points already", "give them their points once")
            found.append((ref, _worth(reader, one["points"])))
        return tuple(found)
    named = reader.mapping(node, "`points`", _EXAMPLE)
    if named is None:
        return ()
    if not 0 < len(named) <= _MOST_ENTRIES:
        reader.wrong(named, f"`points` names from 1 to {_MOST_ENTRIES} events, not {len(named)}", _EXAMPLE)
    for name, value in named.items():
        found.append((EventRef(reader.event_name(named.keys[name], "an event in `points`")), _worth(reader, value)))
    return tuple(found)


def _same(one: EventRef, other: EventRef) -> bool:
    return one.event == other.event and set(one.where) == set(other.where)


def _worth(reader: ConditionReader, node: Node) -> float:
    before = len(reader.errors)
    points = reader.number(node, "`points`")
    if len(reader.errors) > before:
        return 1.0
    if not -MOST_POINTS <= points <= MOST_POINTS:
        reader.wrong(node, f"points lie between -{MOST_POINTS:,} and {MOST_POINTS:,}")
    elif round(points * MICROS) == 0:
        reader.wrong(node, "these events bring no points", "leave them out")
    else:
        return float(points)
    return 1.0


def fading_points(compiler: Compiler, points: tuple[tuple[EventRef, float], ...], half_life: int) -> int:
    """The slot of the points that these events bring, halved with every half-life."""
    told = sorted(repr((ref.event, compiler.tests_of(ref), worth)) for ref, worth in points)
    key = compiler.share(("engagement", half_life, tuple(told)), lambda key: Decay(key, half_life, 0)).key
    for ref, worth in points:
        compiler.count(ref, Decay(key, half_life, worth))
    return key


def _compile(compiler: Compiler, engagement: Engagement) -> Compiled:
    half_life = engagement.half_life
    key = fading_points(compiler, engagement.points, half_life)
    compares = [compare_exactly(test) for test in engagement.tests]
    levels = sorted({level for test in engagement.tests for level in turns_at(test)})

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        state = profile.slots.get(key)
        now = left(state, clock, half_life)
        truth = all(holds(now, 1) for holds in compares)
        if state is None or not now:
            return truth, NEVER
        # Where less than nothing is left, it rises: what is not below a level is what is not above its mirror image.
        ahead = [level if now > 0 else 1 - level for level in levels]
        passed = [level for level in ahead if 0 < level <= abs(now)]
        return truth, looks_again(state, clock, half_life, max(passed), abs(now)) if passed else NEVER

    text = (
        f"points of {', '.join(reads(ref) for ref, _ in engagement.points)}, halved every {format_duration(half_life)}"
    )
    return Compiled(
        text,
        evaluate,
        slots=frozenset((key,)),
        rising={key: 1} if only_from_below(engagement.tests) and all(one > 0 for _, one in engagement.points) else {},
        measure=lambda profile, clock: left(profile.slots.get(key), clock, half_life) / MICROS,
        threshold=thresholds(engagement.tests),
    )


ENGAGEMENT: Final = Kind(
    "engagement",
    "Points for what the customer did, halved with every half-life that has passed since.",
    "engagement: {points: {Product Viewed: 1, Order Completed: 10}, half_life: 7d, gte: 20, exit_below: 15}",
    "mapping",
    _read,
    _compile,
    (Engagement,),
    keys=(
        Key(
            "points",
            "mapping",
            "the points of events by their names, or a list of `{event: ..., where: {...}, points: 1}`; points may be negative",
            required=True,
        ),
        Key("half_life", "duration", "after so long, half of the points are left", required=True),
        Key("exit_below", "number", "who is in stays until fewer points than this are left"),
        Key("exit_above", "number", "who is in stays until more points than this are left"),
    ),
    operators=tuple(operator.value for operator in _OPERATORS),
)

KINDS: Final = (ENGAGEMENT,)
