"""Numbers over time: `aggregate` with `count`, `rate` and `trend`, and `affinity`, the share of some events among others."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from profiles.document import Mapping, Node, Sequence
from profiles.profile import NEVER, Profile
from profiles.values import MICROS
from rules.compiled import NO, Compiled
from rules.definition import (
    ANY_EVENT,
    Affinity,
    Condition,
    EventRef,
    Happened,
    Hysteresis,
    Operator,
    Rate,
    Test,
    Trait,
    Trend,
)
from rules.duration import format_duration
from rules.kinds.kind import Key, Kind
from rules.predicates import Predicate, compare_exactly, reads, thresholds
from rules.reader import LARGEST_COUNT
from rules.tallies import Number, Tally, numbers_at, one

if TYPE_CHECKING:
    from rules.compiler import Compiler
    from rules.condition_reader import ConditionReader

FUNCTIONS: Final = ("count", "rate", "trend")
"""Functions of `aggregate` that are read here."""

_COMMON: Final = ("fn", "event", "where", "within", "exit_below", "exit_above")
_KEYS: Final = {
    "count": _COMMON,
    "rate": (*_COMMON, "of", "per"),
    "trend": (*_COMMON, "of", "against"),
}
_COUNTS: Final = (Operator.GTE, Operator.GT, Operator.LTE, Operator.LT, Operator.EQ, Operator.BETWEEN)
_NUMBERS: Final = (*_COUNTS, Operator.NE)
_ORDERED: Final = (Operator.GTE, Operator.GT, Operator.LTE, Operator.LT, Operator.BETWEEN)
_MOST_REFERENCES: Final = 50

# --- aggregate ----------------------------------------------------------------------------------------------------


def read_function(reader: ConditionReader, node: Mapping, fn: str) -> Condition:
    """`aggregate` with one of `FUNCTIONS`."""
    before = len(reader.errors)
    operators = _COUNTS if fn == "count" else _NUMBERS
    reader.only(node, (*_KEYS[fn], *operators), {"of": "`count` counts events; for numbers there are sum and mean"})
    for key, hint in _MISSING[fn]:
        if key not in node:
            reader.wrong(node, f"{key!r} is missing here", hint)
    if len(reader.errors) > before:
        return Trait(())
    ref = EventRef(reader.event_name(node["event"], "`event`"), reader.where(node))
    tests = reader.numbers(node, operators, "`aggregate`", "count" if fn == "count" else "number")
    within = reader.within(node)
    if fn == "count":
        return _read_count(reader, node, Rate(ref, within or 0, 1, tests), within)
    assert within is not None
    of = reader.path(node["of"], "`of`") if "of" in node else None
    if fn == "rate":
        return reader.with_exit(node, Rate(ref, within, reader.duration(node["per"], "`per`"), tests, of))
    against = reader.duration(node["against"], "`against`")
    if against < within:
        reader.wrong(node["against"], "`against` is shorter than `within`", "compare with a time at least as long")
    return reader.with_exit(node, Trend(ref, within, against, tests, of))


_EVENT: Final = ("event", "say which events: `event: Product Viewed`")
_WITHIN: Final = ("within", "say over which time: `within: 7d`")
_MISSING: Final = {
    "count": (_EVENT,),
    "rate": (_EVENT, _WITHIN, ("per", "say for each which time: `per: 1d`")),
    "trend": (_EVENT, _WITHIN, ("against", "say which time before that to compare with: `against: 28d`")),
}


def _read_count(reader: ConditionReader, node: Mapping, rate: Rate, within: int | None) -> Condition:
    """The counting condition that `fn: count` stands for; a rate of its events has the same comparisons."""
    reader.possible_count(node, rate.tests)
    check_whole_exit(reader, node)
    both = reader.with_exit(node, rate)
    if not isinstance(both, Hysteresis):
        return Happened(rate.ref, within, rate.tests)
    assert isinstance(both.leave, Rate)
    return Hysteresis(Happened(rate.ref, within, rate.tests), Happened(rate.ref, within, both.leave.tests))


def check_whole_exit(reader: ConditionReader, node: Mapping) -> None:
    """Note a threshold to leave at that is not a count."""
    for key in ("exit_below", "exit_above"):
        if key in node:
            reader.integer(node[key], f"`{key}`", 0, LARGEST_COUNT)


def _compile_rate(compiler: Compiler, rate: Rate) -> Compiled:
    number = _number(rate.of)
    what = ("tally", rate.of, rate.within)
    key = compiler.slot("rate", rate.ref, what, lambda key: Tally(key, rate.within, number)).key
    compares = [compare_exactly(test) for test in rate.tests]
    window, per, unit = rate.within, rate.per, _unit(rate.of)

    def total(profile: Profile, clock: int) -> tuple[int, int]:
        """The sum in the window, in millionths, and when its oldest number leaves."""
        state = profile.slots.get(key)
        if state is None:
            return 0, NEVER
        times, numbers, counts = state
        start = bisect_right(times, clock - window)
        leaves = times[start] + window if start < len(times) else NEVER
        return sum((numbers if rate.of else counts)[start:]) * unit, leaves

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        found, leaves = total(profile, clock)
        return all(holds(found * per, window) for holds in compares), leaves

    text = f"{_summed(rate.of, rate.ref)} within {format_duration(window)}, per {format_duration(per)}"
    return Compiled(
        text,
        evaluate,
        slots=frozenset((key,)),
        measure=lambda profile, clock: total(profile, clock)[0] * per / (window * MICROS),
        threshold=thresholds(rate.tests),
    )


def now_and_before(compiler: Compiler, ref: EventRef, of: str | None, window: int, against: int) -> int:
    """The slot of the events of a window and of the time `against` it before, each with its number at `of`."""
    number = _number(of)
    make = lambda key: Tally(key, window + against, number, window)  # noqa: E731
    return compiler.slot("trend", ref, ("tally", of, window, against), make).key


def _compile_trend(compiler: Compiler, trend: Trend) -> Compiled:
    window, against = trend.within, trend.against
    key = now_and_before(compiler, trend.ref, trend.of, window, against)
    compares = [compare_exactly(test) for test in trend.tests]

    def both(profile: Profile, clock: int) -> tuple[int, int, int]:
        """The sum now, the sum before, and when the oldest number of either leaves it."""
        state = profile.slots.get(key)
        if state is None:
            return 0, 0, NEVER
        times, numbers, counts = state
        found = numbers if trend.of else counts
        start, edge = bisect_right(times, clock - window - against), bisect_right(times, clock - window)
        flip = times[edge] + window if edge < len(times) else NEVER
        if start < edge:
            flip = min(flip, times[start] + window + against)
        return sum(found[edge:]), sum(found[start:edge]), flip

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        now, before, flip = both(profile, clock)
        if before <= 0:
            return False, flip
        return all(holds(now * against * MICROS, before * window) for holds in compares), flip

    def measure(profile: Profile, clock: int) -> float | None:
        now, before, _ = both(profile, clock)
        return now * against / (before * window) if before > 0 else None

    text = f"{_summed(trend.of, trend.ref)} within {format_duration(window)}, against {format_duration(against)} before"
    return Compiled(text, evaluate, slots=frozenset((key,)), measure=measure, threshold=thresholds(trend.tests))


def _number(of: str | None) -> Number:
    return one if of is None else numbers_at(of)


def _unit(of: str | None) -> int:
    return MICROS if of is None else 1


def _summed(of: str | None, ref: EventRef) -> str:
    return reads(ref) if of is None else f"sum of {of} over {reads(ref)}"


COMPILE: Final[dict[type, Callable[[Compiler, Any], Compiled]]] = {Rate: _compile_rate, Trend: _compile_trend}
"""What `aggregate` stands for, which has no kind of its own."""

# --- affinity -----------------------------------------------------------------------------------------------------


def _read_affinity(reader: ConditionReader, outer: Mapping) -> Condition:
    example = "write `affinity: {to: [{event: Product Viewed, where: {...}}], within: 30d, gte: 0.3}`"
    node = reader.mapping(outer["affinity"], "`affinity`", example)
    if node is None:
        return Trait(())
    before = len(reader.errors)
    reader.known_keys(node, AFFINITY)
    for key, hint in (("to", example), _WITHIN):
        if key not in node:
            reader.wrong(node, f"{key!r} is missing here", hint)
    if len(reader.errors) > before:
        return Trait(())
    to = read_references(reader, node["to"], "`to`")
    if "among" in node:
        among = read_references(reader, node["among"], "`among`")
        names = {ref.event for ref in among}
        for ref in to:
            if ANY_EVENT not in names and ref.event not in names:
                hint = "add it to `among`, or leave `among` out for all events that `to` names"
                reader.wrong(node["to"], f"{ref.event[:100]!r} is not `among` the events that are counted", hint)
    else:
        among = tuple(map(EventRef, dict.fromkeys(ref.event for ref in to)))
    tests = reader.numbers(node, _ORDERED, "`affinity`", "number")
    for test in tests:
        if any(not 0 <= float(bound) <= 1 for bound in _bounds(test)):
            reader.wrong(node[test.operator.value], "a share lies between 0 and 1", "write 0.3 for 30%")
    within = reader.duration(node["within"], "`within`")
    least = reader.integer(node["least"], "`least`", 1, LARGEST_COUNT) if "least" in node else 1
    return reader.with_exit(node, Affinity(to, among, within, tests, least))


def read_references(reader: ConditionReader, node: Node, what: str) -> tuple[EventRef, ...]:
    """One reference or a list of them, not too long."""
    found = reader.references(node, what)
    if isinstance(node, Sequence) and len(node) > _MOST_REFERENCES:
        reader.wrong(node, f"{what} has {len(node)} entries, more than {_MOST_REFERENCES}")
    return found


def _bounds(test: Test) -> tuple[Any, ...]:
    return test.operand if isinstance(test.operand, tuple) else (test.operand,)


def meant_among(compiler: Compiler, to: tuple[EventRef, ...], among: tuple[EventRef, ...], within: int) -> int:
    """The slot of the events `among`, each with 1 if it is also meant by `to`, else 0."""
    means = any_of_these(compiler, to)
    meaning = ("affinity", _told(compiler, to), _told(compiler, among), within)
    slot = compiler.share(meaning, lambda key: Tally(key, within, lambda event: int(means(event))))
    # One role for each name, whatever the number of references that have it: an event is counted once.
    if any(ref.event == ANY_EVENT for ref in among):
        compiler.count(EventRef(ANY_EVENT), slot, any_of_these(compiler, among))
    else:
        whole = {ref.event for ref in among if not ref.where and ref.during is None}
        for name in dict.fromkeys(ref.event for ref in among):
            compiler.count(EventRef(name), slot, None if name in whole else any_of_these(compiler, among))
    return slot.key


def _compile_affinity(compiler: Compiler, affinity: Affinity) -> Compiled:
    key = meant_among(compiler, affinity.to, affinity.among, affinity.within)
    compares = [compare_exactly(test) for test in affinity.tests]
    window, least = affinity.within, affinity.least

    def shares(profile: Profile, clock: int) -> tuple[int, int, int]:
        """How many are meant, among how many, and when the oldest of them leaves the window."""
        state = profile.slots.get(key)
        if state is None:
            return 0, 0, NEVER
        times, meant, counts = state
        start = bisect_right(times, clock - window)
        leaves = times[start] + window if start < len(times) else NEVER
        return sum(meant[start:]), sum(counts[start:]), leaves

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        meant, counted, leaves = shares(profile, clock)
        if counted < least:
            return NO  # fewer are left with time, never more
        return all(holds(meant * MICROS, counted) for holds in compares), leaves

    def measure(profile: Profile, clock: int) -> dict[str, Any]:
        meant, counted, _ = shares(profile, clock)
        return {"share": round(meant / counted, 6) if counted else None, "meant": meant, "counted": counted}

    text = f"share of {' or '.join(map(reads, affinity.to))} within {format_duration(window)}"
    threshold = {**thresholds(affinity.tests), "least": least}
    return Compiled(text, evaluate, slots=frozenset((key,)), measure=measure, threshold=threshold)


def any_of_these(compiler: Compiler, refs: tuple[EventRef, ...]) -> Predicate:
    """A function from an event to whether one of the references means it, by name and all else."""
    wheres: dict[str, list[Predicate | None]] = {}
    for ref in refs:
        wheres.setdefault(ref.event, []).append(compiler.where(ref))
    anyhow = wheres.pop(ANY_EVENT, [])
    by_name = {name: _either([*found, *anyhow]) for name, found in wheres.items()}
    others = _either(anyhow)
    return lambda event: by_name.get(event.name, others)(event)


def _either(wheres: list[Predicate | None]) -> Predicate:
    """Whether one of them holds; None among them stands for one that always does."""
    tests = [where for where in wheres if where is not None]
    if len(tests) < len(wheres):
        return lambda event: True
    if len(tests) == 1:
        return tests[0]
    return lambda event: any(where(event) for where in tests)


def _told(compiler: Compiler, refs: tuple[EventRef, ...]) -> tuple[str, ...]:
    """The references in a form and an order that do not depend on how they were written."""
    return tuple(sorted({repr((ref.event, compiler.tests_of(ref))) for ref in refs}))


AFFINITY: Final = Kind(
    "affinity",
    "The share of certain events among others, in a window: what a customer is most interested in.",
    """affinity:
  to:
    - {event: Product Viewed, where: {"properties.tags[]": eco}}
    - {event: Products Searched, where: {properties.query: {contains: eco}}}
  within: 30d
  least: 5
  gte: 0.3""",
    "mapping",
    _read_affinity,
    _compile_affinity,
    (Affinity,),
    keys=(
        Key("to", "references", "the events whose share is asked for", required=True),
        Key("among", "references", "the events of which it is a share; all events that `to` names unless told"),
        Key("within", "duration", "how far back they are counted", required=True),
        Key("least", "integer", "with fewer events than this it is false; 1 unless told"),
        Key("exit_below", "number", "who is in stays until the share is below this"),
        Key("exit_above", "number", "who is in stays until the share is above this"),
    ),
    operators=tuple(operator.value for operator in _ORDERED),
)

KINDS: Final = (AFFINITY,)
