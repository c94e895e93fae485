"""Customers and learner together: nothing is known before its time, and every replay is the same."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_models.example import Example
from online_models.learner import Learner
from online_models.loop import Loop, Outcome, Overrun
from online_models.version import Role
from profiles.event import Event
from profiles.profile import NEVER, Profile
from rules.step import Decision, Rules, Timer
from tests.learning import KIT, a_model, candidate, decode

WITHIN = 50
MODEL = a_model(candidates=(candidate("mean", "Mean"), candidate("sgd", "Sgd")), publish=40, publish_examples=5)
RULES: Any = SimpleNamespace(version=1, code=3, plan=None)


class Shelf:
    """What customers are scored by."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, Any]] = {}
        self.champion = ""

    def adopt(
        self, model: str, candidate: str, role: Role, version: int, predictor: Any, thresholds: Any = None
    ) -> bool:
        self.held[candidate] = version, predictor
        if role == "champion":
            self.champion = candidate
        return True


def advance(
    profile: Profile | None, rules: Rules, serving: Shelf, happening: Event | Timer, watermark: int, customer: str
) -> tuple[Profile | None, Decision]:
    """Each view is an example of whether the customer buys within 50 ms after it; the profile keeps those that wait."""
    profile = profile or Profile()
    waiting = profile.models.setdefault("purchase", [])
    decision = Decision()

    def end(one: list[Any], label: float, at: int) -> None:
        waiting.remove(one)
        decision.examples = [
            *decision.examples,
            Example("purchase", "d1", customer, one[0], at, one[1], label, 1.0, one[2]),
        ]

    now = happening.due if isinstance(happening, Timer) else happening.event_time
    for one in [one for one in waiting if one[0] + WITHIN <= min(now, watermark)]:
        end(one, 0.0, one[0] + WITHIN)
    if isinstance(happening, Event):
        if happening.name == "Broken":
            raise ValueError
        if happening.name == "Bought":
            for one in [one for one in waiting if one[0] < now <= one[0] + WITHIN]:
                end(one, 1.0, max(now, watermark + 1))
        elif not any(one[0] == now for one in waiting):
            row = [1.0, float(happening.properties["many"])]
            said = {name: [version, predictor.predict(row)] for name, (version, predictor) in serving.held.items()}
            waiting.append([now, row, said])
    decision.next_timer = min((one[0] + WITHIN for one in waiting), default=NEVER)
    return profile, decision


def _event(number: int, at: int, customer: str, name: str, many: int = 0) -> Event:
    return Event(f"e{number}", name, at, customer, received_at=at, properties={"many": many})


def _loop(**options: Any) -> Loop:
    return Loop([MODEL], RULES, Shelf(), advance, Learner([MODEL], KIT), decode, **options)


def _history(size: int = 300, seed: int = 1) -> list[tuple[Event, int]]:
    """Who looks at much buys more often. Each event has the moment before it as its watermark."""
    dice, at, found = random.Random(seed), 0, []
    for number in range(size):
        at += dice.randrange(1, 12)
        many = dice.randrange(3)
        name = "Bought" if dice.random() < 0.1 + 0.2 * many else "Viewed"
        found.append((_event(number, at, dice.choice("abcdef"), name, many), at - 1))
    return found


def _truth(history: list[tuple[Event, int]]) -> dict[tuple[str, int], tuple[float, int]]:
    """By customer and moment of each view: label, and when it was known."""
    events = [event for event, _ in history]
    found = {}
    for one in (event for event in events if event.name == "Viewed"):
        later = (
            other.event_time
            for other in events
            if other.customer == one.customer
            and other.name == "Bought"
            and one.event_time < other.event_time <= one.event_time + WITHIN
        )
        bought = min(later, default=None)
        at = one.event_time
        found[one.customer, at] = (0.0, at + WITHIN) if bought is None else (1.0, bought)
    return found


def _seen(outcome: Outcome) -> Any:
    return (
        outcome.examples,
        outcome.versions,
        {key: one.body for key, one in outcome.newest.items()},
        outcome.figures,
        outcome.happened,
    )


