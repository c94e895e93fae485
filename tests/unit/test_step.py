"""Bugs of the step that once were, each told as the story in which it was met."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from profiles import Event
from rules.definition import Absent, Aggregate, EventRef, Exit, Happened, Operator, Segment, Sequence, Test, Trait
from rules.step import Timer
from tests.properties.delivery import Customer, rules

T = 1_700_000_000_000
VIEWED, ORDERED = EventRef("Product Viewed"), EventRef("Order Completed")


def event(name: str, at: int, number: int, **fields: Any) -> Event:
    return Event(id=f"e{number}", name=name, event_time=T + at, customer="c", received_at=T + at, **fields)


def told(customer: Customer) -> list[tuple[str, str, int, str]]:
    """Segment, kind, time and what caused it, of every transition so far."""
    return [(one.segment, one.kind, one.effective_at - T, one.cause["kind"]) for one in customer.transitions]


def test_an_answer_at_the_last_millisecond_of_a_silence_comes_in_time() -> None:
    """A customer ordered exactly 30 after the cart, and was an abandoner for no time at all.

        0 cart ---------------- 30 order
                                ^ the silence would complete here

    The step let what is due at the event's own time pass before it counted the event, so the silence completed, and the
    order then undid it: an enter and an exit at one instant.
    """
    cart = Sequence(EventRef("Cart Updated"), 30, (ORDERED,))
    customer = Customer(rules([Segment("abandoned", cart)]))
    customer.apply(event("Cart Updated", 0, 1), 0)
    customer.apply(event("Order Completed", 30, 2), 0)
    customer.wake(T + 1000, "each")
    assert told(customer) == []


@pytest.mark.parametrize("narrowed", ["start", "end", "neither", "both"])
def test_an_event_that_is_both_steps_ends_the_waiting_before_it_begins_its_own(narrowed: str) -> None:
    """Whether or not either step has something to ask of the event: one that does is counted in another place than one that does not.

    0 cart ---- 10 cart ---------------- 40
                   (-------silence-------]
    """
    large = EventRef("Cart Updated", (Test("properties.items", Operator.GTE, 1),))
    start = large if narrowed in ("start", "both") else EventRef("Cart Updated")
    end = large if narrowed in ("end", "both") else EventRef("Cart Updated")
    customer = Customer(rules([Segment("left", Sequence(start, 30, (end,)))]))
    customer.apply(event("Cart Updated", 0, 1, properties={"items": 1}), 0)
    customer.apply(event("Cart Updated", 10, 2, properties={"items": 1}), 0)
    customer.wake(T + 1000, "each")
    assert told(customer) == [("left", "entered", 40, "timer")]


def test_a_view_at_the_moment_the_one_before_leaves_the_window_leaves_no_gap() -> None:
    """The same for windows: out and in again at one instant, though at no instant the window was empty.

    0 view ---------- 10 view ---------- 20
    (-----window-----](-----window-----]
    """
    customer = Customer(rules([Segment("viewed", Happened(VIEWED, 10))]))
    customer.apply(event("Product Viewed", 0, 1), 0)
    customer.apply(event("Product Viewed", 10, 2), 0)
    customer.wake(T + 1000, "each")
    assert told(customer) == [("viewed", "entered", 0, "event"), ("viewed", "exited", 20, "timer")]


def test_what_time_alone_changes_at_the_time_of_an_event_is_not_laid_to_the_event() -> None:
    """A mail was opened at the very millisecond at which a view left its window: the view's leaving has no event as cause.

    Both are told at that moment, in the order of the names, and not the one now and the other whenever a timer comes.
    """
    mailed = Segment("mailed", Happened(EventRef("Mail Opened"), 50))
    viewed = Segment("a-viewed", Happened(VIEWED, 10))
    customer = Customer(rules([mailed, viewed]))
    customer.apply(event("Product Viewed", 0, 1), 0)
    customer.apply(event("Mail Opened", 10, 2), 0)
    assert told(customer)[1:] == [("a-viewed", "exited", 10, "timer"), ("mailed", "entered", 10, "event")]


def test_a_comparison_that_no_count_satisfies_neither_fails_nor_spins() -> None:
    """`lt: 0` made the largest count -1: the condition looked for a time beyond the list, or was due at once for ever."""
    never = Test("", Operator.LT, 0)
    segments = [
        Segment("a", Happened(VIEWED, 10, (never,))),
        Segment("b", Happened(VIEWED, 10)),
        Segment("c", Aggregate("distinct", "properties.product", VIEWED, (never,), 10)),
    ]
    customer = Customer(rules(segments))
    for number in range(3):
        customer.apply(event("Product Viewed", number, number, properties={"product": number}), 0)
    customer.wake(T + 1000, "each")
    assert {segment for segment, *_ in told(customer)} == {"b"}


def test_a_repeat_after_expiry_is_the_same_whether_the_timer_or_the_repeat_came_first() -> None:
    """A repeat came when its customer had expired, but nobody had looked yet: it was a duplicate of what was forgotten.

        0 view ------------- 60 expires ---- 70 the view again, watermark at 70

    After the timer it was something else; so how the job bundles decided what became of the event.
    """
    outcomes = []
    for woken in (True, False):
        customer = Customer(rules([Segment("viewed", Happened(VIEWED))], expiry=60))
        customer.apply(event("Product Viewed", 0, 1), 0)
        if woken:
            customer.apply(Timer(T + 60), T + 70)
        outcomes.append(customer.apply(event("Product Viewed", 0, 1), T + 70).outcome)
        assert told(customer)[1:] == [("viewed", "exited", 60, "expiry")]
    assert outcomes == ["late", "late"]


def test_an_event_older_than_profiles_are_kept_begins_none() -> None:
    """A two-year-old event of somebody unknown made a profile that had expired before it began.

    The customer entered at the watermark, and by the expiry left long before that.
    """
    customer = Customer(rules([Segment("viewed", Happened(VIEWED)), Segment("idle", Absent(ORDERED))], expiry=60))
    decision = customer.apply(event("Product Viewed", 0, 1), T + 61)
    assert (decision.outcome, decision.late_by, customer.profile, told(customer)) == ("late", 1, None, [])


def test_an_exit_event_from_before_the_rise_does_not_prolong_what_it_cannot_end() -> None:
    """An order that came late was both why the rule held anew and what ends membership.

        4 sale: in, until 24 --- 5 refund: the rule is false --- [3 last sale, arriving after it: true again] --- 24 out

    Too old to end the membership that it found, it restarted the membership's 20, though an exit event begins nothing.
    """
    total = Aggregate("sum", "properties.revenue", EventRef("Sale"), (Test("", Operator.GTE, 10),), 100)
    segment = Segment("spender", total, Exit((EventRef("Sale", (Test("properties.last", Operator.EQ, True),)),), 20))
    customer = Customer(rules([segment]))
    customer.apply(event("Sale", 4, 1, properties={"revenue": 10}), 0)
    customer.apply(event("Sale", 5, 2, properties={"revenue": -5}), 0)
    customer.apply(event("Sale", 3, 3, properties={"revenue": 5, "last": True}), 0)
    customer.wake(T + 1000, "each")
    assert told(customer) == [("spender", "entered", 4, "event"), ("spender", "exited", 24, "timer")]


def test_a_silence_that_a_late_event_disproves_uncovers_the_one_before() -> None:
    """A customer came back twice; the second return was none, as an event in between came late. The first one still counts.

        0 seen ------- 20 back ------- 40 back again
                                30 late: between 20 and 40 there was no silence of 20

    Only as many returns were kept as the rule counts, one, and that was the one which was none.
    """
    back = Happened(VIEWED, 100, after_silence=20)
    customer = Customer(rules([Segment("reactivated", back)]))
    for number, at in enumerate((0, 20, 40, 30)):
        customer.apply(event("Product Viewed", at, number), 0)
    customer.wake(T + 1000, "each")
    assert told(customer) == [("reactivated", "entered", 20, "event"), ("reactivated", "exited", 120, "timer")]


@pytest.mark.parametrize("window", [None, 500])
@pytest.mark.parametrize("sign", [1, -1])
def test_absurd_sums_leave_a_profile_that_can_be_stored(window: int | None, sign: int) -> None:
    """Somebody sent the largest price that is still a number, again and again, and the sum left 64 bits.

    The profile could not be encoded any more, so every event of that customer failed from then on.
    """
    total = Aggregate("sum", "properties.price", VIEWED, (Test("", Operator.GT, 0),), window)
    customer = Customer(rules([Segment("spender", total)]))
    for number in range(400):
        customer.apply(event("Product Viewed", number, number, properties={"price": sign * 8_999_999_999_999}), 0)
        customer.store()
    assert customer.members == ({"spender"} if sign > 0 else set())


def test_absurd_numbers_as_traits_are_kept_as_large_ones() -> None:
    """A trait with four hundred digits fitted neither 64 bits nor a float, and the step failed."""
    customer = Customer(rules([Segment("old", Trait((Test("age", Operator.GT, 100),)))]))
    customer.apply(event("identify", 0, 1, traits={"age": 10**400}), 0)
    customer.store()
    assert customer.members == {"old"}


def test_publishing_rules_does_not_play_the_past_again() -> None:
    """Rules were published while a customer waited for a timer, and the customer was looked at as of their last event.

        0 view (in both) ------ 10 out of `brief` ------ [rules published] ------ 50 out of `long`

    As of the view they were in `brief` still: so they entered it again, at a time that had been told already, and left it
    again. Every customer with a timer did so at every publication.
    """
    segments = [Segment("brief", Happened(VIEWED, 10)), Segment("long", Happened(VIEWED, 50))]
    customer = Customer(rules(segments))
    customer.apply(event("Product Viewed", 0, 1), 0)
    customer.wake(T + 20, "each")
    customer.rules = rules(segments, version=2)
    customer.wake(T + 1000, "each")
    assert told(customer)[2:] == [("brief", "exited", 10, "timer"), ("long", "exited", 50, "timer")]


def test_an_exit_that_was_taken_from_a_rule_and_given_back_has_forgotten_the_rise_of_old() -> None:
    """A membership was timed out by a rise from before the rule was without `exit`, though it had begun only since."""
    latched = Segment("viewed", Happened(VIEWED, 10), Exit(after=100))
    customer = Customer(rules([latched]))
    customer.apply(event("Product Viewed", 0, 1), 0)
    customer.rules = rules([replace(latched, exit=None)], version=2)
    customer.apply(event("Product Viewed", 95, 2), 0)
    customer.rules = rules([latched], version=3)
    customer.wake(T + 1000, "each")
    assert told(customer)[-2:] == [("viewed", "entered", 95, "event"), ("viewed", "exited", 195, "timer")]
