"""From the text of a rule file to what it means: a `Segment`, and the tests that it brings along.

Everything that is wrong with a file is found at once, each with its line, column and a hint; a file is either understood
wholly or refused. What is understood but hardly meant is a warning.

>>> text = '''
... segment: vip
... when: {event: Order Completed, within: 30d, count: {gte: 3}}
... '''
>>> parse_rule(text, "vip.yaml").segment.when.within
2592000000
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, Literal, cast

from profiles.document import DocumentError, Mapping, Node, Scalar, Sequence, load, suggestion
from rules import definition, vocabulary
from rules.conditions import count_bounds
from rules.definition import (
    Absent,
    Aggregate,
    All,
    AnyOf,
    AtLeast,
    Condition,
    EventRef,
    Exit,
    Happened,
    Not,
    Operator,
    Segment,
    Since,
    Test,
    Trait,
)
from rules.errors import RuleError, RuleErrors, RuleWarning
from rules.permanence import is_permanent, rises_again
from rules.reader import LARGEST_COUNT, LONGEST_NAME, Reader
from rules.scenario import Scenario
from rules.scenario_parse import read_scenarios

MOST_CONDITIONS: Final = 200
LONGEST_SEGMENT_NAME: Final = 64
LONGEST_DESCRIPTION: Final = 4000
LONGEST_TRAIT: Final = 256
"""Text traits are kept up to this length, so a longer one is never equal to anything."""

_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Rule:
    """One rule file, understood: the segment, its tests, and what may not have been meant. `at` is where its name stands."""

    segment: Segment
    scenarios: tuple[Scenario, ...]
    warnings: tuple[RuleWarning, ...]
    at: tuple[int, int] = (1, 1)


def parse_rule(text: str, file: str) -> Rule:
    """The rule in `text`; `file` is for messages, and its name without `.yaml` must be the segment's.

    Raises `RuleErrors` with everything that is wrong.
    """
    try:
        document = load(text, file)
    except DocumentError as error:
        raise RuleErrors([RuleError(error.file, error.line, error.column, error.message, error.hint)]) from None
    parser = _Parser()
    segment, scenarios = parser.rule(document)
    if parser.errors:
        raise RuleErrors(parser.errors, parser.unlisted)
    return Rule(segment, scenarios, tuple(sorted(parser.warnings)), parser.at)


def digest(name: str, when: Condition, exit_: Exit | None) -> str:
    """What a segment means, as 16 hexadecimal digits: the same for all files that decide alike, word for word."""
    canonical = json.dumps([name, _canonical(when), _canonical(exit_)], ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def _canonical(value: Any) -> Any:
    """A definition as plain lists. Defaults are left out, so that a field added later changes no digest."""
    if dataclasses.is_dataclass(value):
        found: list[Any] = [type(value).__name__]
        for field in dataclasses.fields(value):
            one = getattr(value, field.name)
            if one != field.default:
                plain = _canonical(one)
                # Tests are joined by `and`: their order means nothing.
                unordered = field.name in ("where", "tests", "counts")
                found.append([field.name, sorted(plain, key=json.dumps) if unordered else plain])
        return found
    if isinstance(value, tuple):
        return [_canonical(one) for one in value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


class _Parser(Reader):
    """Reads one rule file."""

    def __init__(self) -> None:
        super().__init__()
        self.conditions = 0
        self.at = (1, 1)
        self.readers: dict[str, Callable[[Mapping], Condition]] = {
            "event": self.happened,
            "absent": self.absent,
            "since": self.since,
            "aggregate": self.aggregate,
            "trait": self.trait,
            "sequence": self.sequence,
            "all": lambda node: All(self.several(node["all"], "`all`")),
            "any": lambda node: AnyOf(self.several(node["any"], "`any`")),
            "not": lambda node: Not(self.condition(node["not"])),
            "at_least": self.at_least,
        }

    def rule(self, document: Node) -> tuple[Segment, tuple[Scenario, ...]]:
        nothing = Segment("", Trait(()))
        root = self.mapping(document, "a rule file", "it begins with `segment: <name>`")
        if root is None:
            return nothing, ()
        self.only(root, vocabulary.SEGMENT_KEYS)
        name = self.name(root)
        texts = {
            key: self.text(root[key], f"`{key}`", LONGEST_DESCRIPTION) if key in root else ""
            for key in ("name", "owner", "description")
        }
        when, exit_ = root.get("when"), root.get("exit")
        if when is None:
            self.wrong(
                root,
                "'when' is missing here",
                "say who is in the segment: `when: {event: Order Completed, within: 30d}`",
            )
            return nothing, ()
        condition = self.condition(when)
        if self.conditions > MOST_CONDITIONS:
            self.wrong(
                when, f"the rule has {self.conditions} conditions, more than {MOST_CONDITIONS}", "split the segment"
            )
        leaves = self.exit(exit_) if exit_ is not None else None
        if not self.errors and is_permanent(condition):
            self.warn_of_permanence(root.keys["when"], condition, leaves)
        tests = root.get("tests")
        scenarios = read_scenarios(self, tests) if tests is not None else ()
        segment = Segment(
            name,
            condition,
            leaves,
            texts["name"] or name,
            texts["owner"],
            texts["description"],
            "" if self.errors else digest(name, condition, leaves),
            file=root.file,
        )
        return segment, scenarios

    def warn_of_permanence(self, node: Node, condition: Condition, leaves: Exit | None) -> None:
        if leaves is None:
            hint = "add `within`, or an `exit`, unless this is meant"
            self.warn(node, "nobody ever leaves this segment: once true, the rule stays true", hint)
        elif not rises_again(condition):
            hint = "add `within`, so that the rule can become true anew, unless this is meant"
            self.warn(node, "nobody enters this segment a second time: once true, the rule stays true", hint)

    def name(self, root: Mapping) -> str:
        node = root.get("segment")
        if node is None:
            near = suggestion("segment", [key for key in root if key not in vocabulary.SEGMENT_KEYS])
            self.wrong(
                root, "'segment' is missing here", near if near.startswith("did") else "begin with `segment: <name>`"
            )
            return ""
        self.at = (node.line, node.column)
        name = self.text(node, "`segment`")
        if not name:
            return ""
        if not _NAME.fullmatch(name) or len(name) > LONGEST_SEGMENT_NAME:
            better = "-".join(re.findall(r"[a-z0-9]+", name.lower()))[:LONGEST_SEGMENT_NAME].strip("-")
            rule = f"must be 1 to {LONGEST_SEGMENT_NAME} small letters and digits, words joined by dashes"
            self.wrong(node, f"the name of a segment {rule}", f"for example {better!r}" if better else "")
            return ""
        stem = PurePath(node.file).name.removesuffix(".yaml")
        if stem != name:
            self.wrong(
                node, f"segment {name!r} stands in a file named {stem[:100]!r}", f"rename the file to {name}.yaml"
            )
        return name

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
        kinds = [key for key in node if key in self.readers]
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
        known = (kinds[0], *vocabulary.MODIFIERS.get(kinds[0], ()))
        self.only(node, known, vocabulary.NOT_CONDITIONS)
        return self.readers[kinds[0]](node)

    def no_condition(self, node: Mapping) -> None:
        if not len(node):
            self.wrong(node, "the condition is empty", f"write one of {', '.join(vocabulary.CONDITION_KEYS)}")
            return
        modifiers = {key for keys in vocabulary.MODIFIERS.values() for key in keys}
        for key, at in node.keys.items():
            if key not in modifiers:
                self.wrong(at, *vocabulary.about_unknown(key, vocabulary.CONDITION_KEYS, vocabulary.NOT_CONDITIONS))
                return
        self.wrong(node, "this is no condition", f"it needs one of {', '.join(vocabulary.CONDITION_KEYS)}")

    def several(self, node: Node, what: str) -> tuple[Condition, ...]:
        """A list of conditions."""
        return tuple(map(self.condition, self.entries(node, what, MOST_CONDITIONS, "write `[{...}, {...}]`")))

    def within(self, node: Mapping) -> int | None:
        window = node.get("within")
        return None if window is None else self.duration(window, "`within`")

    def happened(self, node: Mapping) -> Condition:
        ref = EventRef(self.event_name(node["event"], "`event`"), self.where(node))
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
        ref = EventRef(self.event_name(node["event"], "`event`"), self.where(node))
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
        low, high = count_bounds(tests)
        if high == 0:
            self.wrong(found, "this asks for no event at all", "write `absent: <event>`")
        elif high is not None and low > high:
            self.wrong(found, "no number satisfies these comparisons")
        elif low == 0 and high is None:
            self.wrong(found, "every number satisfies these comparisons", "write `count: {gte: 1}`, or leave it out")
        elif low > LARGEST_COUNT:
            self.wrong(found, f"counts are kept up to {LARGEST_COUNT:,}")
        return tests

    def absent(self, node: Mapping) -> Condition:
        return Absent(EventRef(self.event_name(node["absent"], "`absent`"), self.where(node)), self.within(node))

    def since(self, node: Mapping) -> Condition:
        ref = EventRef(self.event_name(node["since"], "`since`"), self.where(node))
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
        ref = EventRef(self.event_name(node["event"], "`event`"), self.where(node))
        tests = self.numbers(node, operators, "`aggregate`", "count" if fn == "distinct" else "number")
        if fn == "distinct" and len(self.errors) == before:
            low, high = count_bounds(tests)
            if high is not None and low > high:
                self.wrong(node, "no number satisfies these comparisons")
        return Aggregate(fn, of, ref, tests, self.within(node))

    def function(self, node: Mapping) -> Literal["sum", "mean", "min", "max", "distinct"]:
        found = node.get("fn")
        name = found.plain() if isinstance(found, Scalar) else None
        if name in vocabulary.AGGREGATES:
            return cast(Literal["sum", "mean", "min", "max", "distinct"], name)
        if found is None:
            self.wrong(node, "'fn' is missing here", f"one of {', '.join(vocabulary.AGGREGATES)}")
        elif name in vocabulary.LATER:
            self.wrong(
                found, f"{name!r} is not something this version knows yet", f"one of {', '.join(vocabulary.AGGREGATES)}"
            )
        elif name == "count":
            self.wrong(
                found, "events are counted by `event` and `count`", "write `{event: ..., within: ..., count: {gte: 3}}`"
            )
        else:
            hint = suggestion(str(name)[:60], vocabulary.AGGREGATES)
            self.wrong(
                found, f"`fn` is one of {', '.join(vocabulary.AGGREGATES)}", hint if hint.startswith("did") else ""
            )
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

    def sequence(self, outer: Mapping) -> Condition:
        nothing = Trait(())
        example = "write `steps: [{event: Cart Updated}, {not: Order Completed, for: 30m}]`"
        node = self.mapping(outer["sequence"], "`sequence`", example)
        if node is None:
            return nothing
        self.only(node, vocabulary.SEQUENCE_KEYS)
        if "steps" not in node:
            self.wrong(node, "'steps' is missing here", example)
            return nothing
        steps = self.entries(node["steps"], "`steps`", 20, example)
        if not steps:
            return nothing
        if len(steps) != 2:
            self.wrong(node["steps"], f"this version knows sequences of two steps, not of {len(steps)}", example)
            return nothing
        first = self.mapping(steps[0], "the first step", "write `{event: <name>}`")
        second = self.mapping(steps[1], "the second step", "write `{not: <name>, for: 30m}`")
        if first is None or second is None:
            return nothing
        start = self.reference(first, "the first step")
        if "not" not in second:
            self.wrong(second, "the second step says what does not happen", "write `{not: <name>, for: 30m}`")
            return nothing
        self.only(second, ("not", "for"))
        unless = self.references(second["not"], "`not`")
        if "for" not in second:
            self.wrong(second, "'for' is missing here", "say for how long: `for: 30m`")
            return nothing
        return definition.Sequence(start, self.duration(second["for"], "`for`"), unless)

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

    # --- how membership ends ----------------------------------------------------------------------------------------

    def exit(self, outer: Node) -> Exit | None:
        node = self.mapping(outer, "`exit`", "write `exit: {on: Order Completed, after: 72h}`")
        if node is None:
            return None
        self.only(node, vocabulary.EXIT_KEYS)
        if "on" not in node and "after" not in node:
            self.wrong(node, "`exit` needs 'on' or 'after'", "write `exit: {on: Order Completed, after: 72h}`")
        on = self.references(node["on"], "`on`") if "on" in node else ()
        after = self.duration(node["after"], "`after`") if "after" in node else None
        return Exit(on, after)


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
