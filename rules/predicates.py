"""Comparisons as functions. A missing value or one of another type satisfies nothing (but `exists: false`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from profiles.values import MICROS, each_reader, micros, reader
from rules.calendar import shown_during
from rules.compiled import moment
from rules.definition import ANY_EVENT, EventRef, Operand, Operator, Test
from rules.duration import format_duration
from rules.moments import is_within, moment_of
from rules.patterns import compile_pattern

Predicate = Callable[[Any], bool]

_TEXT = {
    Operator.CONTAINS: str.__contains__,
    Operator.STARTS_WITH: str.startswith,
    Operator.ENDS_WITH: str.endswith,
}


def _number(value: object) -> bool:
    kind = type(value)
    return kind is int or kind is float


def _comparable(value: object, operand: object) -> bool:
    """Numbers compare with numbers, texts with texts, booleans with booleans."""
    return type(value) is type(operand) or (_number(value) and _number(operand))


def equals(operand: object) -> Predicate:
    """Equal in kind and value: `1` equals `1.0`, but neither `true` nor `"1"`."""
    if type(operand) is str:
        return lambda value: value == operand  # a str equals nothing but a str
    if type(operand) is bool:
        return lambda value: value is operand
    return lambda value: _number(value) and value == operand


def compare(operator: Operator, operand: Operand) -> Predicate:
    """A function from one present value to whether it satisfies `operator operand`.

    Not for `within`, which takes a time besides: see `rules.moments.is_within`.
    """
    if operator is Operator.EXISTS:
        return lambda value: (value is not None) is operand
    if operator is Operator.EQ:
        return equals(operand)
    if operator is Operator.NE:
        same = equals(operand)
        return lambda value: value is not None and not same(value)
    if operator in (Operator.IN, Operator.NOT_IN):
        tests = [equals(one) for one in operand]  # type: ignore[union-attr]
        if all(type(one) is str for one in operand):  # type: ignore[union-attr]
            known = frozenset(operand)  # type: ignore[arg-type]
            among: Predicate = lambda value: type(value) is str and value in known  # noqa: E731
        else:
            among = lambda value: any(test(value) for test in tests)  # noqa: E731
        if operator is Operator.IN:
            return among
        return lambda value: value is not None and not among(value)
    if operator in _TEXT:
        holds = _TEXT[operator]
        return lambda value: type(value) is str and holds(value, operand)  # type: ignore[arg-type]
    if operator is Operator.MATCHES:
        return compile_pattern(str(operand))
    if operator in (Operator.BEFORE, Operator.AFTER):
        return _beside(operator, int(operand))  # type: ignore[arg-type]
    return _ordered(operator, operand)


def _beside(operator: Operator, bound: int) -> Predicate:
    """Whether a value names a moment before or after another."""
    if operator is Operator.BEFORE:
        return lambda value: (at := moment_of(value)) is not None and at < bound
    return lambda value: (at := moment_of(value)) is not None and at > bound


def _ordered(operator: Operator, operand: Operand) -> Predicate:
    if isinstance(operand, tuple):
        low, high = operand
        return lambda value: _comparable(value, low) and low <= value <= high
    if operator is Operator.GT:
        return lambda value: _comparable(value, operand) and value > operand
    if operator is Operator.GTE:
        return lambda value: _comparable(value, operand) and value >= operand
    if operator is Operator.LT:
        return lambda value: _comparable(value, operand) and value < operand
    return lambda value: _comparable(value, operand) and value <= operand


def compile_test(test: Test) -> Predicate:
    """A function from an event to whether the test holds for it."""
    if test.operator is Operator.WITHIN:
        return _compile_within(test.path, int(test.operand))  # type: ignore[arg-type]
    holds = compare(test.operator, test.operand)
    if "[]" in test.path:
        each = each_reader(test.path)
        if test.operator is Operator.EXISTS:
            return lambda event: any(True for _ in each(event)) is test.operand
        if test.operator is Operator.EQ and type(test.operand) is str:
            return lambda event: test.operand in each(event)  # a str equals nothing but a str

        def some(event: Any) -> bool:
            for value in each(event):  # noqa: SIM110  (several times as fast as `any` of a generator)
                if holds(value):
                    return True
            return False

        return some
    direct = _direct(test)
    if direct is not None:
        return direct
    read = reader(test.path)
    if test.operator is Operator.EXISTS:
        if test.operand:
            return lambda event: read(event) is not None
        return lambda event: read(event) is None

    def present(event: Any) -> bool:
        value = read(event)
        return value is not None and holds(value)

    return present


def _compile_within(path: str, window: int) -> Predicate:
    """A function from an event to whether a value at the path names a moment in the window that ends with the event."""
    if "[]" in path:
        each = each_reader(path)
        return lambda event: any(is_within(value, window, event.event_time) for value in each(event))
    read = reader(path)
    return lambda event: is_within(read(event), window, event.event_time)


def _direct(test: Test) -> Predicate | None:
    """The commonest tests (a property equal to a text or a flag, or at least a number) in one call instead of three."""
    root, *parts = test.path.split(".")
    operand = test.operand
    if root != "properties" or len(parts) != 1:
        return None
    name = parts[0]
    if test.operator is Operator.EQ and type(operand) is str:
        return lambda event: event.properties.get(name) == operand
    if test.operator is Operator.EQ and type(operand) is bool:
        return lambda event: event.properties.get(name) is operand
    if test.operator is Operator.GTE and _number(operand):

        def at_least(event: Any) -> bool:
            value = event.properties.get(name)
            kind = type(value)
            return (kind is int or kind is float) and value >= operand

        return at_least
    return None


def shown(test: Test, durations: bool = False) -> Any:
    """The operand of a test as evidence shows it: moments and (where operands are such) durations in words, several values as a list."""
    if test.operator in (Operator.BEFORE, Operator.AFTER):
        return moment(int(test.operand))  # type: ignore[arg-type]
    if durations or test.operator is Operator.WITHIN:
        bounds = test.operand if isinstance(test.operand, tuple) else (test.operand,)
        words = [format_duration(int(one)) for one in bounds]
        return words if isinstance(test.operand, tuple) else words[0]
    return list(test.operand) if isinstance(test.operand, tuple) else test.operand


def thresholds(tests: tuple[Test, ...], durations: bool = False) -> dict[str, Any]:
    """What a condition compares with, by operator, as evidence shows it."""
    return {test.operator.value: shown(test, durations) for test in tests}


def compile_where(where: tuple[Test, ...]) -> Predicate | None:
    """A function from an event to whether every test holds for it; None where there is nothing to test."""
    if not where:
        return None
    tests = [compile_test(test) for test in where]
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        first, second = tests
        return lambda event: first(event) and second(event)
    return lambda event: all(test(event) for test in tests)


def compare_exactly(test: Test) -> Callable[[int, int], bool]:
    """Compare `numerator / denominator` with the operand without dividing: exact, also for a mean."""

    def scaled(bound: int | float) -> int:
        return round(bound * MICROS)

    operator, operand = test.operator, test.operand
    if operator is Operator.BETWEEN:
        low, high = (scaled(bound) for bound in operand)  # type: ignore[union-attr,arg-type]
        return lambda value, count: low * count <= value <= high * count
    bound = scaled(operand)  # type: ignore[arg-type]
    return {
        Operator.GTE: lambda value, count: value >= bound * count,
        Operator.GT: lambda value, count: value > bound * count,
        Operator.LTE: lambda value, count: value <= bound * count,
        Operator.LT: lambda value, count: value < bound * count,
        Operator.EQ: lambda value, count: value == bound * count,
        Operator.NE: lambda value, count: value != bound * count,
    }[operator]


def turns_at(test: Test) -> tuple[int, ...]:
    """The numbers of millionths at which an ordered comparison turns: it is one thing below them, another from them on."""
    if isinstance(test.operand, tuple):
        low, high = (micros(one) or 0 for one in test.operand)
        return low, high + 1
    return ((micros(test.operand) or 0) + (test.operator in (Operator.GT, Operator.LTE)),)


def only_from_below(tests: tuple[Test, ...]) -> bool:
    """Whether a number that satisfies the comparisons still does so when it grows."""
    return all(test.operator in (Operator.GT, Operator.GTE) for test in tests)


def reads(ref: EventRef) -> str:
    """An event reference as evidence names it."""
    name = "any event" if ref.event == ANY_EVENT else ref.event
    told = [f"{test.path} {test.operator.value} {shown(test)}" for test in ref.where]
    if ref.during is not None:
        told += [f"{what} {', '.join(among)}" for what, among in shown_during(ref.during).items()]
    return f"{name} ({', '.join(told)})" if told else name
