"""Numbers over time and over the population: how they are written, and what stands on each side of a boundary."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from profiles import Event, Profile
from rules.compiler import compile_plan
from rules.decay import SPANS, Decay, left, reaches
from rules.definition import EventRef, Happened, Hysteresis, Operator, Rfm, Test, Trend
from rules.errors import RuleErrors
from rules.kinds.rfm import measure_key
from rules.parse import parse_rule
from rules.population import Population, read_population
from rules.slots import CONTRIBUTIONS, PANES
from rules.tallies import Tally, one

DAY = 86_400_000
NOW = 1_700_000_000_000


def when(text: str) -> Any:
    return parse_rule(f"segment: x\nwhen: {text}\n", "x.yaml").segment.when


def event(at: int, name: str = "A", **properties: Any) -> Event:
    return Event(id=f"e{at}", name=name, event_time=at, customer="c", received_at=at, properties=properties)


class Alone:
    """One rule, and one customer whose events are counted in the order given."""

    def __init__(self, text: str, population: Population | None = None) -> None:
        segment = parse_rule(f"segment: x\nwhen: {text}\n", "x.yaml").segment
        self.plan = compile_plan([segment], population=population)
        self.profile = Profile(slots={})
        self.clock = 0

    def count(self, *events: Event) -> Alone:
        for counted in events:
            self.clock = max(self.clock, counted.event_time)
            for where, add, *_ in self.plan.by_event.get(counted.name, self.plan.other).roles:
                if where is None or where(counted):
                    add(self.profile.slots, counted.event_time, counted, self.clock)
        return self

    def at(self, clock: int) -> tuple[bool, int]:
        return self.plan.segments[0].condition.evaluate(self.profile, clock)


@pytest.mark.parametrize(
    ("text", "expected", "hint"),
    [
        ("{aggregate: {fn: rate, event: A, within: 7d, gte: 1}}", "2:19: 'per' is missing here", "`per: 1d`"),
        ("{aggregate: {fn: trend, event: A, within: 7d, gte: 1}}", "2:19: 'against' is missing", "`against: 28d`"),
        (
            "{aggregate: {fn: trend, event: A, within: 7d, against: 1d, gte: 1}}",
            "2:62: `against` is shorter than `within`",
            "at least as long",
        ),
        ("{aggregate: {fn: count, of: properties.a, event: A, gte: 1}}", "2:31: unknown key 'of'", "counts events"),
        ("{aggregate: {fn: count, event: A, eq: 0}}", "2:19: this asks for no event at all", "absent"),
        (
            "{aggregate: {fn: count, event: A, gte: 3, exit_below: 1.5}}",
            "2:61: `exit_below` must be a whole number",
            "",
        ),
        (
            "{aggregate: {fn: sum, of: properties.a, event: A, gte: 3, exit_below: 5}}",
            "2:65: 'exit_below' is above the threshold to enter",
            "leave at once",
        ),
        ("{affinity: {within: 30d, gte: 0.3}}", "2:18: 'to' is missing here", "affinity"),
        ("{affinity: {to: A, within: 30d, gte: 30}}", "2:44: a share lies between 0 and 1", "0.3 for 30%"),
        ("{affinity: {to: A, among: [B], within: 3d, gte: 0.1}}", "2:23: 'A' is not `among`", "leave `among` out"),
        ("{affinity: {to: A, within: 3d, gte: 0.1, least: 0}}", "2:55: `least` must be between 1 and", ""),
        ("{engagement: {points: {A: 1}, gte: 1}}", "2:20: 'half_life' is missing here", "half_life: 7d"),
        ("{engagement: {points: {A: 0}, half_life: 1d, gte: 1}}", "2:33: these events bring no points", "leave them"),
        ("{engagement: {points: {A: 10001}, half_life: 1d, gte: 1}}", "2:33: points lie between -10,000 and", ""),
        ("{engagement: {points: {A: x}, half_life: 1d, gte: 1}}", "2:33: `points` must be a number", ""),
        ("{engagement: {points: {A: 1}, half_life: 1d, eq: 1}}", "2:52: unknown key 'eq'", ""),
        (
            "{engagement: {points: [{event: A, points: 1}, {event: A, points: 2}], half_life: 1d, gte: 1}}",
            "2:53: these events have points already",
            "once",
        ),
        ("{rfm: {event: A, of: properties.a, within: 1d}}", "2:13: `rfm` compares with nothing", "add one of recency"),
        ("{rfm: {event: A, within: 1d, frequency: {gte: 1}}}", "2:13: 'of' is missing here", "properties.revenue"),
        (
            "{rfm: {event: A, of: properties.a, within: 1d, monetary_score: {gte: 6}}}",
            "2:70: no score satisfies",
            "5, the best",
        ),
        (
            "{rfm: {event: A, of: properties.a, within: 1d, recency: {lte: 30}}}",
            "2:69: `lte` must be a duration",
            "30d for days",
        ),
    ],
)
def test_each_error_has_its_place_and_a_hint(text: str, expected: str, hint: str) -> None:
    with pytest.raises(RuleErrors) as refused:
        when(text)
    (error,) = refused.value.errors
    assert f"{error.line}:{error.column}: {error.message}".startswith(expected)
    assert hint in error.hint


def test_a_count_is_the_condition_that_counts() -> None:
    counted = when("{aggregate: {fn: count, event: A, within: 7d, gte: 3}}")
    assert counted == when("{event: A, within: 7d, count: {gte: 3}}")
    both = when("{aggregate: {fn: count, event: A, within: 7d, gte: 3, exit_below: 1}}")
    assert both == Hysteresis(counted, Happened(EventRef("A"), 7 * DAY, (Test("", Operator.GTE, 1),)))


def test_affinity_is_among_all_events_that_it_names_unless_told() -> None:
    asked = when("{affinity: {to: [{event: A, where: {properties.a: 1}}, {event: A}, B], within: 1d, gte: 0.5}}")
    assert asked.among == (EventRef("A"), EventRef("B"))


def test_a_rate_is_compared_without_dividing() -> None:
    alone = Alone("{aggregate: {fn: rate, event: A, within: 3d, per: 1d, gte: 1}}")
    alone.count(event(NOW), event(NOW + 1), event(NOW + 2))
    assert alone.at(NOW + 3 * DAY - 1) == (True, NOW + 3 * DAY)
    assert alone.at(NOW + 3 * DAY)[0] is False


def test_a_trend_moves_an_event_from_now_to_before_at_its_millisecond() -> None:
    alone = Alone("{aggregate: {fn: trend, event: A, within: 7d, against: 28d, lt: 0.5}}")
    assert isinstance(when("{aggregate: {fn: trend, event: A, within: 7d, against: 28d, lt: 0.5}}"), Trend)
    alone.count(event(NOW))
    assert alone.at(NOW + 7 * DAY - 1) == (False, NOW + 7 * DAY)  # there is nothing before
    assert alone.at(NOW + 7 * DAY) == (True, NOW + 35 * DAY)
    assert alone.at(NOW + 35 * DAY)[0] is False


def test_merged_events_leave_late_by_less_than_a_pane_and_never_early() -> None:
    window, inner = 500_000, 100_000
    for slot in (Tally(1, window, one), Tally(1, window, one, inner)):
        state: dict[int, Any] = {}
        times = range(0, window - 1, 250)
        for time in times:
            slot.add(state, time, None, time)
        kept, numbers, counts = state[1]
        assert len(kept) <= CONTRIBUTIONS + 2 * PANES
        assert sum(numbers) == sum(counts) == len(times)
        pane = max(slot.pane, slot.coarse)
        for clock in range(window, 2 * window, 7_777):
            exact = sum(time > clock - window for time in times)
            held = sum(count for time, count in zip(kept, counts, strict=True) if time > clock - window)
            assert exact <= held <= sum(time > clock - window - pane for time in times)


# --- points that fade ---------------------------------------------------------------------------------------------


def faded(points: list[tuple[int, float]], half_life: int) -> list[list[int]]:
    state: dict[int, Any] = {}
    newest = 0
    for time, worth in points:
        newest = max(newest, time)
        Decay(1, half_life, worth).add(state, time, None, newest)
    found: list[list[int]] = state[1]
    return found


def test_points_come_to_the_same_in_whatever_order() -> None:
    given = [(NOW, 10.0), (NOW + 3 * DAY, 1.0), (NOW + 30 * DAY, -3.3), (NOW - DAY, 0.7), (NOW, 2.0)]
    assert len({repr(faded(list(order), 7 * DAY)) for order in permutations(given)}) == 1


def test_half_is_left_after_a_half_life_and_less_a_little_later() -> None:
    state = faded([(NOW, 40)], 7 * DAY)
    assert left(state, NOW, 7 * DAY) == 40_000_000
    assert left(state, NOW + 7 * DAY, 7 * DAY) == 20_000_000
    turn = reaches(state, NOW, 7 * DAY, 20_000_000)
    assert left(state, turn - 1, 7 * DAY) >= 20_000_000 > left(state, turn, 7 * DAY)
    assert 0 < turn - NOW - 7 * DAY < 30  # within a millionth: some twenty milliseconds


@pytest.mark.parametrize("half_life", [1, 1000, 7 * DAY, 3650 * DAY])
@pytest.mark.parametrize("level", [1, 2, 500_000, 999_999_999, 1_000_000_000])
def test_the_moment_at_which_a_level_is_left_is_exact(half_life: int, level: int) -> None:
    state = faded([(NOW, 1000)], half_life)
    turn = reaches(state, NOW, half_life, level)
    assert left(state, turn - 1, half_life) >= level > left(state, turn, half_life)


def test_the_number_of_spans_is_bounded_and_nothing_is_left_of_points_in_the_end() -> None:
    state = faded([(NOW + number * DAY, 1) for number in range(200)], DAY)
    assert len(state[0]) == len(state[1]) == SPANS
    assert left(state, NOW + 400 * DAY, DAY) == 0
    assert left(faded([(NOW, 10_000)], 1), NOW + 700 * DAY, 1) == 0


def test_points_that_are_not_positive_turn_at_their_moments_too() -> None:
    alone = Alone("{engagement: {points: {A: -4}, half_life: 1d, gt: -1}}").count(event(NOW))
    assert not alone.at(NOW)[0]
    turn = turns(alone)
    assert alone.at(turn - 1)[0] is False and alone.at(turn)[0] is True
    nothing = Alone("{engagement: {points: {A: 1}, half_life: 1d, gt: 0}}").count(event(NOW))
    assert nothing.at(NOW)[0]
    turn = turns(nothing)
    assert nothing.at(turn - 1)[0] is True and nothing.at(turn)[0] is False


def turns(alone: Alone) -> int:
    """When the condition says something else, found by looking again whenever it asks for that, at most twice."""
    truth, moment = alone.at(NOW)
    for _ in range(2):
        now, flip = alone.at(moment)
        if now is not truth:
            return moment
        moment = flip
    assert alone.at(moment)[0] is not truth
    return moment


# --- the population -----------------------------------------------------------------------------------------------


def spread() -> Population:
    asked = Rfm(EventRef("A"), "properties.a", 30 * DAY, ())
    return Population(
        {
            measure_key(asked, "monetary"): (10, 20, 30, 40),
            measure_key(asked, "recency"): (1000, 2000, 3000, 4000),
            measure_key(asked, "frequency"): (1, 1, 2, 3),
        },
        100,
        NOW,
    )


@pytest.mark.parametrize(("amount", "score"), [(10, 1), (10.01, 2), (20, 2), (40, 4), (40.01, 5)])
def test_a_score_is_the_fifth_of_the_population(amount: float, score: int) -> None:
    for wanted in range(1, 6):
        text = f"{{rfm: {{event: A, of: properties.a, within: 30d, monetary_score: {{eq: {wanted}}}}}}}"
        assert Alone(text, spread()).count(event(NOW, a=amount)).at(NOW)[0] is (wanted == score)
        assert Alone(text).count(event(NOW, a=amount)).at(NOW)[0] is False


def test_the_score_of_recency_falls_at_its_millisecond() -> None:
    text = "{rfm: {event: A, of: properties.a, within: 30d, recency_score: {gte: 4}}}"
    alone = Alone(text, spread()).count(event(NOW))
    assert alone.at(NOW) == (True, NOW + 1001)
    assert alone.at(NOW + 1001) == (True, NOW + 2001)
    assert alone.at(NOW + 2000)[0] is True
    assert alone.at(NOW + 2001)[0] is False


def test_values_of_rfm_turn_at_their_boundaries() -> None:
    alone = Alone("{rfm: {event: A, of: properties.a, within: 30d, recency: {between: [1d, 2d]}, monetary: {lt: 5}}}")
    alone.count(event(NOW, a=4.99))
    assert alone.at(NOW) == (False, NOW + DAY)
    assert alone.at(NOW + DAY) == (True, NOW + 2 * DAY + 1)
    assert alone.at(NOW + 2 * DAY + 1)[0] is False


def test_a_population_is_read_as_it_was_written() -> None:
    assert read_population(spread().to_text(), "population.json") == spread()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "this is no JSON"),
        ("[]", "a population holds"),
        ('{"bounds": {}, "customers": -1, "measured_at": 0}', "`customers` must be a whole number"),
        ('{"bounds": {"a": [1, 2, 3]}, "customers": 1, "measured_at": 0}', "must be four numbers"),
        ('{"bounds": {"a": [1, 2, 3, NaN]}, "customers": 1, "measured_at": 0}', "must be four numbers"),
        ('{"bounds": {"a": [1, 2, 4, 3]}, "customers": 1, "measured_at": 0}', "must ascend"),
        ('{"bounds": {"": [1, 2, 3, 4]}, "customers": 1, "measured_at": 0}', "nothing that is measured"),
        ("[" * 100_000, "this is no"),
    ],
)
def test_a_population_that_is_wrong_is_refused(text: str, message: str) -> None:
    with pytest.raises(RuleErrors) as refused:
        read_population(text, "population.json")
    assert message in refused.value.errors[0].message
