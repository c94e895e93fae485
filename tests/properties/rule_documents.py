"""Random rule files as people might write them, drawn from the reference: the right keys, mostly with values of the right shape."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from rules import reference
from rules.kinds.journey import STEP_KEYS
from rules.kinds.kind import Key, Shape
from rules.reference import Entry

Document = dict[str, Any]

DURATIONS = st.sampled_from(("1h", "30m", "24h", "7d", "90d", "1h30m", "250ms", "2w"))
EVENTS = st.sampled_from(("Order Completed", "Product Viewed", "any", "Cart Updated"))
PATHS = st.sampled_from(("properties.price", "properties.products[].product_id", "context.device.type", "traits.age"))
NUMBERS = (
    st.sampled_from((0.2, 0.5, 1))
    | st.integers(-3, 1000)
    | st.floats(-100, 100, allow_nan=False).map(lambda number: round(number, 3))
)
SCALARS = st.sampled_from(("NL", "2026-03-02", "", "17", "true")) | NUMBERS | st.booleans()
STRANGE: st.SearchStrategy[Any] = st.sampled_from(
    (None, [], {}, "", "7 days", -1, 2**70, 1e308, "\x00", [[1]], {"gte": {}}, True, "mon-fri", "9:00-17:00")
)
TEXTS: dict[str, tuple[Any, ...]] = {
    "weekdays": ("mon-fri", "sat", ["mon", "wed"]),
    "hours": ("9:00-17:00", "22:00-6:00", ["8:00-9:00", "18:00-24:00"]),
    "dates": ("2026-12-24", "2026-12-01..2026-12-24"),
    "timezone": ("Europe/Amsterdam", "UTC"),
}
"""Texts that mean something."""


def _shares(of: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Nearly always `of`."""
    return st.integers(0, 39).flatmap(lambda at: other if at == 0 else of)


@st.composite
def comparisons(
    draw: st.DrawFn, operators: tuple[str, ...], operand: st.SearchStrategy[Any], most: int = 2
) -> Document:
    """Operators with operands of one kind."""
    names = draw(st.lists(st.sampled_from(operators), min_size=1, max_size=most, unique=True))
    found: Document = {}
    for name in names:
        match name:
            case "between":
                found[name] = draw(st.tuples(operand, operand).map(list))
            case "in" | "not_in":
                found[name] = draw(st.lists(operand, min_size=1, max_size=3))
            case "exists":
                found[name] = draw(st.booleans())
            case "within":
                found[name] = draw(DURATIONS)
            case "before" | "after":
                found[name] = draw(st.sampled_from(("2026-03-02", 1_700_000_000_000, "2026-03-02T09:00:00Z")))
            case _:
                found[name] = draw(operand)
    return found


COUNTS = comparisons(("gte", "gt", "lte", "lt", "eq", "between"), st.integers(0, 9), 1)
TESTS = SCALARS | comparisons(tuple(reference.OPERATORS), SCALARS)


@st.composite
def mappings(draw: st.DrawFn, keys: tuple[Key, ...], depth: int) -> Document:
    """Required keys nearly always, some of the others."""
    found: Document = {}
    for key in keys:
        if draw(st.integers(0, 99)) < (98 if key.required else 30):
            found[key.name] = draw(values(key, depth))
    return found


def values(key: Key, depth: int) -> st.SearchStrategy[Any]:
    """What may stand under a key, and now and then something else."""
    if key.among:
        right: st.SearchStrategy[Any] = st.sampled_from(key.among)
    elif key.name in TEXTS:
        right = st.sampled_from(TEXTS[key.name])
    else:
        right = shaped(key.shape, depth)
    return _shares(right, STRANGE)


