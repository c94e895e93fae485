"""Explanations at a terminal: everything that is said can be read, without colours too."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.console import Console

from cli.explain_view import render
from profiles import Event
from rules.definition import (
    Absent,
    All,
    AnyOf,
    AtLeast,
    EventRef,
    Exit,
    Group,
    Happened,
    Not,
    Operator,
    Points,
    Segment,
    Stability,
    Test,
)
from rules.explain import explain
from tests.properties.delivery import Customer, rules

T = 1_767_225_600_000
DAY = 86_400_000
ORDER = EventRef("Order")


def shown(segments: list[Segment], *names: str, customer: str = "anna", segment: str | None = None) -> str:
    one = Customer(rules(segments))
    for number, name in enumerate(names):
        event = Event(f"e{number}", name, T + number, customer, received_at=T + number)
        one.apply(event, event.event_time - 1)
    return printed(json.loads(json.dumps(explain(one.profile, one.rules, T + DAY, customer, segment))))


def printed(explanation: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=220, highlight=False)
    console.print(render(explanation))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_in_and_out_since_when_and_what_comes_next() -> None:
    text = shown(
        [Segment("bought", Happened(ORDER, 7 * DAY), version=3), Segment("z", Happened(EventRef("Z"), DAY))], "Order"
    )
    assert "in   bought  since 2026-01-01 00:00:00 UTC  version 3" in text
    assert "out  z" in text
    assert text.index("bought") < text.index("out  z")
    assert (
        "✓ Order within 7d: 1  asked for: at least 1, last 2026-01-01 00:00:00 UTC, so until 2026-01-08 00:00:00 UTC"
        in text
    )
    assert "if nothing happens: exited at 2026-01-08 00:00:00 UTC" in text
    assert "enters by: Z within 1d: at least 1 (now 0)" in text
    assert "if nothing happens: stays out" in text


def test_the_tree_says_how_conditions_are_joined() -> None:
    a, b, c = (Happened(EventRef(name)) for name in "ABC")
    points = Points(((a, 2.5), (b, 1)), (Test("", Operator.GTE, 3),))
    rule = All((AnyOf((a, b)), Not(Absent(EventRef("C"))), AtLeast(2, (a, b, c)), points))
    text = shown([Segment("s", rule)], "A")
    for line in (
        "✗ all of  (1 of 4 hold)",
        "✓ any of  (1 of 2 hold)",
        "✗ not",
        "✗ at least 2 of  (1 of 3 hold)",
        "✗ points of 2 conditions: 2.5  asked for: at least 3",
        "✓ 2.5 points for A: 1",
        "✗ 1 points for B: 0",
    ):
        assert line in text, line


def test_what_decides_besides_the_rule_is_said() -> None:
    rule = Happened(ORDER)
    segments = [
        Segment("wait", rule, stability=Stability(enter_for=2 * DAY)),
        Segment("low", rule, group=Group("g", 1)),
        Segment("high", rule, group=Group("g", 2)),
        Segment("held", rule, holdout=1.0),
        Segment("latched", rule, exit=Exit((EventRef("Refund"),), 9 * DAY)),
    ]
    text = shown(segments, "Order")
    assert "must until 2026-01-03T00:00:00.000Z before the customer enters" in text
    assert "segment high of the same group comes first" in text
    assert "is one of the share of customers who never enter" in text
    assert "leaves by: Refund or 9d without the rule becoming true again" in text


def test_nobody_and_no_such_segment_are_said() -> None:
    unknown = rules([Segment("s", Happened(ORDER))])
    assert "nothing is known of this customer" in printed(explain(None, unknown, T, "ghost"))
    assert "the rules have no segment 'nope'" in printed(explain(None, unknown, T, "ghost", "nope"))


def test_what_comes_from_outside_cannot_steer_the_terminal() -> None:
    text = shown([Segment("s", Happened(ORDER))], "Order", customer="a\x1b[2Jb")
    assert "\x1b" not in text and "a\ufffd[2Jb" in text


def test_a_look_ahead_that_was_cut_short_is_said() -> None:
    one = explain(None, rules([Segment("s", Happened(ORDER))]), T, "c")
    one["segments"][0]["looked_until"] = "2026-01-05T00:00:00.000Z"
    assert "stays out until 2026-01-05 00:00:00 UTC at least" in printed(one)
