"""Every kind of feature against one list of checks, and rows read in one way of serving against those read in another."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_models.definition import Feature
from online_models.features import KINDS, FeatureSet
from online_models.features.activity import Age
from profiles import Event, encode_profile
from rules.compiler import compile_plan
from rules.definition import Segment
from tests.oracle_conditions import History, Seen
from tests.oracle_features import expected_row
from tests.properties import strategies as some
from tests.properties.delivery import Customer, Rules
from tests.properties.strategies_features import PARAMETERS, features
from tests.properties.strategies_numbers import number_kinds

AHEAD: Final = (0, 1, 9, 10, 11, 19, 20, 30, 31, 50, 60, 90)
"""So long after the newest event rows are read: windows are multiples of ten."""

ZONE: Final = "Europe/Berlin"
Row = list[Any]


class Look:
    """A customer whose features are kept under a plan, beside all that was counted of them."""

    def __init__(self, *features: Feature, segments: Sequence[Segment] = (), zone: str | None = ZONE) -> None:
        self.features = FeatureSet(features, zone)
        self.plan = compile_plan(segments, watches=[self.features])
        self.customer = Customer(Rules(1, self.plan))
        self.history = History()
        self.clock = 0
        # Since when somebody is known at all is no number that is counted.
        self.counts_nothing = any(isinstance(one.parameters, Age) and one.parameters.ref is None for one in features)

    def take(self, event: Event) -> bool:
        """One more arrival; whether the features were told of a change."""
        decision = self.customer.apply(event, 0)
        if decision.outcome == "applied":
            self.clock = max(self.clock, event.event_time)
            self.history.seen.append(Seen(event, len(self.history.seen), self.clock))
        return decision.watched == 1

    def row(self, clock: int) -> Row:
        assert self.customer.profile is not None
        return self.features.read(self.customer.profile, clock)

    def rows(self) -> list[Row]:
        return [self.row(self.clock + ahead) for ahead in AHEAD]


def same(features: Sequence[Feature], row: Row, expected: Row) -> bool:
    """Whether rows are equal; but points that fade are exact to a millionth, which may be rounded either way."""
    columns = [one.kind for one in features for _ in KINDS[one.kind].columns(one.name, one.parameters)]
    return all(
        abs(value - told) < 1.5e-6 if kind == "engagement" else value == told
        for kind, value, told in zip(columns, row, expected, strict=True)
    )


def rows_are_what_all_events_say(look: Look) -> None:
    """What was kept up to date is what is recomputed from all raw events, now and after any time."""
    for ahead, row in zip(AHEAD, look.rows(), strict=True):
        expected = expected_row(look.features.features, look.history, look.clock + ahead, look.features.zone or "UTC")
        assert same(look.features.features, row, expected), f"{ahead} after the newest event: {row}, not {expected}"


def rows_fit_their_columns(look: Look) -> None:
    """Each value is a finite float, a text that is not long, or None; a category is never a number, nor the other way round."""
    for row in look.rows():
        for column, value in zip(look.features.columns, row, strict=True):
            if column.category:
                assert value is None or (type(value) is str and len(value) <= 100)
            else:
                assert value is None or (type(value) is float and math.isfinite(value))


def reading_and_storing_leave_no_trace(look: Look) -> None:
    """A profile that was read, written and read back is the same to the byte, and so are its rows."""
    assert look.customer.profile is not None
    before = encode_profile(look.customer.profile)
    rows = look.rows()
    assert encode_profile(look.customer.profile) == before
    look.customer.store()
    assert look.rows() == rows
    assert encode_profile(look.customer.profile) == before


CHECKS: Final[tuple[Callable[[Look], None], ...]] = (
    rows_are_what_all_events_say,
    rows_fit_their_columns,
    reading_and_storing_leave_no_trace,
)
"""What must hold after every arrival."""


def test_every_kind_is_checked() -> None:
    assert set(PARAMETERS) == set(KINDS), "each kind of feature has its line in tests/properties/strategies_features.py"


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_it_passes_every_check_after_every_arrival(kind: str, data: st.DataObject) -> None:
    look = Look(data.draw(features(kind)))
    for event in data.draw(some.histories(max_size=6, names=("A", "A", "A", "B"))):
        clock = max(look.clock, event.event_time)
        before = look.customer.profile and look.row(clock)
        told = look.take(event)
        if look.customer.profile is not None:
            for check in CHECKS:
                check(look)
            assert told or before in (None, look.row(clock)) or look.counts_nothing, "changed without a word"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(st.data())
def test_its_parameters_have_one_meaning_and_one_key(kind: str, data: st.DataObject) -> None:
    """What a model's digest is made of says all: the same parameters ask for the same slots, whatever else is in the plan."""
    feature = data.draw(features(kind))
    hash(feature.parameters)
    alone, beside = Look(feature), Look(feature, segments=data.draw(some.segment_lists()))
    assert set(alone.plan.slots) <= set(beside.plan.slots)
    again = compile_plan([], watches=[FeatureSet(alone.features.features, ZONE)])
    assert set(again.slots) == set(alone.plan.slots)
    assert {column.name.split(".")[0] for column in alone.features.columns} == {kind}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=3)
