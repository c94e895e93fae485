"""What is kept of a customer: it stays below a stated bound however long their history grows, and goes when they expire."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles import NEVER, Event, encode_profile
from rules.cost import Costs, costs, membership
from rules.definition import Aggregate, EventRef, Operator, Segment, Test
from rules.rule_set import load_directory
from rules.slots import PANES
from rules.step import Timer
from tests.properties import strategies as some
from tests.properties.delivery import Customer, rules
from tests.properties.strategies_govern import governed_lists, model_outputs

MODELS, SHORT = 3, 20
"""So many models are heard here, their names and what they say being so short."""


def bound(costs: Costs) -> int:
    """The most bytes that a profile takes: what the rules are said to take, what is said to come on top, and what models say."""
    return costs.bytes + costs.besides + MODELS * (2 * SHORT + 20)


def flood(dice: random.Random, number: int, name: str, at: int) -> Event:
    """An event that has as much in it that is new as an event can have."""
    lines = [
        {
            "product": f"{dice.random()}-{chr(0x1F600) * dice.randrange(200)}",
            "price": round(dice.uniform(-1e12, 8e12), 2),
        }
        for _ in range(dice.randrange(20))
    ]
    fields = {"product": str(dice.random()), "price": round(dice.uniform(-1e12, 8e12), 2), "lines": lines, "flag": True}
    emoji = chr(0x1F600)
    traits = {f"{dice.randrange(10**6)}": emoji * dice.randrange(500) for _ in range(dice.randrange(3))}
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
    claimed = costs(customer.rules.plan, segments)
    most_bytes = bound(claimed)
    at = some.START
    for number in range(400):
        at += dice.choice((0, 0, 0, 0, 1, some.STEP))
        late = dice.choice((0, 0, 0, 15))
        customer.apply(flood(dice, number, dice.choice(some.NAMES), at - late), 0, outputs[number % len(outputs)])
        assert customer.profile is not None
        assert len(encode_profile(customer.profile)) <= most_bytes
        for key, state in customer.profile.slots.items():
            assert len(msgspec.msgpack.encode({key: state})) <= claimed.slots[key].bytes
        for name, entry in customer.profile.segments.items():
            of = next(one for one in customer.rules.plan.segments if one.name == name)
            assert len(msgspec.msgpack.encode({name: entry})) - 1 <= membership(of)
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
