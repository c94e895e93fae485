"""The core as the job drives it: one customer, a profile that is stored now and then, one timer, a watermark."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from profiles import NEVER, Event, Profile, decode_profile, encode_profile
from rules.compiler import compile_plan
from rules.definition import Segment
from rules.plan import Limits, Plan
from rules.step import Decision, Timer, Transition, step
from tests.oracle import Change, Oracle
from tests.properties.strategies import STEP, Handing, Scores, Story

HORIZON = 30 * STEP
"""So long after the newest event nothing can happen any more but expiry: windows and waits are shorter, even in chains."""


EXPIRY = 60
"""For stories in which a customer is silent for as long as profiles are kept."""

NOTHING: Scores = MappingProxyType({})


@dataclass(frozen=True)
class Rules:
    """As much of a rule set as `step` needs."""

    version: int
    plan: Plan

    @property
    def code(self) -> int:
        return 2 * self.version + 1


def rules(segments: Sequence[Segment], version: int = 1, **limits: int) -> Rules:
    return Rules(version, compile_plan(segments, Limits(**limits)))


class Customer:
    """One customer of the core. Every transition and outcome is kept, and checked as it comes."""

    def __init__(self, rule_set: Rules) -> None:
        self.rules = rule_set
        self.profile: Profile | None = None
        self.next_timer = NEVER
        self.transitions: list[Transition] = []
        self.outcomes: Counter[str] = Counter()

    @property
    def members(self) -> set[str]:
        return {name for name, entry in self.profile.segments.items() if entry[0]} if self.profile else set()

    def apply(self, arrival: Event | Timer, watermark: int, scores: Scores = NOTHING) -> Decision:
        self.profile, decision = step(self.profile, self.rules, arrival, watermark, scores, "c")
        self.next_timer = decision.next_timer if self.profile is not None else NEVER
        if not isinstance(arrival, Timer):
            self.outcomes[decision.outcome] += 1
        else:
            assert decision.outcome == "timer"
            assert self.next_timer > max(arrival.due, watermark), "a timer that was served is due again"
        self.transitions += decision.transitions
        return decision

    def store(self) -> None:
        """Write the profile and read it back, as a checkpoint and a restart do."""
        if self.profile is not None:
            self.profile = decode_profile(encode_profile(self.profile))

    def wake(self, watermark: int, how: str) -> None:
        """Deliver what is due: `each` timer at its moment, or `once` at the watermark, or `none` of them."""
        if how == "once" and self.next_timer <= watermark:
            self.apply(Timer(self.next_timer), watermark)
        while how == "each" and self.next_timer <= watermark:
            self.apply(Timer(self.next_timer), self.next_timer)

    def deliver(self, story: Story, way: int = 0) -> None:
        for event, handing, scores in story.steps(way):
            self.hand(event, handing, scores)

    def hand(self, event: Event, handing: Handing, scores: Scores = NOTHING) -> Decision:
        self.wake(handing.watermark, handing.timers)
        if handing.idle:
            self.apply(Timer(handing.watermark), handing.watermark, handing.told)
        decision = self.apply(event, handing.watermark, scores)
        if decision.outcome == "applied":
            assert self.next_timer > handing.watermark, "an event has left something behind that is due"
        if handing.stored:
            self.store()
        return decision


def changes(transitions: Sequence[Transition]) -> list[Change]:
    """What the oracle foretells of transitions."""
    return [Change(one.segment, one.kind, one.effective_at, one.sequence) for one in transitions]


def explained(transitions: Sequence[Transition], expected: Sequence[Change]) -> bool:
    """Whether each transition names a cause that may be named for it."""
    return all(one.cause["kind"] in change.causes for one, change in zip(transitions, expected, strict=True))


def check(transitions: Sequence[Transition]) -> None:
    """What holds of the transitions of any one customer who has not expired."""
    assert [one.sequence for one in transitions] == list(range(1, len(transitions) + 1))
    assert len({one.id for one in transitions}) == len(transitions)
    assert all(one.effective_at <= two.effective_at for one, two in itertools.pairwise(transitions))
    inside: set[str] = set()
    for one in transitions:
        assert (one.kind == "entered") == (one.segment not in inside), f"{one.segment} {one.kind} twice"
        inside ^= {one.segment}


def lived(story: Story, customer: Customer) -> Iterator[list[Change]]:
    """Hand a story to the customer and to an oracle, both with `EXPIRY`; after each event and at the end, all that must be announced."""
    oracle = Oracle(story.segments, expiry=EXPIRY)
    expected: list[Change] = []
    for event, handing, scores in story.steps():
        expected += oracle.advance(handing.watermark) + oracle.hear(handing.told)
        outcome, brought = oracle.arrive(event, handing.watermark, scores)
        expected += brought
        assert customer.hand(event, handing, scores).outcome == outcome
        customer.wake(handing.watermark, "each")
        yield expected
    expected += oracle.advance(oracle.clock + HORIZON)
    customer.wake(oracle.clock + HORIZON, "each")
    yield expected
