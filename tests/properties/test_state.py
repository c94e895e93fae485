"""What is kept of a customer: it stays below a stated bound however long their history grows, and goes when they expire."""

from __future__ import annotations

import random
from functools import singledispatch
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles import NEVER, Event, encode_profile
from rules.decay import SPANS, Decay
from rules.definition import Aggregate, EventRef, Operator, Segment, Test
from rules.journeys import EVENTS, VALUES, Trail
from rules.kinds.sessions import SESSIONS, Sessions
from rules.newest import LONGEST_KEPT, Newest
from rules.plan import Plan
from rules.rule_set import load_directory
from rules.slots import (
    ANCHORS,
    CONTRIBUTIONS,
    PANES,
    SPARE_RETURNS,
    Anchors,
    Contributions,
    Keyed,
    Returns,
    Slot,
    Times,
)
from rules.step import Timer
from rules.tallies import Tally
from tests.properties import strategies as some
from tests.properties.delivery import Customer, rules
from tests.properties.strategies_govern import governed_lists, model_outputs

NUMBER = 9
"""A number takes at most so many bytes, the length of a list or map at most five."""
LIST = 5
MODELS, SHORT = 3, 20
"""So many models are heard here, their names and what they say being so short."""
TEXT = 5 + 4 * 110
"""A property value by which events are counted: a hundred characters and a checksum."""


@singledispatch
def most(slot: Slot) -> int:
    """The most bytes that one slot takes, beside its key."""
    return LIST + 2 * NUMBER


@most.register
def _(slot: Times) -> int:
    return LIST + slot.keep * NUMBER


@most.register
def _(slot: Keyed) -> int:
    return LIST + slot.keys * (TEXT + LIST + slot.keep * NUMBER)


@most.register
def _(slot: Returns) -> int:
    return LIST + (2 + 2 * (slot.keep + SPARE_RETURNS)) * NUMBER


@most.register
def _(slot: Anchors) -> int:
    return LIST + (ANCHORS + 2) * NUMBER


@most.register
def _(slot: Contributions) -> int:
    # Windows below a hundred milliseconds times two have panes of one millisecond, and so up to twice as many.
    return 4 * LIST + 3 * NUMBER * (CONTRIBUTIONS + 2 * PANES)


@most.register
def _(slot: Trail) -> int:
    values = VALUES * (TEXT + NUMBER) if slot.bound else 0
    return 5 * LIST + 2 * NUMBER + EVENTS * (2 * NUMBER + LIST) + values + EVENTS * NUMBER


@most.register
def _(slot: Newest) -> int:
    return LIST + NUMBER + LIST + 4 * LONGEST_KEPT


@most.register
def _(slot: Sessions) -> int:
    return LIST + SESSIONS * (LIST + 3 * NUMBER)


@most.register
def _(slot: Tally) -> int:
    # The part of a window before its newest one has panes of its own.
    return 4 * LIST + 3 * NUMBER * (CONTRIBUTIONS + 4 * PANES)


@most.register
def _(slot: Decay) -> int:
    return 3 * LIST + 2 * SPANS * NUMBER


def bound(plan: Plan) -> int:
    """The most bytes that a profile takes under these rules."""
    limits = plan.limits
    traits = limits.traits + len(plan.by_trait)
    return (
        100
        + limits.remembered_messages * 8
        + traits * 2 * (LIST + 4 * limits.trait_length)
        + sum(NUMBER + most(slot) for slot in plan.slots.values())
        + sum(LIST + len(one.name.encode()) + LIST + 7 * NUMBER for one in plan.segments)
        + MODELS * (LIST + LIST + 2 * SHORT + NUMBER)
    )


def flood(dice: random.Random, number: int, name: str, at: int) -> Event:
    """An event that has as much in it that is new as an event can have."""
    lines = [
        {"product": f"{dice.random()}-{'é' * dice.randrange(200)}", "price": round(dice.uniform(-1e12, 8e12), 2)}
        for _ in range(dice.randrange(20))
    ]
    fields = {"product": str(dice.random()), "price": round(dice.uniform(-1e12, 8e12), 2), "lines": lines, "flag": True}
    traits = {f"{dice.randrange(10**6)}": "x" * dice.randrange(500) for _ in range(dice.randrange(3))}
    return some.event(name, at, number, properties=fields, traits=traits, context={"device": {"type": "mobile"}})


