"""What must hold of scoring and of examples, over random models, rules, histories and deliveries, against the raw events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

import online_models.served
from online_models.advancing import advance
from online_models.definition import Learning, Model, Target
from online_models.example import Example
from online_models.serving import Serving
from online_models.waiting import MOST_WAITING, Examples
from profiles import Event, Profile, decode_profile, encode_profile
from rules.definition import EventRef
from rules.step import Timer, step
from tests.models import Counted, Says, model
from tests.oracle_models import examples, label, live
from tests.properties import strategies as some
from tests.properties.delivery import HORIZON, Customer, rules
from tests.properties.serving import COUNTED, Served, models

histories = some.histories(names=("A", "A", "A", "B", "B", "Z"))
some_segments = some.segment_lists(of=st.one_of(some.KINDS["score or cluster"], some.KINDS["two thresholds"]))


def counted(customer: Served, story: some.Story) -> list[bool]:
    """Which events the step applies under these rules."""
    plain = Customer(customer.rules)
    return [plain.apply(event, 0).outcome == "applied" for event in story.history]


def end_of(story: some.Story) -> int:
    return max(event.event_time for event in story.history) + HORIZON


@given(models(), some.stories(perfect=True, events=histories, segments=some.segment_lists(of=some.KINDS["plain"])))
def test_examples_are_those_that_all_raw_events_give(served: Model, story: some.Story) -> None:
    """However arrivals are bundled, stored and read back, timers early, late or never: each example, once, to the letter."""
    customer = Served(story.segments, [served])
    customer.deliver(story)
    until = end_of(story)
    customer.wake(until, "each")
    past = live(served, COUNTED, customer.kept, story.history, counted(customer, story), until)
    assert customer.brief == examples(past, "c", until)
    assert len({one.at for one in customer.examples}) == len(customer.examples)


def says(row: list[Any]) -> float:
    return float(0.5 + row[0] / 10 + (0.1 if row[1] == "gold" else 0))


@given(models("churn"), some.stories(perfect=True, events=histories, segments=some_segments))
def test_rules_react_as_if_the_scores_had_been_handed_to_the_step(served: Model, story: some.Story) -> None:
    served = model(served.target, name="churn", scoring=served.scoring, learning=served.learning)
    customer = Served(story.segments, [served])
    assert customer.serving is not None
    customer.serving.adopt("churn", "one", "champion", 1, Says(says))
    customer.deliver(story)
    until = end_of(story)
    customer.wake(until, "each")
    by_hand = Customer(customer.rules)
    applied = counted(customer, story)
    awaited = served.name in customer.rules.plan.by_score
    scored = live(served, COUNTED, customer.kept, story.history, applied, until, awaited=awaited).scored
    for number, event in enumerate(story.history):
        while applied[number] and scored and scored[0].after is None and scored[0].at < event.event_time:
            hand(by_hand, scored.pop(0))
        by_hand.apply(event, 0)
        if scored and scored[0].after == number:
            hand(by_hand, scored.pop(0))
    for one in scored:
        hand(by_hand, one)
    by_hand.wake(until, "each")
    assert customer.transitions == by_hand.transitions


def hand(customer: Customer, scored: Any) -> None:
    customer.apply(Timer(scored.at), scored.at, {"churn": round(says(scored.row), 6)})


@given(some.stories(), st.sampled_from((None, Serving((), ()))))
def test_without_models_it_is_the_step_to_the_letter(story: some.Story, serving: Serving | None) -> None:
    rule_set = rules(story.segments)
    mine: Profile | None = None
    plain: Profile | None = None
    for event, handing, _ in story.steps():
        for arrival in (Timer(handing.watermark), event):
            mine, decision = advance(mine, rule_set, serving, arrival, handing.watermark, "c")
            plain, expected = step(plain, rule_set, arrival, handing.watermark, None, "c")
            assert decision == expected
            assert (mine and encode_profile(mine)) == (plain and encode_profile(plain))


@given(models(), some.stories(perfect=True, events=histories))
def test_a_model_without_a_version_moves_no_rule(served: Model, story: some.Story) -> None:
    customer = Served(story.segments, [served])
    plain = Customer(customer.rules)
    for one in (customer, plain):
        for event, handing, _ in story.steps():
            one.hand(event, handing)
        one.wake(end_of(story), "each")
    assert customer.transitions == plain.transitions
    assert customer.outcomes == plain.outcomes


@given(models(), some.stories(perfect=True, events=histories), st.integers(0, 12))
def test_what_is_done_again_after_a_restore_is_done_the_same(served: Model, story: some.Story, at: int) -> None:
    """From the stored profile on, the same transitions and examples come: none is lost, none comes twice."""
    first = Served(story.segments, [served])
    snapshot: tuple[bytes | None, int, int] = (None, 0, 0)
    steps = list(story.steps())
    for number, (event, handing, _) in enumerate(steps):
        if number == at:
            snapshot = (first.profile and encode_profile(first.profile), len(first.examples), len(first.transitions))
        first.hand(event, handing)
    again = Served(story.segments, [served])
    if at < len(steps):
        stored, known, told = snapshot
        again.profile = decode_profile(stored) if stored is not None else None
        again.examples, again.transitions = first.examples[:known], first.transitions[:told]
        again.next_timer = 0 if again.profile is not None else again.next_timer
    for event, handing, _ in steps[at:] if at < len(steps) else steps:
        if again.profile is not None:
            again.apply(Timer(handing.watermark), handing.watermark)
        again.hand(event, handing)
    for one in (first, again):
        one.wake(end_of(story), "each")
    assert again.brief == first.brief
    assert again.transitions == first.transitions


@given(models(), some.stories(events=histories))
def test_what_was_not_applied_leaves_no_trace(served: Model, story: some.Story) -> None:
    customer = Served(story.segments, [served])
    for event, handing, _ in story.steps():
        customer.wake(handing.watermark, "each")
        before = customer.profile and encode_profile(customer.profile)
        decision = customer.apply(event, handing.watermark)
        if decision.outcome != "applied":
            assert not decision.examples and not decision.transitions
            assert (customer.profile and encode_profile(customer.profile)) == before


@given(
    models(),
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from("AB")), min_size=1, max_size=150),
    st.integers(0, 60),
)
def test_what_waits_is_bounded(served: Model, happenings: list[tuple[int, str]], behind: int) -> None:
    """As many as windows of that length can be open at the declared distance, sixteen at most; twice that while the watermark lags."""
    customer = Served([], [served])
    within = served.target.within if served.target is not None else 0
    apart = max(served.learning.every, 1)
    at = some.START
    for number, (pause, name) in enumerate(happenings):
        at += pause
        customer.hand(some.event(name, at, number), some.Handing(at - 1 - behind))
        assert customer.profile is not None
        for state in customer.profile.models.values():
            open_ = [one for one in state[6] if one[0] + within > at]
            assert len(open_) <= min(-(-within // apart) + 1, MOST_WAITING)
            assert len(state[6]) <= 2 * MOST_WAITING
    end = at + HORIZON
    customer.wake(end, "each")
    assert customer.profile is not None
    for state in customer.profile.models.values():
        assert all(one[0] + within > end for one in state[6])  # begun by a refresh, and open still


# --- what leaks is found -------------------------------------------------------------------------------------------


def leaks(one: Example, served: Model, applied: list[Event]) -> bool:
    """Whether an example knows more than was known at its moment, or its label less or more than came after it."""
    times = [event.event_time for event in applied if event.name == COUNTED]
    known = float(sum(one.at - 40 < time <= one.at for time in times))
    return one.row[0] != known or (one.labelled_at, one.label) != label(served, applied, one.at)


class ReadsLate(Examples):
    """A leak: the row is that of the moment at which the outcome is known."""

    def begin(self, profile: Profile, *told: Any) -> None:
        super().begin(profile, *told)
        self.profile = profile

    def _labelled(self, one: Any, known: int, customer: str) -> list[Example]:
        times = next(iter(self.profile.slots.values()))
        late: Any = [float(sum(known - 40 < time <= known for time in times)), None]
        return [structs.replace(found, row=late) for found in super()._labelled(one, known, customer)]


class CountsTheMoment(Examples):
    """A leak: what happened at the moment itself counts as outcome."""

    def take(self, waiting: Any, event: Event, watermark: int, customer: str) -> list[Example]:
        for one in waiting:
            one[0] -= 1
        found = super().take(waiting, event, watermark, customer)
        for one in waiting:
            one[0] += 1
        for example in found:
            example.at += 1
        return found


class KnowsTooEarly(Examples):
    """A leak: what has happened is known before the others of its moment are."""

    def __init__(self, model: Model, zone: str) -> None:
        super().__init__(model, zone)
        self.at_once = not self.at_once


@pytest.mark.parametrize("outcomes", ["together", "at_once"])
@pytest.mark.parametrize("of", [Examples, ReadsLate, CountsTheMoment, KnowsTooEarly])
def test_a_planted_leak_is_found(monkeypatch: pytest.MonkeyPatch, of: type[Examples], outcomes: Any) -> None:
    monkeypatch.setattr(online_models.served, "Examples", of)
    served = model(Target("happens", EventRef("B"), 30), learning=Learning(5, outcomes=outcomes))
    customer = Served([], [served])
    story = [
        ("A", 0),
        ("B", 0),
        ("A", 7),
        ("A", 8),
        ("B", 12),
        ("A", 15),
        ("A", 16),
        ("B", 16),
        ("B", 50),
        ("A", 60),
        ("B", 60),
    ]
    history = [some.event(name, some.START + at, number) for number, (name, at) in enumerate(story)]
    for event in history:
        customer.hand(event, some.Handing(event.event_time - 1))
    customer.wake(some.START + HORIZON, "each")
    assert len(customer.examples) == 4
    assert any(leaks(one, served, history) for one in customer.examples) is (of is not Examples)


def test_a_row_is_read_once_for_each_moment() -> None:
    """What is learnt is the very row that was scored: the features are not asked again."""
    served = model(Target("happens", EventRef("B"), 30))
    customer = Served([], [served])
    assert customer.serving is not None
    customer.serving.adopt("m", "one", "champion", 1, Says(says))
    for number in range(3):
        customer.hand(some.event("A", some.START + 5 * number, number), some.Handing(some.START + 5 * number - 1))
    customer.wake(some.START + HORIZON, "each")
    (features,) = customer.features
    assert isinstance(features, Counted)
    assert [(one.at, one.row) for one in customer.examples] == features.reads
