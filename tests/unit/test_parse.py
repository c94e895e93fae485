"""Rule files: what they mean, and that each thing that is wrong is found, where it stands, and with a way to mend it."""

from __future__ import annotations

from typing import Any

import pytest

from rules.definition import (
    Absent,
    Aggregate,
    All,
    AnyOf,
    AtLeast,
    Condition,
    EventRef,
    Exit,
    Happened,
    Not,
    Operator,
    Sequence,
    Since,
    Test,
    Trait,
)
from rules.errors import RuleErrors
from rules.parse import MOST_CONDITIONS, Rule, parse_rule

DAY = 86_400_000


def rule(when: str, rest: str = "") -> Rule:
    return parse_rule(f"segment: x\nwhen: {when}\n{rest}", "x.yaml")


def meaning(when: str) -> Condition:
    return rule(when).segment.when


def errors(text: str, file: str = "x.yaml") -> list[str]:
    with pytest.raises(RuleErrors) as caught:
        parse_rule(text, file)
    return [str(error) for error in caught.value.errors]


def gte(operand: Any, path: str = "") -> Test:
    return Test(path, Operator.GTE, operand)


@pytest.mark.parametrize(
    ("when", "condition"),
    [
        ("{event: A}", Happened(EventRef("A"))),
        ("{event: any, within: 1d}", Happened(EventRef("any"), DAY)),
        (
            "{event: A, within: 7d, count: {gte: 3, lt: 9}}",
            Happened(EventRef("A"), 7 * DAY, (gte(3), Test("", Operator.LT, 9))),
        ),
        ("{event: A, count: {between: [2, 4]}}", Happened(EventRef("A"), None, (Test("", Operator.BETWEEN, (2, 4)),))),
        ("{event: A, within: 1d, count: {lte: 2}}", Happened(EventRef("A"), DAY, (Test("", Operator.LTE, 2),))),
        (
            "{event: A, where: {properties.category: shoes, properties.price: {gte: 10.5}}}",
            Happened(EventRef("A", (Test("properties.category", Operator.EQ, "shoes"), gte(10.5, "properties.price")))),
        ),
        (
            "{event: A, where: {'properties.tags[].id': {in: [a, 1]}, context.device.type: {ne: mobile}}}",
            Happened(
                EventRef(
                    "A",
                    (
                        Test("properties.tags[].id", Operator.IN, ("a", 1)),
                        Test("context.device.type", Operator.NE, "mobile"),
                    ),
                )
            ),
        ),
        ("{event: A, per: properties.id, within: 7d}", Happened(EventRef("A"), 7 * DAY, per="properties.id")),
        (
            "{event: A, per: properties.id, within: 7d, without: {event: B, per: 'properties.l[].id', where: {properties.n: 1}}}",
            Happened(
                EventRef("A"),
                7 * DAY,
                per="properties.id",
                without=EventRef("B", (Test("properties.n", Operator.EQ, 1),)),
                without_per="properties.l[].id",
            ),
        ),
        ("{event: A, per: properties.id, without: B}", Happened(EventRef("A"), None, per="properties.id", without=EventRef("B"))),
        ("{event: any, after_silence: 60d, within: 7d}", Happened(EventRef("any"), 7 * DAY, after_silence=60 * DAY)),
        ("{absent: A}", Absent(EventRef("A"))),
        (
            "{absent: A, within: 90d, where: {properties.a: {exists: false}}}",
            Absent(EventRef("A", (Test("properties.a", Operator.EXISTS, False),)), 90 * DAY),
        ),
        ("{since: A, lte: 30d}", Since(EventRef("A"), (Test("", Operator.LTE, 30 * DAY),))),
        ("{since: any, occurrence: first, lt: 7d}", Since(EventRef("any"), (Test("", Operator.LT, 7 * DAY),), "first")),
        ("{since: A, between: [1d, 2d]}", Since(EventRef("A"), (Test("", Operator.BETWEEN, (DAY, 2 * DAY)),))),
        (
            "{aggregate: {of: properties.revenue, fn: sum, event: A, within: 90d, gte: 200}}",
            Aggregate("sum", "properties.revenue", EventRef("A"), (gte(200),), 90 * DAY),
        ),
        (
            "{aggregate: {of: properties.id, fn: distinct, event: A, between: [2, 3]}}",
            Aggregate("distinct", "properties.id", EventRef("A"), (Test("", Operator.BETWEEN, (2, 3)),)),
        ),
        (
            "{trait: {email_consent: true, country: {in: [NL, BE]}, vip_since: {exists: false}}}",
            Trait(
                (
                    Test("email_consent", Operator.EQ, True),
                    Test("country", Operator.IN, ("NL", "BE")),
                    Test("vip_since", Operator.EXISTS, False),
                )
            ),
        ),
        (
            "{sequence: {steps: [{event: A, where: {properties.n: {gte: 3}}}, {not: [B, {event: C, where: {name: C}}], for: 30m}]}}",
            Sequence(
                EventRef("A", (gte(3, "properties.n"),)),
                1_800_000,
                (EventRef("B"), EventRef("C", (Test("name", Operator.EQ, "C"),))),
            ),
        ),
        ("{all: [{event: A}, {event: B}]}", All((Happened(EventRef("A")), Happened(EventRef("B"))))),
        ("{any: [{event: A}, {not: {event: B}}]}", AnyOf((Happened(EventRef("A")), Not(Happened(EventRef("B")))))),
        ("{at_least: {n: 1, of: [{event: A}]}}", AtLeast(1, (Happened(EventRef("A")),))),
    ],
)  # fmt: skip
def test_conditions(when: str, condition: Condition) -> None:
    assert meaning(when) == condition


