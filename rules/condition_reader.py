"""Reading conditions: each key of the rule language to the definition that it stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Final, Literal, cast

from profiles.document import Mapping, Node, Scalar, Sequence, suggestion
from rules import vocabulary
from rules.conditions import count_bounds
from rules.definition import (
    Absent,
    Affinity,
    Aggregate,
    All,
    AnyOf,
    AtLeast,
    Condition,
    Engagement,
    EventRef,
    Happened,
    Hysteresis,
    Not,
    Operator,
    Points,
    Rate,
    Score,
    Since,
    Test,
    Trait,
    Trend,
)
from rules.kinds import KINDS, numbers
from rules.kinds.kind import Kind
from rules.reader import LARGEST_COUNT, LONGEST_NAME, Reader

MOST_CONDITIONS: Final = 200
LONGEST_TRAIT: Final = 256
"""Text traits are kept up to this length, so a longer one is never equal to anything."""


class ConditionReader(Reader):
    """Reads conditions. `asked` are the segments that they ask for, with where that stands; `negated` counts the `not` around.

    `leaves` are the conditions that look at the customer, with where each stands.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conditions = 0
        self.negated = 0
        self.asked: list[tuple[str, Node]] = []
        self.leaves: list[tuple[Condition, Node]] = []
        self.readers: dict[str, Callable[[Mapping], Condition]] = {
            "event": self.happened,
            "absent": self.absent,
            "since": self.since,
            "aggregate": self.aggregate,
            "trait": self.trait,
            "all": lambda node: All(self.several(node["all"], "`all`")),
            "any": lambda node: AnyOf(self.several(node["any"], "`any`")),
            "not": self.negation,
            "at_least": self.at_least,
            "points": self.points,
            **{kind.key: partial(kind.read, self) for kind in KINDS.values()},
        }

    # --- conditions -------------------------------------------------------------------------------------------------

    def condition(self, node: Node) -> Condition:
        """One condition: a mapping with exactly one of the keys that are conditions."""
        self.conditions += 1
        nothing = Trait(())
        if isinstance(node, Sequence):
            self.wrong(node, "a condition is a mapping, not a list", "write `all: [...]` or `any: [...]`")
            return nothing
        if not isinstance(node, Mapping):
            written = node.text[:60] if isinstance(node, Scalar) else ""
            hint = f"write `event: {written}`" if written else "write for example `event: Order Completed`"
            self.wrong(node, f"a condition is a mapping, not {node.kind}", hint)
            return nothing
        found = [key for key in node if key in self.readers]
        # What may stand beside another is no condition of its own there: `during` says when an event happened.
        kinds = [key for key in found if not any(key in _beside(other) for other in found)]
        if not kinds:
            self.no_condition(node)
            return nothing
        for other in kinds[1:]:
            both = f"`all: [{{{kinds[0]}: ...}}, {{{other}: ...}}]`"
            self.wrong(
                node.keys[other],
                f"{other!r} is a condition of its own beside {kinds[0]!r}",
                f"write {both} if both are meant",
            )
        if kinds[1:]:
            return nothing
        known = (kinds[0], *_beside(kinds[0]))
        self.only(node, known, vocabulary.NOT_CONDITIONS)
        inner = self.conditions
        found_condition = self.readers[kinds[0]](node)
        if self.conditions == inner:
            self.leaves.append((found_condition, node))
        return found_condition

    def no_condition(self, node: Mapping) -> None:
        if not len(node):
            self.wrong(node, "the condition is empty", f"write one of {', '.join(CONDITION_KEYS)}")
            return
        modifiers = {key for kind in self.readers for key in _beside(kind)}
        for key, at in node.keys.items():
            if key not in modifiers:
                self.wrong(at, *vocabulary.about_unknown(key, CONDITION_KEYS, vocabulary.NOT_CONDITIONS))
                return
        self.wrong(node, "this is no condition", f"it needs one of {', '.join(CONDITION_KEYS)}")

    def several(self, node: Node, what: str) -> tuple[Condition, ...]:
        """A list of conditions."""
        return tuple(map(self.condition, self.entries(node, what, MOST_CONDITIONS, "write `[{...}, {...}]`")))

    def within(self, node: Mapping) -> int | None:
        window = node.get("within")
        return None if window is None else self.duration(window, "`within`")

    def happened(self, node: Mapping) -> Condition:
        ref = EventRef(self.event_name(node["event"], "`event`"), self.where(node), self.during(node))
        within, counts = self.within(node), self.counts(node)
        if "after_silence" in node:
            for key in ("per", "without"):
                if key in node:
                    self.wrong(
                        node.keys[key], f"{key!r} cannot stand beside 'after_silence'", "use two conditions under `all`"
                    )
            return Happened(ref, within, counts, after_silence=self.duration(node["after_silence"], "`after_silence`"))
        per = self.path(node["per"], "`per`") if "per" in node else None
        without, without_per = None, None
        if "without" in node:
            if per is None:
                self.wrong(
                    node.keys["without"], "'without' needs 'per'", "`per` says what must be the same in both events"
                )
            without, without_per = self.without(node["without"])
        return Happened(ref, within, counts, per, without, without_per)

    def without(self, node: Node) -> tuple[EventRef, str | None]:
        if not isinstance(node, Mapping):
            return self.reference(node, "`without`"), None
        self.only(node, vocabulary.WITHOUT_KEYS)
        if "event" not in node:
            self.wrong(node, "`without` names no event", "write `without: {event: <name>, per: <path>}`")
            return EventRef(""), None
        ref = EventRef(self.event_name(node["event"], "`event`"), self.where(node), self.during(node))
        return ref, self.path(node["per"], "`per`") if "per" in node else None

    def counts(self, node: Mapping) -> tuple[Test, ...]:
        """How often; at least once unless told."""
        default = (Test("", Operator.GTE, 1),)
        count = node.get("count")
        if count is None:
            return default
        if isinstance(count, Scalar):
            number = count.text if type(count.value) is int else "3"
            self.wrong(
                count,
                "`count` must be a mapping of comparisons",
                f"write `count: {{gte: {number}}}` or `count: {{eq: {number}}}`",
            )
            return default
        found = self.mapping(count, "`count`", "write `count: {gte: 3}`")
        if found is None:
            return default
        before = len(self.errors)
        self.only(found, vocabulary.COUNT_OPERATORS, vocabulary.NOT_OPERATORS)
        if len(self.errors) > before:
            return default
        tests = self.numbers(found, vocabulary.COUNT_OPERATORS, "`count`", "count")
        if len(self.errors) > before:
            return default
        self.possible_count(found, tests)
        return tests

    def possible_count(self, node: Mapping, tests: tuple[Test, ...]) -> None:
        """Note where the comparisons of a count say nothing, or what no number satisfies."""
        low, high = count_bounds(tests)
        if high == 0:
            self.wrong(node, "this asks for no event at all", "write `absent: <event>`")
        elif high is not None and low > high:
            self.wrong(node, "no number satisfies these comparisons")
        elif low == 0 and high is None:
            self.wrong(node, "every number satisfies these comparisons", "write `count: {gte: 1}`, or leave it out")
        elif low > LARGEST_COUNT:
            self.wrong(node, f"counts are kept up to {LARGEST_COUNT:,}")

    def absent(self, node: Mapping) -> Condition:
        return Absent(
            EventRef(self.event_name(node["absent"], "`absent`"), self.where(node), self.during(node)),
            self.within(node),
        )

    def since(self, node: Mapping) -> Condition:
        ref = EventRef(self.event_name(node["since"], "`since`"), self.where(node), self.during(node))
        tests = self.numbers(node, vocabulary.SINCE_OPERATORS, "`since`", "duration")
        low, high = _bounds(tests)
        if low > high:
            self.wrong(node, "no time since satisfies these comparisons")
        occurrence = node.get("occurrence")
        if occurrence is not None and occurrence.plain() not in ("first", "last"):
            self.wrong(occurrence, "`occurrence` is first or last")
            return Since(ref, tests)
        first = occurrence is not None and occurrence.plain() == "first"
        return Since(ref, tests, "first" if first else "last")

    def aggregate(self, outer: Mapping) -> Condition:
        nothing = Trait(())
        node = self.mapping(
            outer["aggregate"], "`aggregate`", "write `{of: properties.revenue, fn: sum, event: ..., gte: 200}`"
        )
        if node is None:
            return nothing
        found = node.get("fn")
        if isinstance(found, Scalar) and found.value in numbers.FUNCTIONS:
            return numbers.read_function(self, node, str(found.value))
        before = len(self.errors)
        fn = self.function(node)
        operators = vocabulary.COUNT_OPERATORS if fn == "distinct" else vocabulary.NUMBER_OPERATORS
        self.only(node, (*vocabulary.AGGREGATE_KEYS, *operators), vocabulary.NOT_CONDITIONS)
        of = self.path(node["of"], "`of`") if "of" in node else ""
        if "of" not in node:
            self.wrong(node, "'of' is missing here", "say which number: `of: properties.revenue`")
        if "event" not in node:
            self.wrong(node, "'event' is missing here", "say over which events: `event: Order Completed`")
            return nothing
        ref = EventRef(self.event_name(node["event"], "`event`"), self.where(node), self.during(node))
        tests = self.numbers(node, operators, "`aggregate`", "count" if fn == "distinct" else "number")
        if fn == "distinct" and len(self.errors) == before:
            low, high = count_bounds(tests)
            if high is not None and low > high:
                self.wrong(node, "no number satisfies these comparisons")
        condition = self.with_exit(node, Aggregate(fn, of, ref, tests, self.within(node)))
        if fn == "distinct":
            numbers.check_whole_exit(self, node)
        return condition

    def function(self, node: Mapping) -> Literal["sum", "mean", "min", "max", "distinct"]:
        found = node.get("fn")
        name = found.plain() if isinstance(found, Scalar) else None
        functions = (*vocabulary.AGGREGATES, *numbers.FUNCTIONS)
        if name in vocabulary.AGGREGATES:
            return cast(Literal["sum", "mean", "min", "max", "distinct"], name)
        if found is None:
            self.wrong(node, "'fn' is missing here", f"one of {', '.join(functions)}")
        else:
            hint = suggestion(str(name)[:60], functions)
            self.wrong(found, f"`fn` is one of {', '.join(functions)}", hint if hint.startswith("did") else "")
        return "sum"

    def trait(self, outer: Mapping) -> Condition:
        node = self.mapping(outer["trait"], "`trait`", "write `trait: {email_consent: true}`")
        if node is None:
            return Trait(())
        if not len(node):
            self.wrong(node, "`trait` is empty", "write `trait: {email_consent: true}`")
        tests: list[Test] = []
        for name, value in node.items():
            at = node.keys[name]
            self.text(at, "the name of a trait", LONGEST_NAME)
            if name.startswith("traits."):
                self.wrong(
                    at, "`trait` takes the name of a trait, not a path", f"write {name.removeprefix('traits.')[:100]!r}"
                )
            tests += self.comparisons(name, value, vocabulary.VALUE_OPERATORS, LONGEST_TRAIT)
        return Trait(tuple(tests))

    def at_least(self, outer: Mapping) -> Condition:
        node = self.mapping(outer["at_least"], "`at_least`", "write `at_least: {n: 2, of: [...]}`")
        if node is None:
            return Trait(())
        self.only(node, vocabulary.AT_LEAST_KEYS)
        for key in vocabulary.AT_LEAST_KEYS:
            if key not in node:
                self.wrong(node, f"{key!r} is missing here", "write `at_least: {n: 2, of: [...]}`")
        of = self.several(node["of"], "`of`") if "of" in node else ()
        n = self.integer(node["n"], "`n`", 1, max(1, len(of)) if of else MOST_CONDITIONS) if "n" in node else 1
        return AtLeast(n, of)

    def points(self, outer: Mapping) -> Condition:
        example = "write `points: {of: [{when: {...}, points: 3}], gte: 5}`"
        node = self.mapping(outer["points"], "`points`", example)
        if node is None:
            return Trait(())
        self.only(node, (*vocabulary.POINTS_KEYS, *vocabulary.NUMBER_OPERATORS), vocabulary.NOT_CONDITIONS)
        if "of" not in node:
            self.wrong(node, "'of' is missing here", example)
            return Trait(())
        weighed = []
        for entry in self.entries(node["of"], "`of`", MOST_CONDITIONS, example):
            one = self.mapping(entry, "an entry of `of`", "write `{when: {...}, points: 3}`")
            if one is None:
                continue
            self.only(one, vocabulary.POINT_KEYS)
            if missing := [key for key in vocabulary.POINT_KEYS if key not in one]:
                self.wrong(one, f"{missing[0]!r} is missing here", "write `{when: {...}, points: 3}`")
                continue
            self.negated += 1  # what adds points may take some away: a second threshold would not always keep in
            weighed.append((self.condition(one["when"]), float(self.number(one["points"], "`points`"))))
            self.negated -= 1
        tests = self.numbers(node, vocabulary.NUMBER_OPERATORS, "`points`", "number")
        return self.with_exit(node, Points(tuple(weighed), tests))

    def known_keys(self, node: Mapping, kind: Kind) -> None:
        """Note every key in the mapping of a condition that its kind does not know."""
        self.only(node, (*(key.name for key in kind.keys), *kind.operators), vocabulary.NOT_CONDITIONS)

    def with_exit(self, node: Mapping, condition: Numeric) -> Condition:
        """The condition with a second threshold for those who are in, if `exit_below` or `exit_above` stands in `node`."""
        for key, enter, leave in (
            ("exit_below", (Operator.GTE, Operator.GT), Operator.GTE),
            ("exit_above", (Operator.LTE, Operator.LT), Operator.LTE),
        ):
            if key not in node:
                continue
            at = node.keys[key]
            bounds = [test.operand for test in condition.tests if test.operator in enter]
            limit = self.number(node[key], f"`{key}`")
            words = "gte" if key == "exit_below" else "lte"
            if self.negated:
                self.wrong(
                    at, f"{key!r} cannot stand beneath `not` or `points`", "turn the comparison round, or leave it out"
                )
            elif not bounds or len(condition.tests) > 1:
                self.wrong(at, f"{key!r} goes with one `{words}`", f"write for example `{words}: 0.7`")
            elif not isinstance(bounds[0], int | float) or (limit > bounds[0]) == (key == "exit_below"):
                side = "above" if key == "exit_below" else "below"
                self.wrong(at, f"{key!r} is {side} the threshold to enter", "whoever enters would leave at once")
            else:
                return Hysteresis(condition, dataclasses.replace(condition, tests=(Test("", leave, limit),)))
        return condition

    def number(self, node: Node, what: str) -> int | float:
        """One number; 0 where it is wrong."""
        value = self.value(node)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong(node, f"{what} must be a number")
            return 0
        return value

    def negation(self, node: Mapping) -> Condition:
        self.negated += 1
        try:
            return Not(self.condition(node["not"]))
        finally:
            self.negated -= 1


CONDITION_KEYS: Final = (*vocabulary.CONDITION_KEYS, *KINDS)
"""Each condition has exactly one of these."""

Numeric = Score | Aggregate | Points | Rate | Trend | Affinity | Engagement
"""Conditions with one number and its comparisons in `tests`."""


def _beside(key: str) -> tuple[str, ...]:
    """What may stand beside the key of a condition."""
    kind = KINDS.get(key)
    if kind is None:
        return vocabulary.MODIFIERS.get(key, ())
    return (*(one.name for one in kind.beside), *(kind.operators if not kind.keys else ()))


def _bounds(tests: tuple[Test, ...]) -> tuple[int, int]:
    """The shortest and the longest duration that satisfy the tests."""
    low, high = 0, 2**63
    for test in tests:
        operand = test.operand
        if isinstance(operand, tuple):
            low, high = max(low, int(operand[0])), min(high, int(operand[1]))
            continue
        bound = int(operand)
        if test.operator in (Operator.GT, Operator.GTE):
            low = max(low, bound + (test.operator is Operator.GT))
        else:
            high = min(high, bound - (test.operator is Operator.LT))
    return low, high
