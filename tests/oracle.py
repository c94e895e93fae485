"""What segments a customer is in, recomputed from every raw event: slow, obvious, and the judge of the core.

The oracle keeps all events of one customer and answers each question by looking through all of them. It shares nothing
with the core but the types of `rules.definition`; where the two disagree, one of them is wrong. What it states is written
out for people in `docs/evaluation.md`, under the same headings.
"""

from __future__ import annotations

import decimal
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from rules.definition import (
    ANY_EVENT,
    Absent,
    Aggregate,
    All,
    AnyOf,
    AtLeast,
    Condition,
    EventRef,
    Happened,
    Not,
    Operator,
    Segment,
    Since,
    Test,
    Trait,
)
from rules.definition import Sequence as Silence

REMEMBERED_IDS = 48
"""So many ids of counted events are remembered to tell a repeat; the 49th newest is forgotten."""

SKEW = 5 * 60_000
"""An event may lie so far after the time of its record; beyond that it is quarantined."""

EXPIRY = 730 * 86_400_000
"""A customer of whom nothing is heard for so long is forgotten."""


class RawEvent(Protocol):
    """What the oracle reads of an event."""

    id: str
    name: str
    event_time: int
    received_at: int
    properties: dict[str, Any]
    traits: dict[str, Any] | None
    context: dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """An event that was counted, with its place in the order of arrival and the customer's clock right after it."""

    event: RawEvent
    order: int
    clock: int

    @property
    def at(self) -> int:
        return self.event.event_time


@dataclass(frozen=True)
class Change:
    """One expected transition."""

    segment: str
    kind: str
    effective_at: int
    sequence: int


# --- Values ---------------------------------------------------------------------------------------------------------


def values_at(root: Any, path: str) -> list[Any]:
    """Every value that a dotted path leads to; a part that ends in `[]` leads to each element. Null is no value."""
    found = [root]
    for part in path.split("."):
        name = part.removesuffix("[]")
        found = [value[name] for value in found if isinstance(value, dict) and name in value]
        if part.endswith("[]"):
            found = [element for value in found if isinstance(value, list) for element in value]
    return [value for value in found if value is not None]


def values_of(event: RawEvent, path: str) -> list[Any]:
    root = {"properties": event.properties, "traits": event.traits or {}, "context": event.context}
    return values_at(root, path)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def exact(value: Any) -> Fraction | None:
    """A number as it is written, to the millionth, half to even; None for anything that is not a number."""
    if not is_number(value):
        return None
    millionths = Decimal(repr(value)).scaleb(6, decimal.Context(prec=100)).to_integral_value(decimal.ROUND_HALF_EVEN)
    return Fraction(int(millionths), 1_000_000)


