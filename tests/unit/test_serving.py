"""Scoring and examples at their boundaries: throttle, refresh, quarantine, expiry, late events, changed models."""

from __future__ import annotations

import math
from typing import Any

import pytest

from online_models.advancing import advance
from online_models.definition import Fairness, Learning, Model, Scoring, Target
from online_models.held import Held
from online_models.serving import Serving
from profiles import Event, Profile, encode_profile
from rules.definition import EventRef, Exit, Happened, Operator, Score, Segment, Test
from rules.explain import explain
from rules.handover import Changeover
from rules.history import History
from rules.step import Timer, forget_due
from tests.models import Counted, Says, model
from tests.properties.delivery import Rules, rules
from tests.properties.serving import Served
from tests.properties.strategies import START as T
from tests.properties.strategies import Handing, event

LIKELY = Segment("likely", Score("m", (Test("", Operator.GTE, 0.7),), 50, True))
BOUGHT = Target("happens", EventRef("Order"), 30)
AT_ONCE = Learning(0, outcomes="at_once")


def customer(made: Model, *segments: Segment, says: Any = None, **limits: int) -> Served:
    one = Served(segments, [made], **limits)
    if says is not None:
        assert one.serving is not None
        one.serving.adopt("m", "one", "champion", 1, Says(says))
    return one


def hand(one: Served, name: str, at: int, **fields: Any) -> None:
    made = event(name, T + at, one.outcomes.total(), **fields)
    one.hand(made, Handing(T + at - 1))


def scored_at(one: Served) -> int | None:
    written = one.profile.scores.get("m") if one.profile is not None else None
    return written[1] - T if written is not None else None


# --- when a customer is scored -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("second", "now"), [(9, 0), (10, 10), (11, 11)])
def test_a_change_is_scored_at_once_only_when_every_is_over(second: int, now: int) -> None:
    one = customer(model(scoring=Scoring(10)), says=lambda row: 0.5)
    hand(one, "A", 0)
    hand(one, "A", second)
    assert scored_at(one) == now


def test_a_change_that_came_too_early_is_caught_up_with_by_a_timer_where_the_model_refreshes() -> None:
    one = customer(model(scoring=Scoring(10, 1000)), says=lambda row: row[0] / 10)
    hand(one, "A", 0)
    hand(one, "A", 3)
    assert one.next_timer == T + 10
    one.wake(T + 9, "each")
    assert one.profile is not None and one.profile.scores["m"] == [0.1, T]
    one.wake(T + 10, "each")
    assert one.profile.scores["m"] == [0.2, T + 10]
    assert one.next_timer == T + 1010


def test_a_change_that_came_too_early_is_caught_up_with_by_a_timer_where_a_rule_asks_for_the_score() -> None:
    one = customer(model(scoring=Scoring(10)), LIKELY, says=lambda row: row[0] / 10)
    hand(one, "A", 0)
    hand(one, "A", 3)
    assert one.next_timer == T + 10


def test_a_change_that_came_too_early_waits_for_the_next_event_where_nobody_waits_for_the_score() -> None:
    one = customer(model(scoring=Scoring(10)), says=lambda row: row[0] / 10)
    hand(one, "A", 0)
    hand(one, "A", 3)
    hand(one, "Other", 9)
    one.wake(T + 11, "each")
    assert one.profile is not None and one.profile.scores["m"] == [0.1, T]
    hand(one, "Other", 12)
    assert one.profile.scores["m"] == [0.2, T + 12]
    hand(one, "Other", 30)
    assert one.profile.scores["m"] == [0.2, T + 12]


def test_silence_is_scored_at_growing_distances_until_the_profile_expires() -> None:
    one = customer(model(scoring=Scoring(1, 10)), says=lambda row: 0.5, expiry=100)
    hand(one, "A", 0)
    moments = []
    while one.profile is not None:
        moments.append(scored_at(one))
        one.wake(one.next_timer, "each")
    assert moments == [0, 10, 30, 70]


def test_an_event_of_which_no_feature_knows_is_no_reason_to_score() -> None:
    one = customer(model(), says=lambda row: 0.5)
    hand(one, "Other", 0)
    assert one.profile is not None and not one.profile.models


