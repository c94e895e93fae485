"""What conditions say of everything that was seen of a customer: each is answered by looking through all of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

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
    Hysteresis,
    Not,
    Operator,
    Points,
    Segment,
    Since,
    Trait,
)
from rules.definition import Sequence as Silence
from tests.oracle_clock import happened_during, moment_named
from tests.oracle_values import RawEvent, exact, number_passes, passes, text_of, values_at, values_of


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
class Judge:
    """What the oracle knows of a further kind of condition; the modules `tests/oracle_*.py` add theirs to `JUDGES`.

    `holds(condition, history, clock)`; `refs(condition)`: the events that it counts; `reach(condition, event)`: see `reach_of`;
    `moments(condition, history, clock)`: every moment, past and up to the next one after the clock at least, at which it may change alone;
    `completions(condition, history, clock)`: those up to the clock, each of which is a rise.
    """

    holds: Callable[[Any, History, int], bool]
    refs: Callable[[Any], list[EventRef]] = lambda condition: []
    reach: Callable[[Any, RawEvent | None], int | None] = lambda condition, event: None
    moments: Callable[[Any, History, int], Iterable[int]] = lambda condition, history, clock: ()
    completions: Callable[[Any, History, int], Iterable[int]] = lambda condition, history, clock: ()


JUDGES: dict[type, Judge] = {}


def meant(event: RawEvent, ref: EventRef) -> bool:
    if ref.event not in (ANY_EVENT, event.name) or (ref.during and not happened_during(event, ref.during)):
        return False
    return all(passes(values_of(event, test.path), test, event.event_time) for test in ref.where)


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
        case Points():
            for part, _ in condition.of:
                yield from leaves(part)
        case Hysteresis():
            yield from leaves(condition.enter)
            yield from leaves(condition.leave)
        case _:
            yield condition


@dataclass(frozen=True)
class Output:
    """What a model said, and the customer's clock when it was heard."""

    model: str
    score: float | str
    clock: int


@dataclass
class History:
    """Everything that was counted of one customer, and what models said of them, in the order in which it came.

    `inside` is how they stand at the moment that is judged: the segments that they are in, with since when; `judged` is the segment
    whose rule is looked at.
    """

    seen: list[Seen] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    inside: dict[str, int] = field(default_factory=dict)
    judged: str = ""

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
        case Points():
            points = [Fraction(str(points)) for part, points in condition.of if holds(part, history, clock)]
            return number_passes(sum(points, Fraction(0)), condition.tests)
        case Hysteresis():
            return holds(condition.leave if history.judged in history.inside else condition.enter, history, clock)
        case Trait():
            known = history.traits()
            return all(passes(values_at(known, test.path), test, clock) for test in condition.tests)
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
    judge = JUDGES.get(type(condition))
    return max(judge.completions(condition, history, clock), default=0) if judge else 0


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


def trait_moments(condition: Trait, history: History) -> set[int]:
    """The moments that traits name, and the ends of the windows that begin with them."""
    known = history.traits()
    found: set[int] = set()
    for test in condition.tests:
        named = moment_named(known.get(test.path))
        if test.operator is Operator.WITHIN and named is not None:
            assert isinstance(test.operand, int)
            found |= {named, named + test.operand}
    return found
