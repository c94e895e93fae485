"""What a segment may wait for: the kinds of moments at which a customer is looked at though nothing has come.

Each condition knows one next moment at a time, a segment keeps the earliest of those of its conditions, and the job keeps one timer
for a customer: the earliest of all segments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rules.definition import (
    Absent,
    Affinity,
    Aggregate,
    Cluster,
    Condition,
    Context,
    During,
    Engagement,
    Happened,
    Hysteresis,
    Journey,
    Member,
    Operator,
    Rate,
    Rfm,
    Score,
    Segment,
    Sequence,
    Session,
    Silence,
    Since,
    Trait,
    Trend,
)
from rules.order import parts


def waits(segment: Segment) -> dict[str, int]:
    """The kinds of moments that a segment may wait for, each with how many conditions (or keys beside `when`) do.

    >>> from rules.parse import parse_rule
    >>> text = "segment: x\\nwhen: {all: [{event: A, within: 7d}, {event: B, within: 1d}, {absent: C, within: 1h}]}\\nexit: {after: 3d}"
    >>> waits(parse_rule(text, "x.yaml").segment)
    {'window exit': 2, 'silence': 1, 'exit': 1}
    """
    return dict(Counter((*_of_condition(segment.when), *_of_segment(segment))))


def _of_segment(segment: Segment) -> Iterator[str]:
    if segment.exit is not None and segment.exit.after is not None:
        yield "exit"
    for key in ("enter_for", "min_dwell", "cooldown"):
        if getattr(segment.stability, key):
            yield key


def _of_condition(condition: Condition) -> Iterator[str]:
    if isinstance(condition, Hysteresis):
        yield from _of_condition(condition.enter)  # the other threshold is of the same thing
        return
    yield from _of_leaf(condition)
    for part in parts(condition):
        yield from _of_condition(part)


def _of_leaf(condition: Condition) -> Iterator[str]:
    match condition:
        case Rate() | Trend() | Affinity():
            yield "window exit"
        case Rfm():
            yield "window exit"
            if any(test.path.startswith("recency") for test in condition.tests):
                yield "time since"
        case Happened(within=int()) | Aggregate(within=int()) | Context(within=int()):
            yield "window exit"
        case Absent(within=int()) | Sequence():
            yield "silence"
        case Journey(steps=steps) if isinstance(steps[-1], Silence):
            yield "silence"
        case Since():
            yield "time since"
        case During():
            yield "calendar"
        case Session(last=False):
            yield "end of a session"
        case Engagement():
            yield "fading points"
        case Trait():
            yield from ("date" for test in condition.tests if test.operator is Operator.WITHIN)
        case Score(max_age=int()) | Cluster(max_age=int()):
            yield "age of a score"
        case Member(at_least=int()) | Member(within=int()):
            yield "time in a segment"
