"""`session`: how deep and how long the customer's visit is. A session is a run of events with less than `gap` in between."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final

from profiles.document import Mapping
from profiles.profile import NEVER, Profile
from rules.compiled import NO, Compiled
from rules.definition import ANY_EVENT, Condition, EventRef, Operator, Session, Test
from rules.duration import format_duration
from rules.kinds.kind import Key, Kind
from rules.predicates import compare, thresholds
from rules.slots import Slot, State
from rules.vocabulary import COUNT_OPERATORS, NOT_OPERATORS, SINCE_OPERATORS

if TYPE_CHECKING:
    from rules.compiler import Compiler
    from rules.condition_reader import ConditionReader

SESSIONS: Final = 8
"""Sessions that are kept: events that come late may join the newest of them to the ones before."""

_EXAMPLE: Final = "write `session: {gap: 30m, depth: {gte: 5}}`"
DEFAULT_GAP: Final = 1_800_000


class Sessions(Slot):
    """The newest sessions, ascending: `[first time, last time, number of events]` each."""

    __slots__ = ("gap",)

    def __init__(self, key: int, gap: int) -> None:
        super().__init__(key, NEVER)
        self.gap = gap

    def add(self, slots: State, time: int, event: Any, clock: int) -> int:
        """Answers 1 if the newest session has become another."""
        state = slots.get(self.key)
        if state is None:
            slots[self.key] = [[time, time, 1]]
            return 1
        newest = state[-1]
        last = newest[1]
        if time >= last:
            if time < last + self.gap:
                newest[1] = time
                newest[2] += 1
                return 1
            state.append([time, time, 1])
            if len(state) > SESSIONS:
                del state[0]
            return 1
        if time >= newest[0]:
            newest[2] += 1
            return 1
        before = list(newest)
        self._insert(state, time)
        del state[:-SESSIONS]
        return int(state[-1] != before)

    def _insert(self, state: list[list[int]], time: int) -> None:
        """Put an event in its place, and join what it brings within the gap of each other."""
        at = bisect_right(state, time, key=lambda session: session[0])
        joined = [time, time, 1]
        begin, end = at, at
        if at and time - state[at - 1][1] < self.gap:
            begin -= 1
        if at < len(state) and state[at][0] - time < self.gap:
            end += 1
        for first, last, count in state[begin:end]:
            joined = [min(joined[0], first), max(joined[1], last), joined[2] + count]
        state[begin:end] = [joined]

    def newest(self, state: list[list[int]]) -> int | None:
        return state[-1][1]


def _read(reader: ConditionReader, outer: Mapping) -> Condition:
    node = reader.mapping(outer["session"], "`session`", _EXAMPLE)
    nothing = EventRef(ANY_EVENT)
    if node is None:
        return Session(nothing, DEFAULT_GAP)
    reader.known_keys(node, SESSION)
    gap = DEFAULT_GAP
    if "gap" in node:
        gap = reader.duration(node["gap"], "`gap`")
    else:
        reader.wrong(node, "'gap' is missing here", "say after how long without an event a session ends: `gap: 30m`")
    name = reader.event_name(node["event"], "`event`") if "event" in node else ANY_EVENT
    ref = EventRef(name, reader.where(node), reader.during(node))
    depth = _tests(reader, node, "depth", COUNT_OPERATORS, "count")
    length = _tests(reader, node, "length", SINCE_OPERATORS, "duration")
    return Session(ref, gap, depth, length, _last(reader, node))


def _tests(
    reader: ConditionReader, node: Mapping, key: str, operators: tuple[Operator, ...], kind: str
) -> tuple[Test, ...]:
    """The comparisons under `depth` or `length`."""
    if key not in node:
        return ()
    example = "write `depth: {gte: 5}`" if key == "depth" else "write `length: {gte: 10m}`"
    found = reader.mapping(node[key], f"`{key}`", example)
    if found is None:
        return ()
    reader.only(found, operators, NOT_OPERATORS)
    return reader.numbers(found, operators, f"`{key}`", kind)


def _last(reader: ConditionReader, node: Mapping) -> bool:
    found = node.get("last")
    hint = "true also looks at the newest session when it is over"
    return found is not None and reader.flag(found, "`last`", hint)


def sessions_of(compiler: Compiler, ref: EventRef, gap: int) -> int:
    """The slot of the sessions that these events make."""
    return compiler.slot("sessions", ref, (gap,), lambda key: Sessions(key, gap)).key


def _compile(compiler: Compiler, one: Session) -> Compiled:
    gap = one.gap
    key = sessions_of(compiler, one.ref, gap)
    depth = [compare(test.operator, test.operand) for test in one.depth]
    length = [compare(test.operator, test.operand) for test in one.length]

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        state = profile.slots.get(key)
        if state is None:
            return NO
        first, last, count = state[-1]
        until = NEVER if one.last else last + gap
        if until <= clock:
            return NO
        passed = last - first
        return (True, until) if all(test(count) for test in depth) and all(test(passed) for test in length) else NO

    def measure(profile: Profile, clock: int) -> Any:
        state = profile.slots.get(key)
        if state is None:
            return None
        first, last, count = state[-1]
        return {"depth": count, "length": format_duration(last - first), "over": last + gap <= clock}

    threshold = {
        "depth": thresholds(one.depth),
        "length": thresholds(one.length, durations=True),
    }
    text = f"{'last' if one.last else 'current'} session, ended by {format_duration(gap)} of silence"
    return Compiled(
        text,
        evaluate,
        slots=frozenset((key,)),
        measure=measure,
        threshold={name: tests for name, tests in threshold.items() if tests} or ("any" if one.last else "goes on"),
    )


SESSION: Final = Kind(
    "session",
    "The customer's visit that goes on is so deep and so long.",
    "session: {gap: 30m, depth: {gte: 5}, length: {gte: 10m}}",
    "mapping",
    _read,
    _compile,
    (Session,),
    keys=(
        Key("gap", "duration", "a session ends when no event comes for so long", required=True),
        Key("depth", "count", "how many events it has"),
        Key("length", "durations", "how long it is from its first event to its last"),
        Key("event", "event", "the events that make a session; any unless told"),
        Key("where", "where", "what must hold of each of them"),
        Key("during", "during", "when they must have happened"),
        Key("last", "boolean", "also look at the newest session when it is over; false unless told"),
    ),
)

KINDS: Final = (SESSION,)
