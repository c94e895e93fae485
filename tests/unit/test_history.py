"""A rule set run over many customers' events: the same as customer by customer, whatever is kept decoded."""

from __future__ import annotations

from typing import Any

import pytest

from profiles import Event
from rules.definition import EventRef, Exit, Happened, Operator, Segment, Sequence, Test
from rules.history import History
from rules.step import Transition
from tests.properties.delivery import Customer, rules

T = 1_700_000_000_000
DAY = 86_400_000

SEGMENTS = [
    Segment("bought", Happened(EventRef("Order"), within=7 * DAY)),
    Segment("often", Happened(EventRef("Order"), within=30 * DAY, counts=(Test("", Operator.GTE, 2),))),
    Segment(
        "abandoned", Sequence(EventRef("Cart"), 1_800_000, (EventRef("Order"),)), Exit((EventRef("Order"),), 3 * DAY)
    ),
]


def happening(customer: str, name: str, at: int, **fields: Any) -> Event:
    return Event(f"{customer}-{name}-{at}", name, at, customer, received_at=at, **fields)


def events() -> list[Event]:
    """Two weeks of thirty customers, in order of time."""
    made = [
        happening(f"c{number}", name, T + day * DAY + number * 1000)
        for number in range(30)
        for day, name in ((0, "Cart"), (number % 9, "Order"), (10 + number % 4, "Order"), (13, "Cart"))
    ]
    return sorted(made, key=lambda event: event.event_time)


def told(transitions: list[Transition]) -> list[tuple[str, int, str, str, int]]:
    return [(one.customer, one.sequence, one.segment, one.kind, one.effective_at) for one in transitions]


@pytest.mark.parametrize("open_profiles", [1, 7, 1000])
def test_all_together_is_each_alone(open_profiles: int) -> None:
    history = History(rules(SEGMENTS), open_profiles=open_profiles)
    alone: dict[str, Customer] = {}
    for event in events():
        history.take(event, event.event_time - 1)
        customer = alone.setdefault(event.customer, Customer(rules(SEGMENTS)))
        customer.wake(event.event_time - 1, "each")
        customer.apply(event, event.event_time - 1)
    end = T + 60 * DAY
    history.finish(end)
    expected = []
    for name in alone:
        one = alone[name]
        one.wake(end, "each")
        expected += [(name, *row[1:]) for row in told(one.transitions)]
    assert sorted(told(history.transitions)) == sorted(expected)
    assert history.outcomes == {"applied": 120}
    assert history.clock == end
    for name, one in alone.items():
        assert history.profiles[name].segments == (one.profile.segments if one.profile else None)


def test_what_is_due_happens_at_its_own_moment_and_not_before_the_end() -> None:
    history = History(rules(SEGMENTS[:1]))
    history.take(happening("anna", "Order", T), T - 1)
    history.finish(T + 7 * DAY - 1)
    assert told(history.transitions) == [("anna", 1, "bought", "entered", T)]
    history.finish(T + 7 * DAY)
    assert told(history.transitions)[1:] == [("anna", 2, "bought", "exited", T + 7 * DAY)]


def test_a_look_at_a_profile_changes_nothing() -> None:
    history = History(rules(SEGMENTS))
    history.take(happening("anna", "Order", T), T - 1)
    history.profiles["anna"].segments.clear()
    assert history.profiles["anna"].segments["bought"][0] == T
    assert list(history.profiles) == ["anna"] and len(history.profiles) == 1


def test_transitions_may_be_handed_on_instead_of_kept() -> None:
    handed: list[Transition] = []
    history = History(rules(SEGMENTS), keep_transitions=False, on_transition=handed.append)
    history.take(happening("anna", "Order", T), T - 1)
    history.finish(T + 8 * DAY)
    assert history.transitions == []
    assert [one.kind for one in handed] == ["entered", "exited"]


def test_a_customer_who_expires_is_gone() -> None:
    history = History(rules(SEGMENTS, expiry=10 * DAY))
    history.take(happening("anna", "Order", T), T - 1)
    history.finish(T + 10 * DAY)
    assert not history.profiles
    assert [one.kind for one in history.transitions] == ["entered", "exited"]


def test_repeats_late_and_future_events_are_counted_and_change_nothing() -> None:
    history = History(rules(SEGMENTS[:1]))
    order = happening("anna", "Order", T)
    history.take(order, T - 1)
    before = history.encoded["anna"]
    history.take(order, T - 1)
    future = Event("f", "Order", T + DAY, "anna", received_at=T)
    history.take(future, T - 1)
    late = Event("l", "Order", T - 8 * DAY, "anna", received_at=T)
    history.take(late, T - 1)
    assert history.outcomes == {"applied": 1, "duplicate": 1, "quarantined": 1, "late": 1}
    assert history.encoded["anna"] == before
    assert history.clock == T


def test_an_event_that_breaks_the_core_is_left_out_and_counted() -> None:
    """As in the job, where it is a dead letter: the customer goes on as the events before have left them."""
    history = History(rules(SEGMENTS))
    history.take(happening("anna", "Order", T), T - 1)
    before = history.encoded["anna"]
    broken = happening("anna", "Order", T + 1)
    broken.event_time = "tomorrow"  # type: ignore[assignment]
    assert history.take(broken, T) is None
    assert history.encoded["anna"] == before
    history.take(happening("anna", "Order", T + 2), T + 1)
    assert history.outcomes == {"applied": 2, "failed": 1}
    assert [one.segment for one in history.transitions] == ["bought", "often"]
