"""The rule language as a JSON Schema (2020-12), made of `rules.reference`: for editors that complete and check while one types.

The schema accepts whatever the parser accepts and refuses unknown keys as it does. What needs more than the shape of the file (a name
that is another segment's, bounds the wrong way round) only the parser sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rules import reference, vocabulary
from rules.calendar_reader import DURING_KEYS
from rules.definition import Operator
from rules.kinds import KINDS
from rules.kinds.journey import STEP_KEYS
from rules.kinds.kind import Key, Shape
from rules.reference import Entry

Schema = dict[str, Any]

ID: Final = "urn:segue:rule:1"
_DURATION: Final = (
    r"([0-9]{1,12}w)?([0-9]{1,12}d)?([0-9]{1,12}h)?([0-9]{1,12}m)?([0-9]{1,12}(\.[0-9]{1,3})?s)?([0-9]{1,12}ms)?"
)
_NAME: Final = "^[a-z0-9]+(-[a-z0-9]+)*$"
_PATH: Final = r"^(name|(properties|context|traits)\..+)$"


def ref(name: str) -> Schema:
    """A reference to one of `definitions`."""
    return {"$ref": f"#/$defs/{name}"}


def _list(of: Schema, least: int = 1) -> Schema:
    return {"type": "array", "items": of, "minItems": least}


def closed(keys: Iterable[Key], more: dict[str, Schema] | None = None) -> Schema:
    """A mapping of these keys and no others."""
    keys = tuple(keys)
    found: Schema = {
        "type": "object",
        "properties": {**{key.name: _key(key) for key in keys}, **(more or {})},
        "additionalProperties": False,
    }
    required = [key.name for key in keys if key.required]
    return {**found, "required": required} if required else found


def _key(key: Key) -> Schema:
    """What may stand under a key."""
    shape: Schema = {"enum": list(key.among)} if key.among else _shape(key.shape)
    return {**shape, "description": plain(key.meaning)}


def plain(text: str) -> str:
    """A meaning without the marks of Markdown, with a capital letter."""
    text = text.replace("`", "")
    return text[:1].upper() + text[1:]


def _shape(shape: Shape) -> Schema:
    """What a shape allows."""
    match shape:
        case "boolean":
            return {"type": "boolean"}
        case "integer":
            return {"type": "integer"}
        case "number":
            return {"type": "number"}
        case "text":
            return {"type": "string", "minLength": 1}
        case "anything":
            return {"type": "object"}
        case "mapping":
            return {"type": ["object", "array"]}
        case "texts":
            return {"anyOf": [_shape("text"), _list(_shape("text"))]}
        case "conditions":
            return _list(ref("condition"))
        case "steps":
            return _list(ref("step"))
        case "weighted":
            return _list(closed(reference.WEIGHTED))
        case "given":
            return _list(closed(reference.GIVEN))
        case "expect":
            return _list(closed(reference.EXPECT))
        case "tests":
            return _list(closed(reference.TEST))
        case "name":
            return {"type": "string", "pattern": _NAME, "maxLength": 64}
        case "population":
            four = {"minItems": 4, "maxItems": 4}
            of = {"recency": ref("duration"), "frequency": _shape("integer"), "monetary": _shape("number")}
            found = closed((), {name: {**_list(bound), **four} for name, bound in of.items()})
            return {**found, "minProperties": 1}
        case "share":
            return {"type": "string", "pattern": r"^[0-9]{1,2}(\.[0-9]{1,4})?%$"}
        case "offset":
            return {"type": "string", "pattern": f"^[-+]?{_DURATION}$", "minLength": 2}
        case "moment":
            return {"type": ["string", "number"]}
        case "window":
            return {"anyOf": [ref("duration"), {"const": "ever"}]}
        case _:
            return ref(shape)


def _operators(operators: Iterable[str], operand: Shape) -> dict[str, Schema]:
    """Comparisons of a number of the condition's own."""
    one = _shape(operand)
    return {
        name: {
            **({"type": "array", "items": one, "minItems": 2, "maxItems": 2} if name == Operator.BETWEEN else one),
            "description": plain(reference.OPERATORS[name][0]),
        }
        for name in operators
    }


