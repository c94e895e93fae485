"""Everything that may stand in a rule file, with its meaning: what the reference, the editors' schema and the errors' readers go by.

The kinds in `rules.kinds` bring their own description; here are those that `rules.condition_reader` reads itself, the keys
around the rule, the operators and the tests. `rules.schema` makes a JSON Schema of it, `docs/generate.py` the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rules import vocabulary
from rules.definition import Operator
from rules.kinds import KINDS
from rules.kinds.kind import Key, Kind, Shape


@dataclass(frozen=True)
class Entry:
    """A condition, or a mapping at the level of the segment: as `rules.kinds.kind.Kind` without what reads and compiles it.

    `operand` is what comparisons among its keys compare with.
    """

    key: str
    meaning: str
    example: str
    shape: Shape
    keys: tuple[Key, ...] = ()
    beside: tuple[Key, ...] = ()
    operators: tuple[str, ...] = ()
    operand: Shape = "number"


def entry_of(kind: Kind) -> Entry:
    """The description that a kind brings along."""
    return Entry(kind.key, kind.meaning, kind.example, kind.shape, kind.keys, kind.beside, kind.operators)


def _words(operators: tuple[Operator, ...]) -> tuple[str, ...]:
    return tuple(one.value for one in operators)


_WHERE: Final = Key("where", "where", "what must hold of each of these events")
_DURING: Final = Key("during", "during", "when each of them must have happened: weekdays, hours, dates")
_WITHIN: Final = Key("within", "duration", "only events of so long until now; all that ever happened unless told")
_BELOW: Final = Key("exit_below", "number", "who is in stays until the number is below this")
_ABOVE: Final = Key("exit_above", "number", "who is in stays until the number is above this")

_BUILT_IN: Final = (
    Entry(
        "event",
        "The event has happened: at least once, or as often as `count` says.",
        "event: Order Completed\nwhere: {properties.revenue: {gte: 50}}\nwithin: 30d\ncount: {gte: 2}",
        "event",
        beside=(
            _WITHIN,
            Key("count", "count", "how often; at least once unless told"),
            _WHERE,
            _DURING,
            Key("per", "path", "as often with the same value here: the same product, say"),
            Key(
                "without",
                "reference",
                "and with that value, none of these in the same window; `per` in it says where the value stands",
            ),
            Key("after_silence", "duration", "only events that come after at least so long without any such event"),
        ),
    ),
    Entry(
        "absent",
        "The event has not happened, for a customer of whom something is known.",
        "absent: Order Completed\nwithin: 90d",
        "event",
        beside=(_WITHIN, _WHERE, _DURING),
    ),
    Entry(
        "since",
        "The last such event, or the first, lies so far back; false if there was none.",
        "since: Order Completed\ngt: 30d",
        "event",
        beside=(
            Key("occurrence", "text", "which of them is meant; the last unless told", among=("first", "last")),
            _WHERE,
            _DURING,
        ),
        operators=_words(vocabulary.SINCE_OPERATORS),
        operand="duration",
    ),
    Entry(
        "aggregate",
        "A number made of the events of a window compares so.",
        "aggregate: {fn: sum, of: properties.revenue, event: Order Completed, within: 90d, gte: 200, exit_below: 150}",
        "mapping",
        keys=(
            Key(
                "fn",
                "text",
                "what is made of them: the `sum`, `mean`, `min`, `max` of a number, how many `distinct` values, a `count`, the `rate` "
                "for each `per` of time, or the `trend`: the window divided by what came `against` it before",
                required=True,
                among=(*vocabulary.AGGREGATES, "count", "rate", "trend"),
            ),
            Key(
                "of",
                "path",
                "where the number, or the value, stands in an event; `rate` and `trend` count events without it",
            ),
            Key("event", "event", "the events", required=True),
            _WITHIN,
            _WHERE,
            _DURING,
            Key("per", "duration", "for `rate`: for each so long"),
            Key("against", "duration", "for `trend`: the time before the window that it is compared with"),
            _BELOW,
            _ABOVE,
        ),
        operators=_words(vocabulary.NUMBER_OPERATORS),
    ),
    Entry(
        "trait",
        "What is known of the customer says all of this.",
        "trait: {email_consent: true, country: {in: [NL, BE]}}",
        "values",
    ),
    Entry(
        "all",
        "Every one of these conditions holds.",
        "all:\n  - {event: Product Viewed, within: 7d}\n  - {absent: Order Completed, within: 7d}",
        "conditions",
    ),
    Entry(
        "any",
        "At least one of these conditions holds.",
        "any:\n  - {event: Order Completed, within: 30d}\n  - {trait: {plan: premium}}",
        "conditions",
    ),
    Entry("not", "The condition does not hold.", "not: {trait: {country: NL}}", "condition"),
    Entry(
        "at_least",
        "So many of these conditions hold, or more.",
        "at_least:\n  n: 2\n  of:\n    - {event: Product Viewed, within: 7d}\n    - {event: Cart Updated, within: 7d}\n"
        "    - {event: Wishlist Updated, within: 7d}",
        "mapping",
        keys=(
            Key("n", "integer", "how many", required=True),
            Key("of", "conditions", "of which conditions", required=True),
        ),
    ),
    Entry(
        "points",
        "The points of those conditions that hold add up to so much.",
        "points:\n  of:\n    - {when: {event: Order Completed, within: 90d}, points: 3}\n"
        "    - {when: {trait: {newsletter: true}}, points: 1}\n  gte: 3",
        "mapping",
        keys=(Key("of", "weighted", "conditions, each with its points", required=True), _BELOW, _ABOVE),
        operators=_words(vocabulary.NUMBER_OPERATORS),
    ),
)

CONDITIONS: Final[dict[str, Entry]] = {
    **{one.key: one for one in _BUILT_IN},
    **{key: entry_of(kind) for key, kind in KINDS.items()},
}
"""Every condition of the language, by the key that begins it."""

SEGMENT: Final = (
    Key(
        "segment",
        "name",
        "the name of the segment: small letters and digits, joined by dashes, as the file's",
        required=True,
    ),
    Key("name", "text", "what people call it; the name of the segment unless told"),
    Key("owner", "text", "who answers for it"),
    Key("description", "text", "what it is for"),
    Key("when", "condition", "who is in: one condition, which may be made of others", required=True),
    Key("exit", "mapping", "how membership ends, if not with `when`"),
    Key("stability", "mapping", "what keeps customers from going in and out"),
    Key("group", "mapping", "the group of segments of which a customer is in at most one"),
    Key("holdout", "share", "the share of customers who never enter, to compare with: above 0% and up to 50%"),
    Key("backfill", "duration", "how far back history counts when the segment is new"),
    Key(
        "timezone",
        "text",
        "where customers are of whom no time zone is known, such as `Europe/Berlin`; else that of `_project.yaml`, else UTC",
    ),
    Key("tests", "tests", "what must happen to a customer in virtual time"),
)
"""The keys of a rule file."""

PARTS: Final[dict[str, Entry]] = {
    one.key: one
    for one in (
        Entry(
            "exit",
            "Customers who are in stay, whatever `when` says, until one of these happens.",
            "exit: {on: Order Completed, after: 72h}",
            "mapping",
            keys=(
                Key("on", "references", "the events that end membership: one, or a list"),
                Key("after", "duration", "so long after the rule became true last, membership ends"),
            ),
        ),
        Entry(
            "stability",
            "Entering and leaving take their time. A duration may be `0s`, which is the same as to leave it out.",
            "stability: {enter_for: 10m, min_dwell: 1h, cooldown: 6h}",
            "mapping",
            keys=(
                Key("enter_for", "duration", "the rule must hold so long before a customer enters"),
                Key("min_dwell", "duration", "who is in stays at least so long"),
                Key("cooldown", "duration", "who has left does not enter again before"),
            ),
        ),
        Entry(
            "group",
            "Of the segments of one group whose rules hold, a customer is in the one of the highest priority, and in no other.",
            "group: {name: retention, priority: 20}",
            "mapping",
            keys=(
                Key("name", "name", "the name of the group", required=True),
                Key(
                    "priority",
                    "integer",
                    "from 0 to 1,000,000; no two segments of a group have the same",
                    required=True,
                ),
            ),
        ),
    )
}
"""Mappings at the level of the segment."""

WITHOUT: Final = (
    Key("event", "event", "the event that must not have happened", required=True),
    Key("per", "path", "where it has the value; as in `per` beside `event` unless told"),
    _WHERE,
    _DURING,
)
"""The keys of `without`."""

REFERENCE: Final = (Key("event", "event", "the name of the event", required=True), _WHERE, _DURING)
"""The keys of an event that is meant by more than its name."""

WEIGHTED: Final = (
    Key("when", "condition", "the condition", required=True),
    Key("points", "number", "what it is worth", required=True),
)
"""The keys of an entry of `points`."""

TEST: Final = (
    Key("name", "text", "what the test shows; its number unless told"),
    Key("now", "moment", "when the test begins; Monday 2026-03-02T09:00:00Z unless told"),
    Key("given", "given", "what happens, line by line", required=True),
    Key("expect", "expect", "where the customer is then, line by line", required=True),
    Key("transitions", "text", "`any`: entering and leaving that no line expects is no failure", among=("any",)),
    Key("scores", "anything", "what models say from the first line on: `{churn: 0.8}`"),
    Key("members", "anything", "other segments that the customer is in, each since when: `{vip: -10d}`"),
    Key("holdout", "boolean", "`true`: the test is about a customer who is held out"),
    Key(
        "population",
        "population",
        "how all customers are spread, for `rfm` scores; without it nobody has any, whatever was measured",
    ),
)
GIVEN: Final = (
    Key("at", "offset", "when it happens, from the beginning of the test", required=True),
    Key("event", "event", "the name of the event"),
    Key("identify", "anything", "instead of an event: what becomes known of the customer, `{<trait>: <value>}`"),
    Key("properties", "anything", "the properties of the event"),
    Key("context", "anything", "its context: device, place, language, campaign"),
    Key("id", "text", "its id, to say that it is the same event once more"),
    Key("arrives", "offset", "when it is heard of, if later than it happens"),
    Key("scores", "anything", "what models say from then on: `{churn: 0.8}`; also without an event"),
    Key("entered", "text", "instead of an event: another segment that the customer enters"),
    Key("exited", "text", "instead of an event: another segment that the customer leaves"),
)
EXPECT: Final = (
    Key("at", "offset", "when, after everything that is due by then", required=True),
    Key("in", "boolean", "whether the customer is in"),
    Key("entered", "boolean", "`true`: entered at this very millisecond"),
    Key("exited", "boolean", "`true`: left at this very millisecond"),
)

OPERATORS: Final[dict[str, tuple[str, str]]] = {
    "eq": ("equal to it; the value alone says the same", "eq: NL"),
    "ne": ("there, and not equal to it", "ne: NL"),
    "gt": ("greater", "gt: 3"),
    "gte": ("greater or equal", "gte: 3"),
    "lt": ("less", "lt: 3"),
    "lte": ("less or equal", "lte: 3"),
    "between": ("from the one to the other, both included", "between: [1, 5]"),
    "in": ("equal to one of them", "in: [NL, BE]"),
    "not_in": ("there, and equal to none of them", "not_in: [NL, BE]"),
    "contains": ("the text has this somewhere in it, capital and small letters told apart", "contains: eco"),
    "starts_with": ("the text begins with it", "starts_with: spring"),
    "ends_with": ("the text ends with it", 'ends_with: "-sale"'),
    "exists": ("`true`: there is a value; `false`: there is none", "exists: false"),
    "matches": (
        "the pattern (a regular expression of RE2's kind) is found somewhere in the text",
        'matches: "^NL-[0-9]+$"',
    ),
    "before": ("a moment before this one", "before: 2026-03-02"),
    "after": ("a moment after this one", 'after: "2026-03-02T09:00:00Z"'),
    "within": ("a moment so lately: of the event, or for a trait of now", "within: 30d"),
}
"""What each comparison says, and how it is written."""

SHAPES: Final[dict[Shape, str]] = {
    "anything": "names and values",
    "boolean": "`true` or `false`",
    "condition": "a condition",
    "conditions": "a list of conditions",
    "count": "comparisons with a whole number: `{gte: 3}`",
    "duration": "a duration",
    "durations": "comparisons with a duration: `{gte: 10m}`",
    "during": "[`during`](#during)'s keys",
    "event": "the name of an event, or `any`",
    "expect": "a list of what is expected",
    "given": "a list of what is given",
    "integer": "a whole number",
    "mapping": "a mapping",
    "moment": "a date or a moment",
    "name": "a name",
    "number": "a number",
    "numbers": "comparisons with a number: `{gte: 500}`",
    "offset": "a duration, with a minus for what was before",
    "path": "a path",
    "population": "four ascending bounds between the fifths for each measure: `{recency: [10d, 30d, 60d, 90d]}`",
    "reference": "the name of an event, or `{event: ..., where: {...}}`",
    "references": "the name of an event, `{event: ..., where: {...}}`, or a list of such",
    "share": "a share: `5%`",
    "steps": "a list of [steps](#steps)",
    "tests": "a list of [tests](#tests)",
    "text": "text",
    "texts": "text, or a list of texts",
    "values": "values or comparisons by name: `{country: NL}`",
    "weighted": "a list of `{when: <condition>, points: <number>}`",
    "where": "values or comparisons by path: `{properties.price: {gte: 10}}`",
    "window": "a duration, or `ever`",
}
"""What may stand under a key, in words."""
