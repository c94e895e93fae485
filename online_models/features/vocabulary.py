"""All kinds of features, and how one line of `features` is read. A kind that is listed here is known everywhere."""

from __future__ import annotations

from typing import Final

from online_models.definition import Feature
from online_models.features import activity, calendar, categories, numeric, shares
from online_models.features.kind import FeatureKind
from online_models.features.reading import Line
from profiles.document import Mapping, Node, Scalar, suggestion
from rules.condition_reader import ConditionReader

KINDS: Final[dict[str, FeatureKind]] = {
    one.name: one for one in (*activity.KINDS, *numeric.KINDS, *shares.KINDS, *categories.KINDS, *calendar.KINDS)
}

_INSTEAD: Final = {
    "total": "write `sum`",
    "average": "write `mean`",
    "revenue": "write `monetary`",
    "since": "write `recency`",
    "tenure": "write `age`",
    "trend": "write `velocity`",
    "points": "write `engagement`",
    "cart": "write `cart_items` or `cart_value`",
    "session": "write `session_depth` or `session_length`",
    "channel": "write `category: {path: context.channel, as: channel}`",
    "device": "write `category: {path: context.device.type, as: device}`",
    "traits": "write `trait: {name: country}`",
    "day": "write `weekday`",
    "event": "write `count: {event: Product Viewed, within: 7d}`",
}
"""Words people try, and what the vocabulary says instead."""

_KEYS_INSTEAD: Final = {
    "of": "write `path`",
    "name": "write `as`",
    "window": "write `within`",
    "properties": "test them with `where`: `where: {properties.<name>: <value>}`",
}
_EXAMPLE: Final = "write `recency`, or `recency: {event: Order Completed}` with what is to be otherwise"


def read_feature(reader: ConditionReader, node: Node) -> Feature | None:
    """One line of `features`: the name of a kind, or a mapping of that one key to its parameters.

    What is wrong is noted in `reader` with line and column; then the answer is None.
    """
    before = len(reader.errors) + reader.unlisted
    found = _named(reader, node)
    if found is None:
        return None
    kind, at, inner = found
    reader.only(inner, tuple(key.name for key in kind.keys), _KEYS_INSTEAD)
    for key in kind.keys:
        if key.required and key.name not in inner:
            reader.wrong(inner, f"{key.name!r} is missing here", f"write for example `{kind.example}`")
    if len(reader.errors) + reader.unlisted > before:
        return None
    line = Line(reader, inner)
    feature = Feature(line.name(kind.name), kind.name, kind.read(line), at.line, at.column)
    return None if len(reader.errors) + reader.unlisted > before else feature


def _named(reader: ConditionReader, node: Node) -> tuple[FeatureKind, Node, Mapping] | None:
    """The kind that a line names, where, and what stands under the name."""
    if isinstance(node, Scalar):
        at: Node = node
        name = reader.text(node, "a feature")
        inner: Mapping | None = Mapping(node.file, node.line, node.column)
    elif isinstance(node, Mapping) and len(node) == 1:
        ((name, under),) = node.items()
        at = node.keys[name]
        inner = (
            None if name not in KINDS else reader.mapping(under, f"what stands under `{name}`", f"write `{name}` alone")
        )
    else:
        what = "a feature is a name or a mapping of one name"
        reader.wrong(
            node,
            f"{what}, not {node.kind}" if not isinstance(node, Mapping) else f"{what}, not of {len(node)}",
            _EXAMPLE,
        )
        return None
    kind = KINDS.get(name)
    if kind is None:
        if name:
            hint = _INSTEAD.get(name) or suggestion(name[:60], KINDS)
            reader.wrong(at, f"there is no feature {name[:60]!r}", hint)
        return None
    return None if inner is None else (kind, at, inner)
