"""What a rule file says, as typed values.

A `Segment` is the meaning of one file in `rules/catalog/`: parsing (`rules.parse`) makes it, the plan (`rules.plan`)
turns it into slots and compiled conditions, and nothing after that reads YAML. All times and durations are integers in
milliseconds; event times are epoch milliseconds in UTC.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Literal

ANY_EVENT = "any"
"""The reserved event name that stands for every event of a customer."""

Scalar = str | int | float | bool
Operand = Scalar | tuple[Scalar, ...]


class Operator(enum.StrEnum):
    """How a value is compared. `between` includes both ends; text comparisons are exact (no case folding)."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    BETWEEN = "between"
    IN = "in"
    NOT_IN = "not_in"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    EXISTS = "exists"


@dataclass(frozen=True)
class Test:
    """One comparison of one value: `path operator operand`.

    `path` is dotted from the event (`properties.item_count`, `context.device.type`); a part that ends in `[]` stands
    for each element of a list, and the test holds if it holds for any of them. For conditions that compare a number
    of their own (a count, an aggregate, a time since) the path is empty.
    """

    __test__ = False  # not a test case, whatever its name suggests to pytest

    path: str
    operator: Operator
    operand: Operand


@dataclass(frozen=True)
class EventRef:
    """Which events are meant: the name, and what must hold of each (all tests)."""

    event: str
    where: tuple[Test, ...] = ()


@dataclass(frozen=True)
class Happened:
    """`event:` the event happened, counted within a window (or ever, `within` None).

    `counts` are comparisons of the number of events (default: at least one), combined by *and*. With `per`, some value
    of that property must satisfy `counts` on its own ("the same product"); `without` then names events that must not
    have happened within the same window with the same value (read from `without_per`). With `after_silence`, only
    events are counted that come after at least this long without any event that matches, the first ever not included.
    """

    ref: EventRef
    within: int | None = None
    counts: tuple[Test, ...] = (Test("", Operator.GTE, 1),)
    per: str | None = None
    without: EventRef | None = None
    without_per: str | None = None
    after_silence: int | None = None


@dataclass(frozen=True)
class Absent:
    """`absent:` no such event within the window (or never), for a customer who has been seen."""

    ref: EventRef
    within: int | None = None


@dataclass(frozen=True)
class Since:
    """`since:` how long ago the last (or first) such event was; operands in milliseconds. False if it never was."""

    ref: EventRef
    tests: tuple[Test, ...]
    occurrence: Literal["first", "last"] = "last"


@dataclass(frozen=True)
class Aggregate:
    """`aggregate:` a number over the events of a window. Numbers that are missing or not numbers do not contribute.

    `sum` and `distinct` over no contribution are 0; `mean`, `min` and `max` over none compare as false.
    """

    fn: Literal["sum", "mean", "min", "max", "distinct"]
    of: str
    ref: EventRef
    tests: tuple[Test, ...]
    within: int | None = None


@dataclass(frozen=True)
class Trait:
    """`trait:` what is known of the customer. A missing trait is neither equal nor unequal to anything."""

    tests: tuple[Test, ...]


@dataclass(frozen=True)
class Sequence:
    """`sequence:` the first step happened and the second did not within `silence` after it.

    True from that moment on (an `exit` ends membership); each further completion is a new rise. An event that matches
    both steps ends the wait of earlier ones and starts its own. A second step that is heard of late takes back the completion,
    and the membership that came of it, if its time lies within twice the silence.
    """

    start: EventRef
    silence: int
    unless: tuple[EventRef, ...]


@dataclass(frozen=True)
class All:
    """`all:` every condition holds."""

    of: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """`any:` at least one condition holds."""

    of: tuple[Condition, ...]


@dataclass(frozen=True)
class Not:
    """`not:` the condition does not hold."""

    of: Condition


@dataclass(frozen=True)
class AtLeast:
    """`at_least:` at least `n` of the conditions hold."""

    n: int
    of: tuple[Condition, ...]


Condition = Happened | Absent | Since | Aggregate | Trait | Sequence | All | AnyOf | Not | AtLeast


@dataclass(frozen=True)
class Exit:
    """`exit:` leave on one of these events, or so long after the last rise, whichever comes first."""

    on: tuple[EventRef, ...] = ()
    after: int | None = None


@dataclass(frozen=True)
class Segment:
    """One segment: its identity, its rule, and how membership ends.

    `digest` identifies the meaning (name, when, exit): two files with the same digest decide alike. `version` is the
    version of the rule set in which this meaning first appeared (0 before it is published).
    """

    name: str
    when: Condition
    exit: Exit | None = None
    title: str = ""
    owner: str = ""
    description: str = ""
    digest: str = ""
    version: int = 0
    file: str = field(default="", compare=False)