def test_a_whole_file() -> None:
    text = (
        "segment: vip-2\nname: VIPs\nowner: a@b.example\ndescription: Spends.\n"
        "when: {event: A, within: 1d}\nexit: {on: [B, {event: C}], after: 72h}\n"
    )
    segment = parse_rule(text, "some/where/vip-2.yaml").segment
    assert (segment.name, segment.title, segment.owner, segment.description) == (
        "vip-2",
        "VIPs",
        "a@b.example",
        "Spends.",
    )
    assert segment.exit == Exit((EventRef("B"), EventRef("C")), 72 * 3_600_000)
    assert segment.file == "some/where/vip-2.yaml"


W = "segment: x\nwhen: "
TESTED = "segment: x\nwhen: {event: A}\ntests:\n  - "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: the file is empty"),
        ("[]", "1:1: a rule file must be a mapping, not a list (it begins with `segment: <name>`)"),
        ("segment: x\n", "1:1: 'when' is missing here"),
        ("when: {event: A}", "1:1: 'segment' is missing here"),
        ("segment: Big Spender\nwhen: {event: A, within: 1d}", "1:10: the name of a segment must be 1 to 64"),
        (
            "segment: y\nwhen: {event: A, within: 1d}",
            "1:10: segment 'y' stands in a file named 'x' (rename the file to y.yaml)",
        ),
        ("segment: 7\nwhen: {event: A}", '1:10: `segment` must be text, not a number (quote it: "7")'),
        (W + "{event: A}\nwhen: {event: B}", "3:1: 'when' is here twice (first at line 2, column 1)"),
        (W + "{event: A}\nowners: me", "3:1: unknown key 'owners' (did you mean 'owner'?)"),
        (W + "{event: A}\nbackfill: 90", "3:11: `backfill` must be a duration"),
        (W + "{event: A}\nstability: {cooldwn: 6h}", "3:13: unknown key 'cooldwn' (did you mean 'cooldown'?)"),
        (W + "Order Completed", "2:7: a condition is a mapping, not text (write `event: Order Completed`)"),
        (W + "[{event: A}]", "2:7: a condition is a mapping, not a list (write `all: [...]` or `any: [...]`)"),
        (W + "{}", "2:7: the condition is empty"),
        (W + "{within: 7d}", "2:7: this is no condition (it needs one of event,"),
        (W + "{evnt: A}", "2:8: unknown key 'evnt' (did you mean 'event'?)"),
        (W + "{never: A}", "2:8: unknown key 'never' (for an event that did not happen write `absent: <event>`"),
        (W + "{event: A, last: 7d}", "2:18: unknown key 'last' (for the time since the last one write `since:"),
        (W + "{score: {model: churn}}", "2:15: `score` compares with nothing"),
        (W + "{segment: [vip]}", "2:17: `segment` is the name of a segment (write `segment: vip`)"),
        (W + "{event: A, absent: B}", "2:18: 'absent' is a condition of its own beside 'event'"),
        (W + "{event: A, withn: 7d}", "2:18: unknown key 'withn' (did you mean 'within'?)"),
        (W + "{event: 7}", '2:15: `event` must be text, not a number (quote it: "7")'),
        (W + "{event: ' '}", "2:15: `event` is empty"),
        (W + "{all: []}", "2:13: `all` is empty"),
        (W + "{any: {event: A}}", "2:13: `any` must be a list, not a mapping"),
        (W + "{at_least: {n: 3, of: [{event: A}]}}", "2:22: `n` must be between 1 and 1, not 3"),
        (W + "{at_least: {of: [{event: A}]}}", "2:18: 'n' is missing here"),
        (
            W + "{event: A, within: 30}",
            "2:26: `within` must be a duration such as 30m, 24h, 7d or 1h30m, not 30 (add the unit: 30d",
        ),
        (W + "{event: A, within: 0d}", "2:26: `within` must be at least 0.001s and at most 3650d, not 0d"),
        (W + "{event: A, within: 3651d}", "2:26: `within` must be at least 0.001s and at most 3650d"),
        (W + "{event: A, count: 3}", "2:25: `count` must be a mapping of comparisons (write `count: {gte: 3}`"),
        (W + "{event: A, count: {eq: 0}}", "2:25: this asks for no event at all (write `absent: <event>`)"),
        (W + "{event: A, count: {gte: 0}}", "2:25: every number satisfies these comparisons"),
        (W + "{event: A, count: {gt: 3, lt: 4}}", "2:25: no number satisfies these comparisons"),
        (W + "{event: A, count: {gte: 1001}}", "2:31: `gte` must be between 0 and 1,000, not 1001"),
        (W + "{event: A, count: {gt: 1000}}", "2:25: counts are kept up to 1,000"),
        (W + "{event: A, count: {gte: 2.5}}", "2:31: `gte` must be a whole number, not 2.5"),
        (W + "{event: A, count: {gte: true}}", "2:31: `gte` must be a whole number, not true"),
        (W + "{event: A, count: {at_most: 2}}", "2:26: unknown key 'at_most' (write `lte`)"),
        (W + "{event: A, count: {between: [1]}}", "2:35: `between` needs two bounds"),
        (W + "{event: A, count: {between: [4, 2]}}", "2:35: `between` has its bounds the wrong way round"),
        (W + "{event: A, without: B}", "2:18: 'without' needs 'per'"),
        (W + "{event: A, after_silence: 1d, per: properties.a}", "2:37: 'per' cannot stand beside 'after_silence'"),
        (
            W + "{event: A, per: product_id}",
            "2:23: a path starts with properties, context or traits, not 'product_id' (did you mean 'properties.product_id'?)",
        ),
        (
            W + "{event: A, where: {category: a}}",
            "2:26: a path starts with properties, context or traits, not 'category' (did you mean 'properties.category'?)",
        ),
        (
            W + "{event: A, where: {property.a: a}}",
            "2:26: a path starts with properties, context or traits, not 'property' (did you mean 'properties.a'?)",
        ),
        (W + "{event: A, where: {properties: a}}", "2:26: the path 'properties' ends too early"),
        (W + "{event: A, where: {properties..a: a}}", "2:26: 'properties..a' is no path"),
        (W + "{event: A, where: {properties.a.b.c.d.e.f.g.h: a}}", "2:26: the path has 9 parts, more than 8"),
        (W + "{event: A, where: {}}", "2:25: `where` is empty"),
        (
            W + "{event: A, where: {properties.a: [1, 2]}}",
            "2:40: a value is compared with a value, not with a list (write `{in: [...]}`",
        ),
        (W + "{event: A, where: {properties.a: null}}", "2:40: nothing equals nothing (write `{exists: false}`"),
        (W + "{event: A, where: {properties.a: {gt: true}}}", "2:45: true and false have no order"),
        (W + "{event: A, where: {properties.a: {exists: 1}}}", "2:49: `exists` must be true or false, not 1"),
        (W + "{event: A, where: {properties.a: {in: []}}}", "2:45: `in` is empty"),
        (
            W + "{event: A, where: {properties.a: {between: [1, b]}}}",
            "2:50: `between` compares with two numbers or with two texts",
        ),
        (
            W + "{event: A, where: {properties.a: {matches: '(b'}}}",
            "2:50: `matches` is no pattern: missing ): (b",
        ),
        (W + "{event: A, where: {properties.a: {contains: 1}}}", "2:51: `contains` must be text, not a number"),
        (W + "{since: A}", "2:7: `since` compares with nothing (add one of gt, gte, lt, lte, between)"),
        (W + "{since: A, lt: 7d, occurrence: second}", "2:38: `occurrence` is first or last"),
        (W + "{since: A, lt: 7d, gt: 7d}", "2:7: no time since satisfies these comparisons"),
        (W + "{since: A, lt: 7}", "2:22: `lt` must be a duration"),
        (
            W + "{aggregate: {of: properties.a, fn: sums, event: A, gte: 1}}",
            "2:42: `fn` is one of sum, mean, min, max, distinct, count, rate, trend (did you mean 'sum'?)",
        ),
        (W + "{aggregate: {of: properties.a, fn: sum, event: A}}", "2:19: `aggregate` compares with nothing"),
        (W + "{aggregate: {of: properties.a, fn: sum, event: A, gte: x}}", "2:62: `gte` must be a number, not x"),
        (W + "{aggregate: {of: properties.a, fn: distinct, event: A, gte: 2.5}}", "2:67: `gte` must be a whole number"),
        (W + "{aggregate: {of: properties.a, fn: distinct, event: A, ne: 2}}", "2:62: unknown key 'ne'"),
        (W + "{trait: {}}", "2:15: `trait` is empty"),
        (W + "{trait: {traits.tier: gold}}", "2:16: `trait` takes the name of a trait, not a path (write 'tier')"),
        (W + "{trait: {a: " + 257 * "x" + "}}", "2:19: the text has 257 characters"),
        (W + "{sequence: {steps: [{event: A}, {not: B}]}}", "2:39: 'for' is missing here"),
        (W + "{event: A}\nexit: {}", "3:7: `exit` needs 'on' or 'after'"),
        (W + "{event: A}\nexit: {on: []}", "3:12: `on` is empty"),
        (W + "{event: A}\nexit: Order Completed", "3:7: `exit` must be a mapping, not text"),
        (W + "{event: A}\ntests: []", "3:8: `tests` is empty"),
        (TESTED + "{name: a, given: [{event: A}], expect: [{at: 0m, in: true}]}", "4:23: 'at' is missing here"),
        (TESTED + "{given: [{at: 0m, event: A}], expect: [{at: 0m}]}", "4:44: nothing is expected here"),
        (
            TESTED + "{given: [{at: 0, event: A}], expect: [{at: 0m, in: true}]}",
            "4:19: `at` must be a time from the start of the test",
        ),
        (
            TESTED + "{given: [{at: 9m, arrives: 8m, event: A}], expect: [{at: 0m, in: true}]}",
            "4:32: an event cannot arrive before it happens",
        ),
        (
            TESTED + "{given: [{at: 0m, event: A}], expect: [{at: 0m, entered: false}]}",
            "4:62: `entered` can only be true",
        ),
        (
            TESTED + "{now: 1970-01-01, given: [{at: 0m, event: A}], expect: [{at: 0m, in: true}]}",
            "4:11: `now` must be a time",
        ),
        (
            TESTED + "{score: {a: 1}, given: [{at: 0m, event: A}], expect: [{at: 0m, in: true}]}",
            "4:6: unknown key 'score'",
        ),
    ],
)
def test_each_error_has_its_place_and_a_hint(text: str, expected: str) -> None:
    found = errors(text)
    assert len(found) == 1, found
    assert found[0].startswith(f"x.yaml:{expected}")