# --- rules and scores ---------------------------------------------------------------------------------------------------


def test_rules_react_to_a_score_at_once_and_again_when_it_is_too_old() -> None:
    certain = Segment("likely", Score("m", (Test("", Operator.GTE, 0.7),), 50, False))
    one = customer(model(), certain, says=lambda row: 0.9)
    hand(one, "A", 0)
    one.wake(T + 100, "each")
    assert [(t.kind, t.effective_at - T, t.cause["kind"]) for t in one.transitions] == [
        ("entered", 0, "score"),
        ("exited", 50, "timer"),
    ]
    assert one.transitions[0].scores == {"m": 0.9}


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "0.9", -math.inf])
def test_what_is_no_score_takes_the_candidate_out_until_a_newer_version(wrong: Any) -> None:
    """Until then scores age, and rules do what they say of a missing score."""
    said = [0.1]
    one = customer(model(), LIKELY, says=lambda row: said[0])
    assert one.serving is not None
    hand(one, "A", 0)
    assert one.members == set()
    said[0] = wrong
    hand(one, "A", 10)
    hand(one, "A", 11)
    said[0] = 0.1
    hand(one, "A", 12)
    assert scored_at(one) == 0
    one.wake(T + 50, "each")
    assert one.members == {"likely"}
    (report,) = one.serving.reports()
    assert (report["kind"], report["candidate"], report["version"]) == ("quarantined", "one", 1)
    assert one.serving.reports() == []
    assert not one.serving.adopt("m", "one", "champion", 1, Says(lambda row: 0.1))
    assert one.serving.adopt("m", "one", "champion", 2, Says(lambda row: 0.1))
    hand(one, "A", 60)
    assert one.members == set() and scored_at(one) == 60


def test_a_candidate_that_raises_is_taken_out_and_its_message_is_told_nobody() -> None:
    def broken(row: Any) -> float:
        raise ValueError("anna@example.com")

    one = customer(model(BOUGHT), says=broken)
    assert one.serving is not None
    one.serving.adopt("m", "two", "challenger", 2, Says(lambda row: 0.25))
    hand(one, "A", 0)
    one.wake(T + 30, "each")
    (report,) = one.serving.reports()
    assert report["reason"] == "ValueError in predict"
    assert one.examples[0].predictions == {"two": [2, 0.25]}
    assert one.serving.models["m"].held.counts["quarantined"] == 1


def test_the_newest_version_with_the_role_is_champion() -> None:
    held = Held(model())
    assert held.adopt("one", "champion", 1, Says(lambda row: 0.1))
    assert held.adopt("two", "challenger", 2, Says(lambda row: 0.2))
    assert held.score([]) == (1, 0.1)
    assert held.adopt("two", "champion", 3, Says(lambda row: 0.2))
    assert not held.adopt("two", "challenger", 2, Says(lambda row: 0.3))
    assert held.score([]) == (3, 0.2)
    assert held.predictions([]) == {"one": [1, 0.1], "two": [3, 0.2]}


# --- examples ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcomes", ["together", "at_once"])
@pytest.mark.parametrize(("order", "came"), [(0, False), (1, True), (30, True), (31, False)])
@pytest.mark.parametrize("kind", ["happens", "absent"])
def test_the_outcome_is_what_comes_after_the_moment_and_up_to_the_end(
    kind: Any, order: int, came: bool, outcomes: Any
) -> None:
    one = customer(model(Target(kind, EventRef("Order"), 30), learning=Learning(0, outcomes=outcomes)))
    hand(one, "A", 0)
    hand(one, "Order", order)
    one.wake(T + 100, "each")
    (example,) = one.examples
    assert (example.at - T, example.label) == (0, came == (kind == "happens"))
    assert example.labelled_at - T == (order if came and outcomes == "at_once" else 30)


