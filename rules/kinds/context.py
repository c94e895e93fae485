"""`context`: what the newest event that says so tells of device, place, language or campaign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from profiles.document import Mapping, Scalar
from profiles.profile import NEVER, Profile
from rules import combinations
from rules.compiled import NO, YES, Compiled, moment
from rules.definition import Condition, Context, Operator, Test
from rules.duration import format_duration
from rules.kinds.kind import Key, Kind
from rules.moments import is_within
from rules.newest import LONGEST_KEPT, Newest, says
from rules.predicates import compare, thresholds
from rules.vocabulary import VALUE_OPERATORS

if TYPE_CHECKING:
    from rules.compiler import Compiler
    from rules.condition_reader import ConditionReader

_EXAMPLE: Final = "write `context: {device.type: mobile}`"


def _read(reader: ConditionReader, outer: Mapping) -> Condition:
    node = reader.mapping(outer["context"], "`context`", _EXAMPLE)
    if node is None:
        return Context(())
    if not len(node):
        reader.wrong(node, "`context` is empty", _EXAMPLE)
    tests: list[Test] = []
    for name, value in node.items():
        tests += reader.comparisons(_path(reader, node.keys[name]), value, VALUE_OPERATORS, LONGEST_KEPT)
    return Context(tuple(tests), reader.within(outer))


def _path(reader: ConditionReader, at: Scalar) -> str:
    """The path to a value of the context."""
    name = reader.text(at, "a name in `context`")
    if name.startswith("context."):
        reader.wrong(at, "names in `context` begin below it", f"write {name.removeprefix('context.')[:100]!r}")
    elif "[" in name:
        reader.wrong(at, f"{name[:100]!r} is not one value", "test lists on an event, with `where`")
    elif name:
        return reader.path(replace(at, value=f"context.{name}"), "a name in `context`")
    return "context"


def _compile(compiler: Compiler, one: Context) -> Compiled:
    parts = tuple(_said(compiler, test, one.within) for test in one.tests)
    return parts[0] if len(parts) == 1 else combinations.all_of("context", parts)


def _said(compiler: Compiler, test: Test, within: int | None) -> Compiled:
    """One comparison with what the newest event says that says anything at this path."""
    window = NEVER if within is None else within
    # An event that says the same again matters where its time does.
    every = within is not None or test.operator is Operator.WITHIN
    key, holds = newest_at(compiler, test.path, window, every), _holds(test)
    missing = YES if test.operator is Operator.EXISTS and test.operand is False else NO

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        state = profile.slots.get(key)
        if state is None:
            return missing
        until = NEVER if window == NEVER else state[0] + window
        return (holds(state[1], state[0]), until) if until > clock else missing

    def measure(profile: Profile, clock: int) -> Any:
        state = profile.slots.get(key)
        return None if state is None else {"value": state[1], "at": moment(state[0])}

    text = f"newest {test.path}" + (f" within {format_duration(window)}" if within is not None else "")
    return Compiled(text, evaluate, slots=frozenset((key,)), measure=measure, threshold=thresholds((test,)))


def newest_at(compiler: Compiler, path: str, window: int, every: bool) -> int:
    """The slot of what the newest event says at a path; shared by all that ask for the same path. `every`: see `Newest`."""
    make = lambda key: Newest(key, window, path, every=every)  # noqa: E731
    slot = cast(Newest, compiler.slot("newest", says(path), (), make))
    slot.retention = max(slot.retention, window)
    slot.every = slot.every or every
    return slot.key


def _holds(test: Test) -> Callable[[Any, int], bool]:
    """A function from a value that is there, and when it was said, to whether it satisfies the test."""
    if test.operator is Operator.WITHIN:
        lately = int(test.operand)  # type: ignore[arg-type]
        return lambda value, time: is_within(value, lately, time)
    one = compare(test.operator, test.operand)
    return lambda value, time: one(value)


CONTEXT: Final = Kind(
    "context",
    "The newest event that tells of device, place, language or campaign says this.",
    "context: {device.type: mobile, campaign.name: {starts_with: spring}}\nwithin: 7d",
    "where",
    _read,
    _compile,
    (Context,),
    beside=(Key("within", "duration", "and said it so lately"),),
)

KINDS: Final = (CONTEXT,)