def test_all_errors_are_found_at_once() -> None:
    found = errors(
        "segment: x\nnam: a\nwhen:\n  all:\n    - {event: A, withn: 7d, count: 3}\n    - B\nexit: {on: A, aftr: 1d}\n"
    )
    assert [one.split(": ")[0] for one in found] == [
        "x.yaml:2:1",
        "x.yaml:5:18",
        "x.yaml:5:36",
        "x.yaml:6:7",
        "x.yaml:7:15",
    ]


def test_thousands_of_errors_are_counted_but_not_listed() -> None:
    with pytest.raises(RuleErrors) as caught:
        parse_rule("segment: x\nwhen: {event: A}\n" + "".join(f"key{n}: 1\n" for n in range(5000)), "x.yaml")
    assert len(caught.value.errors) == 100
    assert caught.value.more == 4900
    assert str(caught.value).endswith("... and 4,900 more")


def test_the_number_of_conditions_is_bounded() -> None:
    one = "{event: A, within: 1d}, "
    assert rule(f"{{all: [{one * (MOST_CONDITIONS - 1)}]}}")
    with pytest.raises(RuleErrors, match="the rule has 201 conditions, more than 200"):
        rule(f"{{all: [{one * MOST_CONDITIONS}]}}")


@pytest.mark.parametrize(
    ("when", "exit_", "warning"),
    [
        ("{event: A}", "", "nobody ever leaves"),
        ("{event: A, within: 1d}", "", None),
        ("{event: A, count: {lte: 3}}", "", None),
        ("{event: A, per: properties.a, without: B}", "", None),
        ("{sequence: {steps: [{event: A}, {not: B, for: 1h}]}}", "", "nobody ever leaves"),
        ("{sequence: {steps: [{event: A}, {not: B, for: 1h}]}}", "exit: {on: B}", None),
        ("{event: A}", "exit: {on: B}", "nobody enters this segment a second time"),
        ("{since: A, gte: 1d}", "", None),
        ("{since: A, occurrence: first, gte: 1d}", "", "nobody ever leaves"),
        ("{aggregate: {of: properties.a, fn: sum, event: A, gte: 1}}", "", None),
        ("{aggregate: {of: properties.a, fn: max, event: A, gte: 1}}", "", "nobody ever leaves"),
        ("{all: [{event: A}, {trait: {a: 1}}]}", "", None),
        ("{any: [{event: A}, {event: B}]}", "", "nobody ever leaves"),
        ("{any: [{event: A}, {event: B, within: 1d}]}", "", None),
        ("{not: {absent: A}}", "", "nobody ever leaves"),
        ("{absent: A}", "", None),
    ],
)
def test_a_segment_that_nobody_leaves_is_warned_of(when: str, exit_: str, warning: str | None) -> None:
    found = rule(when, exit_).warnings
    assert len(found) == (warning is not None)
    if warning:
        assert warning in found[0].message
        assert (found[0].line, found[0].column) == (2, 1)


