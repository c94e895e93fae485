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
    """How a value is compared. `between` includes both ends; text comparisons are exact (no case folding).

    `matches` is a regular expression somewhere in a text. `before` and `after` compare moments (operand in epoch milliseconds);
    `within` asks that a moment lies in the window of so many milliseconds that ends with the event, for a trait with the clock.
    """

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
    MATCHES = "matches"
    BEFORE = "before"
    AFTER = "after"
    WITHIN = "within"


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
    """Which events are meant: the name, what must hold of each (all tests), and when it happened on the customer's day."""

    event: str
    where: tuple[Test, ...] = ()
    during: During | None = None


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
class Rate:
    """`aggregate: {fn: rate}` events, or the sum of a number of theirs, in the window, for each `per` of time."""

    ref: EventRef
    within: int
    per: int
    tests: tuple[Test, ...]
    of: str | None = None


@dataclass(frozen=True)
class Trend:
    """`aggregate: {fn: trend}` what the window holds, divided by what the time before it held for each such window.

    The time before is `against` long and ends where the window begins. 1 means as before, 0.5 half as much. False while there
    is nothing before, or less than nothing.
    """

    ref: EventRef
    within: int
    against: int
    tests: tuple[Test, ...]
    of: str | None = None


@dataclass(frozen=True)
class Context:
    """`context:` what the newest event says that says anything at a path, within a window if one is given.

    The paths of the tests begin with `context.`, though the rule leaves that out.
    """

    tests: tuple[Test, ...]
    within: int | None = None


@dataclass(frozen=True)
class During:
    """`during:` the clock stands in these weekdays, hours and dates, in the customer's time zone.

    `weekdays`: 0 is Monday. `hours`: from and until in minutes of the day, until excluded; one that ends before it begins goes on past
    midnight, and belongs to the day on which it began. `dates`: first and last day as ordinals. What is empty does not matter. `zone`: for
    customers of whom none is known.
    """

    weekdays: tuple[int, ...] = ()
    hours: tuple[tuple[int, int], ...] = ()
    dates: tuple[tuple[int, int], ...] = ()
    zone: str | None = None


@dataclass(frozen=True)
class Session:
    """`session:` the run of events that goes on, each less than `gap` after the one before.

    `depth` tests the number of its events, `length` the time from its first to its last in milliseconds. False when none goes on, or with
    `last` only if there never was one.
    """

    ref: EventRef
    gap: int
    depth: tuple[Test, ...] = ()
    length: tuple[Test, ...] = ()
    last: bool = False


@dataclass(frozen=True)
class Rfm:
    """`rfm:` recency (time since the last), frequency (how many) and monetary (the sum of `of`) of events in a window.

    The path of each test is `recency`, `frequency` or `monetary` for the value itself, or the same with `_score` for the fifth of the
    population that the value falls into, 1 to 5, 5 being the best. Scores are false until the population has been measured.
    """

    ref: EventRef
    of: str
    within: int
    tests: tuple[Test, ...]


@dataclass(frozen=True)
class Engagement:
    """`engagement:` the points of all events, each halved with every `half_life` that has passed since it happened."""

    points: tuple[tuple[EventRef, float], ...]
    half_life: int
    tests: tuple[Test, ...]


@dataclass(frozen=True)
class Points:
    """`points:` the sum of the points of the conditions that hold."""

    of: tuple[tuple[Condition, float], ...]
    tests: tuple[Test, ...]


@dataclass(frozen=True)
class Affinity:
    """`affinity:` the share of the events `among` that are also meant by `to`; false below `least` events."""

    to: tuple[EventRef, ...]
    among: tuple[EventRef, ...]
    within: int
    tests: tuple[Test, ...]
    least: int = 1


@dataclass(frozen=True)
class Score:
    """`score:` the newest output of a model, not older than `max_age`. Without one it is `when_missing`."""

    model: str
    tests: tuple[Test, ...]
    max_age: int | None = None
    when_missing: bool = False


@dataclass(frozen=True)
class Cluster:
    """`cluster:` the persona that a model has put the customer into is one of these."""

    model: str
    among: tuple[str, ...]
    max_age: int | None = None
    when_missing: bool = False


@dataclass(frozen=True)
class Member:
    """`segment:` a member of another segment; `at_least`: for so long already; `within`: entered so lately."""

    segment: str
    at_least: int | None = None
    within: int | None = None


@dataclass(frozen=True)
class Step:
    """A step of a journey: one of these events, at most `within` after the step before it.

    `per` is where the value stands that binds the steps together; the journey's own path if None.
    """

    of: tuple[EventRef, ...]
    within: int | None = None
    per: str | None = None


@dataclass(frozen=True)
class Silence:
    """A `not` step: none of these events between the steps around it; with `lasting`, for so long after the step before.

    In front of all steps, so long before the first. At the end it must be lasting: its end completes the journey.
    """

    of: tuple[EventRef, ...]
    lasting: int | None = None
    per: str | None = None


@dataclass(frozen=True)
class Journey:
    """`sequence:` of any steps, in the order of their times (equal times: of arrival), all within `within` of each other.

    With `per`, all steps and silences are about one value. True from the first completion on, as `Sequence`.
    """

    steps: tuple[Step | Silence, ...]
    within: int | None = None
    per: str | None = None


@dataclass(frozen=True)
class Hysteresis:
    """One condition with two thresholds: `enter` decides for those who are out, `leave` for those who are in."""

    enter: Condition
    leave: Condition


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


Leaf = (
    Happened
    | Absent
    | Since
    | Aggregate
    | Rate
    | Trend
    | Trait
    | Context
    | During
    | Session
    | Rfm
    | Engagement
    | Affinity
    | Score
    | Cluster
    | Member
    | Sequence
    | Journey
)
"""The conditions that look at a customer."""

Condition = Leaf | All | AnyOf | Not | AtLeast | Points | Hysteresis


@dataclass(frozen=True)
class Exit:
    """`exit:` leave on one of these events, or so long after the last rise, whichever comes first."""

    on: tuple[EventRef, ...] = ()
    after: int | None = None


@dataclass(frozen=True)
class Stability:
    """`stability:` what keeps membership from flapping: durations in milliseconds, 0 where nothing is asked.

    `enter_for`: the rule must hold so long before the customer enters. `min_dwell`: who is in stays so long at least.
    `cooldown`: who has left does not enter again before.
    """

    enter_for: int = 0
    min_dwell: int = 0
    cooldown: int = 0


@dataclass(frozen=True)
class Group:
    """`group:` a customer is in at most one segment of a group: of those whose rule holds, the one of highest priority."""

    name: str
    priority: int


@dataclass(frozen=True)
class Segment:
    """One segment: its identity, its rule, and how membership ends.

    `holdout` is the share of customers who never enter, 0 to 1; `backfill` how far back history counts when the segment is new, in
    milliseconds; `zone` the time zone for customers of whom none is known: the rule's own or, in a rule set,
    the project's if the rule asks for local time and names none.

    `digest` identifies the meaning (name, when, exit, stability, group, holdout, zone): two files with the same digest
    decide alike. `version` is the version of the rule set in which this meaning first appeared (0 before it is published).
    """

    name: str
    when: Condition
    exit: Exit | None = None
    title: str = ""
    owner: str = ""
    description: str = ""
    digest: str = ""
    version: int = 0
    stability: Stability = Stability()
    group: Group | None = None
    holdout: float = 0.0
    backfill: int | None = None
    zone: str | None = None
    file: str = field(default="", compare=False)
