"""A rule added to a running job and backfilled gives what a job gives that had it from the start."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from profiles import Event, Profile, decode_event, encode_profile
from rules.definition import Condition, Not, Points, Segment
from rules.handover import Changeover, span
from rules.order import parts
from rules.plan import Plan, is_divided
from rules.step import Decision, Timer
from tests.properties import strategies as some
from tests.properties.delivery import HORIZON, Customer, check, rules


@dataclass(frozen=True)
class Warming:
    """The rules that customers are evaluated under while others are warming."""

    version: int
    plan: Plan

    @property
    def code(self) -> int:
        return 2 * self.version


@dataclass
class Case:
    """`old` was there from the start, `story.segments` from event `begin` on: handed over up to `cut`, and live from `end` on."""

    story: some.Story
    old: list[Segment]
    begin: int
    cut: int
    end: int

    @property
    def changeover(self) -> Changeover:
        names = {one.name for one in self.story.segments if one not in self.old}
        kept = [one for one in self.old if one.name in {other.name for other in self.story.segments}]
        return Changeover(Warming(2, rules(kept).plan), rules(self.story.segments, version=2), names)


def record(event: Event) -> bytes:
    """An event as it travels."""
    fields = {"properties": event.properties, "traits": event.traits, "context": event.context}
    return msgspec.json.encode({"messageId": event.id, "event": event.name, "timestamp": event.event_time, **fields})


class Changing(Customer):
    """A customer whose rules change on the way."""

    def __init__(self, case: Case, old: list[Segment]) -> None:
        super().__init__(rules(old))
        self.changeover = case.changeover
        self.warming = False

    def warm(self) -> None:
        self.warming, self.rules = True, self.changeover.active  # type: ignore[assignment]

    def apply(self, arrival: Event | Timer, watermark: int, *more: Any) -> Decision:
        before = span(self.profile)
        decision = super().apply(arrival, watermark, *more)
        if self.warming and isinstance(arrival, Event) and self.profile is not None:
            made = record(arrival)
            assert decode_event(made, "c", arrival.received_at, 0, arrival.offset) == arrival
            assert self.changeover.remember(self.profile, arrival, made, decision.outcome, before, watermark)
        return decision

    def hand_over(self, shadow: Profile | None, cut: int) -> None:
        if shadow is not None:
            self.profile = self.changeover.park(self.profile, 0, cut, encode_profile(shadow))

    def go_live(self, watermark: int) -> None:
        self.profile, decision = self.changeover.merge(self.profile, watermark, "c")
        self.transitions += decision.transitions
        self.next_timer = decision.next_timer
        self.warming, self.rules = False, self.changeover.live  # type: ignore[assignment]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Some segments stay, some change their meaning, some are new, some are removed."""
    story = draw(some.stories(perfect=True))
    number = {id(event): at for at, event in enumerate(story.history)}
    history = [msgspec.structs.replace(one, partition=0, offset=number[id(one)]) for one in story.history]
    others = draw(some.segment_lists())
    fate = {one.name: draw(st.sampled_from(("stays", "changes", "new"))) for one in story.segments}
    old = [one for one in story.segments if fate[one.name] == "stays"]
    old += [one for one in others if fate.get(one.name, "removed") in ("changes", "removed")]
    begin, cut, end = sorted(draw(st.integers(0, len(history))) for _ in range(3))
    return Case(replace(story, history=history, scores=[]), old, begin, cut - 1, end)


def swings(condition: Condition) -> bool:
    """Whether being in makes the rule false: two thresholds upside down. Each look at it then says something else."""
    return (isinstance(condition, Not | Points) and is_divided(condition)) or any(map(swings, parts(condition)))


def new_to_all(case: Case, changeover: Changeover, event: Event) -> bool:
    """Whether an event that was too old for the older rules concerns none of the segments that they share with the new ones."""
    shared = [one for one in case.story.segments if one.name not in changeover.affected]
    return changeover.is_relevant(event) and not event.traits and all(one.exit is None for one in shared)


def state(profile: Profile | None) -> Any:
    """What of a profile must be the same. Deadlines may be too early, and older rules may have kept more than is needed."""
    if profile is None:
        return None
    entries = {name: [entry[0], *entry[2:]] for name, entry in profile.segments.items()}
    standing = {name: entry for name, entry in entries.items() if any(entry)}
    return standing, profile.latest, profile.first_seen, profile.traits, profile.slots.keys(), profile.rules


@given(cases(), st.booleans())
def test_a_rule_that_was_backfilled_gives_what_it_gives_from_the_start(case: Case, stored: bool) -> None:
    story = case.story
    assume(not any(swings(one.when) for one in (*story.segments, *case.old)))
    fresh, changing = Customer(rules(story.segments, version=2)), Changing(case, case.old)
    shadow = Customer(rules(story.segments, version=2))
    for event in story.history[: case.cut + 1]:
        shadow.apply(event, 0)
    for at, (event, handing) in enumerate(zip(story.history, story.deliveries[0], strict=True)):
        if at == case.begin:
            changing.warm()
        if at == case.end:
            turn(case, changing, shadow, fresh, handing.watermark, stored)
        outcome = fresh.hand(event, handing).outcome
        # No job takes back what it has applied, though under the new rules it would have been late, or the repeat of one that was.
        mine = changing.hand(event, handing).outcome
        assume(
            mine == outcome or ((mine, outcome) == ("late", "applied") and new_to_all(case, changing.changeover, event))
        )
        if at >= case.end:
            assert changing.members == fresh.members
            assert state(changing.profile) == state(fresh.profile)
    if case.end == len(story.history):
        if case.begin == len(story.history):
            changing.warm()
        turn(case, changing, shadow, fresh, story.deliveries[0][-1].watermark if story.history else 0, stored)
    known = len(fresh.transitions), len(changing.transitions)
    for customer in (fresh, changing):
        customer.wake(some.START + 2 * HORIZON, "each")
    later = [
        [_brief(one) for one in customer.transitions[at:]]
        for customer, at in zip((fresh, changing), known, strict=True)
    ]
    assert later[0] == later[1]
    check(changing.transitions)


def _brief(one: Any) -> tuple[Any, ...]:
    return one.segment, one.kind, one.effective_at, one.cause


def turn(case: Case, changing: Changing, shadow: Customer, fresh: Customer, watermark: int, stored: bool) -> None:
    """The rules become live: the customer stands where one stands who had them from the start."""
    changing.hand_over(shadow.profile, case.cut)
    changing.hand_over(shadow.profile, case.cut)  # twice is as good as once
    if stored:
        changing.store()
    known = len(changing.transitions)
    before = changing.members
    changing.go_live(watermark)
    if fresh.profile is not None:
        fresh.apply(Timer(watermark), watermark)
    assert changing.members == fresh.members
    assert state(changing.profile) == state(fresh.profile)
    said = changing.transitions[known:]
    after = set(before)
    for one in said:
        after ^= {one.segment}
    assert after == changing.members