def test_outcomes_of_one_moment_are_learnt_at_one_moment() -> None:
    """Who bought is not the first to be heard of: of customers of the same age the mix is that of all, whenever one looks."""
    labelled: dict[int, list[float | None]] = {}
    for number in range(6):
        one = customer(model(BOUGHT))
        hand(one, "A", 0)
        if number % 3 == 0:
            hand(one, "Order", number + 1)
        one.wake(T + 100, "each")
        for example in one.examples:
            labelled.setdefault(example.labelled_at - T, []).append(example.label)
    assert labelled == {30: [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]}


def test_what_happens_again_changes_nothing_and_nothing_is_kept_of_it() -> None:
    one = customer(model(BOUGHT, learning=Learning(100)))
    hand(one, "A", 0)
    hand(one, "Order", 5)
    assert one.profile is not None
    once = encode_profile(one.profile)[-40:]
    hand(one, "Order", 6)
    hand(one, "Order", 7)
    (waiting,) = one.profile.models["m"][6]
    assert waiting[1] == 1 and encode_profile(one.profile)[-40:] == once
    one.wake(T + 30, "each")
    assert [(one.label, one.labelled_at - T) for one in one.examples] == [(1.0, 30)]


@pytest.mark.parametrize("second", ["A", "C"])
@pytest.mark.parametrize("other_rules", [False, True])
def test_a_change_that_was_noted_is_caught_up_with_also_under_other_rules(second: str, other_rules: bool) -> None:
    one = customer(model(scoring=Scoring(10)), says=lambda row: 0.5)
    hand(one, "A", 0)
    hand(one, second, 3)
    assert one.profile is not None
    if other_rules:
        one.profile.agenda[3] += 1
    hand(one, "C", 9)
    assert scored_at(one) == 0
    hand(one, "C", 10)
    assert scored_at(one) == (10 if second == "A" else 0)


@pytest.mark.parametrize("with_age", [True, False])
def test_what_an_older_build_has_left_is_gone_on_from(with_age: bool) -> None:
    one = customer(model(BOUGHT, scoring=Scoring(10), learning=Learning(100)), says=lambda row: 0.5)
    hand(one, "A", 0)
    assert one.profile is not None
    old = [T, [1.0, None], {"one": [1, 0.5]}, ["likely"], "f", 0, *([7] if with_age else [])]
    one.profile.models["m"][6] = [old]
    one.profile.agenda = one.profile.agenda[:4]
    hand(one, "Order", 5)
    hand(one, "A", 12)
    assert scored_at(one) == 12
    one.wake(T + 30, "each")
    (learnt,) = one.examples
    assert (learnt.label, learnt.at, learnt.row, learnt.predictions) == (1.0, T, [1.0, None], {"one": [1, 0.5]})
    assert (learnt.segments, learnt.group, learnt.score_age) == (["likely"], "f", 7 if with_age else None)


def test_an_agenda_of_an_older_build_does_no_harm_where_no_model_knows_the_customer() -> None:
    one = customer(model(BOUGHT))
    hand(one, "C", 0)
    assert one.profile is not None
    one.profile.models, one.profile.agenda = {}, [2**62, 0, 2**62, 1]
    hand(one, "A", 1)
    assert scored_at(one) is None and one.profile.models


def test_an_event_beyond_the_watermark_is_learnt_after_what_was_learnt_already() -> None:
    one = customer(model(BOUGHT, learning=AT_ONCE))
    hand(one, "A", 0)
    one.apply(event("Order", T + 5, 1), T + 20)
    (example,) = one.examples
    assert (example.label, example.labelled_at - T) == (1.0, 21)


def test_a_late_order_changes_no_outcome_that_is_known() -> None:
    one = customer(model(BOUGHT))
    hand(one, "A", 0)
    one.wake(T + 30, "each")
    one.apply(event("Order", T + 5, 1), T + 40)
    assert [one.label for one in one.examples] == [0.0]


def test_an_order_that_comes_after_a_later_event_counts_as_long_as_the_watermark_has_not_passed() -> None:
    one = customer(model(BOUGHT, learning=Learning(100)))
    hand(one, "A", 0)
    one.apply(event("A", T + 35, 1), T + 20)
    one.apply(event("Order", T + 25, 2), T + 20)
    one.wake(T + 30, "each")
    assert [(one.label, one.labelled_at - T) for one in one.examples] == [(1.0, 30)]


