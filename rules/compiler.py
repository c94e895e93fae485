"""From definitions to a plan: shared slots, an index by event name, and compiled conditions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Literal, cast

from profiles.profile import NEVER
from profiles.zones import UTC
from rules import combinations, conditions, kinds, slots
from rules.compiled import Compiled
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
    Journey,
    Not,
    Points,
    Segment,
    Sequence,
    Since,
    Trait,
)
from rules.duration import format_duration
from rules.newest import Newest, says
from rules.order import evaluation_order
from rules.plan import Add, CompiledGroup, CompiledSegment, Dispatch, Helped, Limits, Plan, Role
from rules.population import Population
from rules.predicates import Predicate, compile_where, reads, shown, thresholds
from rules.watch import Watch, Watched

_MERGE: dict[str, Callable[[int, int], int]] = {"min": min, "max": max}


_MOST = 2**63 - 1


def _add(one: int, other: int) -> int:
    """The sum, as far as 64 bits go: a sum of millionths beyond nine trillion stays there, as state holds no more."""
    total = one + other
    return total if -_MOST <= total <= _MOST else (_MOST if total > 0 else -_MOST)


def compile_plan(
    segments: Iterable[Segment],
    limits: Limits | None = None,
    population: Population | None = None,
    watches: Iterable[Watch] = (),
) -> Plan:
    """The plan of these segments, in their order of evaluation."""
    compiler = Compiler(limits or Limits(), population or Population())
    return compiler.compile(evaluation_order(segments), tuple(watches))


def event_test(ref: EventRef, zone: str) -> Predicate | None:
    """What must hold of an event that `ref` means, besides its name; None if nothing. `zone` is where customers are who do not say."""
    tests = compile_where(ref.where)
    if ref.during is None:
        return tests
    happened = kinds.event_during(ref.during, ref.during.zone or zone)
    return happened if tests is None else lambda event: tests(event) and happened(event)


def dispatched(
    roles: list[tuple[EventRef, slots.Slot, Role]], exits: tuple[tuple[Predicate | None, int], ...]
) -> Dispatch:
    """What an event name can touch, in as few words as the step can do with."""
    found = Dispatch(tuple(role for _, _, role in roles), exits)
    found.accepted = any(where is None and retention == NEVER for where, _, retention, _, _ in found.roles)
    asked: list[Role] = []
    plain: list[tuple[Add, int]] = []
    particular: list[Role] = []
    kept_in_order: set[int] = set()
    for ref, slot, role in roles:
        where, add, retention, mask, rising = role
        if isinstance(slot, slots.Arrivals) and where is None and not rising:
            found.always |= mask
            continue
        if found.accepted and isinstance(slot, Newest) and ref == says(slot.path):
            # What says nothing is passed over there. Whether it is too old need not be asked: something counts it anyway.
            role = (None, add, retention, mask, rising)
        asked.append(role)
        # Roles of one slot stay in their order, so behind one that is not plain none is.
        if role[0] is None and not rising and slot.key not in kept_in_order:
            plain.append((add, mask))
        else:
            particular.append(role)
            kept_in_order.add(slot.key)
    found.asked, found.plain, found.particular = tuple(asked), tuple(plain), tuple(particular)
    return found


def slot_key(*what: Any) -> int:
    """A 32-bit key that depends on what is counted and on nothing else."""
    return int.from_bytes(hashlib.blake2b(repr(what).encode(), digest_size=4).digest())


class Compiler:
    """Turns conditions into what runs. `segment` is the one being compiled; the kinds in `rules.kinds` use it too."""

    def __init__(self, limits: Limits, population: Population) -> None:
        self.limits = limits
        self.population = population
        self.segment = Segment("", Trait(()))
        self.slots: dict[tuple[str, int], slots.Slot] = {}
        self.meanings: dict[int, tuple[Any, ...]] = {}
        self.roles: dict[tuple[str, int], tuple[EventRef, slots.Slot, Predicate | None]] = {}

    def compile(self, definitions: list[Segment], watches: tuple[Watch, ...] = ()) -> Plan:
        compiled = []
        for bit, definition in enumerate(definitions):
            self.segment = definition
            condition = self.condition(definition.when)
            sequences = tuple(self.rising(definition.when))
            compiled.append(CompiledSegment(definition, condition, bit, sequences))
        self.segment = Segment("", Trait(()))
        watched = [(1 << len(compiled) + at, one.attach(self)) for at, one in enumerate(watches)]
        by_name = {one.name: one for one in compiled}
        for one in compiled:
            for name in one.condition.members & by_name.keys():
                by_name[name].wakes |= one.mask
        names = {ref.event for ref, _, _ in self.roles.values()}
        names.update(ref.event for one in definitions if one.exit for ref in one.exit.on)
        # A canceller comes before the start of the same sequence: an event that is both ends the waiting first.
        ordered = sorted(self.roles.values(), key=lambda role: not isinstance(role[1], slots.Cancel))
        roles = [(ref, slot, self.role(where, slot, compiled, watched)) for ref, slot, where in ordered]
        exits = [found for bit, one in enumerate(definitions) for found in self.exits(one, bit)]

        def dispatch(name: str) -> Dispatch:
            return dispatched(
                [one for one in roles if one[0].event in (name, ANY_EVENT)],
                tuple((where, 1 << bit) for ref, where, bit in exits if ref.event in (name, ANY_EVENT)),
            )

        by_trait, by_score = dict[str, int](), dict[str, int]()
        for segment in compiled:
            for index, found in ((by_trait, segment.condition.traits), (by_score, segment.condition.scores)):
                for name in found:
                    index[name] = index.get(name, 0) | segment.mask
        for bit, asked in watched:
            for name in asked.traits:
                by_trait[name] = by_trait.get(name, 0) | bit
        return Plan(
            tuple(compiled),
            {name: dispatch(name) for name in sorted(names - {ANY_EVENT})},
            dispatch(ANY_EVENT),
            by_trait,
            by_score,
            self.groups(definitions, compiled),
            {slot.key: slot for slot in self.slots.values()},
            self.limits,
            len(watched),
            tuple(asked for _, asked in watched),
        )

    def exits(self, definition: Segment, bit: int) -> list[tuple[EventRef, Predicate | None, int]]:
        """What ends membership of a segment, with what must hold of each such event in the zone of that segment."""
        self.segment = definition
        return [(ref, self.where(ref), bit) for ref in definition.exit.on] if definition.exit else []

    def groups(self, definitions: list[Segment], compiled: list[CompiledSegment]) -> tuple[CompiledGroup, ...]:
        members: dict[str, list[tuple[int, str, CompiledSegment]]] = {}
        for definition, one in zip(definitions, compiled, strict=True):
            if definition.group is not None:
                members.setdefault(definition.group.name, []).append((-definition.group.priority, one.name, one))
        return tuple(
            CompiledGroup(name, tuple(one for _, _, one in sorted(found, key=lambda ranked: ranked[:2])))
            for name, found in members.items()
        )

    def zone(self, own: str | None = None) -> str:
        """The zone of customers of whom none is known: the condition's own, else the rule's, which may be the project's."""
        return own or self.segment.zone or UTC

    def where(self, ref: EventRef) -> Predicate | None:
        """What must hold of an event that `ref` means, besides its name."""
        return event_test(ref, self.zone())

    def role(
        self,
        where: Predicate | None,
        slot: slots.Slot,
        compiled: list[CompiledSegment],
        watched: list[tuple[int, Watched]],
    ) -> Role:
        mask = sum(bit for bit, asked in watched if slot.key in asked.slots)
        needs = dict[Helped, int]()
        for segment in compiled:
            if slot.key in segment.condition.slots:
                if slot.key in segment.condition.rising and not isinstance(slot, slots.Cancel):
                    needs[segment.name, segment.mask, segment.truth_cell] = segment.condition.rising[slot.key]
                else:
                    mask |= 1 << segment.bit
        most = max(needs.values(), default=-1)
        rising = tuple(tuple(one for one, least in needs.items() if least <= known) for known in range(most + 1))
        return where, slot.add, slot.retention, mask, rising

    def slot(self, kind: str, ref: EventRef, what: tuple[Any, ...], make: Callable[[int], slots.Slot]) -> slots.Slot:
        """The slot of this kind for these events; made at first use, then shared."""
        slot = self.share((kind, ref.event, *self.tests_of(ref), *what), make)
        self.count(ref, slot)
        return slot

    def share(self, meaning: tuple[Any, ...], make: Callable[[int], slots.Slot]) -> slots.Slot:
        """The slot that keeps what `meaning` says, which counts nothing yet; made at first use, then shared."""
        key = slot_key(*meaning)
        if self.meanings.setdefault(key, meaning) != meaning:
            raise ValueError(
                f"two conditions fell on one slot key, {key}: reword one of {meaning}, {self.meanings[key]}"
            )
        return self.slots.setdefault(("slot", key), make(key))

    def count(self, ref: EventRef, slot: slots.Slot, where: Predicate | None = None) -> None:
        """Let the slot count these events; a slot may count several kinds. `where` stands in for what `ref` says beside the name."""
        name = f"{type(slot).__name__} {ref.event} {self.tests_of(ref)}"
        self.roles.setdefault((name, slot.key), (ref, slot, where or self.where(ref)))

    def tests_of(self, ref: EventRef) -> tuple[Any, ...]:
        """What tells one reference from another with the same name, in a form that does not depend on how it was written."""
        tests: tuple[Any, ...] = (sorted(map(repr, ref.where)),)
        return tests if ref.during is None else (*tests, repr(ref.during), self.zone(ref.during.zone))

    def arrivals(self) -> int:
        """What changes with every event of the customer."""
        return self.slot("arrivals", EventRef(ANY_EVENT), (), lambda key: slots.Arrivals(key, NEVER)).key

    def times(self, ref: EventRef, window: int, keep: int) -> int:
        slot = cast(slots.Times, self.slot("times", ref, (), lambda key: slots.Times(key, window, keep)))
        slot.keep = max(slot.keep, keep)
        slot.retention = max(slot.retention, window)
        return slot.key

    def first(self, ref: EventRef) -> int:
        return self.slot("first", ref, (), lambda key: slots.First(key, NEVER)).key

    def keyed(self, ref: EventRef, path: str, window: int, keep: int, keys: int) -> int:
        make = lambda key: slots.Keyed(key, window, path, keep, keys)  # noqa: E731
        slot = cast(slots.Keyed, self.slot("keyed", ref, (path,), make))
        slot.keep = max(slot.keep, keep)
        slot.keys = max(slot.keys, keys)
        slot.retention = max(slot.retention, window)
        return slot.key

    def distinct(self, ref: EventRef, path: str, window: int, keys: int) -> int:
        make = lambda key: slots.Keyed(key, window, path, 1, keys)  # noqa: E731
        slot = cast(slots.Keyed, self.slot("distinct", ref, (path,), make))
        slot.keys = max(slot.keys, keys)
        slot.retention = max(slot.retention, window)
        return slot.key

    def numbers(self, fn: Literal["sum", "mean", "min", "max"], ref: EventRef, path: str, window: int) -> int:
        """Numbers at a path: one by one in a window, a single one with their count without."""
        kind = "sum" if fn == "mean" else fn
        merge = _MERGE.get(kind, _add)
        if window == NEVER:
            return self.slot(f"total {kind}", ref, (path,), lambda key: slots.Total(key, path, merge)).key
        make = lambda key: slots.Contributions(key, window, path, merge)  # noqa: E731
        return self.slot(f"numbers {kind}", ref, (path, window), make).key

    def condition(self, one: Condition) -> Compiled:
        match one:
            case Happened():
                return self.happened(one)
            case Absent():
                window = _window(one.within)
                return conditions.absent(f"no {reads(one.ref)}", self.times(one.ref, window, 1), window)
            case Since():
                first = one.occurrence == "first"
                key = self.first(one.ref) if first else self.times(one.ref, NEVER, 1)
                text = f"time since the {one.occurrence} {reads(one.ref)}"
                return conditions.since(text, key, first, one.tests, thresholds(one.tests, durations=True))
            case Aggregate():
                return self.aggregate(one)
            case Trait():
                parts = tuple(
                    conditions.trait(f"trait {test.path} {test.operator.value} {shown(test)}", test.path, test)
                    for test in one.tests
                )
                return parts[0] if len(parts) == 1 else combinations.all_of("traits", parts)
            case Sequence():
                key = self.sequence(one)
                text = f"{reads(one.start)}, then no {' or '.join(map(reads, one.unless))}"
                return conditions.silent_after(text, key, one.silence)
            case Not():
                return combinations.negation("not", self.condition(one.of))
            case All():
                return combinations.all_of("all", tuple(map(self.condition, one.of)))
            case AnyOf():
                return combinations.any_of("any", tuple(map(self.condition, one.of)))
            case AtLeast():
                return combinations.at_least(f"at least {one.n}", one.n, tuple(map(self.condition, one.of)))
            case Points():
                weights = tuple(weight for _, weight in one.of)
                return combinations.points(weights, tuple(self.condition(part) for part, _ in one.of), one.tests)
            case Hysteresis():
                return combinations.hysteresis(self.segment.name, self.condition(one.enter), self.condition(one.leave))
            case _:
                return kinds.compile_kind(self, one)

    def happened(self, one: Happened) -> Compiled:
        window = _window(one.within)
        low, high = conditions.count_bounds(one.counts)
        keep = max(low, 1, 0 if high is None else high + 1)
        threshold = thresholds(one.counts)
        text = reads(one.ref) + (f" within {format_duration(window)}" if window != NEVER else "")
        if one.after_silence is not None:
            silence = one.after_silence
            retention = NEVER if window == NEVER else window + silence
            make = lambda key: slots.Returns(key, retention, silence, keep)  # noqa: E731
            slot = cast(slots.Returns, self.slot("returns", one.ref, (silence, window), make))
            slot.keep = max(slot.keep, keep)
            text = f"{text} after a silence of {format_duration(silence)}"
            return conditions.returned(text, slot.key, window, low, high, threshold)
        if one.per is None:
            return conditions.counted(text, self.times(one.ref, window, keep), window, low, high, threshold)
        key = self.keyed(one.ref, one.per, window, keep, slots.KEYS)
        without = None
        text = f"{text}, the same {one.per}"
        if one.without is not None:
            without = self.keyed(one.without, one.without_per or one.per, window, 1, slots.KEYS)
            text = f"{text}, without {reads(one.without)}"
        return conditions.per_value(text, key, without, window, low, high, threshold)

    def aggregate(self, one: Aggregate) -> Compiled:
        window = _window(one.within)
        text = f"{one.fn} of {one.of} over {reads(one.ref)}"
        if window != NEVER:
            text = f"{text} within {format_duration(window)}"
        if one.fn == "distinct":
            low, high = conditions.count_bounds(one.tests)
            key = self.distinct(one.ref, one.of, window, max(low, 1, 0 if high is None else high + 1))
            return conditions.distinct(text, key, window, low, high, thresholds(one.tests))
        key = self.numbers(one.fn, one.ref, one.of, window)
        return conditions.aggregated(text, one.fn, key, window, one.tests, thresholds(one.tests))

    def sequence(self, one: Sequence) -> int:
        zones = [self.zone(ref.during.zone) for ref in one.unless if ref.during]
        what = (one.silence, tuple(map(repr, one.unless)), *([zones] if zones else []))
        anchors = self.slot("sequence", one.start, what, lambda key: slots.Anchors(key, one.silence))
        for ref in one.unless:
            self.count(ref, slots.Cancel(anchors.key, one.silence))
        return anchors.key

    def rising(self, one: Condition) -> Iterable[tuple[int, int]]:
        """The sequences (slot key, silence) whose completions count as rises: all but those beneath `not`."""
        if isinstance(one, Sequence):
            yield self.sequence(one), one.silence
        elif isinstance(one, Journey):
            yield kinds.journey_slot(self, one)
        elif isinstance(one, All | AnyOf | AtLeast):
            for part in one.of:
                yield from self.rising(part)


def _window(within: int | None) -> int:
    return NEVER if within is None else within