@given(st.data())
def test_its_state_is_bounded(kind: str, data: st.DataObject) -> None:
    """After some hundreds of events that have nothing in common, as many again take no more room."""
    look, dice, sizes = Look(data.draw(features(kind))), random.Random(data.draw(st.integers(0, 2**32))), []
    at = some.START
    for number in range(1000):
        at += 500 if number % 100 == 0 else number % 3 == 0
        lines = [{"product": str(dice.random()), "price": dice.randrange(99)} for _ in range(8)]
        fields = {"product": str(dice.random()), "price": dice.randrange(99), "lines": lines}
        context = {"device": {"type": str(dice.random())}}
        look.take(some.event(dice.choice("ABC"), at, number, properties=fields, context=context))
        assert look.customer.profile is not None
        if number % 7 == 0:
            sizes.append(len(encode_profile(look.customer.profile)))
    assert max(sizes[len(sizes) // 2 :]) <= 1.25 * max(sizes[: len(sizes) // 2])


# --- many features, as models have them -------------------------------------------------------------------------------

_sets = st.lists(features(), min_size=3, max_size=12).map(tuple)


@given(_sets, some.histories(), st.sampled_from((None, ZONE)))
def test_features_together_are_what_all_events_say(
    together: tuple[Feature, ...], history: list[Event], zone: str | None
) -> None:
    """Features share slots with each other; none changes what another says."""
    look = Look(*together, zone=zone)
    for event in history:
        look.take(event)
        if look.customer.profile is not None:
            rows_are_what_all_events_say(look)


_ruled = st.one_of(some.segment_lists(), some.segment_lists(of=st.one_of(*number_kinds(some.plain_refs).values())))


@given(_sets, _ruled, some.histories())
def test_rules_in_the_same_plan_change_no_row(
    together: tuple[Feature, ...], segments: list[Segment], history: list[Event]
) -> None:
    """Learning from history without any rule and scoring beside many read the same: what rules keep longer is not seen."""
    ordered = sorted(
        history, key=lambda event: event.event_time
    )  # what is too late for one plan may not be for another
    alone, beside = Look(*together), Look(*together, segments=segments)
    for event in ordered:
        alone.take(event)
        beside.take(event)
        if alone.customer.profile is not None:
            assert alone.rows() == beside.rows()


@given(_sets, st.data())
def test_rows_do_not_depend_on_bundles_timers_or_restarts(together: tuple[Feature, ...], data: st.DataObject) -> None:
    """Training and serving: the same events, handed over in two ways, give the same row at every event."""
    story = data.draw(some.stories(ways=2, perfect=True, segments=st.just([])))
    ways: list[list[Row]] = []
    for way in range(2):
        look = Look(*together)
        clock, rows = 0, []
        for event, handing, _ in story.steps(way):
            look.customer.hand(event, handing)
            clock = max(clock, event.event_time)
            if look.customer.profile is not None:
                rows.append(look.row(max(clock, look.customer.profile.latest)))
        ways.append(rows)
    assert ways[0] == ways[1]


@given(_sets, st.data())
def test_the_order_of_arrival_makes_no_difference(together: tuple[Feature, ...], data: st.DataObject) -> None:
    times = data.draw(st.lists(st.integers(0, some.STEP - 1), min_size=2, max_size=8, unique=True))
    history = [
        some.event(
            data.draw(st.sampled_from(some.NAMES)),
            some.START + at,
            number,
            properties=data.draw(some.properties),
            traits=data.draw(some.written_traits),
        )
        for number, at in enumerate(times)
    ]
    one, two = Look(*together), Look(*together)
    for look, order in ((one, history), (two, data.draw(st.permutations(history)))):
        for event in order:
            look.take(event)
    assert one.rows() == two.rows()
