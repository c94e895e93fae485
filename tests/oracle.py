"""What segments a customer is in, recomputed from every raw event: slow, obvious, and the judge of the core.

The oracle keeps all events of one customer and answers each question by looking through all of them. It shares nothing
with the core but the types of `rules.definition`; where the two disagree, one of them is wrong. What it states is written
out for people in `docs/evaluation.md`, under the same headings.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import xxhash

import tests.oracle_govern  # noqa: F401  (its kinds are known wherever the oracle is)
from rules.definition import During, Member, Segment, Stability, Trait
from tests.oracle_conditions import (
    JUDGES,
    History,
    Judge,
    Output,
    Seen,
    completions,
    durations,
    holds,
    leaves,
    meant,
    newest_completion,
    reach_of,
    refs_of,
    trait_moments,
    values_by_event,
    within,
)
from tests.oracle_values import (
    RawEvent,
    equal,
    exact,
    is_number,
    number_passes,
    ordered,
    passes,
    text_of,
    value_passes,
    values_at,
    values_of,
)

__all__ = [
    "JUDGES",
    "Change",
    "History",
    "Judge",
    "Oracle",
    "Output",
    "RawEvent",
    "Seen",
    "completions",
    "durations",
    "equal",
    "exact",
    "holds",
    "is_number",
    "leaves",
    "meant",
    "newest_completion",
    "number_passes",
    "ordered",
    "passes",
    "reach_of",
    "refs_of",
    "text_of",
    "value_passes",
    "values_at",
    "values_by_event",
    "values_of",
    "within",
]

REMEMBERED_IDS = 48
"""So many ids of counted events are remembered to tell a repeat; the 49th newest is forgotten."""

SKEW = 5 * 60_000
"""An event may lie so far after the time of its record; beyond that it is quarantined."""

EXPIRY = 730 * 86_400_000
"""A customer of whom nothing is heard for so long is forgotten."""


@dataclass(frozen=True)
class Change:
    """One expected transition; `causes` are the kinds of causes that may be named for it."""

    segment: str
    kind: str
    effective_at: int
    sequence: int
    causes: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass
class Standing:
    """How a customer stands with one segment.

    `since` is when they entered (None: they are out), `wanted` since when the rule and its exit alone would have them in, `rests` until
    when they may not come back, having left. `held` is whether the rule was true when last looked at; for a latched one, `newest` is the
    newest completion by then and `risen_at` the last rise.
    """

    since: int | None = None
    wanted: int | None = None
    rests: int | None = None
    held: bool = False
    newest: int = 0
    risen_at: int | None = None


def asked_by(segment: Segment) -> set[str]:
    """The segments whose membership its rule asks for."""
    return {one.segment for one in leaves(segment.when) if isinstance(one, Member)}


def units_of(segments: Iterable[Segment]) -> list[list[Segment]]:
    """The segments in order of evaluation: alone or as a whole group, always the first by name that waits for no other."""
    waiting: dict[str, list[Segment]] = {}
    for segment in sorted(segments, key=lambda one: one.name):
        waiting.setdefault(f"group {segment.group.name}" if segment.group else segment.name, []).append(segment)
    ordered = []
    while waiting:
        unknown = {one.name for unit in waiting.values() for one in unit}
        free = [name for name, unit in waiting.items() if not unknown & set().union(*map(asked_by, unit))]
        ordered.append(waiting.pop(min(free, key=lambda name: waiting[name][0].name)))
    return ordered


class Oracle:
    """One customer under one rule set. Feed it arrivals and watermarks; it says what changes, and keeps everything."""

    def __init__(
        self, segments: Sequence[Segment], skew: int = SKEW, expiry: int = EXPIRY, customer: str = "c"
    ) -> None:
        self.units = units_of(segments)
        self.skew = skew
        self.expiry = expiry
        self.customer = customer
        self.clock = -(2**62)
        self.forget()

    def forget(self) -> None:
        """Begin with a customer of whom nothing is known."""
        self.history = History()
        self.ids: list[str] = []
        self.standings = {segment.name: Standing() for segment in self.segments}
        self.sequence = 0

    @property
    def segments(self) -> list[Segment]:
        return [segment for unit in self.units for segment in unit]

    @property
    def members(self) -> set[str]:
        return {name for name, standing in self.standings.items() if standing.since is not None}

    # --- what comes -------------------------------------------------------------------------------------------------

    def arrive(
        self, event: RawEvent, watermark: int, scores: Mapping[str, float | str] | None = None
    ) -> tuple[str, list[Change]]:
        """The outcome of an event, with what models say on its occasion, and every transition up to and including it."""
        changes = self.advance(watermark)
        if event.event_time > event.received_at + self.skew:
            return "quarantined", changes
        if event.id in self.ids[-REMEMBERED_IDS:]:
            return "duplicate", changes
        if self.is_late(event):
            return "late", changes
        changes += self._advance(event.event_time - 1)
        without = self._without(event)
        first = not self.history.seen
        self.clock = max(self.clock, event.event_time)
        self.ids.append(event.id)
        self.history.seen.append(Seen(event, len(self.history.seen), self.clock))
        self._hear(scores or {})
        touched = {one.name for one in self.segments} if first else self._touched(event, set(scores or {}))
        for one in self._evaluate(event, "event"):
            causes = {"event", "timer"} if (one.segment, one.kind) in without else {"event"}
            causes = causes if one.segment in touched else {"timer"}
            changes.append(Change(one.segment, one.kind, one.effective_at, one.sequence, frozenset(causes)))
        return "applied", changes

    def hear(self, scores: Mapping[str, float | str]) -> list[Change]:
        """What changes as models say something new, without an event."""
        if not self.history.seen:
            return []
        self._hear(scores)
        return self._evaluate(None, "score")

    def advance(self, watermark: int) -> list[Change]:
        """Every transition that time alone brings, up to and including the watermark."""
        changes = self._advance(watermark)
        self.clock = max(self.clock, watermark)
        return changes

    def follow(self, segments: Sequence[Segment]) -> list[Change]:
        """Other rules from now on: what goes with the old ones, and what the new ones say at this moment."""
        changes = [
            self._change(name, "exited", "rule change")
            for name in sorted(self.members - {segment.name for segment in segments})
        ]
        before = {segment.name: (segment, self.standings[segment.name]) for segment in self.segments}
        self.units = units_of(segments)
        self.standings = {}
        for segment in self.segments:
            old, standing = before.get(segment.name, (segment, Standing()))
            self.standings[segment.name] = standing
            if not segment.stability.cooldown:
                standing.rests = None
            if segment.exit is None:
                standing.risen_at = None
                continue
            released = is_governed(old) and not is_governed(segment)
            if standing.since is not None and standing.wanted is None and released:
                standing.since = None  # only the time to stay has kept them in
                changes.append(self._change(segment.name, "exited", "rule change"))
            elif standing.since is None and standing.wanted is not None and released:
                standing.wanted, standing.held, standing.risen_at = None, False, None  # kept out by what is gone
            elif old.exit is None:
                standing.held, standing.newest, standing.risen_at = standing.wanted is not None, 0, standing.wanted
        return changes + self._evaluate(None, "rule change") if self.history.seen else []

    def is_late(self, event: RawEvent) -> bool:
        """Whether every condition that means this event has let go of its time already."""
        if not self.history.seen and event.event_time <= self.clock - self.expiry:
            return True  # a profile that begins with it would have expired already
        reaches = [
            reach_of(condition, event)
            for segment in self.segments
            for condition in leaves(segment.when)
            if any(meant(event, ref) for ref in refs_of(condition))
        ]
        if not reaches or None in reaches:
            return False
        return event.event_time <= self.clock - max(reach for reach in reaches if reach is not None)

    def _hear(self, scores: Mapping[str, float | str]) -> None:
        self.history.outputs += [Output(model, score, self.clock) for model, score in scores.items()]

    # --- what it may be laid to --------------------------------------------------------------------------------------

    def _without(self, event: RawEvent) -> set[tuple[str, str]]:
        """What time alone would change by the time of this event, had it not come."""
        if event.event_time <= self.clock:
            return set()
        other = copy.copy(self)
        other.history = copy.copy(self.history)
        other.standings = copy.deepcopy(self.standings)
        return {(one.segment, one.kind) for one in other._advance(event.event_time)}

    def _touched(self, event: RawEvent, models: set[str]) -> set[str]:
        """The segments that an event can concern: by their rules, their group, or those that they ask for."""
        found: set[str] = set()
        for unit in self.units:
            if any(self._concerns(event, models, segment) or asked_by(segment) & found for segment in unit):
                found |= {segment.name for segment in unit}
        return found

    def _concerns(self, event: RawEvent, models: set[str], segment: Segment) -> bool:
        conditions = list(leaves(segment.when))
        refs = [ref for one in conditions for ref in refs_of(one)] + list(segment.exit.on if segment.exit else ())
        asked = {test.path for one in conditions if isinstance(one, Trait) for test in one.tests}
        asked |= {"timezone" for one in conditions if isinstance(one, During)}  # it says where the customer is
        heard = {getattr(one, "model", None) for one in conditions}
        written = asked & set(event.traits or {})
        # What asks for more than events, traits and scores may be concerned by any event.
        others = any(type(one) in JUDGES and not isinstance(one, Member) and not refs_of(one) for one in conditions)
        return any(meant(event, ref) for ref in refs) or bool(written) or bool(heard & models) or others

    # --- time -------------------------------------------------------------------------------------------------------

    def moments(self) -> set[int]:
        """Every moment at which something may change by itself, past and future."""
        found = {
            one.at + duration
            for segment in self.segments
            for duration in durations(segment)
            for one in self.history.seen
        }
        self.look_around()
        for segment in self.segments:
            for condition in leaves(segment.when):
                if judge := JUDGES.get(type(condition)):
                    found.update(judge.moments(condition, self.history, self.clock))
                if isinstance(condition, Trait):
                    found.update(trait_moments(condition, self.history))
            standing, asked = self.standings[segment.name], segment.stability
            after = None if segment.exit is None else segment.exit.after
            for start, lasts in (
                (standing.risen_at, after),
                (standing.wanted, asked.enter_for),
                (standing.since, asked.min_dwell),
                (standing.rests, 0),
            ):
                if start is not None and lasts is not None:
                    found.add(start + lasts)
        return found

    def _advance(self, until: int) -> list[Change]:
        changes: list[Change] = []
        while self.history.seen:
            expires = max(one.at for one in self.history.seen) + self.expiry
            ahead = [moment for moment in {*self.moments(), expires} if self.clock < moment <= until]
            if not ahead:
                break
            self.clock = min(ahead)
            changes += self._evaluate(None, "timer") if self.clock < expires else self._expire()
        return changes

    def _expire(self) -> list[Change]:
        """The customer has been silent for as long as profiles are kept: out of everything, and nothing is known."""
        inside = [segment.name for segment in self.segments if segment.name in self.members]
        changes = [self._change(name, "exited", "expiry") for name in inside]
        self.forget()
        return changes

    # --- who is in ----------------------------------------------------------------------------------------------------

    def _evaluate(self, event: RawEvent | None, cause: str) -> list[Change]:
        """Every segment at the clock, in their order; `event` is the one that has just been counted."""
        changes = []
        for unit in self.units:
            for segment in unit:
                self._judge(segment, event)
            inside = [segment for segment in unit if self._may_be_in(segment)]
            # Of a group the one of highest priority; the others are left before it is entered.
            chosen = max(inside, key=lambda one: one.group.priority if one.group else 0, default=None)
            for segment in sorted(
                unit, key=lambda one: (one is chosen, -one.group.priority if one.group else 0, one.name)
            ):
                standing = self.standings[segment.name]
                if (segment is chosen) is (standing.since is not None):
                    continue
                if segment is chosen:
                    standing.since = self.clock
                else:
                    standing.since = None
                    standing.rests = self.clock + segment.stability.cooldown if segment.stability.cooldown else None
                changes.append(self._change(segment.name, "entered" if segment is chosen else "exited", cause))
                self._judge_anew(segment)
        return changes

    def _judge(self, segment: Segment, event: RawEvent | None) -> None:
        """What the rule and its exit alone would have: since when the customer is wanted in."""
        standing = self.standings[segment.name]
        held, standing.held = standing.held, self._holds(segment)
        if segment.exit is None:
            if not standing.held:
                standing.wanted = None
            elif standing.wanted is None:
                standing.wanted = self.clock
            return
        newest = newest_completion(segment.when, self.history, self.clock)
        if self._withdrawn(standing, newest):
            standing.wanted, standing.risen_at = None, None
        self._latch(segment, standing, standing.held and (not held or newest > standing.newest), event)
        standing.newest = newest

    def _judge_anew(self, segment: Segment) -> None:
        """With membership another threshold may count, from that moment on; what it changes in the rule is no rise."""
        standing = self.standings[segment.name]
        standing.held = self._holds(segment)
        if segment.exit is None and not standing.held:
            standing.wanted = None

    def _holds(self, segment: Segment) -> bool:
        self.look_around(segment.name)
        return holds(segment.when, self.history, self.clock)

    def look_around(self, judged: str = "") -> None:
        """Let conditions see the memberships as they are now, and whose rule is judged."""
        self.history.judged = judged
        self.history.inside = {
            name: standing.since for name, standing in self.standings.items() if standing.since is not None
        }

    def _may_be_in(self, segment: Segment) -> bool:
        """Whether the customer would be in, as far as the segment alone decides: its rule, its stability, its holdout."""
        standing, asked = self.standings[segment.name], segment.stability
        if standing.since is not None:
            return standing.wanted is not None or self.clock < standing.since + asked.min_dwell
        if standing.wanted is None or self._held_out(segment):
            return False
        rested = standing.rests is None or self.clock >= standing.rests
        return rested and self.clock >= standing.wanted + asked.enter_for

    def _held_out(self, segment: Segment) -> bool:
        name = segment.group.name if segment.group else segment.name
        share = xxhash.xxh3_64_intdigest(f"{name}\0{self.customer}".encode()) / 2**64
        return share < segment.holdout

    def _withdrawn(self, standing: Standing, newest: int) -> bool:
        """Whether an event that came late has unmade the completion by which the customer is in."""
        risen_at = standing.risen_at
        return risen_at is not None and not standing.held and newest < standing.newest <= risen_at

    def _latch(self, segment: Segment, standing: Standing, rise: bool, event: RawEvent | None) -> None:
        assert segment.exit is not None
        if event is not None and any(meant(event, ref) for ref in segment.exit.on):
            # An event that ends membership never begins one: a rise that it brings is used up.
            if standing.risen_at is not None and event.event_time >= standing.risen_at:
                standing.wanted, standing.risen_at = None, None
        elif rise:
            standing.risen_at = self.clock
            standing.wanted = self.clock if standing.wanted is None else standing.wanted
        if standing.risen_at is not None and segment.exit.after is not None:
            if standing.risen_at + segment.exit.after <= self.clock:
                standing.wanted, standing.risen_at = None, None

    def _change(self, name: str, kind: str, cause: str) -> Change:
        self.sequence += 1
        return Change(name, kind, self.clock, self.sequence, frozenset({cause}))


def is_governed(segment: Segment) -> bool:
    """Whether more than the rule and its exit decides."""
    return segment.stability != Stability() or segment.group is not None or segment.holdout > 0