def text_of(value: Any) -> str | None:
    """What tells one property value from another: 17, 17.0 and "17" are one product; lists and objects are no value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if is_number(value):
        return str(int(value)) if value == int(value) else repr(value)
    return None


def equal(value: Any, operand: Any) -> bool:
    """Equal in kind and value: 1 and 1.0 are equal, true and 1 are not, nor are 1 and "1"."""
    return ((is_number(value) and is_number(operand)) or type(value) is type(operand)) and bool(value == operand)


def ordered(value: Any, operand: Any) -> bool:
    """Whether the two can be ordered: numbers with numbers, text with text."""
    return (is_number(value) and is_number(operand)) or (isinstance(value, str) and isinstance(operand, str))


def value_passes(value: Any, operator: Operator, operand: Any) -> bool:
    """One value that is there against one operand. What cannot be compared is unequal, and nothing else."""
    match operator:
        case Operator.EQ:
            return equal(value, operand)
        case Operator.NE:
            return not equal(value, operand)
        case Operator.IN:
            return any(equal(value, one) for one in operand)
        case Operator.NOT_IN:
            return not any(equal(value, one) for one in operand)
        case Operator.GT:
            return ordered(value, operand) and operand < value
        case Operator.GTE:
            return ordered(value, operand) and not value < operand
        case Operator.LT:
            return ordered(value, operand) and value < operand
        case Operator.LTE:
            return ordered(value, operand) and not operand < value
        case Operator.BETWEEN:
            low, high = operand
            return ordered(value, low) and ordered(value, high) and not value < low and not high < value
        case Operator.CONTAINS:
            return isinstance(value, str) and operand in value
        case Operator.STARTS_WITH:
            return isinstance(value, str) and value.startswith(operand)
        case Operator.ENDS_WITH:
            return isinstance(value, str) and value.endswith(operand)
    raise AssertionError(operator)


def passes(values: Sequence[Any], test: Test) -> bool:
    """A test on all values of its path: any of them suffices; with none, only `exists: false` holds."""
    if test.operator is Operator.EXISTS:
        return bool(values) == test.operand
    return any(value_passes(value, test.operator, test.operand) for value in values)


def number_passes(number: Fraction | int, tests: Sequence[Test]) -> bool:
    """An exact number (a count, a sum, a mean, a time) against all tests of a condition."""
    return all(_number_passes(Fraction(number), test.operator, test.operand) for test in tests)


def _number_passes(number: Fraction, operator: Operator, operand: Any) -> bool:
    bounds = [exact(one) for one in (operand if isinstance(operand, tuple) else (operand,))]
    first = bounds[0]
    assert first is not None
    match operator:
        case Operator.EQ | Operator.IN:
            return number in bounds
        case Operator.NE | Operator.NOT_IN:
            return number not in bounds
        case Operator.GT:
            return number > first
        case Operator.GTE:
            return number >= first
        case Operator.LT:
            return number < first
        case Operator.LTE:
            return number <= first
        case Operator.BETWEEN:
            assert bounds[1] is not None
            return first <= number <= bounds[1]
    raise AssertionError(operator)


# --- Conditions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judge:
    """What the oracle knows of a further kind of condition; the modules `tests/oracle_*.py` add theirs to `JUDGES`.

    `holds(condition, history, clock)`; `refs(condition)`: the events that it counts; `reach(condition, event)`: see `reach_of`;
    `moments(condition, history, clock)`: every moment, past and up to the next one after the clock at least, at which it may change alone.
    """

    holds: Callable[[Any, History, int], bool]
    refs: Callable[[Any], list[EventRef]] = lambda condition: []
    reach: Callable[[Any, RawEvent | None], int | None] = lambda condition, event: None
    moments: Callable[[Any, History, int], Iterable[int]] = lambda condition, history, clock: ()


JUDGES: dict[type, Judge] = {}


def meant(event: RawEvent, ref: EventRef) -> bool:
    return ref.event in (ANY_EVENT, event.name) and all(passes(values_of(event, test.path), test) for test in ref.where)


def reach_of(condition: Condition, event: RawEvent | None = None) -> int | None:
    """How far back of the clock an event may lie when it arrives and still count for the condition; None: any time."""
    match condition:
        case Happened(after_silence=int(silence), within=int(window)):
            return window + silence
        case Happened() | Absent() | Aggregate():
            return condition.within
        case Silence():
            # An answer counts for longer than a start: it may take back what was concluded already.
            answers = event is not None and any(meant(event, ref) for ref in condition.unless)
            return 2 * condition.silence if answers else condition.silence
    judge = JUDGES.get(type(condition))
    return judge.reach(condition, event) if judge else None


def refs_of(condition: Condition) -> list[EventRef]:
    match condition:
        case Happened():
            return [condition.ref] + ([condition.without] if condition.without else [])
        case Absent() | Since() | Aggregate():
            return [condition.ref]
        case Silence():
            return [condition.start, *condition.unless]
    judge = JUDGES.get(type(condition))
    return judge.refs(condition) if judge else []


def leaves(condition: Condition) -> Iterator[Condition]:
    """Every condition that is not made of others."""
    match condition:
        case All() | AnyOf() | AtLeast():
            for part in condition.of:
                yield from leaves(part)
        case Not():
            yield from leaves(condition.of)
        case _:
            yield condition


@dataclass
class History:
    """Everything that was counted of one customer."""

    seen: list[Seen] = field(default_factory=list)

    def of(self, ref: EventRef, reach: int | None) -> list[Seen]:
        """The events meant, by event time, equal times by arrival; without those that came too late for this reach."""
        found = [one for one in self.seen if meant(one.event, ref) and (reach is None or one.at > one.clock - reach)]
        return sorted(found, key=lambda one: (one.at, one.order))

    def traits(self) -> dict[str, Any]:
        """The last write of each trait by event time, equal times by arrival; null removes."""
        known: dict[str, Any] = {}
        for one in sorted(self.seen, key=lambda one: (one.at, one.order)):
            known.update(one.event.traits or {})
        return {name: value for name, value in known.items() if value is not None}


def within(events: Sequence[Seen], window: int | None, clock: int) -> list[Seen]:
    """Those in the window at this clock: clock - window < event_time <= clock."""
    return [one for one in events if one.at <= clock and (window is None or clock - window < one.at)]


def values_by_event(events: Sequence[Seen], path: str) -> dict[str, int]:
    """How many of the events hold each value."""
    counts: dict[str, int] = {}
    for one in events:
        for value in {text_of(value) for value in values_of(one.event, path)} - {None}:
            counts[value] = counts.get(value, 0) + 1  # type: ignore[index, arg-type]
    return counts


def completions(condition: Silence, history: History, clock: int) -> list[int]:
    """The moments up to the clock at which a first step had stayed unanswered for long enough."""
    starts = history.of(condition.start, condition.silence)
    answers = [one for ref in condition.unless for one in history.of(ref, 2 * condition.silence)]
    done = []
    for start in starts:
        end = start.at + condition.silence
        answered = any((start.at, start.order) < (one.at, one.order) and one.at <= end for one in answers)
        if end <= clock and not answered:
            done.append(end)
    return done


def holds(condition: Condition, history: History, clock: int) -> bool:
    """What a condition says of everything seen, at this clock."""
    match condition:
        case All():
            return all(holds(part, history, clock) for part in condition.of)
        case AnyOf():
            return any(holds(part, history, clock) for part in condition.of)
        case AtLeast():
            return sum(holds(part, history, clock) for part in condition.of) >= condition.n
        case Not():
            return not holds(condition.of, history, clock)
        case Trait():
            known = history.traits()
            return all(passes(values_at(known, test.path), test) for test in condition.tests)
        case Silence():
            return bool(completions(condition, history, clock))
        case Absent():
            return not within(history.of(condition.ref, condition.within), condition.within, clock)
        case Since():
            times = [one.at for one in history.of(condition.ref, None)]
            if not times:
                return False
            return number_passes(
                clock - (min(times) if condition.occurrence == "first" else max(times)), condition.tests
            )
        case Aggregate():
            return _aggregate_holds(condition, history, clock)
        case Happened():
            return _happened_holds(condition, history, clock)
    return JUDGES[type(condition)].holds(condition, history, clock)


def _aggregate_holds(condition: Aggregate, history: History, clock: int) -> bool:
    events = within(history.of(condition.ref, condition.within), condition.within, clock)
    values = [value for one in events for value in values_of(one.event, condition.of)]
    if condition.fn == "distinct":
        return number_passes(len({text_of(value) for value in values} - {None}), condition.tests)
    numbers = [number for number in map(exact, values) if number is not None]
    if condition.fn == "sum":
        return number_passes(sum(numbers, Fraction(0)), condition.tests)
    if not numbers:
        return False
    if condition.fn == "mean":
        return number_passes(sum(numbers, Fraction(0)) / len(numbers), condition.tests)
    return number_passes(min(numbers) if condition.fn == "min" else max(numbers), condition.tests)


def _happened_holds(condition: Happened, history: History, clock: int) -> bool:
    events = history.of(condition.ref, reach_of(condition))
    if condition.after_silence is not None:
        events = [one for before, one in itertools.pairwise(events) if one.at - before.at >= condition.after_silence]
    events = within(events, condition.within, clock)
    if condition.per is None:
        return number_passes(len(events), condition.counts)
    counts = values_by_event(events, condition.per)
    if condition.without is not None:
        others = within(history.of(condition.without, condition.within), condition.within, clock)
        excluded = values_by_event(others, condition.without_per or condition.per)
        counts = {value: count for value, count in counts.items() if value not in excluded}
    return any(number_passes(count, condition.counts) for count in counts.values())


def newest_completion(condition: Condition, history: History, clock: int) -> int:
    """The newest completion of all sequences in the condition that are not beneath a `not` (0: none)."""
    match condition:
        case All() | AnyOf() | AtLeast():
            return max((newest_completion(part, history, clock) for part in condition.of), default=0)
        case Silence():
            return max(completions(condition, history, clock), default=0)
    return 0


def durations(segment: Segment) -> set[int]:
    """After each of these from an event, something in the segment may change without another event."""
    found: set[int] = set()
    for condition in leaves(segment.when):
        match condition:
            case Happened() | Absent() | Aggregate():
                found |= {condition.within} if condition.within is not None else set()
            case Silence():
                found.add(condition.silence)
            case Since():
                for test in condition.tests:
                    bounds = test.operand if isinstance(test.operand, tuple) else (test.operand,)
                    for bound in bounds:  # `gte 5` turns true at 5, `gt 5` at 6
                        found |= {int(bound), int(bound) + 1}
    return found


# --- One customer ---------------------------------------------------------------------------------------------------


@dataclass
class Standing:
    """How a customer stands with one segment: in or out, and for a latched one what the moment before has left."""

    member: bool = False
    held: bool = False
    newest: int = 0
    risen_at: int | None = None


class Oracle:
    """One customer under one rule set. Feed it arrivals and watermarks; it says what changes, and keeps everything."""

    def __init__(self, segments: Sequence[Segment], skew: int = SKEW, expiry: int = EXPIRY) -> None:
        self.segments = sorted(segments, key=lambda segment: segment.name)
        self.skew = skew
        self.expiry = expiry
        self.clock = -(2**62)
        self.forget()

    def forget(self) -> None:
        """Begin with a customer of whom nothing is known."""
        self.history = History()
        self.ids: list[str] = []
        self.standings = {segment.name: Standing() for segment in self.segments}
        self.sequence = 0

    @property
    def members(self) -> set[str]:
        return {name for name, standing in self.standings.items() if standing.member}

    def arrive(self, event: RawEvent, watermark: int) -> tuple[str, list[Change]]:
        """The outcome of an event and every transition up to and including it."""
        changes = self.advance(watermark)
        if event.event_time > event.received_at + self.skew:
            return "quarantined", changes
        if event.id in self.ids[-REMEMBERED_IDS:]:
            return "duplicate", changes
        if self.is_late(event):
            return "late", changes
        changes += self._advance(event.event_time - 1)
        self.clock = max(self.clock, event.event_time)
        self.ids.append(event.id)
        self.history.seen.append(Seen(event, len(self.history.seen), self.clock))
        return "applied", changes + self._evaluate(event)

    def advance(self, watermark: int) -> list[Change]:
        """Every transition that time alone brings, up to and including the watermark."""
        changes = self._advance(watermark)
        self.clock = max(self.clock, watermark)
        return changes

    def is_late(self, event: RawEvent) -> bool:
        """Whether every condition that means this event has let go of its time already."""
        if not self.history.seen and event.event_time <= self.clock - self.expiry:
            return True  # a profile that begins with it would have expired already
        reaches = [
            reach_of(condition, event)
            for segment in self.segments
            for condition in leaves(segment.when)
            if any(meant(event, ref) for ref in refs_of(condition))
        ]
        if not reaches or None in reaches:
            return False
        return event.event_time <= self.clock - max(reach for reach in reaches if reach is not None)

    def moments(self) -> set[int]:
        """Every moment at which something may change by itself, past and future."""
        found = {
            one.at + duration
            for segment in self.segments
            for duration in durations(segment)
            for one in self.history.seen
        }
        for segment in self.segments:
            for condition in leaves(segment.when):
                if judge := JUDGES.get(type(condition)):
                    found.update(judge.moments(condition, self.history, self.clock))
            risen_at = self.standings[segment.name].risen_at
            if segment.exit and segment.exit.after is not None and risen_at is not None:
                found.add(risen_at + segment.exit.after)
        return found

    def _advance(self, until: int) -> list[Change]:
        changes: list[Change] = []
        while self.history.seen:
            expires = max(one.at for one in self.history.seen) + self.expiry
            ahead = [moment for moment in {*self.moments(), expires} if self.clock < moment <= until]
            if not ahead:
                break
            self.clock = min(ahead)
            changes += self._evaluate(None) if self.clock < expires else self._expire()
        return changes

    def _expire(self) -> list[Change]:
        """The customer has been silent for as long as profiles are kept: out of everything, and nothing is known."""
        changes = [
            Change(name, "exited", self.clock, self.sequence + number)
            for number, name in enumerate(sorted(self.members), start=1)
        ]
        self.forget()
        return changes

    def _evaluate(self, event: RawEvent | None) -> list[Change]:
        """Every segment at the clock, in the order of their names; `event` is the one that has just been counted."""
        changes = []
        for segment in self.segments:
            standing = self.standings[segment.name]
            was = standing.member
            held, standing.held = standing.held, holds(segment.when, self.history, self.clock)
            if segment.exit is None:
                standing.member = standing.held
            else:
                newest = newest_completion(segment.when, self.history, self.clock)
                if self._withdrawn(standing, newest):
                    standing.member, standing.risen_at = False, None
                self._latch(segment, standing, standing.held and (not held or newest > standing.newest), event)
                standing.newest = newest
            if was != standing.member:
                self.sequence += 1
                kind = "entered" if standing.member else "exited"
                changes.append(Change(segment.name, kind, self.clock, self.sequence))
        return changes

    def _withdrawn(self, standing: Standing, newest: int) -> bool:
        """Whether an event that came late has unmade the completion by which the customer is in."""
        risen_at = standing.risen_at
        return risen_at is not None and not standing.held and newest < standing.newest <= risen_at

    def _latch(self, segment: Segment, standing: Standing, rise: bool, event: RawEvent | None) -> None:
        assert segment.exit is not None
        if event is not None and any(meant(event, ref) for ref in segment.exit.on):
            # An event that ends membership never begins one: a rise that it brings is used up.
            if standing.risen_at is not None and event.event_time >= standing.risen_at:
                standing.member, standing.risen_at = False, None
        elif rise:
            standing.member, standing.risen_at = True, self.clock
        if standing.risen_at is not None and segment.exit.after is not None:
            if standing.risen_at + segment.exit.after <= self.clock:
                standing.member, standing.risen_at = False, None
