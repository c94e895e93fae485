"""The fields of a data dictionary: typed values out of a source's raw ones, and the conditions over them.

A field reads one column (CSV) or one dotted path (JSON) and makes text, an integer, an exact decimal, a boolean or a time
(epoch milliseconds) of it. What it cannot read it refuses with a reason that never holds the value itself, so that reasons can
be counted. A field that is absent is `None`; CSV's empty cell is absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from profiles.document import Mapping, Node, Scalar, Sequence, suggestion

TYPES: Final = ("text", "integer", "number", "boolean", "time")
EXACT: Final = Context(prec=200)
"""Arithmetic on values of at most 40 digits that never rounds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]{1,30}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][-+]?[0-9]{1,2})?")
_LONGEST_TEXT: Final = 100_000
_TRUE: Final = frozenset({"true", "t", "yes", "y", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0"})

Value = str | int | Decimal | bool
Row = dict[str, Value | None]
Convert = Callable[[Any], Value]


class Unreadable(Exception):
    """A raw value is not what its field says; the message says what is expected."""


@dataclass(frozen=True, slots=True)
class Field:
    """One entry of the dictionary. `source` is a column or a dotted path; `node` is where it stands, for messages."""

    name: str
    source: str
    kind: str
    convert: Convert
    optional: bool
    missing: str
    node: Node


def text_of(node: Node) -> str:
    """The node's text; refuses what is not text or empty."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or not node.value:
        raise node.error(f"text is expected here, not {node.kind}", "quote it if it is meant as text")
    return node.value


def one_of(node: Node, words: tuple[str, ...]) -> str:
    """The node's text, which must be one of `words`."""
    word = text_of(node)
    if word not in words:
        raise node.error(f"unknown word {word!r}", suggestion(word, words))
    return word


def truth_of(node: Node) -> bool:
    """The node's boolean."""
    if not isinstance(node, Scalar) or not isinstance(node.value, bool):
        raise node.error(f"true or false is expected here, not {node.kind}")
    return node.value


def mapping_of(node: Node) -> Mapping:
    """The node as a mapping."""
    if not isinstance(node, Mapping):
        raise node.error(f"a mapping is expected here, not {node.kind}")
    return node


def items_of(node: Node) -> list[Node]:
    """The items of a list; refuses what is not a list or empty."""
    if not isinstance(node, Sequence) or not node.items:
        raise node.error(
            f"a list is expected here, not {node.kind}" if not isinstance(node, Sequence) else "empty list"
        )
    return list(node.items)


def field_of(node: Node, fields: dict[str, Field]) -> Field:
    """The field that the node names."""
    name = text_of(node)
    if name not in fields:
        raise node.error(f"no field {name!r} in `fields`", suggestion(name, fields))
    return fields[name]


def parse_field(name: str, node: Node) -> Field:
    """Reads one entry of `fields`; DocumentError points at what is wrong with it."""
    entry = mapping_of(node)
    kind_node = entry.required("type")
    kind = one_of(kind_node, TYPES)
    known = ["from", "type", "unit", "optional", "missing"]
    known += {"text": ["values", "unlisted"], "time": ["format", "zone"], "boolean": []}.get(
        kind, ["scale", "absolute"]
    )
    entry.only(known)
    if "unit" in entry:
        text_of(entry["unit"])  # for the reader of the map; the number to multiply by is `scale`
    optional = truth_of(entry["optional"]) if "optional" in entry else False
    if optional and "missing" in entry:
        raise entry["missing"].error("an optional field is never missing", "remove `optional` or `missing`")
    source = text_of(entry["from"]) if "from" in entry else name
    missing = text_of(entry["missing"]) if "missing" in entry else f"{name}: empty"
    return Field(name, source, kind, _converter(kind, entry), optional, missing, entry)


def _converter(kind: str, entry: Mapping) -> Convert:
    match kind:
        case "text":
            return _text_converter(entry)
        case "boolean":
            return _boolean
        case "time":
            return _time_converter(entry)
    scale = _decimal_of(entry["scale"]) if "scale" in entry else None
    absolute = truth_of(entry["absolute"]) if "absolute" in entry else False
    if kind == "integer" and scale is not None and scale != scale.to_integral_value():
        raise entry["scale"].error("the scale of an integer must be one")

    def convert(raw: Any) -> Value:
        value = _decimal(raw)
        if scale is not None:
            value = EXACT.multiply(value, scale)
        if absolute:
            value = abs(value)
        if kind == "number":
            return value
        # `17850.0` is how a table with gaps writes 17850: whole numbers are integers however they are written.
        whole = int(value)
        if whole != value:
            raise Unreadable("not an integer")
        if not -(2**63) <= whole < 2**63:
            raise Unreadable("an integer over 64 bits")
        return whole

    return convert


def _decimal(raw: Any) -> Decimal:
    if type(raw) is str:
        raw = raw.strip()
        if not _NUMBER.fullmatch(raw):
            raise Unreadable("not a number")
        return Decimal(raw)
    if type(raw) is int or type(raw) is Decimal:
        value = Decimal(raw)
        if value.is_finite() and len(value.as_tuple().digits) <= 40 and abs(value.adjusted()) <= 60:
            return value
    raise Unreadable("not a number")


def _decimal_of(node: Node) -> Decimal:
    if not isinstance(node, Scalar) or isinstance(node.value, bool) or not isinstance(node.value, int | float):
        raise node.error(f"a number is expected here, not {node.kind}")
    return Decimal(node.text)


def _boolean(raw: Any) -> Value:
    if type(raw) is bool:
        return raw
    word = str(raw).strip().casefold()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Unreadable("neither true nor false")


def _text(raw: Any) -> str:
    if type(raw) is not str:
        if type(raw) is not int and type(raw) is not Decimal:
            raise Unreadable("not text")
        raw = str(raw)
    if len(raw) > _LONGEST_TEXT:
        raise Unreadable(f"text longer than {_LONGEST_TEXT} characters")
    if "\x00" in raw:
        raise Unreadable("text with a NUL character")
    return str(raw).strip()


def _text_converter(entry: Mapping) -> Convert:
    if "values" not in entry:
        if "unlisted" in entry:
            raise entry.keys["unlisted"].error("`unlisted` needs `values`")
        return _text
    values: dict[str, Value] = {}
    for raw, node in mapping_of(entry["values"]).items():
        if not isinstance(node, Scalar) or node.value is None:
            raise node.error(f"a value is expected here, not {node.kind}")
        values[raw] = Decimal(node.text) if isinstance(node.value, float) else node.value
    keep = "unlisted" in entry and one_of(entry["unlisted"], ("keep", "reject")) == "keep"

    def convert(raw: Any) -> Value:
        text = _text(raw)
        value = values.get(text)
        if value is not None:
            return value
        if keep:
            return text
        raise Unreadable("a value that `values` does not list")

    return convert


def _time_converter(entry: Mapping) -> Convert:
    node = entry.required("format")
    pattern = text_of(node)
    if pattern in ("epoch_s", "epoch_ms"):
        factor = Decimal(1000 if pattern == "epoch_s" else 1)
        if "zone" in entry:
            raise entry.keys["zone"].error("epoch times are UTC by definition", "remove `zone`")
        return lambda raw: _within(int(EXACT.multiply(_decimal(raw), factor)))
    if pattern != "iso" and "%" not in pattern:
        raise node.error(
            "neither iso, epoch_s, epoch_ms nor a pattern such as %d/%m/%Y %H:%M", suggestion(pattern, ["iso"])
        )
    zone: tzinfo | None = None
    if "zone" in entry:
        zone = _zone_of(entry["zone"])
    elif pattern != "iso" and "%z" not in pattern:
        raise entry.error("these times name no zone, so `zone` must", "zone: UTC, or such as zone: Europe/London")

    @lru_cache(maxsize=1024)  # rows of one order share their time, and strptime is slow
    def parse(text: str) -> int:
        try:
            # Naive where the pattern names no zone; then it gets the declared one below.
            moment = datetime.fromisoformat(text) if pattern == "iso" else datetime.strptime(text, pattern)  # noqa: DTZ007
        except (ValueError, OverflowError):
            raise Unreadable("not a time in the declared format") from None
        if moment.tzinfo is None:
            if zone is None:
                raise Unreadable("a time without a zone")
            moment = moment.replace(tzinfo=zone)
        try:
            return _within((moment - _EPOCH) // timedelta(milliseconds=1))
        except OverflowError:
            raise Unreadable("a time outside 1970 to 9999") from None

    return lambda raw: parse(_text(raw))


def _zone_of(node: Node) -> tzinfo:
    name = text_of(node)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise node.error(f"unknown time zone {name!r}", suggestion(name, available_timezones())) from None


def _within(time: int) -> int:
    if not 0 <= time < 253_402_300_800_000:
        raise Unreadable("a time outside 1970 to 9999")
    return time


def iso_time(time: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC, to the millisecond.

    >>> iso_time(1_291_191_960_000)
    '2010-12-01T08:26:00.000Z'
    """
    moment = _EPOCH + timedelta(milliseconds=time)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time % 1000:03d}Z"


Condition = Callable[[Row], bool]
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda value, operand: value == operand,
    "ne": lambda value, operand: value != operand,
    "gt": lambda value, operand: value > operand,
    "gte": lambda value, operand: value >= operand,
    "lt": lambda value, operand: value < operand,
    "lte": lambda value, operand: value <= operand,
    "in": lambda value, operand: value in operand,
    "not_in": lambda value, operand: value not in operand,
    "starts_with": lambda value, operand: value.startswith(operand),
    "not_starts_with": lambda value, operand: not value.startswith(operand),
}
_NEEDS: Final = {"gt": ("integer", "number"), "gte": ("integer", "number"), "lt": ("integer", "number")} | {
    "lte": ("integer", "number"),
    "starts_with": ("text",),
    "not_starts_with": ("text",),
}


def parse_condition(node: Node, fields: dict[str, Field]) -> Condition:
    """Reads `{field: {operator: operand}}`; all of it must hold. A comparison with an absent field never holds.

    Operators: eq, ne, gt, gte, lt, lte, in, not_in, starts_with, not_starts_with, exists.
    """
    tests: list[Condition] = []
    mapping = mapping_of(node)
    for name, comparisons in mapping.items():
        field = field_of(mapping.keys[name], fields)
        operators = mapping_of(comparisons)
        operators.only([*_COMPARE, "exists"])
        for operator, operand in operators.items():
            tests.append(_test(field, operator, operand, operators.keys[operator]))
    if not tests:
        raise node.error("a condition is expected here", "such as {price: {gt: 0}}")
    return tests[0] if len(tests) == 1 else lambda row: all(test(row) for test in tests)


def _test(field: Field, operator: str, node: Node, at: Node) -> Condition:
    name = field.name
    if operator == "exists":
        wanted = truth_of(node)
        return lambda row: (row[name] is not None) is wanted
    if field.kind not in _NEEDS.get(operator, TYPES):
        raise at.error(f"{operator} does not go with {name!r}, which is of type {field.kind}")
    many = operator in ("in", "not_in")
    operand: Any = frozenset(_operand(field, item) for item in items_of(node)) if many else _operand(field, node)
    compare = _COMPARE[operator]
    # A value that an enum made may have another type than the operand; then they are not comparable, and it does not hold.
    plain = operator not in ("gt", "gte", "lt", "lte", "starts_with", "not_starts_with")

    def test(row: Row) -> bool:
        value = row[name]
        if value is None:
            return False
        if plain:
            return compare(value, operand)
        try:
            return compare(value, operand)
        except (TypeError, AttributeError):
            return False

    return test


def _operand(field: Field, node: Node) -> Value:
    if field.kind in ("integer", "number"):
        return _decimal_of(node)
    if field.kind == "boolean":
        return truth_of(node)
    if field.kind == "time":
        raise node.error("times cannot be compared in a map", "compare text or numbers")
    if isinstance(node, Scalar) and isinstance(node.value, bool | int) and "values" in mapping_of(field.node):
        return node.value
    return text_of(node)