def test_each_view_is_an_example_once_with_what_came_of_it_at_its_millisecond() -> None:
    history = _history()
    outcome = _loop(open_profiles=2).run(history, 10**6)
    assert {(one.customer, one.at): (one.label, one.labelled_at) for one in outcome.examples} == _truth(history)
    assert len(outcome.examples) == len(_truth(history))
    assert outcome.newest["purchase", "mean"].lineage.examples == len(outcome.examples)


def test_no_prediction_is_made_by_a_version_that_knows_anything_of_what_comes_after() -> None:
    outcome = _loop().run(_history(), 10**6)
    versions = {one.version: one for one in outcome.versions}
    foretold = [(one, version) for one in outcome.examples for version, _ in one.predictions.values()]
    assert len(foretold) > 100
    for one, version in foretold:
        assert versions[version].lineage.last <= versions[version].created_at < one.at
    newest = [
        max(
            (
                version.version
                for version in outcome.versions
                if version.created_at < one.at and version.candidate == name
            ),
            default=0,
        )
        == one.predictions.get(name, [0])[0]
        for one in outcome.examples
        for name in ("mean", "sgd")
    ]
    assert all(newest), "and it is the newest that there was"


@given(st.lists(st.integers(0, 2_500), max_size=30), st.integers(1, 6))
def test_a_replay_is_the_same_wherever_time_is_told_to_pass(moments: list[int], open_profiles: int) -> None:
    history = _history(120)
    expected = _seen(_loop().run(history, 10**6))
    loop = _loop(open_profiles=open_profiles)
    for event, watermark in history:
        for moment in sorted(one for one in moments if one <= watermark):
            loop.pass_time(moment)
        loop.take(event, watermark)
    assert _seen(loop.run([], 10**6)) == expected


def test_figures_and_versions_are_kept_over_time_and_the_newest_can_be_gone_on_from() -> None:
    outcome = _loop().run(_history(), 10**6)
    assert [one.at for one in outcome.figures] == sorted(one.at for one in outcome.figures)
    assert outcome.figures[-1].candidates["sgd"]["observed"] > 100
    assert not any(one.body for one in outcome.versions)
    trained = outcome.trained("purchase", above=40)
    assert [(one.version, one.lineage.origin, one.role) for one in trained] == [
        (41, "history", "champion"),
        (42, "history", "challenger"),
    ]
    learner = Learner([MODEL], KIT)
    for one in trained:
        learner.adopt(one)
    last = outcome.examples[-1].labelled_at
    for at in range(last, last + 6):
        learner.offer(Example("purchase", "d1", "new", at, at, [1.0, 1.0], 1.0))
    numbers = [one.lineage.examples for one in learner.advance(last + 6) if hasattr(one, "lineage")]
    assert numbers == [len(outcome.examples) + 4] * 2, "and what the history held is not learnt twice"


def test_an_event_on_which_the_core_breaks_is_left_out() -> None:
    history = _history()
    broken = [
        (_event(1000 + number, event.event_time, event.customer, "Broken"), at)
        for number, (event, at) in enumerate(history)
    ]
    both = [one for pair in zip(broken, history, strict=True) for one in pair]
    outcome, plain = _loop().run(both, 10**6), _loop().run(history, 10**6)
    assert outcome.outcomes == {"failed": len(history), "applied": len(history)}
    assert _seen(outcome) == _seen(plain)


def test_a_history_whose_watermark_stands_still_ends_with_a_word() -> None:
    loop = Loop([MODEL], RULES, Shelf(), advance, Learner([MODEL], KIT, capacity=3), decode)
    with pytest.raises(Overrun, match="3 examples wait"):
        loop.run(((event, 0) for event, _ in _history()), 0)


def test_what_is_not_to_be_kept_is_given_away() -> None:
    given_away: list[Example] = []
    loop = _loop(keep=False, on_example=given_away.append)
    outcome = loop.run(_history(), 10**6)
    assert not outcome.examples and given_away == _loop().run(_history(), 10**6).examples
    assert isinstance(loop.profile("a"), Profile) and loop.profile("nobody") is None
