"""What an explanation says is so: it agrees with the profile, and what it foretells happens."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from profiles import encode_profile
from rules.compiled import moment
from rules.explain import evidence, explain
from rules.step import Transition
from tests.properties import strategies as some
from tests.properties.delivery import HORIZON, Customer, rules
from tests.properties.strategies_govern import governed_lists

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "explanations.json"
valid = Draft202012Validator(json.loads(SCHEMA.read_text())).is_valid

mixtures = st.one_of(
    some.segment_lists(of=st.one_of(some.conditions, *some.KINDS.values())),
    governed_lists(some.conditions, some.exits),
)


def clock_of(story: some.Story) -> int:
    """The later of the newest event and the watermark."""
    return max(*(event.event_time for event in story.history), *(handing.watermark for handing in story.deliveries[0]))


@given(some.stories(segments=mixtures), st.integers(0, 2 * max(some.WINDOWS)))
def test_an_explanation_agrees_with_the_profile_and_the_evidence(story: some.Story, pause: int) -> None:
    customer = Customer(rules(story.segments))
    customer.deliver(story)
    profile = customer.profile
    before = profile and encode_profile(profile)
    now = clock_of(story) + pause
    told = explain(profile, customer.rules, now, "c")
    assert (customer.profile and encode_profile(customer.profile)) == before, "the profile given is left as it is"
    assert valid(json.loads(json.dumps(told)))
    customer.wake(now, "each")
    profile = customer.profile
    assert told["known"] == (profile is not None)
    assert [one["segment"] for one in told["segments"]] == sorted(one.name for one in story.segments)
    for one, compiled in zip(told["segments"], sorted(customer.rules.plan.segments, key=lambda s: s.name), strict=True):
        entry = profile.segments.get(compiled.name, [0]) if profile else [0]
        assert one["in"] == bool(entry[0])
        assert one["since"] == (moment(entry[0]) if entry[0] else None)
        if profile is not None:
            assert one["rule_holds"] == compiled.condition.evaluate(profile, now)[0]
            assert evidence(one["condition"]) == compiled.condition.evidence(profile, now)
            if not compiled.latched and not compiled.governed:
                assert one["rule_holds"] == one["in"]
                assert one["to_change"], "there is always something that would change it"
            if one["rule_holds"] is not one["in"] and not (compiled.latched and one["in"]):
                assert one["reasons"], "where the rule says something else, what decides instead is named"


@given(some.stories(segments=mixtures), st.integers(0, 2 * max(some.WINDOWS)))
def test_what_is_foretold_happens_and_nothing_before_it(story: some.Story, pause: int) -> None:
    customer = Customer(rules(story.segments))
    customer.deliver(story)
    now = clock_of(story) + pause
    told = explain(customer.profile, customer.rules, now, "c")
    customer.wake(now, "each")
    so_far = len(customer.transitions)
    customer.wake(some.START + 2 * HORIZON + customer.rules.plan.limits.expiry, "each")
    first: dict[str, Transition] = {}
    for one in customer.transitions[so_far:]:
        first.setdefault(one.segment, one)
    for segment in told["segments"]:
        happened = first.get(segment["segment"])
        expected = happened and {
            "kind": happened.kind,
            "at": moment(happened.effective_at),
            "cause": happened.cause["kind"],
        }
        assert segment["next"] == expected
        assert segment["looked_until"] is None


@given(some.stories(segments=mixtures))
def test_one_segment_is_explained_as_among_all(story: some.Story) -> None:
    customer = Customer(rules(story.segments))
    customer.deliver(story)
    now = clock_of(story)
    told = explain(customer.profile, customer.rules, now, "c")
    for one in told["segments"]:
        assert explain(customer.profile, customer.rules, now, "c", one["segment"])["segments"] == [one]
