"""When a customer is scored and which examples come of it, recomputed from the raw arrivals: slow, and written out.

For arrivals whose watermark never passes an event that is still to come. It shares nothing with the core but types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import xxhash

from online_models.definition import Model
from profiles import Event
from tests.models import WINDOW

MOST = 16


@dataclass
class Scored:
    """The customer is scored at `at`, where `row` was known; `after` is the arrival that brought it on, None: a timer did."""

    at: int
    row: list[Any]
    after: int | None


@dataclass
class Past:
    """All that has arrived, and what came of it. `of` is the event that the features count.

    One that is older than `kept` changes nothing. A rule that counts the same may have it kept for longer than the features ask for.
    `awaited`: a rule asks for the score.
    """

    model: Model
    of: str
    kept: int
    awaited: bool = False
    applied: list[Event] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    causes: list[bool] = field(default_factory=list)

    @property
    def clock(self) -> int:
        return max((one.event_time for one in self.applied), default=0)

    def changes_something(self, event: Event) -> bool:
        if event.name == self.of and event.event_time > self.clock - self.kept:
            return True
        writes = [one.event_time for one in self.applied if "tier" in (one.traits or {})]
        return "tier" in (event.traits or {}) and all(event.event_time >= at for at in writes)

    def row(self, at: int) -> list[Any]:
        times = [one.event_time for one in self.applied if one.name == self.of]
        tiers = [one for one in self.applied if "tier" in (one.traits or {})]
        newest = max((one.event_time for one in tiers), default=0)
        tier = [one.traits["tier"] for one in tiers if one.traits and one.event_time == newest]
        return [float(sum(at - WINDOW < time <= at for time in times)), tier[-1] if tier else None]

    def next_moment(self) -> int | None:
        """When the customer is to be scored next, without another change."""
        if not self.scored:
            return None
        last = self.scored[-1].at
        if self.changes and self.changes[-1] == len(self.scored):  # a change after the last scoring
            return last + self.model.scoring.every
        if self.model.scoring.refresh is None:
            return None
        quiet = 0
        for by_change in reversed(self.causes):
            if by_change:
                break
            quiet += 1
        return last + max(self.model.scoring.refresh, self.model.scoring.every) * 2**quiet

    def score(self, at: int, after: int | None, by_change: bool) -> None:
        self.scored.append(Scored(at, self.row(at), after))
        self.causes.append(by_change)

    def pass_time(self, to: int) -> None:
        if not self.awaited and self.model.scoring.refresh is None:
            return  # nobody waits for it
        while (moment := self.next_moment()) is not None and moment <= to:
            self.score(moment, None, bool(self.changes) and self.changes[-1] == len(self.scored))

    def arrive(self, number: int, event: Event) -> None:
        self.pass_time(event.event_time - 1)
        changed = self.changes_something(event)
        self.applied.append(event)
        if changed:
            self.changes.append(len(self.scored))
        moment = self.next_moment()
        if changed and (not self.scored or self.clock >= self.scored[-1].at + self.model.scoring.every):
            self.score(self.clock, number, True)
        elif moment is not None and moment <= self.clock:
            self.score(self.clock, number, bool(self.changes) and self.changes[-1] == len(self.scored))


def live(
    model: Model,
    of: str,
    kept: int,
    arrivals: Sequence[Event],
    counted: Sequence[bool],
    until: int,
    *,
    awaited: bool = False,
) -> Past:
    """What happened up to and including `until`; `counted` says which arrivals were applied."""
    past = Past(model, of, kept, awaited)
    for number, event in enumerate(arrivals):
        if counted[number]:
            past.arrive(number, event)
    past.pass_time(until)
    return past


Brief = tuple[int, int, list[Any], float | None, float]
"""at, labelled_at, row, label, weight"""


def examples(past: Past, customer: str, until: int) -> list[Brief]:
    """All examples whose outcome is known by `until`."""
    model, target = past.model, past.model.target
    found: list[Brief] = []
    free = 0
    apart = max(model.learning.every, 1)
    if target is not None:
        apart = max(apart, (target.within + MOST - 2) // (MOST - 1))
    for one in past.scored:
        if one.at < free:
            continue
        free = one.at + apart
        if drawn(customer, one.at) >= model.learning.sample:
            continue
        if target is None:
            found.append((one.at, one.at, one.row, None, 1.0))
            continue
        outcome = label(model, past.applied, one.at)
        if outcome[0] > until:
            continue
        weight = 1.0
        if outcome[1] == 0:
            if draw(model, customer, one.at) >= model.learning.negatives:
                continue
            weight = 1 / model.learning.negatives
        found.append((one.at, outcome[0], one.row, outcome[1], weight))
    return sorted(found)


def label(model: Model, applied: Sequence[Event], at: int) -> tuple[int, float]:
    """When the outcome was known, and what it was; `applied` in order of arrival."""
    target = model.target
    assert target is not None
    end = at + target.within
    meant = [one for one in applied if one.name == target.ref.event and at < one.event_time <= end]
    if target.kind == "sum":
        numbers = [one.properties.get(target.of.removeprefix("properties.")) for one in meant]
        return end, sum(round(one * 1e6) for one in numbers if type(one) in (int, float)) / 1e6  # type: ignore[operator]
    came = 1.0 if target.kind == "happens" else 0.0
    if not meant:
        return end, 1.0 - came
    return (meant[0].event_time if model.learning.outcomes == "at_once" else end), came


def drawn(customer: str, at: int) -> float:
    """A number from 0 to 1 for a moment of a customer, the same for all models and in every replay."""
    return float(xxhash.xxh3_64_intdigest(customer.encode(), at) / 2**64)


def draw(model: Model, customer: str, at: int) -> float:
    """A number from 0 to 1 for what did not come, the same in every replay."""
    return float(xxhash.xxh3_64_intdigest(f"{model.name}\0{customer}\0{at}".encode(), 1) / 2**64)