@settings(max_examples=25)
@given(
    st.one_of(some.segment_lists(), governed_lists(some.conditions, some.exits)),
    st.integers(0, 2**32),
    st.lists(model_outputs, min_size=1, max_size=5),
)
def test_state_is_bounded_whatever_the_rules_and_however_long_the_history(
    segments: list[Segment], seed: int, outputs: list[some.Scores]
) -> None:
    dice = random.Random(seed)
    customer = Customer(rules(segments))
    most_bytes = bound(customer.rules.plan)
    at = some.START
    for number in range(400):
        at += dice.choice((0, 0, 0, 0, 1, some.STEP))
        late = dice.choice((0, 0, 0, 15))
        customer.apply(flood(dice, number, dice.choice(some.NAMES), at - late), 0, outputs[number % len(outputs)])
        assert customer.profile is not None
        assert len(encode_profile(customer.profile)) <= most_bytes
        for key, state in customer.profile.slots.items():
            assert len(msgspec.msgpack.encode(state)) <= most(customer.rules.plan.slots[key])
    customer.apply(Timer(NEVER - 1), NEVER - 1)
    assert customer.profile is None


MINUTE = 60_000


def _buyer(dice: random.Random, number: int, at: int) -> Event:
    name = dice.choice(("Product Viewed",) * 6 + ("Cart Updated",) * 2 + ("Order Completed", "Email Link Clicked"))
    product = {"product_id": f"p{dice.randrange(10**6)}", "item_count": dice.randrange(6), "campaign": "summer"}
    return some.event(name, at, number, properties={**product, "revenue": dice.randrange(500), "products": [product]})


@pytest.mark.parametrize(
    ("pause", "most_bytes"), [(24 * 60, 5_000), (1, 20_000)], ids=["an event a day", "one a minute"]
)
def test_a_customer_of_the_catalogue_stops_growing(pause: int, most_bytes: int) -> None:
    """After the windows are full, as much history again takes no more room, but for what the values drawn happen to take."""
    customer = Customer(load_directory(Path(__file__).parents[2] / "rules" / "catalog"))  # type: ignore[arg-type]
    dice = random.Random(7)
    sizes = []
    for number in range(8_000):
        at = some.START + number * pause * MINUTE
        customer.wake(at - 1, "each")
        customer.apply(_buyer(dice, number, at), at - 1)
        assert customer.profile is not None
        if number % 50 == 49:
            sizes.append(len(encode_profile(customer.profile)))
    assert max(sizes) <= most_bytes
    assert max(sizes[len(sizes) // 2 :]) <= 1.1 * max(sizes[: len(sizes) // 2])


@given(st.integers(0, 2**32), st.sampled_from((1_000, 30_000)))
@settings(max_examples=8)
def test_beyond_the_exact_numbers_a_sum_is_late_by_less_than_a_hundredth_of_its_window(seed: int, window: int) -> None:
    """A pane leaves as a whole, with its newest event: never early, and late by less than its length."""
    dice = random.Random(seed)
    over = Aggregate("sum", "properties.price", EventRef("A"), (Test("", Operator.GTE, 0),), window)
    customer = Customer(rules([Segment("s", over)]))
    condition = customer.rules.plan.segments[0].condition
    seen: list[tuple[int, int]] = []
    clock = some.START
    for number in range(600):
        clock += dice.randrange(window // 150)
        at, price = clock - dice.choice((0, 0, 0, dice.randrange(window // 20))), dice.randrange(1, 100)
        seen.append((at, price))
        customer.apply(some.event("A", at, number, properties={"price": price}), 0)
        assert customer.profile is not None and condition.measure is not None
        for later in (0, window // 3, window):
            now = clock + later
            least = sum(price for at, price in seen if now - window < at)
            most = sum(price for at, price in seen if now - window - window // PANES < at)
            assert least <= condition.measure(customer.profile, now) <= most
