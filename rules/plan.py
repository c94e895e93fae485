"""What runs: segments with compiled conditions, the slots that they share, and an index by event name.

The plan holds no customer's data and is never changed once made. Slots are shared by all conditions that count the same
thing, and their keys depend only on what they count, so that a new rule set finds what an older one has kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import xxhash

from profiles.profile import DIGEST_SIZE, NEVER, Profile
from rules import slots
from rules.compiled import Compiled
from rules.definition import (
    Condition,
    Hysteresis,
    Segment,
    Stability,
)
from rules.order import parts
from rules.predicates import Predicate, reads
from rules.watch import Watched


@dataclass(frozen=True)
class Limits:
    """What bounds a customer's state besides the rules. Durations in milliseconds."""

    remembered_messages: int = 48
    skew: int = 300_000
    expiry: int = 730 * 86_400_000
    traits: int = 64
    trait_length: int = 256


Helped = tuple[str, int, int]
"""`(name, bit, cell)`: a segment whose rule one more event can only make true; where `cell` of its entry is set, it is so already."""

Add = Callable[[slots.State, int, Any, int], int]
"""`Slot.add` of one slot."""

Role = tuple[Predicate | None, Add, int, int, tuple[tuple[Helped, ...], ...]]
"""`(predicate, add, retention, mask, rising)`: an event that matches `predicate` (None: always) is counted by `add`.

`add` and `retention` are the slot's. The segments in `mask` may change either way by it. The rules of some can only become true: of
those in `rising[n]` when `add` answers with n, of those in its last item with more. A plain tuple: the step unpacks one
for each role of each event, and Python is slower to unpack anything else.
"""


class CompiledSegment:
    """A segment ready to run. `bit` is its place in masks; `sequences` are those whose completions make it rise anew.

    `ends_on` says which events end membership.

    `governed`: more than its rule decides (stability, group, holdout). `divided`: its rule has other thresholds for those who are in.
    `wakes` is the mask of segments that ask for membership of this one.
    """

    __slots__ = (
        "_salt",
        "after",
        "bit",
        "condition",
        "divided",
        "ends_on",
        "governed",
        "held_out",
        "latched",
        "mask",
        "name",
        "sequences",
        "stability",
        "truth_cell",
        "version",
        "wakes",
    )

    def __init__(
        self, definition: Segment, condition: Compiled, bit: int, sequences: tuple[tuple[int, int], ...]
    ) -> None:
        self.name = definition.name
        self.version = definition.version
        self.condition = condition
        self.bit = bit
        self.mask = 1 << bit
        self.latched = definition.exit is not None
        self.after = NEVER if definition.exit is None or definition.exit.after is None else definition.exit.after
        self.ends_on = tuple(map(reads, definition.exit.on)) if definition.exit is not None else ()
        self.sequences = sequences if self.latched else ()
        self.stability = definition.stability
        self.governed = is_governed(definition)
        self.divided = is_divided(definition.when)
        self.held_out = round(definition.holdout * 2**64)
        self._salt = f"{definition.group.name if definition.group else definition.name}\0"
        self.wakes = 0
        # Where an entry says that the rule held when it was last looked at: see `rules.membership`.
        self.truth_cell = 3 if self.latched else 5 if self.governed else 0

    def holds_out(self, customer: str) -> bool:
        """Whether the customer is one of the share that never enters: always the same ones, for all segments of a group."""
        if not self.held_out:
            return False
        return xxhash.xxh3_64_intdigest((self._salt + customer).encode("utf-8", "surrogatepass")) < self.held_out


def is_divided(condition: Condition) -> bool:
    """Whether what it says depends on whether the customer is in."""
    return isinstance(condition, Hysteresis) or any(map(is_divided, parts(condition)))


class CompiledGroup:
    """Segments of which a customer is in one at most, by descending priority."""

    __slots__ = ("mask", "members", "name")

    def __init__(self, name: str, members: tuple[CompiledSegment, ...]) -> None:
        self.name = name
        self.members = members
        self.mask = sum(1 << one.bit for one in members)


Unit = CompiledSegment | CompiledGroup
"""What is looked at as a whole."""


def members_of(unit: Unit) -> tuple[CompiledSegment, ...]:
    """The segments of a group, or the one segment that is looked at by itself."""
    return unit.members if isinstance(unit, CompiledGroup) else (unit,)


def is_governed(segment: Segment) -> bool:
    """Whether more than the rule decides who is in."""
    return segment.stability != Stability() or segment.group is not None or segment.holdout > 0


@dataclass
class Dispatch:
    """What one event name can touch: roles that count it, and segments that it makes customers leave.

    What the roles say is put in fewer words for the step, which goes through them for each event: `always` is the mask of what changes
    by it whatever it says, `accepted` whether something counts it however old it is, `asked` the roles that have to be asked. Of these
    `plain` have but to count an event that is not older than any before it, each `(add, mask)`; `particular` are the others.
    """

    roles: tuple[Role, ...] = ()
    exits: tuple[tuple[Predicate | None, int], ...] = ()
    always: int = 0
    accepted: bool = False
    asked: tuple[Role, ...] = ()
    plain: tuple[tuple[Add, int], ...] = ()
    particular: tuple[Role, ...] = ()


@dataclass
class Plan:
    """A compiled rule set. `by_event` has an entry for every event name that some condition names; others use `other`.

    `watches` is the number of watches, `watched` what each depends on: see `rules.watch`.
    """

    segments: tuple[CompiledSegment, ...]
    by_event: dict[str, Dispatch]
    other: Dispatch
    by_trait: dict[str, int]
    by_score: dict[str, int]
    groups: tuple[CompiledGroup, ...]
    slots: dict[int, slots.Slot]
    limits: Limits = field(default_factory=Limits)
    watches: int = 0
    watched: tuple[Watched, ...] = ()
    _of_mask: dict[int, tuple[Unit, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        group_of = {one.bit: group for group in self.groups for one in group.members}
        self.units: tuple[Unit, ...] = tuple(dict.fromkeys(group_of.get(one.bit, one) for one in self.segments))
        self._reach = self._reaches()
        self.bits = {one.name: 1 << one.bit for one in self.segments}
        self.all_segments = (1 << len(self.segments)) - 1
        # The mask of segments that are true, or will be, of a customer of whom nothing is known.
        nobody = Profile()
        self.born = sum(1 << one.bit for one in self.segments if one.condition.evaluate(nobody, 0) != (False, NEVER))
        self.recent_size = self.limits.remembered_messages * DIGEST_SIZE

    def of_mask(self, mask: int) -> tuple[Unit, ...]:
        """What is to be looked at when the segments in a mask may change, in order of evaluation.

        Those that ask for their membership too, and whole groups. Remembered, as the same few masks come again and again.
        """
        found = self._of_mask.get(mask)
        if found is None:
            closed = 0
            for one in self.segments:
                if mask >> one.bit & 1:
                    closed |= self._reach[one.bit]
            found = tuple(unit for unit in self.units if closed & unit.mask)
            if len(self._of_mask) < 10_000:
                self._of_mask[mask] = found
        return found

    def _reaches(self) -> dict[int, int]:
        """By the bit of a segment, the mask of all that is to be looked at with it: its group, those who ask for these, and so on."""
        found: dict[int, int] = {}
        # Whoever asks comes after what is asked for.
        for unit in reversed(self.units):
            members = members_of(unit)
            reach = unit.mask
            for asker in self.segments if any(one.wakes for one in members) else ():
                if any(one.wakes >> asker.bit & 1 for one in members):
                    reach |= found[asker.bit]
            found.update((one.bit, reach) for one in members)
        return found
