"""What segments a customer is in, recomputed from every raw event: slow, obvious, and the judge of the core.

The oracle keeps all events of one customer and answers each question by looking through all of them. It shares nothing
with the core but the types of `rules.definition`; where the two disagree, one of them is wrong. What it states is written
out for people in `docs/evaluation.md`, under the same headings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rules.definition import Segment
from tests.oracle_conditions import (
    JUDGES,
    History,
    Judge,
    Seen,
    completions,
    durations,
    holds,
    leaves,
    meant,
    newest_completion,
    reach_of,
    refs_of,
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
    """One expected transition."""

    segment: str
    kind: str
    effective_at: int
    sequence: int


@dataclass
class Standing:
    """How a customer stands with one segment: in or out, and for a latched one what the moment before has left."""

    member: bool = False
    held: bool = False
    newest: int = 0
    risen_at: int | None = None


class Oracle:
    """One customer under one rule set. Feed it arrivals and watermarks; it says what changes, and keeps everything."""

    def __init__(self, segments: Sequence[Segment], skew: int = SKEW, expiry: int = EXPIRY) -> None:
        self.segments = sorted(segments, key=lambda segment: segment.name)
        self.skew = skew
        self.expiry = expiry
        self.clock = -(2**62)
        self.forget()

    def forget(self) -> None:
        """Begin with a customer of whom nothing is known."""
        self.history = History()
        self.ids: list[str] = []
        self.standings = {segment.name: Standing() for segment in self.segments}
        self.sequence = 0

    @property
    def members(self) -> set[str]:
        return {name for name, standing in self.standings.items() if standing.member}

    def arrive(self, event: RawEvent, watermark: int) -> tuple[str, list[Change]]:
        """The outcome of an event and every transition up to and including it."""
        changes = self.advance(watermark)
        if event.event_time > event.received_at + self.skew:
            return "quarantined", changes
        if event.id in self.ids[-REMEMBERED_IDS:]:
            return "duplicate", changes
        if self.is_late(event):
            return "late", changes
        changes += self._advance(event.event_time - 1)
        self.clock = max(self.clock, event.event_time)
        self.ids.append(event.id)
        self.history.seen.append(Seen(event, len(self.history.seen), self.clock))
        return "applied", changes + self._evaluate(event)

    def advance(self, watermark: int) -> list[Change]:
        """Every transition that time alone brings, up to and including the watermark."""
        changes = self._advance(watermark)
        self.clock = max(self.clock, watermark)
        return changes

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

    def moments(self) -> set[int]:
        """Every moment at which something may change by itself, past and future."""
        found = {
            one.at + duration
            for segment in self.segments
            for duration in durations(segment)
            for one in self.history.seen
        }
        for segment in self.segments:
            for condition in leaves(segment.when):
                if judge := JUDGES.get(type(condition)):
                    found.update(judge.moments(condition, self.history, self.clock))
            risen_at = self.standings[segment.name].risen_at
            if segment.exit and segment.exit.after is not None and risen_at is not None:
                found.add(risen_at + segment.exit.after)
        return found

    def _advance(self, until: int) -> list[Change]:
        changes: list[Change] = []
        while self.history.seen:
            expires = max(one.at for one in self.history.seen) + self.expiry
            ahead = [moment for moment in {*self.moments(), expires} if self.clock < moment <= until]
            if not ahead:
                break
            self.clock = min(ahead)
            changes += self._evaluate(None) if self.clock < expires else self._expire()
        return changes

    def _expire(self) -> list[Change]:
        """The customer has been silent for as long as profiles are kept: out of everything, and nothing is known."""
        changes = [
            Change(name, "exited", self.clock, self.sequence + number)
            for number, name in enumerate(sorted(self.members), start=1)
        ]
        self.forget()
        return changes

    def _evaluate(self, event: RawEvent | None) -> list[Change]:
        """Every segment at the clock, in the order of their names; `event` is the one that has just been counted."""
        changes = []
        for segment in self.segments:
            standing = self.standings[segment.name]
            was = standing.member
            held, standing.held = standing.held, holds(segment.when, self.history, self.clock)
            if segment.exit is None:
                standing.member = standing.held
            else:
                newest = newest_completion(segment.when, self.history, self.clock)
                if self._withdrawn(standing, newest):
                    standing.member, standing.risen_at = False, None
                self._latch(segment, standing, standing.held and (not held or newest > standing.newest), event)
                standing.newest = newest
            if was != standing.member:
                self.sequence += 1
                kind = "entered" if standing.member else "exited"
                changes.append(Change(segment.name, kind, self.clock, self.sequence))
        return changes

    def _withdrawn(self, standing: Standing, newest: int) -> bool:
        """Whether an event that came late has unmade the completion by which the customer is in."""
        risen_at = standing.risen_at
        return risen_at is not None and not standing.held and newest < standing.newest <= risen_at

    def _latch(self, segment: Segment, standing: Standing, rise: bool, event: RawEvent | None) -> None:
        assert segment.exit is not None
        if event is not None and any(meant(event, ref) for ref in segment.exit.on):
            # An event that ends membership never begins one: a rise that it brings is used up.
            if standing.risen_at is not None and event.event_time >= standing.risen_at:
                standing.member, standing.risen_at = False, None
        elif rise:
            standing.member, standing.risen_at = True, self.clock
        if standing.risen_at is not None and segment.exit.after is not None:
            if standing.risen_at + segment.exit.after <= self.clock:
                standing.member, standing.risen_at = False, None
