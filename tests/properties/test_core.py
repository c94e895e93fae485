"""What must hold of the core, over random rules, histories and deliveries, against the oracle."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import Event, encode_profile
from rules.definition import EventRef, Happened, Operator, Segment, Test
from tests.oracle import Oracle, holds
from tests.properties import strategies as some
from tests.properties.delivery import EXPIRY, HORIZON, Customer, changes, check, explained, lived, rules

OUTCOMES = {"applied", "duplicate", "late", "quarantined"}


def agree(story: some.Story) -> None:
    """At every event and every timer: the same outcome, the same transitions, the same memberships."""
    oracle, customer = Oracle(story.segments), Customer(rules(story.segments))
    for event, handing, scores in story.steps():
        known = len(customer.transitions)
        expected = oracle.advance(handing.watermark) + oracle.hear(handing.told)
        outcome, brought = oracle.arrive(event, handing.watermark, scores)
        expected += brought
        assert customer.hand(event, handing, scores).outcome == outcome
        customer.wake(handing.watermark, "each")  # an event that is turned away leaves what is due to the timer
        assert changes(customer.transitions[known:]) == expected
        assert explained(customer.transitions[known:], expected)
        assert customer.members == oracle.members
    known = len(customer.transitions)
    customer.wake(oracle.clock + HORIZON, "each")
    expected = oracle.advance(oracle.clock + HORIZON)
    assert changes(customer.transitions[known:]) == expected
    assert explained(customer.transitions[known:], expected)
    check(customer.transitions)


@given(some.stories())
def test_the_core_says_what_the_oracle_says(story: some.Story) -> None:
    agree(story)


@pytest.mark.parametrize("kind", some.KINDS)
@given(st.data())
def test_each_kind_of_condition_says_what_the_oracle_says(kind: str, data: st.DataObject) -> None:
    segments = some.segment_lists(of=some.KINDS[kind])
    agree(data.draw(some.stories(segments=segments, events=some.histories(max_size=10, names=("A", "A", "A", "B")))))


@pytest.mark.parametrize("count", [60, 61])
@pytest.mark.parametrize("others", [47, 48, 49])
def test_repeats_are_known_for_as_long_as_the_oracle_knows_them(count: int, others: int) -> None:
    """An event is repeated after so many others: after 48 of them it is a new one."""
    segment = Segment("often", Happened(EventRef("A"), None, (Test("", Operator.GT, count),)))
    history = [some.event("A", some.START + number, number) for number in range(count)]
    again = history[count - 1 - others]
    agree(some.Story([segment], [*history, again], [[some.Handing()] * (count + 1)]))


@given(some.stories(ways=2, perfect=True))
def test_delivery_makes_no_difference(story: some.Story) -> None:
    """Split anywhere, stored and read back anywhere, timers early, late or never: the same transitions to the letter."""
    one, other = (Customer(rules(story.segments)) for _ in story.deliveries)
    for way, customer in enumerate((one, other)):
        customer.deliver(story, way)
        customer.wake(max(event.event_time for event in story.history) + HORIZON, "each")
    assert one.transitions == other.transitions
    assert one.outcomes == other.outcomes
    assert one.members == other.members
    check(one.transitions)


@given(
    some.stories(segments=some.segment_lists(of=st.one_of(*some.KINDS.values())), events=some.histories(max_size=6)),
    st.integers(0, 6),
    st.integers(0, 2 * max(some.WINDOWS)),
)
def test_publishing_the_rules_that_are_in_force_changes_nothing(story: some.Story, after: int, pause: int) -> None:
    """A new version that says the same: no transition more or less, nor at another moment, whoever notices it first."""
    quiet, told = Customer(rules(story.segments)), Customer(rules(story.segments))
    for at, (event, handing, scores) in enumerate(story.steps()):
        if at == after:
            told.rules = rules(story.segments, version=2)
        quiet.hand(event, handing, scores)
        told.hand(event, handing, scores)
    paused = max(event.event_time for event in story.history) + pause
    for customer in (quiet, told):
        customer.wake(paused, "each")
    told.rules = rules(story.segments, version=3)
    quiet.wake(some.START + 2 * HORIZON, "each")
    told.wake(some.START + 2 * HORIZON, "once")
    assert changes(told.transitions) == changes(quiet.transitions)
    assert told.members == quiet.members


@given(some.stories(), some.segment_lists(), st.integers(0, 12))
def test_other_rules_take_over_in_order(story: some.Story, later: list[Segment], after: int) -> None:
    """Segments that are gone are left, the others keep alternating, and time never goes back."""
    kept = [replace(segment, name=f"kept-{segment.name}") for segment in story.segments]
    customer = Customer(rules([*story.segments, *kept]))
    for at, (event, handing, scores) in enumerate(story.steps()):
        if at == after:
            customer.rules = rules(
                [replace(segment, name=f"new-{segment.name}") for segment in later] + kept, version=2
            )
        decision = customer.hand(event, handing, scores)
        if at >= after and decision.outcome == "applied":
            assert not customer.members & {segment.name for segment in story.segments}
    customer.wake(some.START + 2 * HORIZON, "each")
    check(customer.transitions)


@given(some.segment_lists(), some.histories(max_size=8))
def test_no_moment_is_missed(segments: list[Segment], history: list[Event]) -> None:
    """Looked at every millisecond, a segment without exit is never in when its rule does not hold, nor out when it does."""
    oracle, customer = Oracle(segments), Customer(rules(segments))
    plain = [segment for segment in segments if segment.exit is None]
    for event in history:
        oracle.arrive(event, 0)
        customer.apply(event, 0)
    if not oracle.history.seen:
        return
    for clock in range(oracle.clock, oracle.clock + 8 * some.STEP):
        customer.wake(clock, "each")
        oracle.advance(clock)
        true = set()
        for segment in plain:
            oracle.look_around(segment.name)  # of two thresholds, the one that counts depends on who is in
            if holds(segment.when, oracle.history, clock):
                true.add(segment.name)
        assert customer.members & {segment.name for segment in plain} == true


@st.composite
def _shuffled(draw: st.DrawFn) -> tuple[list[Segment], list[Event], list[Event]]:
    # All within the shortest window, and no two at the same time: nothing can be late, nothing depends on a tie.
    times = draw(st.lists(st.integers(0, some.STEP - 1), min_size=2, max_size=8, unique=True))
    history = [
        some.event(
            draw(st.sampled_from(some.NAMES)),
            some.START + at,
            number,
            properties=draw(some.properties),
            traits=draw(some.written_traits),
        )
        for number, at in enumerate(times)
    ]
    return draw(some.segment_lists(latched=False)), history, draw(st.permutations(history))


@given(_shuffled())
def test_order_of_arrival_makes_no_difference_in_the_end(case: tuple[list[Segment], list[Event], list[Event]]) -> None:
    """Memberships once all events are there, and everything that time alone brings after that."""
    segments, *orders = case
    after: list[list[tuple[str, str, int]]] = []
    members = []
    for history in orders:
        customer = Customer(rules(segments))
        for event in history:
            customer.apply(event, 0)
        members.append(customer.members)
        known = len(customer.transitions)
        customer.wake(some.START + HORIZON, "each")
        after.append([(one.segment, one.kind, one.effective_at) for one in customer.transitions[known:]])
    assert members[0] == members[1]
    assert after[0] == after[1]


@given(some.stories())
def test_every_event_is_accounted_for_and_only_an_applied_one_leaves_a_trace(story: some.Story) -> None:
    customer = Customer(rules(story.segments))
    for event, handing, scores in story.steps():
        customer.wake(handing.watermark, "each")
        before = customer.profile and encode_profile(customer.profile)
        decision = customer.apply(event, handing.watermark, scores)
        if decision.outcome != "applied":
            assert not decision.transitions
            assert (customer.profile and encode_profile(customer.profile)) == before
            assert decision.reason or decision.outcome == "duplicate"
        if decision.outcome == "late":
            assert decision.late_by >= 0
    assert sum(customer.outcomes.values()) == len(story.history)
    assert set(customer.outcomes) <= OUTCOMES


@given(some.stories())
def test_a_customer_expires_as_the_oracle_says(story: some.Story) -> None:
    """Silence for the time that profiles are kept ends every membership; who comes back starts anew."""
    customer = Customer(rules(story.segments, expiry=EXPIRY))
    for expected in lived(story, customer):
        assert changes(customer.transitions) == expected
    assert customer.profile is None
    assert len({one.id for one in customer.transitions}) == len(customer.transitions)


_REPLAY = """
import hashlib, sys
import msgspec
from hypothesis import given, settings
from profiles import encode_profile
from tests.properties import strategies as some
from tests.properties.delivery import HORIZON, Customer, rules

seen = hashlib.sha256()

@settings(max_examples=40, derandomize=True, database=None, deadline=None)
@given(some.stories(perfect=True))
def play(story):
    customer = Customer(rules(story.segments))
    customer.deliver(story)
    seen.update(encode_profile(customer.profile) if customer.profile else b"-")
    customer.wake(some.START + HORIZON, "each")
    seen.update(msgspec.json.encode(customer.transitions))

play()
print(seen.hexdigest())
"""


def test_a_replay_in_another_process_is_identical_byte_for_byte() -> None:
    """Sets and hashes differ from process to process; transitions, evidence and stored profiles do not."""
    root = Path(__file__).parents[2]
    digests = {
        subprocess.run(
            [sys.executable, "-c", _REPLAY],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