def test_an_example_knows_the_group_and_the_segments_of_its_moment() -> None:
    active = Segment("active", Happened(EventRef("A"), 10))
    one = customer(model(BOUGHT, fairness=Fairness("gender", 0.5, 0.1)), active)
    hand(one, "A", 0, traits={"gender": "f"})
    hand(one, "Order", 20, traits={"gender": "m"})
    one.wake(T + 30, "each")
    (example,) = one.examples
    assert (example.group, example.segments) == ("f", ["active"])


def test_kept_negatives_stand_for_those_that_are_not_and_positives_for_themselves() -> None:
    labels: dict[float | None, list[float]] = {0.0: [], 1.0: []}
    for number in range(400):
        one = customer(model(BOUGHT, learning=Learning(0, negatives=0.25)))
        hand(one, "A", number)
        if number % 2:
            hand(one, "Order", number + 1)
        one.wake(T + 1000, "each")
        for example in one.examples:
            labels[example.label].append(example.weight)
    assert labels[1.0] == [1.0] * 200
    assert set(labels[0.0]) == {4.0} and 30 <= len(labels[0.0]) <= 70


def test_without_a_target_a_moment_is_an_example_at_once() -> None:
    one = customer(model(task="anomaly"), says=lambda row: 3.5)
    hand(one, "A", 0)
    (example,) = one.examples
    assert (example.label, example.labelled_at, example.predictions) == (None, T, {"one": [1, 3.5]})
    assert one.profile is not None and one.profile.models["m"][6] == []


@pytest.mark.parametrize(("expiry", "labels"), [(29, []), (30, [0.0]), (31, [0.0])])
@pytest.mark.parametrize("noticed", ["timer", "event"])
def test_of_a_customer_who_expires_only_what_was_known_is_learnt(
    expiry: int, labels: list[float], noticed: str
) -> None:
    one = customer(model(BOUGHT, learning=Learning(1000)), expiry=expiry)
    hand(one, "A", 0)
    if noticed == "timer":
        one.wake(T + 100, "each")
    else:
        one.apply(event("Z", T + 100, 1), T)
    assert [one.label for one in one.examples] == labels
    assert one.profile is None or not one.profile.models


# --- models change, and things go wrong ------------------------------------------------------------------------------------


def test_what_waits_goes_with_a_model_that_is_gone_or_means_something_else() -> None:
    one = customer(model(BOUGHT), says=lambda row: 0.5)
    hand(one, "A", 0)
    assert one.profile is not None and one.profile.models["m"][6]
    kept = one.serving
    changed = Serving([model(BOUGHT, digest="d2")], one.features, before=kept)
    assert changed.models["m"].held.champion is None
    same = Serving([model(BOUGHT)], one.features, before=kept)
    assert same.models["m"].held.champion is not None
    one.serving = changed
    hand(one, "A", 5)
    assert [waiting[0] - T for waiting in one.profile.models["m"][6]] == [5]
    one.serving = Serving([model(BOUGHT, name="other")], one.features)
    hand(one, "Z", 6)
    assert one.profile.models == {} and one.profile.scores == {}


def test_without_any_model_left_nothing_is_kept() -> None:
    one = customer(model(BOUGHT, scoring=Scoring(1, 10)), says=lambda row: 0.5)
    hand(one, "A", 0)
    one.serving = None
    one.apply(Timer(T + 10), T + 10)
    assert one.profile is not None and one.profile.models == {} and one.profile.scores == {}


def test_a_moment_that_cannot_be_served_is_given_up() -> None:
    one = customer(model(BOUGHT, scoring=Scoring(1, 10)))
    hand(one, "A", 0)
    assert one.profile is not None
    assert forget_due(one.profile, T + 9) == T + 10
    assert forget_due(one.profile, T + 10) > T + 1000
    assert one.profile.models == {}


