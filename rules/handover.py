"""Changed rules in a running job: what is kept of a customer while segments are warming, and how counted history is taken in.

While segments are warming, customers are evaluated under the rules as they were (`RuleSet.active`), and what the warming segments
will have to count is kept beside their state, raw. Meanwhile somebody runs the whole new rule set over the history of all events
up to a *cut*, and hands over each customer's profile as it is after that: the *shadow*. Once the rule set is live, the shadow is
continued with what came after the cut, and then the two are merged: what the older rules knew stays, what is new comes from the
shadow. So a customer stands as if the rules had been there from the start. Scores, and what models wait for, are those of the running
job alone: history has no say in them, so no example is learnt twice.

Profiles keep this in `waiting`: `[code, bytes, entries, handed]`. `code` is that of the warming rule set. An entry is
`[partition, offset, time, watermark, record]`: an event as it came (`time` is that of its record), or, without a record, only that
time went on to `time`. `bytes` is what the entries hold, or -1 where they were too many and have been given up. `handed` is nothing, or
`[partition, cut, shadow]`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from profiles.event import Event, decode_event
from profiles.profile import DIGEST_SIZE, Profile, UnknownCodec, decode_profile, models_due
from rules.plan import Dispatch, Plan, members_of
from rules.predicates import Predicate
from rules.step import Advance, Decision, Rules, Timer, step, take_over, without_models

MOST_ENTRIES: Final = 1000
"""Entries that are kept of one customer while segments are warming."""

MOST_BYTES: Final = 256 * 1024
"""Bytes of records that are kept of one customer while segments are warming."""

_ENTRY_BYTES: Final = 40
_GIVEN_UP: Final = -1


class Changeover:
    """What going over to a rule set takes while some of its segments are warming; the same for all customers.

    `active` is what customers are evaluated under until then, `live` what they are evaluated under afterwards. `advance` stands in for
    `step` where there are models.
    """

    def __init__(self, active: Rules, live: Rules, warming: Iterable[str], advance: Advance = without_models) -> None:
        self.active = active
        self.live = live
        self._advance = advance
        self.warming = frozenset(warming)
        plan = live.plan
        self.added = frozenset(plan.bits.keys() - active.plan.bits.keys())
        self.affected = _affected(plan, active.plan, self.warming)
        self.slots_added = frozenset(plan.slots.keys() - active.plan.slots.keys())
        shared = plan.slots.keys() & active.plan.slots.keys()
        self.slots_widened = frozenset(key for key in shared if _holds_more(plan.slots[key], active.plan.slots[key]))
        needed = _needed(plan, self.affected) | self._watching(plan)
        self._by_event = {name: _predicates(dispatch, needed) for name, dispatch in plan.by_event.items()}
        self._other = _predicates(plan.other, needed)

    def remember(
        self, profile: Profile, event: Event, record: bytes, outcome: str, before: tuple[int, int], watermark: int
    ) -> bool:
        """Keep an event for the time when the segments are live. `before` is what `span` said before the event.

        False if it was too much just now: all that was kept is given up.
        """
        if outcome not in ("applied", "late"):
            return True
        waiting = profile.waiting = self._waiting(profile)
        entries = waiting[2]
        if waiting[1] == _GIVEN_UP:
            return True
        if self.is_relevant(event):
            entries.append([event.partition, event.offset, event.received_at, watermark, record])
            waiting[1] += _ENTRY_BYTES + len(record)
        elif span(profile) != before:
            last = entries[-1] if len(entries) > 1 else None  # the first one may be the customer's beginning
            if last is not None and last[4] is None and last[0] == event.partition and last[2] <= event.event_time:
                last[1:4] = (event.offset, event.event_time, watermark)
                return True
            entries.append([event.partition, event.offset, event.event_time, watermark, None])
            waiting[1] += _ENTRY_BYTES
        if len(entries) <= MOST_ENTRIES and waiting[1] <= MOST_BYTES:
            return True
        waiting[1], waiting[2] = _GIVEN_UP, []
        return False

    def is_relevant(self, event: Event) -> bool:
        """Whether an event may concern the warming segments, or what they depend on, otherwise than by its time."""
        if event.traits:
            return True
        predicates = self._by_event.get(event.name, self._other)
        return any(predicate is None or predicate(event) for predicate in predicates)

    def park(self, profile: Profile | None, partition: int, cut: int, shadow: bytes) -> Profile:
        """Keep a shadow until the rule set is live. A customer who is not known gets a profile that `is_known` denies."""
        if profile is None:
            profile = Profile()
        waiting = profile.waiting = self._waiting(profile)
        waiting[3] = [partition, cut, shadow]
        return profile

    def merge(self, profile: Profile | None, watermark: int, customer: str) -> tuple[Profile | None, Decision]:
        """Bring a customer under the live rules, with the history that is known; the profile given is consumed.

        What differs for the customer is announced as transitions, cause `rule change`. A customer who is under the live rules
        already stays as they are.
        """
        if profile is not None and profile.rules == self.live.code:
            return self._advance(profile, self.live, Timer(watermark), watermark, customer)
        waiting = self._waiting(profile)
        followed = Decision("timer")
        known = profile if is_known(profile) else None
        if known is not None:
            known, followed = self._advance(known, self.active, Timer(watermark), watermark, customer)
            if known is None:
                return None, followed
            known.waiting = []
        shadow = self._continued(waiting, watermark, customer)
        if shadow is None:
            merged, decision = self._advance(known, self.live, Timer(watermark), watermark, customer)
        elif known is None:
            merged, decision = self._adopted(shadow, watermark, customer)
        else:
            merged, decision = self._united(known, shadow, waiting[3] is not None, watermark, customer)
        decision.transitions = followed.transitions + decision.transitions
        decision.examples = followed.examples + decision.examples
        if merged is not None:
            decision.next_timer = min(decision.next_timer, models_due(merged))
        return merged, decision

    def _watching(self, plan: Plan) -> int:
        """The mask of the watches that look at a slot which is new, or keeps more than before."""
        begin = len(plan.segments)
        new = self.slots_added | self.slots_widened
        return sum(1 << begin + at for at, asked in enumerate(plan.watched) if asked.slots & new)

    def _waiting(self, profile: Profile | None) -> list[Any]:
        """What is kept of a customer for this changeover; what is left of another one does not count."""
        if profile is not None and profile.waiting and profile.waiting[0] == self.active.code:
            return profile.waiting
        return [self.active.code, 0, [], None]

    def _continued(self, waiting: list[Any], watermark: int, customer: str) -> Profile | None:
        """The shadow with what came after it."""
        shadow, partition, cut = None, -1, -1
        if waiting[3] is not None:
            partition, cut, encoded = waiting[3]
            try:
                shadow = decode_profile(encoded)
            except UnknownCodec as error:
                raise ValueError(f"what was handed over is not from this build: {error}") from None
            shadow.rules = self.live.code
        for came_from, offset, time, seen, record in waiting[2]:
            if came_from == partition and offset <= cut:
                continue
            if record is None:
                event = Event(f"\0{came_from}-{offset}", "", time, customer, received_at=time)
            else:
                event = decode_event(record, customer, time, came_from, offset)
            shadow, _ = step(shadow, self.live, event, seen)
        if shadow is not None:
            shadow, _ = step(shadow, self.live, Timer(watermark), watermark, None, customer)
        return shadow

    def _adopted(self, shadow: Profile, watermark: int, customer: str) -> tuple[Profile, Decision]:
        """A customer of whom only history knows: all of the shadow, and none of its transitions was ever announced."""
        shadow.sequence = 0
        shadow.models, shadow.agenda, shadow.scores = {}, [], {}
        everything = self.live.plan.bits.keys()
        clock = max(shadow.latest, watermark)
        return shadow, take_over(shadow, self.live, customer, clock, dict.fromkeys(everything, False))

    def _united(
        self, profile: Profile, shadow: Profile, handed: bool, watermark: int, customer: str
    ) -> tuple[Profile, Decision]:
        # Without a history that goes back to the customer's beginning, what the older rules knew is the better knowledge.
        whole = handed or shadow.first_seen <= profile.first_seen
        for key in self.slots_added | self.slots_widened if whole else self.slots_added:
            if key in shadow.slots:
                profile.slots[key] = shadow.slots[key]
            else:
                profile.slots.pop(key, None)
        for name, written in shadow.traits.items():
            mine = profile.traits.get(name)
            room = name in self.live.plan.by_trait or len(profile.traits) < self.live.plan.limits.traits
            if room if mine is None else mine[1] < written[1] or (whole and mine[1] == written[1]):
                profile.traits[name] = written
        profile.recent = _both(shadow.recent, profile.recent, self.live.plan.recent_size)
        profile.first_seen = min(profile.first_seen, shadow.first_seen)
        profile.latest = max(profile.latest, shadow.latest)
        were: dict[str, bool] = {}
        for name in self.affected if whole else self.added:
            entry = profile.segments.pop(name, None)
            were[name] = entry is not None and entry[0] > 0
            if name in shadow.segments:
                profile.segments[name] = shadow.segments[name]
        return profile, take_over(profile, self.live, customer, max(profile.latest, watermark), were)


def _both(other: bytes, mine: bytes, size: int) -> bytes:
    """The message ids that either remembers; what was late under the older rules is in history alone, and not to be counted again."""
    known = {mine[at : at + DIGEST_SIZE] for at in range(0, len(mine), DIGEST_SIZE)}
    pieces = (other[at : at + DIGEST_SIZE] for at in range(0, len(other), DIGEST_SIZE))
    return (b"".join(piece for piece in pieces if piece not in known) + mine)[-size:]


def span(profile: Profile | None) -> tuple[int, int]:
    """The earliest and the latest event time of a customer."""
    return (profile.first_seen, profile.latest) if profile is not None else (0, 0)


def is_known(profile: Profile | None) -> bool:
    """Whether any event of the customer was applied; a profile may only hold what was handed over."""
    return profile is not None and profile.rules > 0


def _affected(plan: Plan, older: Plan, warming: Iterable[str]) -> frozenset[str]:
    """The warming segments, those that ask for their membership, and all segments of their groups, now or before."""
    names = set(warming)
    for group in older.groups:
        mates = {one.name for one in group.members}
        if mates & names:
            names |= mates
    mask = sum(plan.bits.get(name, 0) for name in names)
    return frozenset(one.name for unit in plan.of_mask(mask) for one in members_of(unit))


def _needed(plan: Plan, names: Iterable[str]) -> int:
    """The mask of these segments and of all that they depend on."""
    by_name = {one.name: one for one in plan.segments}
    mates = {one.name: group.members for group in plan.groups for one in group.members}
    found, waiting = set[str](), list(names)
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in found:
            found.add(name)
            waiting += by_name[name].condition.members
            waiting += [one.name for one in mates.get(name, ())]
    return sum(plan.bits[name] for name in found)


def _predicates(dispatch: Dispatch, needed: int) -> tuple[Predicate | None, ...]:
    """What must hold of an event, besides its name, to concern these segments."""
    found: list[Predicate | None] = []
    for predicate, _, _, mask, rising in dispatch.roles:
        if mask & needed or any(bit & needed for _, bit, _ in (rising[-1] if rising else ())):
            found.append(predicate)
    found += [predicate for predicate, bit in dispatch.exits if bit & needed]
    return (None,) if None in found else tuple(found)


def _holds_more(slot: Any, older: Any) -> bool:
    """Whether a slot keeps more than it did under older rules: for longer, more of it, or more values."""
    names = {name for kind in type(slot).__mro__ for name in getattr(kind, "__slots__", ())}
    sizes = [(getattr(slot, name), getattr(older, name)) for name in sorted(names)]
    return any(type(now) is int and now > before for now, before in sizes)
