"""What a rule set costs each customer: bytes of state at most and typically, who shares them, what wakes the customer, what is exact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from profiles.profile import DIGEST_SIZE
from profiles.values import KEY_LENGTH
from rules.compiled import Compiled
from rules.decay import SPANS, Decay
from rules.definition import Segment
from rules.duration import format_duration
from rules.journeys import EVENTS, VALUES, Trail
from rules.kinds.sessions import SESSIONS, Sessions
from rules.newest import LONGEST_KEPT, Newest
from rules.plan import CompiledSegment, Plan
from rules.slots import (
    ANCHORS,
    CONTRIBUTIONS,
    KEYS,
    SPARE_RETURNS,
    Anchors,
    Cancel,
    First,
    Keyed,
    Numbers,
    Returns,
    Slot,
    Tallied,
    Times,
    Total,
)
from rules.tallies import Tally
from rules.typical import typical_bytes, typical_membership
from rules.waits import waits

_NUMBER: Final = 9
_LIST: Final = 5
_TEXT: Final = 4 * KEY_LENGTH + len("~01234567") + 3
"""A value that identifies something, at four bytes a character; a checksum may stand in it."""


@dataclass(frozen=True)
class Kept:
    """One slot: what it counts, bytes a customer at most and typically, and the segments that count with it.

    `exact`: numbers of one window that are kept one by one; beyond them neighbours within `pane` are merged. None: never. `beyond`
    says in words up to where it is exact; "" where that is always so.
    """

    slot: int
    counts: str
    bytes: int
    typical: int
    exact: int | None
    pane: str | None
    beyond: str
    segments: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """What one segment takes, what it shares with others included: `bytes` at most, `typical` as `rules.typical` says, in `slots`.

    `waits`: kinds of moments that it may wait for, each with how many conditions do; it waits for the earliest.
    """

    segment: str
    bytes: int
    typical: int
    waits: dict[str, int]
    slots: tuple[int, ...]


@dataclass(frozen=True)
class Costs:
    """What a rule set takes: each segment, by name, each slot, and all `bytes` and `typical` together, with what is shared counted once.

    `besides`: bytes at most that a profile takes whatever the rules count: remembered events and traits.
    """

    segments: tuple[Cost, ...]
    slots: dict[int, Kept]
    bytes: int
    typical: int
    besides: int

    def shares_with(self, one: Cost) -> list[str]:
        """The other segments that count with a slot of this one."""
        return sorted({name for key in one.slots for name in self.slots[key].segments} - {one.segment})


def bound(slot: Slot) -> int:
    """Bytes that the state of a slot takes at most in an encoded profile, its key included."""
    return _NUMBER + _LIST + _state(slot)


def _state(slot: Slot) -> int:
    match slot:
        case Times():
            return slot.keep * _NUMBER
        case First() | Tallied():
            return _NUMBER
        case Numbers():
            return 3 * (_LIST + most_numbers(slot) * _NUMBER)
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


def most_numbers(slot: Numbers) -> int:
    """The most entries of a window: a short one has more than a hundred panes, as none is below a millisecond."""
    inner = slot.inner if isinstance(slot, Tally) else slot.retention
    panes = inner // slot.pane + 2
    if isinstance(slot, Tally) and inner < slot.retention:
        panes += (slot.retention - inner) // slot.coarse + 2
    return max(slot.most, CONTRIBUTIONS // 2 + panes)


def membership(segment: CompiledSegment) -> int:
    """Bytes that a membership takes at most, the segment's name included."""
    numbers = 7 if segment.governed else 5 if segment.latched else 2
    return 3 + len(segment.name.encode()) + 1 + numbers * _NUMBER


def costs(plan: Plan, segments: Iterable[Segment]) -> Costs:
    """What these segments cost, which the plan was made of."""
    waiting = {one.name: waits(one) for one in segments}
    compiled = sorted(plan.segments, key=lambda one: one.name)
    kept = _kept(plan, compiled)
    found = []
    for one in compiled:
        own = [kept[key] for key in sorted(one.condition.slots)]
        most = membership(one) + sum(slot.bytes for slot in own)
        typical = typical_membership(one) + sum(slot.typical for slot in own)
        found.append(Cost(one.name, most, typical, waiting[one.name], tuple(slot.slot for slot in own)))
    typical = sum(map(typical_membership, compiled)) + sum(slot.typical for slot in kept.values())
    return Costs(tuple(found), kept, total(plan), typical, _besides(plan))


def at_most(plan: Plan, segment: CompiledSegment) -> int:
    """Bytes that one segment takes at most, what it shares with others included."""
    return membership(segment) + sum(bound(plan.slots[key]) for key in segment.condition.slots)


def total(plan: Plan) -> int:
    """Bytes that all that a plan counts and decides takes at most, what is shared counted once."""
    return sum(map(membership, plan.segments)) + sum(map(bound, plan.slots.values()))


def _kept(plan: Plan, segments: list[CompiledSegment]) -> dict[int, Kept]:
    users: dict[int, list[str]] = {}
    texts: dict[int, str] = {}
    for one in segments:
        for key in one.condition.slots:
            users.setdefault(key, []).append(one.name)
        _tell(one.condition, texts)
    return {
        key: Kept(
            key,
            texts[key],
            bound(slot),
            typical_bytes(slot),
            slot.most if isinstance(slot, Numbers) else None,
            _pane(slot) if isinstance(slot, Numbers) else None,
            _beyond(slot, texts[key]),
            tuple(users[key]),
        )
        for key, slot in plan.slots.items()
        if key in users
    }


def _tell(condition: Compiled, texts: dict[int, str]) -> None:
    """For each slot the first condition that looks at it, as it reads."""
    for part in condition.parts:
        _tell(part, texts)
    for key in condition.slots:
        texts.setdefault(key, condition.text)


def _pane(slot: Numbers) -> str:
    return format_duration(slot.longest_pane)


def _beyond(slot: Slot, text: str) -> str:
    match slot:
        case Numbers():
            return f"{slot.most} numbers, then panes of {_pane(slot)}"
        case Keyed() if slot.keys == KEYS and not text.startswith("distinct of "):
            return f"{KEYS} values seen last"
        case Trail():
            return f"{EVENTS} newest events"
        case Anchors():
            return f"{ANCHORS} starts that wait"
    return ""


def _besides(plan: Plan) -> int:
    limits = plan.limits
    trait = 2 * (3 + 4 * limits.trait_length) + _NUMBER + 1
    head = 6 * _NUMBER + 5 * _LIST
    return head + limits.remembered_messages * DIGEST_SIZE + (limits.traits + len(plan.by_trait)) * trait
