"""What values are and how they compare, as the oracle reads them: obvious, and nothing of the core's."""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from rules.definition import Operator, Test
from tests.oracle_clock import has_pattern, lately, moment_named


class RawEvent(Protocol):
    """What the oracle reads of an event."""

    id: str
    name: str
    event_time: int
    received_at: int
    properties: dict[str, Any]
    traits: dict[str, Any] | None
    context: dict[str, Any]


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
        case Operator.MATCHES:
            return has_pattern(value, operand)
        case Operator.BEFORE:
            return (named := moment_named(value)) is not None and named < operand
        case Operator.AFTER:
            return (named := moment_named(value)) is not None and named > operand
    raise AssertionError(operator)


def passes(values: Sequence[Any], test: Test, time: int = 0) -> bool:
    """A test on all values of its path: any of them suffices; with none, only `exists: false` holds.

    `time` is that of the event which has the values, for a trait the clock: what `within` counts back from.
    """
    if test.operator is Operator.WITHIN:
        assert isinstance(test.operand, int)
        return any(lately(value, test.operand, time) for value in values)
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
