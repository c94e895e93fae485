"""The typical customer: a yardstick that is the same everywhere, and in the order of what customers of a shop really take."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from online_models.features import KINDS, FeatureKind, FeatureSet, read_feature
from profiles import Profile, decode_event
from profiles.document import load
from rules.compiler import compile_plan
from rules.condition_reader import ConditionReader
from rules.cost import bound, costs
from rules.rule_set import load_directory
from rules.ruled import live
from rules.slots import Arrivals
from rules.step import step
from rules.typical import typical_bytes
from shop import simulate
from tests.unit.test_cost import RULES, plan_of, segments

START = 1_767_225_600_000


@pytest.mark.parametrize("name", RULES)
def test_it_is_something_and_within_the_bound(name: str) -> None:
    for slot in plan_of(RULES[name]).slots.values():
        assert 8 < typical_bytes(slot) <= bound(slot)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_it_is_known_of_whatever_a_feature_keeps(kind: FeatureKind) -> None:
    feature = read_feature(ConditionReader(), load(kind.example, "m.yaml"))
    assert feature is not None
    slots = compile_plan((), watches=[FeatureSet([feature])]).slots.values()
    # A feature that looks at the newest event of all keeps nothing: the profile knows when that was.
    assert all(typical_bytes(slot) >= (0 if isinstance(slot, Arrivals) else 8) for slot in slots)


def size(condition: str) -> int:
    return sum(map(typical_bytes, plan_of(condition).slots.values()))


def test_it_is_the_stated_history_encoded() -> None:
    key, list_of_one, time = 5, 1, 9
    assert size("{event: A, within: 7d}") == key + list_of_one + time
    # Thirty events, one a day: a count keeps no more of them than it asks for, nor than the window holds.
    assert size("{event: A, within: 90d, count: {gte: 10}}") == key + list_of_one + 10 * time
    assert size("{event: A, within: 90d, count: {gte: 100}}") == key + 3 + 30 * time
    assert size("{event: A, within: 7d, count: {gte: 100}}") == key + list_of_one + 7 * time
    # Ten values of twelve characters take turns.
    value = 1 + 12
    assert size("{event: A, per: properties.product_id, within: 90d}") == key + 1 + 10 * (value + list_of_one + time)
    assert size("aggregate: {fn: distinct, of: properties.id, event: A, gte: 4}") == key + 1 + 4 * (
        value + list_of_one + time
    )
    # Numbers keep their time, the number in millionths and how many they stand for.
    assert size("aggregate: {fn: sum, of: properties.n, event: A, within: 10d, gte: 4}") == key + 4 + 10 * (9 + 5 + 1)


def test_of_a_sequence_the_steps_come_in_turn() -> None:
    within_a_day = size("sequence: {within: 1d, steps: [{event: A}, {event: B}]}")
    within_a_month = size("sequence: {within: 30d, steps: [{event: A}, {event: B}]}")
    assert within_a_day < within_a_month


def test_a_typical_customer_takes_as_much_as_the_busy_ones_of_the_simulated_shop() -> None:
    """Each thing every day is more than most do: above the average of a month in the shop, not above the most."""
    catalogue = load_directory(Path(__file__).parents[2] / "rules" / "catalog")
    rules, profiles = live(catalogue), dict[str, Profile | None]()
    shop = simulate(7, 150, START, days=30, until=START, duplicates=0, dirty=0)
    for number, record in enumerate(shop):
        assert record.key is not None
        event = decode_event(record.value, record.key.decode(), record.at, 0, number)
        profiles[event.customer], _ = step(profiles.get(event.customer), rules, event, 0)
    sizes = [
        len(msgspec.msgpack.encode(one.slots)) + len(msgspec.msgpack.encode(one.segments))
        for one in profiles.values()
        if one
    ]
    assert sum(sizes) / len(sizes) < costs(rules.plan, catalogue.segments).typical < max(sizes)


def test_it_is_counted_once_where_it_is_shared() -> None:
    two = segments(a="event: A", b="event: A\n  within: 1d")
    found = costs(compile_plan(two), two)
    assert found.typical < sum(one.typical for one in found.segments)
