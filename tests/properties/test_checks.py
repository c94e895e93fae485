"""Every kind of condition, known to the language, against the list of checks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.condition_reader import CONDITION_KEYS
from tests.properties import strategies as some
from tests.properties.checks import (
    CHECKED,
    CHECKS,
    Look,
    check_order_makes_no_difference,
    check_state_is_bounded,
    conditions,
)
from tests.properties.strategies_govern import model_outputs


def test_every_kind_is_checked() -> None:
    assert set(CHECKED) == set(CONDITION_KEYS), "each kind of condition has its line in tests/properties/checks.py"


@pytest.mark.parametrize("key", CHECKED)
@given(st.data())
def test_it_passes_every_check_after_every_arrival(key: str, data: st.DataObject) -> None:
    look = Look(data.draw(conditions(key)))
    for event in data.draw(some.histories(max_size=6, names=("A", "A", "A", "B"))):
        look.take(event, data.draw(model_outputs))
        if look.customer.profile is not None:
            for check in CHECKS:
                check(look)


@pytest.mark.parametrize("key", CHECKED)
@given(st.data())
def test_the_order_of_arrival_makes_no_difference(key: str, data: st.DataObject) -> None:
    times = data.draw(st.lists(st.integers(0, some.STEP - 1), min_size=2, max_size=6, unique=True))
    names = st.sampled_from(("A", "A", "A", "B"))
    history = [
        some.event(data.draw(names), some.START + at, number, properties=data.draw(some.properties))
        for number, at in enumerate(times)
    ]
    check_order_makes_no_difference(data.draw(conditions(key)), history, data.draw(st.permutations(history)))


@pytest.mark.parametrize("key", CHECKED)
@settings(max_examples=3)
@given(st.data())
def test_its_state_is_bounded(key: str, data: st.DataObject) -> None:
    check_state_is_bounded(data.draw(conditions(key)), data.draw(st.integers(0, 2**32)))
