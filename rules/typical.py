"""What a typical customer's state takes: a stated history, counted by the slots themselves and encoded as it is stored.

The typical customer has done each thing that a rule counts once a day for thirty days, with ten different values of twelve characters
that take turns and numbers such as 49.90; the steps of a sequence come in their order, one a day; nothing arrives late. Memberships are
those of a customer who is in every segment. It is a yardstick to compare rules by, the same on every machine, and no forecast of a shop.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from profiles.profile import NEVER
from rules.decay import Decay
from rules.journeys import Role, Trail
from rules.kinds.sessions import Sessions
from rules.newest import Newest
from rules.plan import CompiledSegment
from rules.slots import Anchors, Arrivals, First, Keyed, Numbers, Returns, Slot, Tallied, Times, Total

DAYS: Final = 30
VALUES: Final = 10

_NOW: Final = 1_767_225_600_000
_DAY: Final = 86_400_000
_NUMBER: Final = 49_900_000
_POINTS: Final = 10.0


class _Thing(NamedTuple):
    """An event of the typical history, with all that a slot may want to read of it right at hand."""

    name: str
    value: str
    number: float


def typical_bytes(slot: Slot) -> int:
    """Bytes that the state of a slot takes after the typical history, its key included."""
    state = dict[int, Any]()
    counting = _counting(slot)
    for day in range(DAYS):
        time = _NOW - (DAYS - 1 - day) * _DAY
        value = f"product-{day % VALUES:04d}"
        if isinstance(counting, Numbers):
            counting.trim(counting.insert(state, time, _NUMBER), time)
        else:
            counting.add(state, time, _Thing(_step(slot, day), value, _NUMBER / 1_000_000), time)
    return len(msgspec.msgpack.encode(state)) - 1


def typical_membership(segment: CompiledSegment) -> int:
    """Bytes that the membership of a typical customer takes, the segment's name included."""
    entry = [_NOW, _NOW + _DAY]
    if segment.latched or segment.governed:
        entry += [_NOW, 1, _NOW] if segment.latched else [0, 0, 0]
    if segment.governed:
        entry += [_NOW, 0]
    return len(msgspec.msgpack.encode({segment.name: entry})) - 1


def _step(slot: Slot, day: int) -> str:
    return str(day % slot.course.steps) if isinstance(slot, Trail) else ""


def _counting(slot: Slot) -> Slot:
    """The slot, or one that keeps the same in the same way but reads its values where `_Thing` has them."""
    match slot:
        case Arrivals() | Times() | First() | Numbers() | Returns() | Anchors() | Sessions() | Tallied():
            return slot
        case Total():
            return Total(slot.key, "number", slot.merge)
        case Keyed():
            return Keyed(slot.key, slot.retention, "value", slot.keep, slot.keys)
        case Newest():
            return Newest(slot.key, NEVER, "value")
        case Decay():
            return Decay(slot.key, slot.half_life, _POINTS)
        case Trail():
            read = lambda thing: iter((thing.value,))  # noqa: E731
            roles = {str(step): (Role(None, 1 << step, read),) for step in range(slot.course.steps)}
            return Trail(slot.key, slot.course, roles, (), slot.bound)
    raise TypeError(f"nothing is known of what a {type(slot).__name__} typically keeps")
