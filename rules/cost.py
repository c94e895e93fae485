"""What a segment costs each customer: bytes of state at most, what it shares with other segments, and from when on numbers are merged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from profiles.values import KEY_LENGTH
from rules.decay import SPANS, Decay
from rules.journeys import EVENTS, VALUES, Trail
from rules.kinds.sessions import SESSIONS, Sessions
from rules.newest import LONGEST_KEPT, Newest
from rules.plan import Plan
from rules.slots import (
    ANCHORS,
    SPARE_RETURNS,
    Anchors,
    Cancel,
    First,
    Keyed,
    Numbers,
    Returns,
    Slot,
    Times,
    Total,
)

_NUMBER: Final = 9
_LIST: Final = 5
_TEXT: Final = 4 * (KEY_LENGTH + 40) + _LIST
"""A value that identifies something, at four bytes a character; a checksum may stand in it."""


@dataclass(frozen=True)
class Cost:
    """What one segment takes. `shared`: how many of its `slots` other segments count with too.

    `exact`: numbers of one window that are kept one by one, before neighbours are merged; None where there is nothing to merge.
    """

    segment: str
    slots: int
    shared: int
    bytes: int
    exact: int | None


def bound(slot: Slot) -> int:
    """Bytes that the state of a slot takes at most in an encoded profile, its key included."""
    return _NUMBER + _LIST + _state(slot)


def _state(slot: Slot) -> int:
    match slot:
        case Times():
            return slot.keep * _NUMBER
        case First():
            return _NUMBER
        case Numbers():
            return 3 * (_LIST + slot.most * _NUMBER)
        case Total():
            return 2 * _NUMBER
        case Keyed():
            return slot.keys * (_TEXT + _LIST + slot.keep * _NUMBER)
        case Returns():
            return (2 + 2 * (slot.keep + SPARE_RETURNS)) * _NUMBER
        case Anchors() | Cancel():
            return (ANCHORS + 2) * _NUMBER
        case Sessions():
            return SESSIONS * (_LIST + 3 * _NUMBER)
        case Newest():
            return _NUMBER + _LIST + 4 * LONGEST_KEPT
        case Decay():
            return 2 * (_LIST + SPANS * _NUMBER)
        case Trail():
            # Events with their marks, the values of theirs, and the completions, of which no two have one time.
            return 4 * _LIST + (2 + 3 * EVENTS) * _NUMBER + EVENTS * _LIST + slot.bound * VALUES * (_TEXT + _NUMBER)
    raise TypeError(f"nothing is known of how large a {type(slot).__name__} becomes")


def costs(plan: Plan) -> list[Cost]:
    """The cost of each segment of a plan, by name."""
    users = Counter(key for one in plan.segments for key in one.condition.slots)
    found = []
    for one in sorted(plan.segments, key=lambda segment: segment.name):
        own = [plan.slots[key] for key in one.condition.slots]
        merged = [slot.most for slot in own if isinstance(slot, Numbers)]
        found.append(
            Cost(
                one.name,
                len(own),
                sum(users[slot.key] > 1 for slot in own),
                sum(map(bound, own)),
                min(merged, default=None),
            )
        )
    return found


def total(plan: Plan) -> int:
    """Bytes that all slots of a plan take at most, those that are shared counted once."""
    return sum(map(bound, plan.slots.values()))
