"""Explanations: what decides besides the rule, what would change it, and in which words."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from cli.explain_view import render
from profiles import Event
from rules.compiled import moment
from rules.definition import (
    Absent,
    Aggregate,
    All,
    AnyOf,
    AtLeast,
    Condition,
    EventRef,
    Exit,
    Group,
    Happened,
    Hysteresis,
    Not,
    Operator,
    Points,
    Score,
    Segment,
    Sequence,
    Stability,
    Test,
    Trait,
)
from rules.explain import explain, threshold_words
from tests.properties.delivery import Customer, rules

T = 1_700_000_000_000
MINUTE = 60_000
DAY = 86_400_000

ORDER, CART = EventRef("Order"), EventRef("Cart")


def often(least: int) -> Happened:
    return Happened(ORDER, 10 * DAY, (Test("", Operator.GTE, least),))


def told(segments: list[Segment], *events: tuple[int, str], at: int = 0, customer: str = "c", **fields: Any) -> Any:
    """The explanations by segment, `at` milliseconds after the start, of a customer with these events."""
    one = Customer(rules(segments))
    for number, (after, name) in enumerate(events):
        event = Event(f"e{number}", name, T + after, customer, received_at=T + after, **fields)
        one.wake(event.event_time - 1, "each")
        one.apply(event, event.event_time - 1)
    found = explain(one.profile, one.rules, T + at, customer)
    return {one["segment"]: one for one in json.loads(json.dumps(found))["segments"]}


def kinds(one: Any) -> list[str]:
    return [reason["kind"] for reason in one["reasons"]]


# --- the tree -------------------------------------------------------------------------------------------------------


def test_a_leaf_says_what_it_found_and_when_it_may_change() -> None:
    one = told([Segment("s", often(2))], (0, "Order"), (DAY, "Order"), at=2 * DAY)["s"]
    assert one["in"] and one["since"] == moment(T + DAY)
    assert one["condition"] == {
        "kind": "leaf",
        "condition": "Order within 10d",
        "holds": True,
        "actual": 2,
        "threshold": {"gte": 2},
        "last": moment(T + DAY),
        "stays_until": moment(T + 10 * DAY),
        "merged_by": None,
        "least": None,
        "points": None,
        "model": None,
        "parts": [],
    }
    assert one["next"] == {"kind": "exited", "at": moment(T + 10 * DAY), "cause": "timer"}


def test_the_tree_is_that_of_the_rule() -> None:
    rule = All((AnyOf((often(1), Not(Absent(CART)))), AtLeast(1, (often(3), Trait((Test("vip", Operator.EQ, True),))))))
    tree = told([Segment("s", rule)], (0, "Order"), traits={"vip": True})["s"]["condition"]

    def shape(node: Any) -> Any:
        return (node["kind"], node["holds"], [shape(part) for part in node["parts"]])

    assert shape(tree) == (
        "all",
        True,
        [
            ("any", True, [("leaf", True, []), ("not", False, [("leaf", True, [])])]),
            ("at_least", True, [("leaf", False, []), ("leaf", True, [])]),
        ],
    )
    assert tree["parts"][1]["least"] == 1
    assert tree["parts"][1]["parts"][1]["last"] == moment(T)


def test_a_leaf_says_when_its_numbers_are_merged_and_for_as_long_as_they_are() -> None:
    spent = Aggregate("sum", "properties.n", ORDER, (Test("", Operator.GTE, 5),), 100 * MINUTE)
    one = Customer(rules([Segment("s", AnyOf((spent, often(1))))]))
    for number in range(229):
        assert merged(one, T) == [None, None], number
        one.apply(Event(f"e{number}", "Order", T, "c", {"n": 1}, received_at=T), 0)
    # The 229th makes the oldest be merged, all of one pane; the newest 64 stay one by one.
    assert merged(one, T) == ["1m", None]
    assert merged(one, T + 100 * MINUTE - 1) == ["1m", None]
    assert merged(one, T + 100 * MINUTE) == [None, None]
    view = Console(file=io.StringIO(), width=200)
    view.print(render(explain(one.profile, one.rules, T, "c")))
    assert view.file.getvalue().count("merged in panes of 1m") == 1  # type: ignore[attr-defined]


def merged(one: Customer, clock: int) -> list[Any]:
    (told,) = explain(one.profile, one.rules, clock, "c")["segments"]
    assert told["condition"]["merged_by"] is None, "only what counts can be merged"
    return [part["merged_by"] for part in told["condition"]["parts"]]


def test_points_say_what_each_part_is_worth() -> None:
    rule = Points(((often(1), 3), (often(2), 4.5)), (Test("", Operator.GTE, 7),))
    one = told([Segment("s", rule)], (0, "Order"))["s"]
    tree = one["condition"]
    assert (tree["kind"], tree["actual"], tree["threshold"]) == ("points", 3.0, {"gte": 7})
    assert [(part["points"], part["holds"]) for part in tree["parts"]] == [(3, True), (4.5, False)]
    assert one["to_change"] == "points of 2 conditions: at least 7 (now 3)"


def test_two_thresholds_are_one_condition() -> None:
    rule = Hysteresis(Score("churn", (Test("", Operator.GTE, 0.7),)), Score("churn", (Test("", Operator.GTE, 0.6),)))
    one = told([Segment("s", rule)], (0, "Order"))["s"]
    assert one["condition"]["parts"] == []
    assert one["to_change"] == "score of churn: at least 0.7, to stay: at least 0.6 (now nothing)"


# --- what would change it -------------------------------------------------------------------------------------------

A, B, C = (Happened(EventRef(name), None) for name in "ABC")
NOW = "at least 1 (now 0)"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (A, f"A: {NOW}"),
        (All((A, B)), f"A: {NOW} and B: {NOW}"),
        (AnyOf((A, B)), f"A: {NOW} or B: {NOW}"),
        (All((A, AnyOf((B, C)))), f"A: {NOW} and (B: {NOW} or C: {NOW})"),
        (AnyOf((All((A, B)), C)), f"(A: {NOW} and B: {NOW}) or C: {NOW}"),
        (AtLeast(2, (A, B, C)), f"2 of: A: {NOW}; B: {NOW}; C: {NOW}"),
        (AtLeast(1, (A, B)), f"A: {NOW} or B: {NOW}"),
        (All((A, Not(Absent(EventRef("B"))))), f"A: {NOW} and no B: not never any more (now nothing)"),
        (All((A, Not(Happened(EventRef("Z"), None)))), f"A: {NOW} and Z: not at least 1 any more (now 1)"),
    ],
)
def test_what_lets_in_names_the_conditions_that_would_have_to_turn(rule: Condition, words: str) -> None:
    assert told([Segment("s", rule)], (0, "Z"))["s"]["to_change"] == words


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (All((A, B)), "A: not at least 1 any more (now 1) or B: not at least 1 any more (now 1)"),
        (AnyOf((A, B)), "A: not at least 1 any more (now 1) and B: not at least 1 any more (now 1)"),
        (AnyOf((A, C)), "A: not at least 1 any more (now 1)"),
        (AtLeast(1, (A, B, C)), "A: not at least 1 any more (now 1) and B: not at least 1 any more (now 1)"),
        (Not(C), f"C: {NOW}"),
    ],
)
def test_what_ends_it_names_them_too(rule: Condition, words: str) -> None:
    assert told([Segment("s", rule)], (0, "A"), (1, "B"))["s"]["to_change"] == words


def test_every_part_of_any_must_turn_to_leave_and_one_of_all() -> None:
    one = told([Segment("s", AtLeast(2, (A, B, C)))], (0, "A"), (1, "B"), (2, "C"))["s"]
    assert one["to_change"].startswith("2 of: ")


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        ({"gt": 3}, "above 3"),
        ({"lte": 0.5}, "at most 0.5"),
        ({"between": [1, 5]}, "between 1 and 5"),
        ({"in": ["a", "b"]}, "one of a, b"),
        ({"exists": True}, "there"),
        ({"exists": False}, "missing"),
        ({"at_least_for": "30d", "entered_within": "60d"}, "at least for 30d, entered within 60d"),
        ("none within 7d", "none within 7d"),
        ({}, "so"),
        (None, "nothing"),
    ],
)
def test_thresholds_in_words(threshold: Any, words: str) -> None:
    assert threshold_words(threshold) == words


# --- what decides besides the rule ----------------------------------------------------------------------------------


def governed(rule: Condition = A, **fields: Any) -> list[Segment]:
    return [Segment("s", rule, **fields)]


def test_who_must_wait_to_enter_is_told_until_when() -> None:
    segments = governed(stability=Stability(enter_for=10 * MINUTE))
    one = told(segments, (0, "A"), at=10 * MINUTE - 1)["s"]
    assert not one["in"] and one["rule_holds"]
    assert [(reason["kind"], reason["until"]) for reason in one["reasons"]] == [("enter_for", moment(T + 10 * MINUTE))]
    assert one["next"] == {"kind": "entered", "at": moment(T + 10 * MINUTE), "cause": "timer"}
    assert one["to_change"] == ""
    after = told(segments, (0, "A"), at=10 * MINUTE)["s"]
    assert after["in"] and not after["reasons"]


def test_who_stays_for_the_dwell_time_is_told_until_when() -> None:
    rule = Happened(EventRef("A"), MINUTE)
    segments = governed(rule, stability=Stability(min_dwell=5 * MINUTE))
    one = told(segments, (0, "A"), at=2 * MINUTE)["s"]
    assert one["in"] and not one["rule_holds"]
    assert [(reason["kind"], reason["until"]) for reason in one["reasons"]] == [("min_dwell", moment(T + 5 * MINUTE))]
    assert one["next"] == {"kind": "exited", "at": moment(T + 5 * MINUTE), "cause": "timer"}


def test_who_has_left_is_told_how_long_the_cooldown_lasts() -> None:
    rule = Happened(EventRef("A"), MINUTE)
    segments = governed(rule, stability=Stability(cooldown=5 * MINUTE))
    one = told(segments, (0, "A"), (2 * MINUTE, "A"), at=2 * MINUTE)["s"]
    assert not one["in"] and one["rule_holds"]
    assert [(reason["kind"], reason["until"]) for reason in one["reasons"]] == [("cooldown", moment(T + 6 * MINUTE))]
    assert told(segments, (0, "A"), (2 * MINUTE, "A"), at=6 * MINUTE)["s"]["reasons"] == []


def test_who_is_displaced_in_a_group_is_told_by_what() -> None:
    low = Segment("low", A, group=Group("g", 1))
    high = Segment("high", B, group=Group("g", 2))
    found = told([low, high], (0, "A"), (1, "B"), at=2)
    assert found["high"]["in"] and not found["high"]["reasons"]
    (reason,) = found["low"]["reasons"]
    assert (reason["kind"], reason["by"]) == ("displaced", "high")
    alone = told([low, high], (0, "A"), at=2)
    assert "segment high, which comes before it in the group" in alone["low"]["to_change"]
    assert "group" not in found["high"]["to_change"]


def test_who_is_held_out_is_told_so() -> None:
    one = told(governed(holdout=1.0), (0, "A"))["s"]
    assert kinds(one) == ["held_out"] and one["rule_holds"] and not one["in"]
    assert one["next"] is None


def test_a_latched_segment_names_what_ends_it() -> None:
    exits = Exit((ORDER, EventRef("Refund")), 3 * DAY)
    segments = governed(Sequence(CART, 30 * MINUTE, (ORDER,)), exit=exits)
    one = told(segments, (0, "Cart"), at=31 * MINUTE)["s"]
    assert one["in"]
    assert one["to_change"] == "Order or Refund or 3d without the rule becoming true again"
    (reason,) = one["reasons"]
    assert (reason["kind"], reason["until"]) == ("after", moment(T + 30 * MINUTE + 3 * DAY))
    assert one["next"] == {"kind": "exited", "at": moment(T + 30 * MINUTE + 3 * DAY), "cause": "timer"}


def test_a_rule_that_holds_still_after_its_membership_has_ended_is_used_up() -> None:
    one = told(governed(exit=Exit((ORDER,))), (0, "A"), (1, "Order"), at=2)["s"]
    assert kinds(one) == ["used_up"] and one["rule_holds"] and not one["in"]
    assert one["to_change"].startswith("the rule must stop holding and hold again")


def test_nothing_known_is_nothing_in() -> None:
    found = explain(None, rules([Segment("s", Absent(ORDER))]), T, "ghost")
    assert found["known"] is False and found["latest_event"] is None
    (one,) = found["segments"]
    assert not one["in"] and [reason["kind"] for reason in one["reasons"]] == ["unknown"]
    assert one["to_change"] == "an event of this customer"
    assert one["next"] is None


def test_an_unknown_segment_is_named() -> None:
    found = explain(None, rules([Segment("s", A)]), T, "c", "t")
    assert found["unknown_segment"] == "t" and found["segments"] == []


def test_what_is_due_by_the_clock_has_happened() -> None:
    """A profile that nobody has woken yet is not told of as it was."""
    rule = Happened(EventRef("A"), MINUTE)
    one = Customer(rules([Segment("s", rule)]))
    one.apply(Event("e", "A", T, "c", received_at=T), T - 1)
    assert one.members == {"s"}
    assert explain(one.profile, one.rules, T + MINUTE - 1, "c")["segments"][0]["in"]
    assert not explain(one.profile, one.rules, T + MINUTE, "c")["segments"][0]["in"]
    assert one.members == {"s"}


def test_the_end_of_silence_is_foretold_too() -> None:
    one = told([Segment("s", A)], (0, "A"), at=DAY)["s"]
    assert one["next"] == {"kind": "exited", "at": moment(T + 730 * DAY), "cause": "expiry"}


class Warming:
    """A rule set of which some segments are new."""

    def __init__(self, segments: list[Segment], warming: dict[str, str | None]) -> None:
        compiled = rules(segments)
        self.version, self.code, self.plan, self.warming = 2, 4, compiled.plan, warming


def test_a_segment_that_is_new_is_warming() -> None:
    found = explain(None, Warming([Segment("s", A)], {"new": None, "s": "..."}), T, "c")
    new, old = found["segments"]
    assert new["segment"] == "new" and new["version"] is None and new["rule_holds"] is None
    assert [reason["kind"] for reason in new["reasons"]] == ["warming"]
    assert [reason["kind"] for reason in old["reasons"]] == ["warming", "unknown"]
