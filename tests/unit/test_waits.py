"""What a segment is said to wait for. That nothing else wakes anybody is among the checks of `tests/properties`."""

from __future__ import annotations

import pytest

from rules.parse import parse_rule
from rules.waits import waits


def of(when: str, rest: str = "") -> dict[str, int]:
    return waits(parse_rule(f"segment: x\nwhen: {when}\n{rest}", "x.yaml").segment)


@pytest.mark.parametrize(
    ("when", "kind"),
    [
        ("{event: A, within: 7d}", "window exit"),
        ("{event: A, per: properties.id, within: 7d, count: {lte: 3}}", "window exit"),
        ("{aggregate: {fn: sum, of: properties.n, event: A, within: 7d, gte: 2, exit_below: 1}}", "window exit"),
        ("{aggregate: {fn: trend, event: A, within: 7d, against: 28d, lt: 0.5}}", "window exit"),
        ("{context: {device.type: mobile}, within: 1d}", "window exit"),
        ("{affinity: {to: [A], among: [A, B], within: 7d, gte: 0.5}}", "window exit"),
        ("{absent: A, within: 7d}", "silence"),
        ("{sequence: {steps: [{event: A}, {not: B, for: 30m}]}}", "silence"),
        ("{sequence: {within: 1d, steps: [{event: A}, {event: B}, {not: C, for: 30m}]}}", "silence"),
        ("{since: A, gte: 7d}", "time since"),
        ('{during: {weekdays: mon-fri, hours: "9:00-17:00"}}', "calendar"),
        ("{session: {gap: 30m, depth: {gte: 5}}}", "end of a session"),
        ("{engagement: {points: {A: 1}, half_life: 7d, gte: 20}}", "fading points"),
        ("{trait: {trial_ends: {within: 7d}}}", "date"),
        ("{score: {model: churn, max_age: 1d, gte: 0.5}}", "age of a score"),
        ("{segment: y, at_least_for: 7d}", "time in a segment"),
    ],
)
def test_each_kind_of_condition_says_what_it_waits_for(when: str, kind: str) -> None:
    assert of(when) == {kind: 1}


@pytest.mark.parametrize(
    "when",
    [
        "{event: A}",
        "{absent: A}",
        "{event: A, after_silence: 7d}",
        "{sequence: {within: 1d, steps: [{event: A}, {event: B}]}}",
        "{aggregate: {fn: sum, of: properties.n, event: A, gte: 2}}",
        "{session: {gap: 30m, depth: {gte: 5}, last: true}}",
        "{trait: {email_consent: true}}",
        "{context: {device.type: mobile}}",
        "{segment: y}",
    ],
)
def test_what_only_events_change_waits_for_nothing(when: str) -> None:
    assert of(when) == {}


def test_conditions_add_up_and_what_stands_beside_the_rule_counts_too() -> None:
    rest = "exit: {after: 3d}\nstability: {enter_for: 10m, min_dwell: 1h, cooldown: 6h}\n"
    when = (
        "{all: [{event: A, within: 1d}, {not: {event: B, within: 2d}}, {at_least: {n: 1, of: [{since: C, lt: 1d}]}}]}"
    )
    assert of(when, rest) == {
        "window exit": 2,
        "time since": 1,
        "exit": 1,
        "enter_for": 1,
        "min_dwell": 1,
        "cooldown": 1,
    }
    assert of("{rfm: {event: A, of: properties.n, within: 90d, recency_score: {gte: 4}}}") == {
        "window exit": 1,
        "time since": 1,
    }
    assert of("{event: A, within: 1d}", "exit: {on: B}\n") == {"window exit": 1}