BASE = "{event: A, within: 7d, where: {properties.a: 1, properties.b: 2}}"


@pytest.mark.parametrize(
    ("when", "same"),
    [
        ("{where: {properties.b: 2, properties.a: 1}, within: 168h, event: A}", True),
        ("{event: A, within: 7d, where: {properties.a: 1.0, properties.b: {eq: 2}}}", True),
        ("{event: A, within: 7d, count: {gte: 1}, where: {properties.a: 1, properties.b: 2}}", True),
        ("{event: A, within: 8d, where: {properties.a: 1, properties.b: 2}}", False),
        ("{event: A, within: 7d, where: {properties.a: '1', properties.b: 2}}", False),
        ("{event: A, within: 7d, where: {properties.a: true, properties.b: 2}}", False),
        ("{event: A, within: 7d, where: {properties.a: 2, properties.b: 1}}", False),
        ("{not: {not: {event: A, within: 7d, where: {properties.a: 1, properties.b: 2}}}}", False),
    ],
)
def test_the_digest_stands_for_the_meaning(when: str, same: bool) -> None:
    assert (rule(when).segment.digest == rule(BASE, "description: other words\n").segment.digest) is same


def test_the_digest_is_the_same_in_every_build() -> None:
    """A digest that changes between builds would give every segment a new version at the next publishing."""
    assert rule(BASE).segment.digest == "b8a873727fe92e1a"
