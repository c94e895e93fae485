"""Who decides besides the rule, as it is written: scores, personas, other segments, points, thresholds; and tests about them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.outputs import segment_change
from profiles import Event
from rules.definition import (
    Cluster,
    Condition,
    EventRef,
    Exit,
    Group,
    Happened,
    Hysteresis,
    Member,
    Operator,
    Score,
    Segment,
    Stability,
    Test,
)
from rules.errors import RuleErrors
from rules.parse import parse_rule
from rules.rule_set import load_directory, load_file
from rules.scenario import run_scenarios
from rules.step import Timer
from tests.properties.delivery import Customer, rules
from tests.unit.test_schemas import complaints

T = 1_700_000_000_000
HIGH = (Test("", Operator.GTE, 0.7),)


def when(text: str) -> Condition:
    return parse_rule(f"segment: x\nwhen: {text}\n", "x.yaml").segment.when


def refused(text: str) -> str:
    with pytest.raises(RuleErrors) as caught:
        parse_rule(f"segment: x\nwhen: {text}\n", "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("{score: {model: churn, gte: 0.7}}", Score("churn", HIGH)),
        (
            "{score: {model: churn, gte: 0.7, exit_below: 0.6, max_age: 1d}}",
            Hysteresis(Score("churn", HIGH, 86_400_000), Score("churn", (Test("", Operator.GTE, 0.6),), 86_400_000)),
        ),
        (
            "{score: {model: churn, lt: 0.2, exit_above: 0.3, when_missing: true}}",
            Hysteresis(
                Score("churn", (Test("", Operator.LT, 0.2),), None, True),
                Score("churn", (Test("", Operator.LTE, 0.3),), None, True),
            ),
        ),
        ("{cluster: {model: personas, in: [a, b], max_age: 1h}}", Cluster("personas", ("a", "b"), 3_600_000)),
        ("{segment: vip}", Member("vip")),
        ("{segment: vip, at_least_for: 1m, entered_within: 2m}", Member("vip", 60_000, 120_000)),
    ],
)
def test_what_is_written_is_what_is_meant(text: str, condition: Condition) -> None:
    assert when(text) == condition


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{score: churn}", "x.yaml:2:15: `score` must be a mapping, not text (write `score: {model: churn, gte: 0.7}`)"),
        ("{score: {gte: 0.7}}", "x.yaml:2:15: 'model' is missing here (say which model: `model: churn`)"),
        ("{score: {model: churn, gte: high}}", "x.yaml:2:35: "),
        ("{score: {modle: churn, gte: 0.7}}", "x.yaml:2:16: unknown key 'modle' (did you mean 'model'?)"),
        ("{score: {model: churn, gte: 0.7, max_age: soon}}", "x.yaml:2:49: "),
        ("{score: {model: churn, gte: 0.7, when_missing: maybe}}", "x.yaml:2:54: `when_missing` must be true or false"),
        ("{score: {model: churn, gte: 0.7, exit_below: 0.8}}", "x.yaml:2:40: 'exit_below' is above the threshold to enter"),
        ("{score: {model: churn, gte: 0.7, exit_above: 0.8}}", "x.yaml:2:40: 'exit_above' goes with one `lte`"),
        ("{not: {score: {model: churn, gte: 0.7, exit_below: 0.6}}}", "x.yaml:2:46: 'exit_below' cannot stand beneath"),
        (
            "{points: {of: [{when: {score: {model: churn, gte: 0.7, exit_below: 0.6}}, points: -1}], gte: 0}}",
            "x.yaml:2:62: 'exit_below' cannot stand beneath `not` or `points`",
        ),
        ("{cluster: {model: personas}}", "x.yaml:2:17: 'in' is missing here (say which personas: `in: [bargain-hunters]`)"),
        ("{cluster: {model: personas, in: []}}", "x.yaml:2:39: "),
        ("{segment: [vip]}", "x.yaml:2:17: `segment` is the name of a segment (write `segment: vip`)"),
        ("{segment: vip, at_least_for: 2d, entered_within: 1d}", "x.yaml:2:40: nobody who entered within this time"),
        ("{points: {gte: 5}}", "x.yaml:2:16: 'of' is missing here"),
        ("{points: {of: [{when: {event: A}}], gte: 5}}", "x.yaml:2:22: 'points' is missing here"),
        ("{points: {of: [{when: {event: A}, points: many}], gte: 5}}", "x.yaml:2:49: `points` must be a number"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(text: str, error: str) -> None:
    assert error in refused(text)


# --- several files --------------------------------------------------------------------------------------------------


def folder(path: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (path / f"{name}.yaml").write_text(f"segment: {name}\n{text}\n")
    return path


def test_who_asks_for_a_segment_that_is_not_there_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    path = folder(tmp_path, vip="when: {event: Order, within: 7d}", calm="when: {not: {segment: vpi}}")
    with pytest.raises(RuleErrors) as caught:
        load_directory(path)
    assert str(caught.value) == f"{path}/calm.yaml:2:23: there is no segment 'vpi' (did you mean 'vip'?)"


def test_a_file_alone_is_warned_of_segments_that_it_cannot_know(tmp_path: Path) -> None:
    path = folder(tmp_path, calm="when: {not: {segment: vip}}")
    (warning,) = load_file(path / "calm.yaml").warnings
    assert str(warning).startswith(f"{path}/calm.yaml:2:23: there is no segment 'vip'")


# --- tests in rule files ----------------------------------------------------------------------------------------------

VIP = Segment("vip", Happened(EventRef("Order"), 86_400_000))


def failures(rule: str, test: str, *others: Segment) -> list[str]:
    made = parse_rule(f"segment: x\n{rule}\ntests:\n- {test}\n", "x.yaml")
    results = run_scenarios(made.segment, made.scenarios, (made.segment, *others))
    return [failure.message for result in results for failure in result.failures]


IN = "{at: 0m, entered: true}"


@pytest.mark.parametrize(
    ("rule", "given", "expect"),
    [
        # the other segment runs by its own rule
        ("when: {segment: vip}", "{at: 0m, event: Order}", f"{IN}, {{at: 1d, exited: true}}"),
        # or as the test says
        ("when: {segment: vip}", "{at: 0m, entered: vip}, {at: 5m, exited: vip}", f"{IN}, {{at: 5m, exited: true}}"),
        ("when: {segment: vip, entered_within: 1h}", "{at: 0m, entered: vip}", f"{IN}, {{at: 1h, exited: true}}"),
        # its own rule is of no matter then
        (
            "when: {not: {segment: vip}}",
            "{at: 0m, event: Order}, {at: 2d, entered: vip}",
            f"{IN}, {{at: 1d, in: true}}, {{at: 2d, exited: true}}",
        ),
        ("when: {score: {model: churn, gte: 0.7}}", "{at: 0m, event: View, scores: {churn: 0.7}}", IN),
        # nobody is held out unless the test asks for it
        ("when: {event: View}\nholdout: 50%", "{at: 0m, event: View}", IN),
    ],
)
def test_tests_say_what_models_and_other_segments_say(rule: str, given: str, expect: str) -> None:
    assert failures(rule, f"{{given: [{given}], expect: [{expect}]}}", VIP) == []


@pytest.mark.parametrize(
    ("rule", "asked", "given", "expect"),
    [
        (
            "when: {segment: vip, at_least_for: 1h}",
            "members: {vip: -30m}",
            "{at: 0m, event: View}",
            "{at: 29m59.999s, in: false}, {at: 30m, entered: true}",
        ),
        # scores stand as of what is given first, until others come
        (
            "when: {score: {model: churn, gte: 0.7}}",
            "scores: {churn: 0.8}",
            "{at: 0m, event: View}, {at: 1m, scores: {churn: 0.69}}",
            f"{IN}, {{at: 1m, exited: true}}",
        ),
        ("when: {event: View}\nholdout: 1%", "holdout: true", "{at: 0m, event: View}", "{at: 9d, in: false}"),
    ],
)
def test_a_test_says_things_of_its_customer_as_a_whole(rule: str, asked: str, given: str, expect: str) -> None:
    assert failures(rule, f"{{{asked}, given: [{given}], expect: [{expect}]}}", VIP) == []


def test_a_group_is_tested_together() -> None:
    rule = "when: {event: View}\ngroup: {name: g, priority: 1}"
    higher = replace(VIP, group=Group("g", 2))
    test = "{given: [{at: 0m, event: View}, {at: 1m, event: Order}], expect: [{at: 0m, entered: true}, {at: 1m, exited: true}]}"
    assert failures(rule, test, higher) == []
    (missing, *_) = failures(rule, test)
    assert "expected exited at 1m" in missing


def test_a_test_about_a_segment_that_has_no_say_fails() -> None:
    test = "{given: [{at: 0m, entered: vpi}], expect: [{at: 0m, in: false}]}"
    assert failures("when: {segment: vip}", test, VIP) == [
        "'test 1': the segment does not depend on 'vpi', neither by its rule nor by its group"
    ]


@pytest.mark.parametrize(
    ("test", "error"),
    [
        ("{scores: {churn: true}, given: [{at: 0m, event: A}], ", "x.yaml:4:20: a score is a number"),
        ("{given: [{at: 0m, entered: vip, event: A}], ", "x.yaml:4:35: 'event' cannot stand beside 'entered'"),
        ("{given: [{at: 0m, scores: {a: 1}, properties: {b: 1}}], ", "'properties' cannot stand beside 'scores'"),
        ("{holdout: false, given: [{at: 0m, event: A}], ", "x.yaml:4:13: `holdout` is true or left out"),
        ("{members: {vip: often}, given: [{at: 0m, event: A}], ", "x.yaml:4:19: "),
        ("{given: [{at: 0m}], ", "or `entered: <segment>`"),
    ],
)  # fmt: skip
def test_tests_that_are_refused(test: str, error: str) -> None:
    with pytest.raises(RuleErrors) as caught:
        parse_rule(f"segment: x\nwhen: {{event: A}}\ntests:\n- {test}expect: [{{at: 0m, in: true}}]}}\n", "x.yaml")
    assert error in str(caught.value)


# --- stories ----------------------------------------------------------------------------------------------------------


def event(name: str, at: int, number: int) -> Event:
    return Event(id=f"e{number}", name=name, event_time=T + at, customer="c", received_at=T + at)


def told(customer: Customer) -> list[tuple[str, str, int, str]]:
    return [(one.segment, one.kind, one.effective_at - T, one.cause["kind"]) for one in customer.transitions]


def test_the_lower_one_of_a_group_leaves_before_the_higher_one_is_entered_and_comes_back_after() -> None:
    """Whatever the lower one's time to stay; the higher one's keeps both as they are."""
    low = Segment("low", Happened(EventRef("A")), stability=Stability(min_dwell=1000), group=Group("g", 1))
    high = Segment("high", Happened(EventRef("B"), 10), stability=Stability(min_dwell=50), group=Group("g", 2))
    customer = Customer(rules([low, high]))
    customer.apply(event("A", 0, 1), 0)
    customer.apply(event("B", 5, 2), 0)
    customer.wake(T + 100, "each")
    assert told(customer) == [
        ("low", "entered", 0, "event"),
        ("low", "exited", 5, "event"),
        ("high", "entered", 5, "event"),
        ("high", "exited", 55, "timer"),
        ("low", "entered", 55, "timer"),
    ]


def test_who_was_displaced_rests_before_coming_back() -> None:
    low = Segment("low", Happened(EventRef("A")), stability=Stability(cooldown=30), group=Group("g", 1))
    high = Segment("high", Happened(EventRef("B"), 10), group=Group("g", 2))
    customer = Customer(rules([low, high]))
    customer.apply(event("A", 0, 1), 0)
    customer.apply(event("B", 5, 2), 0)
    customer.wake(T + 100, "each")
    assert told(customer)[-2:] == [("high", "exited", 15, "timer"), ("low", "entered", 35, "timer")]


def test_after_an_exit_the_threshold_to_enter_counts_from_that_moment() -> None:
    """The score stands between the two thresholds: who was led out by an order must reach the upper one anew.

        0.7 in ---- order: out ---- 0.65 ---- 0.7 in again

    The rule had been looked at with the lower threshold last, and still counted as true: the last score was no rise.
    """
    two = Hysteresis(Score("churn", HIGH), Score("churn", (Test("", Operator.GTE, 0.6),)))
    customer = Customer(rules([Segment("risk", two, Exit((EventRef("Order"),)))]))
    customer.apply(event("A", 0, 1), 0, {"churn": 0.7})
    customer.apply(Timer(T + 1), T + 1, {"churn": 0.65})
    customer.apply(event("Order", 2, 2), 0)
    customer.apply(Timer(T + 3), T + 3, {"churn": 0.7})
    assert told(customer) == [
        ("risk", "entered", 0, "event"),
        ("risk", "exited", 2, "event"),
        ("risk", "entered", 3, "score"),
    ]


def test_whom_only_the_time_to_stay_kept_in_leaves_when_rules_ask_for_it_no_more() -> None:
    staying = Segment("s", Happened(EventRef("A"), 5), Exit((EventRef("B"),)), stability=Stability(min_dwell=500))
    customer = Customer(rules([staying]))
    customer.apply(event("A", 0, 1), 0)
    customer.apply(event("B", 10, 2), 0)
    assert customer.members == {"s"}
    customer.rules = rules([replace(staying, stability=Stability())], version=2)
    customer.apply(Timer(T + 20), T + 20)
    assert told(customer)[1:] == [("s", "exited", 20, "rule change")]


def test_scores_go_out_as_the_schema_says() -> None:
    segments = [Segment("risk", Score("churn", HIGH)), Segment("hunters", Cluster("personas", ("hunter",)))]
    customer = Customer(rules(segments))
    customer.apply(event("A", 0, 1), 0, {"personas": "hunter"})
    customer.apply(Timer(T + 1), T + 1, {"churn": 0.9})
    written: list[Any] = [
        _decoded(segment_change(one, "segue/test", "2023-11-14T22:13:20.000Z")) for one in customer.transitions
    ]
    assert [one["data"]["cause"]["kind"] for one in written] == ["event", "score"]
    assert written[1]["data"]["scores"] == {"personas": "hunter", "churn": 0.9}
    assert [complaint for one in written for complaint in complaints("segment-changes", one)] == []


def _decoded(output: tuple[int, bytes | None, bytes | None]) -> Any:
    assert output[2] is not None
    return json.loads(output[2])
