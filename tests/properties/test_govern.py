"""Who decides besides the rule: stability, groups, holdout, two thresholds, memberships asked for; against the oracle."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from profiles import Event
from rules.definition import Exit, Segment
from rules.step import Timer
from tests.oracle import Oracle
from tests.properties import strategies as some
from tests.properties.delivery import EXPIRY, HORIZON, Customer, changes, check, explained, lived, rules
from tests.properties.strategies_govern import governed_lists, model_outputs, stabilities
from tests.properties.test_core import agree

FEW = ("A", "A", "A", "B")
SEGMENTS = governed_lists(some.simple, some.exits)


def stories(perfect: bool = False, ways: int = 1) -> st.SearchStrategy[some.Story]:
    return some.stories(ways, perfect, SEGMENTS, some.histories(max_size=9, names=FEW))


@given(stories())
def test_the_core_says_what_the_oracle_says(story: some.Story) -> None:
    agree(story)


@given(st.data())
def test_any_condition_can_be_governed(data: st.DataObject) -> None:
    agree(data.draw(some.stories(segments=governed_lists(some.conditions, some.exits))))


@given(stories(perfect=True, ways=2))
def test_delivery_makes_no_difference(story: some.Story) -> None:
    """Stored and read back anywhere, timers early, late or never: the same transitions to the letter."""
    one, other = (Customer(rules(story.segments)) for _ in story.deliveries)
    for way, customer in enumerate((one, other)):
        customer.deliver(story, way)
        customer.wake(max(event.event_time for event in story.history) + HORIZON, "each")
    assert one.transitions == other.transitions
    assert one.outcomes == other.outcomes
    check(one.transitions)


@given(stories())
def test_of_a_group_a_customer_is_in_one_at_most_at_every_moment(story: some.Story) -> None:
    customer = Customer(rules(story.segments))
    customer.deliver(story)
    customer.wake(max(event.event_time for event in story.history) + HORIZON, "each")
    groups = {one.name: one.group.name for one in story.segments if one.group}
    inside: set[str] = set()
    for one in customer.transitions:
        inside ^= {one.segment}
        named = [groups[name] for name in inside if name in groups]
        assert len(named) == len(set(named)), f"{one.segment} {one.kind} while in {inside}"


@given(stories())
def test_a_customer_expires_as_the_oracle_says(story: some.Story) -> None:
    customer = Customer(rules(story.segments, expiry=EXPIRY))
    for expected in lived(story, customer):
        assert changes(customer.transitions) == expected
    assert explained(customer.transitions, expected)
    assert customer.profile is None


@st.composite
def _ruled_otherwise(draw: st.DrawFn, segments: list[Segment]) -> list[Segment]:
    """The same rules, but something else decides besides them; now and then one segment is gone."""
    kept = segments[draw(st.sampled_from((0, 0, 0, 1))) :] or segments
    grouped = draw(st.booleans())
    return [
        replace(
            one,
            exit=draw(st.sampled_from((one.exit, one.exit, None, Exit(after=20), *((one.exit,) if one.exit else ())))),
            stability=draw(st.one_of(st.just(one.stability), stabilities)),
            group=one.group if grouped else None,
            holdout=draw(st.sampled_from((one.holdout, 0.0, 0.5))),
        )
        for one in kept
    ]


@given(st.data())
def test_a_change_of_what_governs_takes_over_as_the_oracle_says(data: st.DataObject) -> None:
    """From plain to governed and back, with and without exit, at any event: what stands is taken over, and goes on from there."""
    story = data.draw(stories())
    other = data.draw(_ruled_otherwise(story.segments))
    names = {one.name for one in other}
    versions = [story.segments, other, [one for one in story.segments if one.name in names]]
    changed = sorted(data.draw(st.tuples(*[st.integers(0, len(story.history))] * 2)))
    oracle, customer = Oracle(versions[0]), Customer(rules(versions[0]))
    version = 0
    for at, (event, handing, scores) in enumerate(story.steps()):
        known = len(customer.transitions)
        expected = oracle.advance(handing.watermark)
        customer.wake(handing.watermark, "each")
        while version < 2 and at >= changed[version]:
            version += 1
            customer.rules = rules(versions[version], version=version + 1)
            customer.apply(Timer(handing.watermark), handing.watermark)
            customer.store()
            expected += oracle.follow(versions[version])
        expected += oracle.hear(handing.told)
        outcome, brought = oracle.arrive(event, handing.watermark, scores)
        assert customer.hand(event, handing, scores).outcome == outcome
        customer.wake(handing.watermark, "each")
        expected += brought
        assert changes(customer.transitions[known:]) == expected
        assert explained(customer.transitions[known:], expected)
        assert customer.members == oracle.members
    check(customer.transitions)


@given(SEGMENTS, some.histories(max_size=8, names=FEW), st.lists(model_outputs, min_size=8, max_size=8))
def test_no_moment_is_missed(segments: list[Segment], history: list[Event], scores: list[some.Scores]) -> None:
    """Looked at every millisecond, nothing is found that a timer had not brought already."""
    customer, patient = Customer(rules(segments)), Customer(rules(segments))
    for event, heard in zip(history, scores, strict=False):
        customer.apply(event, 0, heard)
        patient.apply(event, 0, heard)
    newest = max(event.event_time for event in history)
    for clock in range(newest, newest + 8 * some.STEP):
        customer.apply(Timer(clock), clock)
    patient.wake(newest + 8 * some.STEP - 1, "each")
    assert customer.transitions == patient.transitions