def _comparison() -> Schema:
    """What a value of an event or of the customer is compared with: a value alone, or operators."""
    value: Schema = {"type": ["string", "number", "boolean"]}
    ordered: Schema = {"type": ["string", "number"]}
    text = _shape("text")
    operands: dict[Operator, Schema] = {
        Operator.EXISTS: _shape("boolean"),
        Operator.IN: _list(value),
        Operator.NOT_IN: _list(value),
        Operator.BETWEEN: {"type": "array", "items": ordered, "minItems": 2, "maxItems": 2},
        Operator.CONTAINS: text,
        Operator.STARTS_WITH: text,
        Operator.ENDS_WITH: text,
        Operator.MATCHES: text,
        Operator.BEFORE: _shape("moment"),
        Operator.AFTER: _shape("moment"),
        Operator.WITHIN: ref("duration"),
        Operator.EQ: value,
        Operator.NE: value,
        **dict.fromkeys((Operator.GT, Operator.GTE, Operator.LT, Operator.LTE), ordered),
    }
    properties = {
        one.value: {**operands[one], "description": plain(reference.OPERATORS[one.value][0])}
        for one in vocabulary.VALUE_OPERATORS
    }
    compared = {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1}
    return {"anyOf": [value, compared]}


def _condition(entry: Entry) -> Schema:
    """One kind of condition: its key, what is under it and what stands beside it."""
    operators = _operators(entry.operators, entry.operand)
    inner = _under(entry, operators)
    found = closed((), {entry.key: {**inner, "description": plain(entry.meaning)}})
    found["required"] = [entry.key]
    for key in entry.beside:
        found["properties"][key.name] = ref("without") if key.name == "without" else _key(key)
        if key.required:
            found["required"].append(key.name)
    if not entry.keys:
        found["properties"].update(operators)
    return {**found, "title": entry.key}


def _under(entry: Entry, operators: dict[str, Schema]) -> Schema:
    """What stands under the key of a condition itself."""
    if entry.key == "during":
        return ref("during")
    if entry.keys:
        return closed(entry.keys, operators)
    if entry.key == "context":
        return {"type": "object", "additionalProperties": ref("comparison"), "minProperties": 1}
    return _shape(entry.shape)


def definitions() -> dict[str, Schema]:
    """What other places refer to."""
    durations = _operators((one.value for one in vocabulary.SINCE_OPERATORS), "duration")
    counts = _operators((one.value for one in vocabulary.COUNT_OPERATORS), "integer")
    named: Schema = {"type": "string", "minLength": 1, "maxLength": 256}
    during = KINDS["during"].keys if "during" in KINDS else tuple(Key(key, "texts", key) for key in DURING_KEYS)
    return {
        "duration": {
            "type": "string",
            "pattern": f"^{_DURATION}$",
            "minLength": 2,
            "description": "Units from large to small: 7d, 24h, 1h30m, 250ms",
        },
        "event": named,
        "path": {"type": "string", "pattern": _PATH, "maxLength": 256},
        "during": closed(during),
        "count": closed((), counts),
        "durations": closed((), durations),
        "numbers": closed((), _operators((one.value for one in vocabulary.NUMBER_OPERATORS), "number")),
        "comparison": _comparison(),
        "where": {
            "type": "object",
            "propertyNames": ref("path"),
            "additionalProperties": ref("comparison"),
            "minProperties": 1,
        },
        "values": {"type": "object", "additionalProperties": ref("comparison"), "minProperties": 1},
        "reference": {"anyOf": [named, closed(reference.REFERENCE)]},
        "references": {"anyOf": [ref("reference"), _list(ref("reference"))]},
        "without": {"anyOf": [named, closed(reference.WITHOUT)]},
        "step": {"anyOf": [closed(keys) for keys in STEP_KEYS.values()]},
        "condition": {"anyOf": [ref(f"condition-{key}") for key in reference.CONDITIONS]},
        **{f"condition-{key}": _condition(entry) for key, entry in reference.CONDITIONS.items()},
    }


def rule_schema() -> Schema:
    """The schema of a rule file."""
    root = closed(reference.SEGMENT)
    for name, part in reference.PARTS.items():
        root["properties"][name] = {**closed(part.keys), "description": plain(part.meaning)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "A segment",
        "description": "One segment's rule file, as docs/rules.md describes it.",
        **root,
        "$defs": definitions(),
    }