def shaped(shape: Shape, depth: int) -> st.SearchStrategy[Any]:
    """Values of a shape."""
    match shape:
        case "duration":
            return DURATIONS
        case "event":
            return EVENTS
        case "path":
            return PATHS
        case "number":
            return NUMBERS
        case "integer":
            return st.integers(0, 3)
        case "boolean":
            return st.booleans()
        case "text" | "name":
            return st.sampled_from(("churn", "vip", "retention"))
        case "texts":
            return st.sampled_from(("one", ["one", "two"]))
        case "count":
            return COUNTS
        case "numbers":
            return comparisons(("gte", "lte", "gt", "lt", "eq", "between"), NUMBERS, 1)
        case "durations":
            return comparisons(("gte", "lte"), DURATIONS, 1)
        case "where":
            return st.dictionaries(PATHS, TESTS, min_size=1, max_size=2)
        case "values":
            return st.dictionaries(st.sampled_from(("country", "plan")), TESTS, min_size=1, max_size=2)
        case "reference":
            return EVENTS | mappings(reference.REFERENCE, depth)
        case "references":
            return shaped("reference", depth) | st.lists(shaped("reference", depth), min_size=1, max_size=2)
        case "during":
            return mappings(reference.CONDITIONS["during"].keys, depth)
        case "condition":
            return conditions(depth - 1)
        case "conditions":
            return st.lists(conditions(depth - 1), min_size=1, max_size=3)
        case "weighted":
            return st.lists(mappings(reference.WEIGHTED, depth - 1), min_size=1, max_size=2)
        case "steps":
            return st.lists(
                st.sampled_from(sorted(STEP_KEYS)).flatmap(lambda kind: mappings(STEP_KEYS[kind], depth)), max_size=3
            )
        case "share":
            return st.sampled_from(("5%", "0.5%", "50%", "51%"))
        case "moment":
            return st.sampled_from(("2026-03-02T09:00:00Z", "2026-03-02"))
        case "offset":
            return st.sampled_from(("0m", "40m", "-10d", "29m59.999s"))
        case "given":
            return st.lists(mappings(reference.GIVEN, depth), max_size=3)
        case "expect":
            return st.lists(mappings(reference.EXPECT, depth), max_size=3)
        case "tests":
            return st.lists(mappings(reference.TEST, depth), max_size=2)
        case "population":
            fours = [
                (name, st.lists(of, min_size=3, max_size=5))
                for name, of in (("recency", DURATIONS), ("monetary", NUMBERS))
            ]
            return st.fixed_dictionaries({}, optional=dict(fours))
        case "anything":
            return st.dictionaries(st.sampled_from(("price", "plan")), SCALARS, max_size=2)
        case "mapping":
            return (
                COUNTS
                | comparisons(("gte", "lte"), DURATIONS, 1)
                | st.dictionaries(EVENTS, NUMBERS, min_size=1, max_size=2)
            )


def conditions(depth: int) -> st.SearchStrategy[Document]:
    """One condition; below a depth none that is made of others."""
    inner = ("all", "any", "not", "at_least", "points")
    kinds = sorted(key for key in reference.CONDITIONS if depth > 0 or key not in inner)
    return st.sampled_from(kinds).flatmap(lambda key: _condition(reference.CONDITIONS[key], depth))


@st.composite
def _condition(draw: st.DrawFn, entry: Entry, depth: int) -> Document:
    operand = DURATIONS if entry.operand == "duration" else NUMBERS
    compared = draw(comparisons(entry.operators, operand, 1)) if entry.operators else {}
    if entry.key == "context":
        under: Any = draw(st.dictionaries(st.sampled_from(("device.type", "locale")), TESTS, min_size=1, max_size=2))
    elif entry.key == "aggregate" and draw(st.integers(0, 9)):
        under = draw(aggregates())
    elif entry.key == "sequence" and draw(st.integers(0, 9)):
        under = draw(journeys())
    elif entry.keys:
        under = {**draw(mappings(entry.keys, depth)), **compared}
    else:
        under = draw(_shares(shaped(entry.shape, depth), STRANGE))
    found = {entry.key: under, **draw(mappings(entry.beside, depth))}
    return found if entry.keys else {**found, **compared}


@st.composite
def aggregates(draw: st.DrawFn) -> Document:
    """Numbers over events, with the keys that go with each function."""
    fn = draw(st.sampled_from(("sum", "mean", "min", "max", "distinct", "count", "rate", "trend")))
    found: Document = {"fn": fn, "event": draw(EVENTS), "within": draw(DURATIONS), "gte": draw(st.integers(1, 9))}
    if fn in ("sum", "mean", "min", "max", "distinct") or (fn != "count" and draw(st.booleans())):
        found["of"] = draw(PATHS)
    extra: dict[str, Document] = {"rate": {"per": "1d"}, "trend": {"against": "400d"}, "sum": {"exit_below": 0.5}}
    return {**found, **extra.get(fn, {}), **draw(mappings(reference.REFERENCE[1:], 0))}


@st.composite
def journeys(draw: st.DrawFn) -> Document:
    """Steps that can come one after the other, and a silence at the end."""
    steps = [
        {"event": draw(EVENTS), **draw(mappings(reference.REFERENCE[1:2], 0))} for _ in range(draw(st.integers(1, 3)))
    ]
    return {
        "steps": [*steps, {"not": draw(shaped("references", 0)), "for": draw(DURATIONS)}],
        **({"within": draw(DURATIONS)} if len(steps) > 1 or draw(st.booleans()) else {}),
        **({"per": draw(PATHS)} if draw(st.booleans()) else {}),
    }


@st.composite
def rule_files(draw: st.DrawFn) -> Document:
    """A whole file of the segment `x`."""
    found: Document = {"segment": "x", "when": draw(_shares(conditions(2), STRANGE))}
    for key in reference.SEGMENT[1:]:
        if key.name != "when" and draw(st.integers(0, 9)) == 0:
            part = reference.PARTS.get(key.name)
            found[key.name] = draw(mappings(part.keys, 0) if part else values(key, 0))
    return found
