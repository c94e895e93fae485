"""The words of the rule language: which keys and operators there are at each place, and what to say about others.

Everything that a rule file may say stands here, in `rules.parse` or in `rules.kinds`; a key that is not listed is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from profiles.document import suggestion
from rules.definition import Operator

SEGMENT_KEYS: Final = (
    "segment",
    "name",
    "owner",
    "description",
    "when",
    "exit",
    "stability",
    "group",
    "holdout",
    "backfill",
    "timezone",
    "tests",
)

CONDITION_KEYS: Final = (
    "event",
    "absent",
    "since",
    "aggregate",
    "trait",
    "all",
    "any",
    "not",
    "at_least",
    "points",
)
"""Conditions that `rules.condition_reader` reads itself; those of `rules.kinds` come beside them."""

MODIFIERS: Final[dict[str, tuple[str, ...]]] = {
    "event": ("within", "count", "where", "during", "per", "without", "after_silence"),
    "absent": ("within", "where", "during"),
    "since": ("occurrence", "where", "during", "gt", "gte", "lt", "lte", "between"),
}
"""What may stand beside the key of a condition; nothing where it is not listed."""

AGGREGATE_KEYS: Final = ("of", "fn", "event", "within", "where", "during", "exit_below", "exit_above")
AGGREGATES: Final = ("sum", "mean", "min", "max", "distinct")
AT_LEAST_KEYS: Final = ("n", "of")
POINTS_KEYS: Final = ("of", "exit_below", "exit_above")
POINT_KEYS: Final = ("when", "points")
WITHOUT_KEYS: Final = ("event", "per", "where", "during")
REFERENCE_KEYS: Final = ("event", "where", "during")
EXIT_KEYS: Final = ("on", "after")
STABILITY_KEYS: Final = ("enter_for", "min_dwell", "cooldown")
GROUP_KEYS: Final = ("name", "priority")

TEST_KEYS: Final = ("name", "now", "given", "expect", "transitions", "scores", "members", "holdout", "population")
GIVEN_KEYS: Final = (
    "at",
    "event",
    "identify",
    "properties",
    "context",
    "id",
    "arrives",
    "scores",
    "entered",
    "exited",
)
EXPECT_KEYS: Final = ("at", "in", "entered", "exited")

COUNT_OPERATORS: Final = (
    Operator.GTE,
    Operator.GT,
    Operator.LTE,
    Operator.LT,
    Operator.EQ,
    Operator.BETWEEN,
)
SINCE_OPERATORS: Final = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN)
NUMBER_OPERATORS: Final = (*COUNT_OPERATORS, Operator.NE)
VALUE_OPERATORS: Final = tuple(Operator)

PATH_ROOTS: Final = ("properties", "context", "traits")

NOT_CONDITIONS: Final = {
    "never": "for an event that did not happen write `absent: <event>`, with `within` or without",
    "last": "for the time since the last one write `since: <event>` with `lt`, `lte`, `gt`, `gte` or `between`",
    "first": "for the time since the first one write `since: <event>`, `occurrence: first` and a comparison",
    "or": "write `any: [...]`",
    "and": "write `all: [...]`",
    "none": "write `not: {any: [...]}`",
    "traits": "write `trait: {<name>: <value>}`",
    "properties": "test them on an event: `where: {properties.<name>: <value>}`",
    "times": "write `count: {gte: 3}`",
    "window": "write `within: 7d`",
    "for": "a time limit on an event is `within: 7d`; `for` belongs to the `not` step of a sequence",
}
"""Words people try in conditions, and what the language says instead."""

NOT_OPERATORS: Final = {
    "==": "write `eq`",
    "=": "write `eq`",
    "!=": "write `ne`",
    "<": "write `lt`",
    "<=": "write `lte`",
    "is": "write the value alone, or `eq`",
    "equals": "write the value alone, or `eq`",
    "not": "write `ne`, or `not_in` with a list",
    "min": "write `gte`",
    "max": "write `lte`",
    "at_least": "write `gte`",
    "at_most": "write `lte`",
    "more_than": "write `gt`",
    "less_than": "write `lt`",
}
"""Words people try as comparisons."""


def about_unknown(key: str, known: Sequence[str], instead: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Message and hint for a key that is not among `known` at its place; `instead` has hints for words people try.

    >>> about_unknown("withn", ("within", "where"))
    ("unknown key 'withn'", "did you mean 'within'?")
    """
    word = key if len(key) <= 60 else f"{key[:60]}..."
    return f"unknown key {word!r}", (instead or {}).get(key) or suggestion(key, known)
