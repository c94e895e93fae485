"""Rows that are read together, and numbers that are rounded and faded by a shorter way, against the plain way."""

from __future__ import annotations

from collections.abc import Sequence
from math import log1p
from typing import Any, Final

from hypothesis import example, given
from hypothesis import strategies as st

from online_models.definition import Feature
from online_models.features import FeatureSet, joint_reading
from online_models.features.feature_set import Part, reading
from online_models.held import rounded
from profiles import Event, Profile
from profiles.values import MICROS
from rules.compiler import compile_plan
from rules.decay import Decay, left, points_left
from tests.properties import strategies as some
from tests.properties.delivery import Customer, Rules
from tests.properties.strategies_features import features

AHEAD: Final = (0, 1, 10, 31, 90)


@given(
    st.lists(features(), min_size=1, max_size=6),
    st.data(),
    some.histories(),
)
def test_rows_read_together_are_those_read_one_by_one(
    known: Sequence[Feature], data: st.DataObject, events: list[Event]
) -> None:
    """Models share features, under whatever names, in any order, some of them twice."""
    renamed = [Feature(f"c{at}", one.kind, one.parameters) for at, one in enumerate(known)]
    zones = st.sampled_from((None, "Europe/Berlin"))
    sets = [
        FeatureSet(data.draw(st.lists(st.sampled_from(renamed), min_size=1, max_size=6)), data.draw(zones))
        for _ in range(3)
    ]
    customer = Customer(Rules(1, compile_plan([], watches=sets)))
    for event in events:
        customer.apply(event, 0)
    if customer.profile is None:
        return
    rows = joint_reading(sets)
    for ahead in AHEAD:
        clock = customer.profile.latest + ahead
        assert rows(customer.profile, clock) == [one.read(customer.profile, clock) for one in sets]


def test_what_models_have_in_common_is_read_once() -> None:
    asked: list[str] = []

    def part(name: str) -> Part:
        return Part(name, lambda profile, clock: asked.append(name) or float(clock), False)

    one, other = FeatureSet([]), FeatureSet([])
    one.parts, other.parts = (part("a"), part("b")), (part("b"), part("a"), part("c"))
    rows = joint_reading([one, other])(Profile(), 7)
    assert (rows, sorted(asked)) == ([[7.0, 7.0], [7.0, 7.0, 7.0]], ["a", "b", "c"])
    rows[0][0] = 1.0
    assert rows[1] == [7.0, 7.0, 7.0], "each model has a row of its own"


@given(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3)))
@example(0.0)
@example(-0.5)
@example(1e308)
def test_logarithms_are_rounded_as_round_does_it(value: Any) -> None:
    is_number = isinstance(value, float)
    read = reading((Part("x", lambda profile, clock: value, is_number),))
    expected: Any = value
    if is_number and value:
        size = round(log1p(abs(value)) * 1e9) / 1e9
        expected = size if value > 0 else -size
    assert read(Profile(), 0) == [expected]


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(2.5e-6)
@example(2.0**51 / 1e6)
def test_scores_are_rounded_as_round_does_it(value: float) -> None:
    size = abs(value) * 1e6
    assert rounded(value) == (round(value * 1e6) / 1e6 if size < 2.0**51 else value)


@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.sampled_from((-3.5, 0.000001, 1.0, 10.0, 1e6))), min_size=1),
    st.sampled_from((7, 1_000, 3_601)),
    st.integers(0, 200_000),
)
def test_points_left_are_those_that_rules_see_but_for_their_rounding(
    given_points: list[tuple[int, float]], half_life: int, later: int
) -> None:
    slots: dict[int, Any] = {}
    clock = 0
    for time, points in given_points:
        clock = max(clock, time)
        Decay(1, half_life, points).add(slots, time, None, clock)
    exact = left(slots[1], clock + later, half_life) / MICROS
    found = points_left(slots[1], clock + later, half_life)
    total = sum(abs(points) for _, points in given_points)
    assert abs(found - exact) <= 0.6e-6 + 1e-12 * total
