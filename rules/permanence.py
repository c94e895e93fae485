"""Whether a rule, once true, can ever become false again: a segment that nobody leaves is seldom meant."""

from __future__ import annotations

from rules.conditions import count_bounds
from rules.definition import (
    Absent,
    Aggregate,
    All,
    AnyOf,
    AtLeast,
    Condition,
    Happened,
    Journey,
    Not,
    Operator,
    Sequence,
    Since,
)

_UPWARD = (Operator.GT, Operator.GTE)
_DOWNWARD = (Operator.LT, Operator.LTE)


def is_permanent(condition: Condition) -> bool:
    """True if `condition` stays true for a customer once it is (events out of order aside).

    >>> from rules.definition import EventRef
    >>> is_permanent(Happened(EventRef("Order Completed"))), is_permanent(Happened(EventRef("Order Completed"), 1000))
    (True, False)
    """
    match condition:
        case Happened():
            open_ended = condition.within is None and condition.without is None
            return open_ended and count_bounds(condition.counts)[1] is None
        case Sequence() | Journey():
            return True
        case Since():
            return condition.occurrence == "first" and all(test.operator in _UPWARD for test in condition.tests)
        case Aggregate(within=None, fn="max" | "distinct"):
            return all(test.operator in _UPWARD for test in condition.tests)
        case Aggregate(within=None, fn="min"):
            return all(test.operator in _DOWNWARD for test in condition.tests)
        case Not(of=Absent(within=None)):
            return True
        case All() | AnyOf() | AtLeast():
            return all(map(is_permanent, condition.of))
        case _:
            return False


def rises_again(condition: Condition) -> bool:
    """True if a permanent rule can still make a latched segment rise anew: each completion of a sequence does."""
    match condition:
        case Sequence() | Journey():
            return True
        case All() | AnyOf() | AtLeast():
            return any(map(rises_again, condition.of))
        case _:
            return False
