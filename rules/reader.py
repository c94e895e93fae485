"""Reading typed values out of a positioned document, and noting everything that is wrong on the way.

A `Reader` never stops at the first error: what cannot be read is noted and replaced by some harmless value, so that one
look at a file finds all that is wrong with it. Whoever uses what was read asks `errors` first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from collections.abc import Sequence as Seq
from typing import Final

from profiles.document import Mapping, Node, Scalar, Sequence, nearest
from profiles.zones import is_zone
from rules import definition
from rules.calendar_reader import read_during
from rules.definition import During, EventRef, Operand, Operator, Test
from rules.duration import format_duration, parse_duration
from rules.errors import SHOWN_ERRORS, RuleError, RuleWarning
from rules.moments import moment_of
from rules.patterns import LONGEST_PATTERN, BadPattern, compile_pattern
from rules.vocabulary import NOT_OPERATORS, PATH_ROOTS, REFERENCE_KEYS, VALUE_OPERATORS, about_unknown

LONGEST_DURATION: Final = 3650 * 86_400_000
"""Ten years: longer is a slip of the pen, and profiles do not live that long."""

LARGEST_COUNT: Final = 1000
"""The newest so many event times are kept for a count, so a bound above cannot be decided."""

MORE_THAN_COUNTED: Final = (
    "what is counted is kept one by one; for more events write "
    "`aggregate: {fn: rate, event: ..., within: 30d, per: 30d, gte: 5000}`, which merges them beyond 228"
)
"""How to ask for more than `LARGEST_COUNT`, with a bounded state."""

LARGEST_NUMBER: Final = 9_000_000_000_000
"""Numbers are compared and summed in millionths within 64 bits."""

MOST_VALUES: Final = 1000
MOST_TESTS: Final = 50
MOST_PATH_PARTS: Final = 8
LONGEST_TEXT: Final = 1000
LONGEST_NAME: Final = 256

_ORDERED: Final = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)
_TEXTUAL: Final = (Operator.CONTAINS, Operator.STARTS_WITH, Operator.ENDS_WITH)
_OFFSET: Final = re.compile(r"[-+]")


class Reader:
    """Reads nodes and notes errors and warnings."""

    def __init__(self) -> None:
        self.errors: list[RuleError] = []
        self.warnings: list[RuleWarning] = []
        self.unlisted = 0

    def wrong(self, node: Node, message: str, hint: str = "") -> None:
        """Note an error at `node`."""
        if len(self.errors) < SHOWN_ERRORS:
            self.errors.append(RuleError(node.file, node.line, node.column, message, hint))
        else:
            self.unlisted += 1

    def warn(self, node: Node, message: str, hint: str = "") -> None:
        """Note a warning at `node`."""
        if len(self.warnings) < SHOWN_ERRORS:
            self.warnings.append(RuleWarning(node.file, node.line, node.column, message, hint))

    # --- keys -------------------------------------------------------------------------------------------------------

    def only(self, node: Mapping, known: Seq[str], instead: Map[str, str] | None = None) -> None:
        """Note every key of `node` that is not known at this place."""
        for key, at in node.keys.items():
            if key not in known and len(self.errors) >= SHOWN_ERRORS:
                self.unlisted += 1  # looking for the nearest known key takes its time
            elif key not in known:
                self.wrong(at, *about_unknown(key, known, instead))

    def mapping(self, node: Node, what: str, hint: str = "") -> Mapping | None:
        """The node if it is a mapping."""
        if isinstance(node, Mapping):
            return node
        self.wrong(node, f"{what} must be a mapping, not {node.kind}", hint)
        return None

    def entries(self, node: Node, what: str, most: int, hint: str = "", least: int = 1) -> tuple[Node, ...]:
        """The elements of a list that has between `least` and `most` of them; none where it is wrong."""
        if not isinstance(node, Sequence):
            self.wrong(node, f"{what} must be a list, not {node.kind}", hint)
            return ()
        if len(node) < least:
            self.wrong(node, f"{what} is empty" if not len(node) else f"{what} needs at least {least} entries", hint)
            return ()
        if len(node) > most:
            self.wrong(node, f"{what} has {len(node):,} entries, more than {most:,}")
            return ()
        return node.items

    # --- single values ----------------------------------------------------------------------------------------------

    def text(self, node: Node, what: str, longest: int = LONGEST_TEXT) -> str:
        """A text that is not empty; `` where it is wrong."""
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            written = node.text if isinstance(node, Scalar) else ""
            hint = f'quote it: "{written}"' if written and len(written) < 60 else ""
            self.wrong(node, f"{what} must be text, not {node.kind}", hint)
            return ""
        if not node.value.strip():
            self.wrong(node, f"{what} is empty")
        elif len(node.value) > longest:
            self.wrong(node, f"{what} has {len(node.value):,} characters, more than {longest:,}")
        else:
            return node.value
        return ""

    def zone(self, node: Node, what: str) -> str | None:
        """The name of a time zone; None where it is wrong."""
        name = self.text(node, what, 64)
        if not name or is_zone(name):
            return name or None
        self.wrong(node, f"{name!r} is no time zone", "write a name such as Europe/Berlin or America/New_York")
        return None

    def integer(self, node: Node, what: str, low: int, high: int, beyond: str = "") -> int:
        """A whole number within bounds; `low` where it is wrong. `beyond` is a hint for what is above them."""
        if not isinstance(node, Scalar) or type(node.value) is not int:
            self.wrong(node, f"{what} must be a whole number, not {_shown(node)}")
        elif not low <= node.value <= high:
            hint = beyond if node.value > high else ""
            self.wrong(node, f"{what} must be between {low:,} and {high:,}, not {node.text}", hint)
        else:
            return node.value
        return low

    def duration(self, node: Node, what: str) -> int:
        """A duration above zero in milliseconds; a day where it is wrong."""
        value = node.value if isinstance(node, Scalar) else None
        try:
            if not isinstance(value, str):
                raise ValueError("must be a duration such as 30m, 24h, 7d or 1h30m")
            length = parse_duration(value)
        except ValueError as error:
            # A number without its unit is the commonest slip by far.
            bare = isinstance(node, Scalar) and type(value) in (int, float)
            hint = f"add the unit: {node.text}d for days, {node.text}h for hours" if bare else ""  # type: ignore[attr-defined]
            self.wrong(node, f"{what} {error}, not {_shown(node)}", hint)
            return 86_400_000
        if not 0 < length <= LONGEST_DURATION:
            least, most = format_duration(1), format_duration(LONGEST_DURATION)
            self.wrong(node, f"{what} must be at least {least} and at most {most}, not {_shown(node)}")
            return 86_400_000
        return length

    def offset(self, node: Node, what: str) -> int:
        """A time in a test in milliseconds from its start, such as `40m` or `-10d`; 0 where it is wrong."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, str):
            sign = -1 if value.startswith("-") else 1
            try:
                length = parse_duration(_OFFSET.sub("", value, count=1) if value[:1] in ("-", "+") else value)
            except ValueError:
                pass
            else:
                if length <= LONGEST_DURATION:
                    return sign * length
        self.wrong(
            node, f"{what} must be a time from the start of the test such as 0m, 40m or -10d, not {_shown(node)}"
        )
        return 0

    def moment(self, node: Node, what: str) -> int:
        """A date, a date with a time, or epoch milliseconds, in epoch milliseconds; 0 where it is wrong."""
        moment = moment_of(node.value) if isinstance(node, Scalar) else None
        if moment is None:
            hint = "write a date such as 2026-03-02, or a moment such as 2026-03-02T09:00:00Z"
            self.wrong(node, f"{what} must be a date or a moment, not {_shown(node)}", hint)
            return 0
        return moment

    def pattern(self, node: Node, what: str) -> str:
        """A regular expression; an empty one where it is wrong."""
        pattern = self.text(node, what, LONGEST_PATTERN)
        try:
            compile_pattern(pattern)
        except BadPattern as error:
            hint = ""
            if "invalid perl operator" in str(error) or "invalid escape sequence: \\" in str(error):
                hint = "patterns are those of RE2, without looking around and back-references: they never take long"
            self.wrong(node, f"{what} is no pattern: {error}", hint)
            return ""
        return pattern

    # --- events and comparisons -------------------------------------------------------------------------------------

    def event_name(self, node: Node, what: str) -> str:
        """The name of an event, or `any`."""
        return self.text(node, what, LONGEST_NAME)

    def reference(self, node: Node, what: str) -> EventRef:
        """Which events are meant: a name, or a mapping with `event` and `where`."""
        if isinstance(node, Mapping):
            self.only(node, REFERENCE_KEYS)
            name = node.get("event")
            if name is None:
                self.wrong(node, f"{what} names no event", "write `event: <name>`")
                return EventRef("")
            return EventRef(self.event_name(name, "`event`"), self.where(node), self.during(node))
        if isinstance(node, Sequence):
            self.wrong(node, f"{what} must be the name of an event or a mapping with `event` and `where`, not a list")
            return EventRef("")
        return EventRef(self.event_name(node, what))

    def references(self, node: Node, what: str) -> tuple[EventRef, ...]:
        """One reference, or a list of them."""
        if isinstance(node, Sequence):
            return tuple(self.reference(one, f"an entry of {what}") for one in self.entries(node, what, MOST_TESTS))
        return (self.reference(node, what),)

    def where(self, node: Mapping) -> tuple[Test, ...]:
        """The tests under `where`, none without it."""
        found = node.get("where")
        if found is None:
            return ()
        tests = self.mapping(found, "`where`", "write `where: {properties.<name>: <value>}`")
        if tests is None:
            return ()
        if not len(tests):
            self.wrong(tests, "`where` is empty", "leave it out")
        compared: list[Test] = []
        for path, value in tests.items():
            self.path(tests.keys[path], "a path in `where`")
            compared += self.comparisons(path, value, VALUE_OPERATORS)
        if len(compared) > MOST_TESTS:
            self.wrong(tests, f"`where` has {len(compared)} tests, more than {MOST_TESTS}")
        return tuple(compared)

    def during(self, node: Mapping) -> During | None:
        """What stands under `during`, None without it."""
        found = node.get("during")
        return None if found is None else read_during(self, found)

    def path(self, node: Node, what: str) -> str:
        """The path to a value of an event: `properties.price`, `properties.products[].product_id`, `context.locale`."""
        text = self.text(node, what, LONGEST_NAME)
        if not text or text == "name":
            return text
        root, *parts = text.split(".")
        if root not in PATH_ROOTS:
            near = nearest(root, PATH_ROOTS) if parts else None
            better = ".".join((near, *parts)) if near else f"properties.{text}"
            message = f"a path starts with properties, context or traits, not {root[:60]!r}"
            self.wrong(node, message, f"did you mean {better[:100]!r}?")
        elif not parts:
            self.wrong(node, f"the path {text!r} ends too early", f"name what is in it: `{text}.<name>`")
        elif len(parts) >= MOST_PATH_PARTS:
            self.wrong(node, f"the path has {len(parts) + 1} parts, more than {MOST_PATH_PARTS}")
        elif any(not part.removesuffix("[]") or "[" in part.removesuffix("[]") for part in parts):
            self.wrong(
                node, f"{text!r} is no path", "names joined by dots; `[]` after a name means each element of a list"
            )
        return text

    def comparisons(self, path: str, node: Node, allowed: Seq[Operator], longest: int = LONGEST_TEXT) -> list[Test]:
        """What a value is compared with: a value alone (equal to it), or a mapping of operators and operands."""
        if isinstance(node, Sequence):
            self.wrong(
                node, "a value is compared with a value, not with a list", "write `{in: [...]}` for one of several"
            )
            return []
        if isinstance(node, Scalar):
            return [Test(path, Operator.EQ, self.value(node, longest))]
        assert isinstance(node, Mapping)
        if not len(node):
            self.wrong(node, "the comparison is empty", "write for example `{gte: 10}`")
        self.only(node, allowed, NOT_OPERATORS)
        return [
            Test(path, Operator(key), self.operand(Operator(key), operand, longest))
            for key, operand in node.items()
            if key in allowed
        ]

    def operand(self, operator: Operator, node: Node, longest: int) -> Operand:
        """What stands to the right of an operator, of the kind that it compares with."""
        name = f"`{operator.value}`"
        if operator is Operator.EXISTS:
            if isinstance(node, Scalar) and isinstance(node.value, bool):
                return node.value
            self.wrong(node, f"{name} must be true or false, not {_shown(node)}")
            return True
        if operator in (Operator.IN, Operator.NOT_IN):
            return tuple(
                self.value(one, longest) for one in self.entries(node, name, MOST_VALUES, "write `in: [one, two]`")
            )
        if operator is Operator.BETWEEN:
            return self.between(node, [self.ordered(one, longest) for one in self._pair(node)])
        if operator in _TEXTUAL:
            return self.text(node, name, longest)
        if operator is Operator.MATCHES:
            return self.pattern(node, name)
        if operator in (Operator.BEFORE, Operator.AFTER):
            return self.moment(node, name)
        if operator is Operator.WITHIN:
            return self.duration(node, name)
        return self.ordered(node, longest) if operator in _ORDERED else self.value(node, longest)

    def value(self, node: Node, longest: int = LONGEST_TEXT) -> definition.Scalar:
        """A text, number, true or false; 0 where it is none of these."""
        if not isinstance(node, Scalar):
            self.wrong(node, f"a value is text, a number, true or false, not {node.kind}")
            return 0
        if node.value is None:
            self.wrong(node, "nothing equals nothing", "write `{exists: false}` for a value that is missing")
            return 0
        if isinstance(node.value, str) and len(node.value) > longest:
            self.wrong(node, f"the text has {len(node.value):,} characters, more than {longest:,} are never kept")
        return node.value

    def ordered(self, node: Node, longest: int = LONGEST_TEXT) -> definition.Scalar:
        """A value that has an order: a number or a text."""
        value = self.value(node, longest)
        if isinstance(value, bool):
            self.wrong(node, "true and false have no order", "compare with `eq`")
            return 0
        return value

    def between(self, node: Node, bounds: list[definition.Scalar]) -> tuple[definition.Scalar, ...]:
        """Two bounds of one kind, the lower one first; (0, 0) where they are wrong."""
        if len(bounds) == 2:
            low, high = bounds
            if isinstance(low, str) is not isinstance(high, str):
                self.wrong(node, "`between` compares with two numbers or with two texts, not with one of each")
            elif low > high:  # type: ignore[operator]
                self.wrong(node, f"`between` has its bounds the wrong way round: {low} is above {high}")
            else:
                return low, high
        return 0, 0

    def _pair(self, node: Node) -> tuple[Node, ...]:
        if isinstance(node, Sequence) and len(node) == 2:
            return node.items
        self.wrong(node, "`between` needs two bounds", "write `between: [1, 5]`; both are included")
        return ()

    def numbers(self, node: Mapping, operators: Seq[Operator], what: str, kind: str) -> tuple[Test, ...]:
        """The comparisons among the keys of `node`, with operands of one kind: `count`, `number` or `duration`."""

        def read(one: Node, name: str) -> int | float:
            if kind == "count":
                return self.integer(one, name, 0, LARGEST_COUNT, MORE_THAN_COUNTED)
            if kind == "duration":
                return self.duration(one, name)
            if not isinstance(one, Scalar) or type(one.value) not in (int, float):
                self.wrong(one, f"{name} must be a number, not {_shown(one)}")
                return 0
            if not -LARGEST_NUMBER < one.value < LARGEST_NUMBER:  # type: ignore[operator]
                self.wrong(one, f"{name} is beyond {LARGEST_NUMBER:,}, above which numbers are not counted")
                return 0
            return one.value  # type: ignore[return-value]

        tests = []
        for operator in operators:
            operand = node.get(operator.value)
            if operand is None:
                continue
            name = f"`{operator.value}`"
            if operator is Operator.BETWEEN:
                pair: list[definition.Scalar] = [read(one, name) for one in self._pair(operand)]
                tests.append(Test("", operator, self.between(operand, pair)))
            else:
                tests.append(Test("", operator, read(operand, name)))
        # Where a key was not understood, that has been said, and may well have been meant for the comparison.
        at_keys = {(one.file, one.line, one.column) for one in node.keys.values()}
        if not tests and not any((one.file, one.line, one.column) in at_keys for one in self.errors):
            known = ", ".join(operator.value for operator in operators)
            self.wrong(node, f"{what} compares with nothing", f"add one of {known}")
        return tuple(tests)


def _shown(node: Node) -> str:
    """A node as a message quotes it: short scalars as written, others by their kind."""
    if isinstance(node, Scalar) and node.text and len(node.text) <= 40:
        return f'"{node.text}"' if node.quoted else node.text
    return node.kind