def test_a_history_gives_the_examples_of_the_job() -> None:
    one = customer(model(BOUGHT))
    found: list[Any] = []
    serving = one.serving

    def under(profile: Any, rule_set: Any, arrival: Any, watermark: int, name: str) -> Any:
        return advance(profile, rule_set, serving, arrival, watermark, name)

    history = History(one.rules, advance=under, on_example=found.append)
    for number, (name, at) in enumerate((("A", 0), ("Order", 9), ("A", 12))):
        history.take(event(name, T + at, number), T + at - 1)
        hand(one, name, at)
    history.finish(T + 100)
    one.wake(T + 100, "each")
    assert found == one.examples and len(found) == 2


def test_an_explanation_says_how_the_model_comes_to_its_score() -> None:
    one = customer(model(), LIKELY, says=lambda row: 0.9)
    hand(one, "A", 0)
    assert one.serving is not None and one.profile is not None
    before = encode_profile(one.profile)
    found = explain(one.profile, one.rules, T + 1, "c", reasons=one.serving.reasons)
    said = found["segments"][0]["condition"]["model"]
    assert (said["model"], said["candidate"], said["version"]) == ("m", "one", 1)
    assert said["features"] == [{"feature": "views", "contribution": 1.0}, {"feature": "tier", "contribution": 0.0}]
    assert explain(one.profile, one.rules, T + 1, "c")["segments"][0]["condition"]["model"] is None
    assert encode_profile(one.profile) == before


# --- changed rules ----------------------------------------------------------------------------------------------------------


class Warming(Rules):
    @property
    def code(self) -> int:
        return 2 * self.version


def test_scores_and_what_waits_are_those_of_the_job_not_of_a_history_that_is_taken_in() -> None:
    """The shadow has scores and waiting examples too, where models ran over history: they are not taken in, and nothing comes twice."""
    new = Segment("ordered", Happened(EventRef("Order"), 500), Exit((), 400))
    live = customer(model(BOUGHT), says=lambda row: 0.5)
    shadow = Served([new], [model(BOUGHT)])
    assert shadow.serving is not None
    shadow.serving.adopt("m", "one", "champion", 1, Says(lambda row: 0.9))
    for name, at in (("Order", 0), ("A", 5)):
        hand(live, name, at)
        hand(shadow, name, at)
    hand(shadow, "A", 6)
    assert live.profile is not None and shadow.profile is not None
    serving = live.serving

    def under(profile: Any, rule_set: Any, arrival: Any, watermark: int, name: str) -> Any:
        return advance(profile, rule_set, serving, arrival, watermark, name)

    active = Warming(2, live.rules.plan)
    change = Changeover(active, Rules(2, shadow.rules.plan), ["ordered"], under)
    parked = change.park(live.profile, 0, 1, encode_profile(shadow.profile))
    merged, decision = change.merge(parked, T + 10, "c")
    assert merged is not None
    assert [t.segment for t in decision.transitions] == ["ordered"]
    assert merged.scores == {"m": [0.5, T + 5]}
    assert [waiting[0] - T for waiting in merged.models["m"][6]] == [5]
    assert decision.next_timer == T + 35
    adopted, _ = change.merge(change.park(None, 0, 1, encode_profile(shadow.profile)), T + 10, "c")
    assert adopted is not None and adopted.models == {} and adopted.scores == {}


def test_what_only_a_new_model_counts_is_kept_while_segments_are_warming() -> None:
    new = Segment("ordered", Happened(EventRef("Order"), 500))
    before = rules([])
    after = Served([new], [model(BOUGHT)])
    change = Changeover(Warming(2, before.plan), Rules(2, after.rules.plan), ["ordered"])
    assert change.is_relevant(event("A", T, 0))
    assert not change.is_relevant(event("Z", T, 0))


def test_a_customer_nobody_knows_is_nobody_still() -> None:
    one = customer(model(BOUGHT))
    one.apply(Timer(T), T)
    assert one.profile is None
    made: Profile | None
    future = Event("e", "A", T + 300_001, "c", received_at=T)
    made, decision = advance(None, one.rules, one.serving, future, 0)
    assert made is None and decision.outcome == "quarantined"
    assert isinstance(one.features[0], Counted)
