"""Time, place and visits in rules: how they are written, what is refused and where, and what they do to the millisecond."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from profiles.event import Event
from rules.compiler import compile_plan
from rules.definition import (
    Condition,
    Context,
    During,
    EventRef,
    Exit,
    Happened,
    Operator,
    Segment,
    Session,
    Test,
    Trait,
)
from rules.errors import RuleErrors
from rules.parse import parse_rule
from rules.predicates import compile_test
from rules.project import in_zone
from tests.properties import delivery

HOUR = 3_600_000
DAY = 24 * HOUR
MONDAY = 1_772_409_600_000
"""2026-03-02T00:00:00Z."""

WORK = During((0, 1, 2, 3, 4), ((540, 1020),))


def meaning(when: str) -> Condition:
    return parse_rule(f"segment: x\nwhen: {when}\n", "x.yaml").segment.when


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal()


# --- how it is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "during"),
    [
        ("{weekdays: mon-fri, hours: 9:00-17:00}", WORK),
        ('{weekdays: [Monday, tue, wed-friday], hours: ["9:00 - 17:00"]}', WORK),
        ("{weekdays: fri-mon}", During((0, 4, 5, 6))),
        ("{weekdays: mon-sun, hours: 22:00-6:00}", During((), ((1320, 360),))),
        ("{hours: [18:00-24:00, 0:00-0:30]}", During((), ((0, 30), (1080, 1440)))),
        (
            "{dates: [2026-12-24, 2026-12-01..2026-12-06], timezone: Europe/Berlin}",
            During((), (), ((day("2026-12-01"), day("2026-12-06")), (day("2026-12-24"), day("2026-12-24"))), "Europe/Berlin"),
        ),
    ],
)  # fmt: skip
def test_during(written: str, during: During) -> None:
    assert meaning(f"{{during: {written}}}") == during
    assert meaning(f"{{event: A, during: {written}}}") == Happened(EventRef("A", (), during))


@pytest.mark.parametrize(
    "when",
    [
        "{absent: A, during: {weekdays: mon-fri, hours: 9:00-17:00}}",
        "{since: A, lt: 1d, during: {weekdays: mon-fri, hours: 9:00-17:00}}",
        "{aggregate: {of: properties.a, fn: sum, event: A, gte: 1, during: {weekdays: mon-fri, hours: 9:00-17:00}}}",
        "{session: {gap: 30m, event: A, during: {weekdays: mon-fri, hours: 9:00-17:00}}}",
    ],
)
def test_any_reference_may_say_when(when: str) -> None:
    assert meaning(when).ref == EventRef("A", (), WORK)  # type: ignore[union-attr]


def test_an_exit_may_say_when() -> None:
    text = "segment: x\nwhen: {event: A}\nexit: {on: {event: B, during: {weekdays: mon-fri, hours: 9:00-17:00}}}\n"
    assert parse_rule(text, "x.yaml").segment.exit == Exit((EventRef("B", (), WORK),))


@pytest.mark.parametrize(
    ("when", "condition"),
    [
        ("{context: {device.type: mobile}}", Context((Test("context.device.type", Operator.EQ, "mobile"),))),
        (
            "{context: {campaign.name: {starts_with: spring, ne: spring-1}, locale: {exists: false}}, within: 7d}",
            Context(
                (
                    Test("context.campaign.name", Operator.STARTS_WITH, "spring"),
                    Test("context.campaign.name", Operator.NE, "spring-1"),
                    Test("context.locale", Operator.EXISTS, False),
                ),
                7 * DAY,
            ),
        ),
        ("{session: {gap: 30m}}", Session(EventRef("any"), HOUR // 2)),
        (
            "{session: {gap: 30m, depth: {gte: 5}, length: {between: [10m, 1h]}, event: A, where: {properties.a: 1}, last: true}}",
            Session(
                EventRef("A", (Test("properties.a", Operator.EQ, 1),)),
                HOUR // 2,
                (Test("", Operator.GTE, 5),),
                (Test("", Operator.BETWEEN, (HOUR // 6, HOUR)),),
                True,
            ),
        ),
        (
            "{trait: {signed_up: {within: 7d, after: 2026-03-02, before: 1772409600001}}}",
            Trait(
                (
                    Test("signed_up", Operator.WITHIN, 7 * DAY),
                    Test("signed_up", Operator.AFTER, MONDAY),
                    Test("signed_up", Operator.BEFORE, MONDAY + 1),
                )
            ),
        ),
        (
            "{event: A, where: {properties.code: {matches: '^[A-Z]{2}-'}}}",
            Happened(EventRef("A", (Test("properties.code", Operator.MATCHES, "^[A-Z]{2}-"),))),
        ),
    ],
)  # fmt: skip
def test_conditions(when: str, condition: Condition) -> None:
    assert meaning(when) == condition


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("{during: mon-fri}", "2:16: `during` must be a mapping, not text (write `during: {weekdays: mon-fri, "),
        ("{during: {}}", "2:16: `during` says neither weekdays nor hours nor dates"),
        ("{during: {weekday: mon}}", "2:17: unknown key 'weekday' (did you mean 'weekdays'?)"),
        ("{during: {weekdays: mo-fr}}", "2:27: 'mo-fr' is no weekday (write mon, tue, wed, thu, fri, sat or sun"),
        ("{during: {weekdays: [mon, 2]}}", '2:33: `weekdays` must be text, not a number (quote it: "2")'),
        ("{during: {weekdays: mon-sun}}", "2:27: these weekdays are all there are"),
        ("{during: {hours: 9-17}}", "2:24: '9-17' are no hours (write `\"9:00-17:00\"`"),
        ("{during: {hours: 9:00-24:01}}", "2:24: '9:00-24:01' are no hours of a day"),
        ("{during: {hours: 9:60-17:00}}", "2:24: '9:60-17:00' are no hours of a day"),
        ("{during: {hours: [9:00-9:00]}}", "2:25: '9:00-9:00' end where they begin (for the whole day leave `hours` out)"),
        ("{during: {hours: 0:00-24:00}}", "2:24: '0:00-24:00' are all there are (leave `hours` out)"),
        ("{during: {hours: []}}", "2:24: `hours` is empty"),
        ("{during: {dates: 24.12.2026}}", "2:24: '24.12.2026' is no date (write 2026-12-24, or "),
        ("{during: {dates: 2026-02-29}}", "2:24: '2026-02-29' is no date"),
        ("{during: {dates: 2026-12-24..2026-12-01}}", "2:24: '2026-12-24..2026-12-01' ends before it begins"),
        ("{during: {weekdays: mon, timezone: Berlin}}", "2:42: 'Berlin' is no time zone"),
        ("{event: A, during: {}}", "2:26: `during` says neither"),
        ("{context: {}}", "2:17: `context` is empty"),
        ("{context: mobile}", "2:17: `context` must be a mapping, not text"),
        ("{context: {context.locale: de}}", "2:18: names in `context` begin below it (write 'locale')"),
        ("{context: {'a[].b': 1}}", "2:18: 'a[].b' is not one value"),
        ("{context: {device..type: 1}}", "2:18: 'context.device..type' is no path"),
        ("{context: {locale: " + 257 * "x" + "}}", "2:26: the text has 257 characters"),
        ("{session: {depth: {gte: 2}}}", "2:17: 'gap' is missing here"),
        ("{session: {gap: 30m, depth: 5}}", "2:35: `depth` must be a mapping, not a number (write `depth: {gte: 5}`)"),
        ("{session: {gap: 30m, depth: {}}}", "2:35: `depth` compares with nothing"),
        ("{session: {gap: 30m, length: {gte: 5}}}", "2:42: `gte` must be a duration"),
        ("{session: {gap: 30m, last: maybe}}", "2:34: `last` must be true or false"),
        ("{session: {gap: 30m, lenght: {gte: 5m}}}", "2:28: unknown key 'lenght' (did you mean 'length'?)"),
        ("{trait: {a: {before: tomorrow}}}", "2:28: `before` must be a date or a moment, not tomorrow (write a date"),
        ("{trait: {a: {after: 2026-02-30}}}", "2:27: `after` must be a date or a moment"),
        ("{trait: {a: {within: 7}}}", "2:28: `within` must be a duration"),
        ("{trait: {a: {matches: '('}}}", "2:29: `matches` is no pattern: missing ): ("),
        ("{trait: {a: {matches: '(?=a)'}}}", "2:29: `matches` is no pattern: invalid perl operator: (?= (patterns are those of RE2"),
        ("{trait: {a: {matches: '(a)\\1'}}}", "2:29: `matches` is no pattern: invalid escape sequence: \\1 (patterns are"),
        ("{trait: {a: {matches: '((a{100}){100}){100}'}}}", "2:29: `matches` is no pattern: invalid repetition size"),
        ("{trait: {a: {matches: " + 201 * "x" + "}}}", "2:29: `matches` has 201 characters, more than 200"),
    ],
)  # fmt: skip
def test_each_error_has_its_place_and_a_hint(when: str, expected: str) -> None:
    with pytest.raises(RuleErrors) as caught:
        meaning(when)
    found = [str(error) for error in caught.value.errors]
    assert len(found) == 1, found
    assert found[0].startswith(f"x.yaml:{expected}")


# --- what it does ---------------------------------------------------------------------------------------------------


class Customer(delivery.Customer):
    """One customer under one condition."""

    def __init__(
        self, condition: Condition, zone: str | None = None, leaves: Exit | None = None, project: str = "UTC"
    ) -> None:
        segment = in_zone(Segment("s", condition, leaves, zone=zone), project)
        super().__init__(delivery.Rules(1, compile_plan([segment])))

    def does(self, at: int, name: str = "A", context: dict[str, Any] | None = None, **traits: Any) -> None:
        number = sum(self.outcomes.values())
        event = Event(f"e{number}", name, at, "c", {}, traits or None, context or {}, at)
        assert self.apply(event, 0).outcome == "applied"

    def waits(self, until: int) -> None:
        self.wake(until, "each")

    @property
    def changes(self) -> list[tuple[str, int]]:
        return [(one.kind, one.effective_at) for one in self.transitions]


def test_the_clock_is_that_of_the_customer_else_of_the_rule_else_of_the_project() -> None:
    nine = During((), ((540, 600),))
    for expected, customer in (
        (9, Customer(nine)),
        (14, Customer(nine, project="America/New_York")),
        (8, Customer(nine, zone="Europe/Berlin", project="America/New_York")),
        (0, Customer(During((), ((540, 600),), (), "Asia/Tokyo"), zone="Europe/Berlin")),
    ):
        customer.does(MONDAY - HOUR)
        customer.waits(MONDAY + DAY - HOUR)
        assert customer.changes == [("entered", MONDAY + expected * HOUR), ("exited", MONDAY + (expected + 1) * HOUR)]


def test_a_trait_comes_before_the_newest_event_and_what_is_no_zone_is_passed_over() -> None:
    customer = Customer(During((), ((540, 600),)))
    customer.does(MONDAY, context={"timezone": "Europe/Berlin"})
    customer.does(MONDAY + 1, context={"timezone": "Mars/Olympus"})
    customer.does(MONDAY + 2, context={"timezone": 7})
    customer.waits(MONDAY + 8 * HOUR)
    assert customer.changes == [("entered", MONDAY + 8 * HOUR)]
    customer.does(MONDAY + 8 * HOUR + 5, timezone="America/New_York")
    customer.does(MONDAY + 8 * HOUR + 6, context={"timezone": "UTC"})
    assert customer.changes[1:] == [("exited", MONDAY + 8 * HOUR + 5)]
    customer.does(MONDAY + 8 * HOUR + 7, timezone="nowhere")
    customer.waits(MONDAY + 12 * HOUR)
    assert customer.changes[2:] == [("entered", MONDAY + 9 * HOUR), ("exited", MONDAY + 10 * HOUR)]


def test_the_evidence_shows_the_local_time() -> None:
    customer = Customer(WORK)
    customer.does(MONDAY + 8 * HOUR, context={"timezone": "Europe/Berlin"})
    (entered,) = customer.transitions
    assert entered.evidence == [
        {
            "condition": "local time",
            "holds": True,
            "actual": "mon 2026-03-02 09:00:00.000 Europe/Berlin",
            "threshold": {"weekdays": ["mon", "tue", "wed", "thu", "fri"], "hours": ["9:00-17:00"]},
        }
    ]


def test_events_are_read_on_the_clock_of_their_place_in_the_zone_of_their_own_rule() -> None:
    """Two segments that ask for the same hours in different zones share nothing."""
    evening = EventRef("A", (), During((), ((1080, 1380),)))
    segments = [
        Segment("berlin", Happened(evening, DAY), Exit((EventRef("B", (), evening.during),)), zone="Europe/Berlin"),
        Segment("york", Happened(evening, DAY), Exit((EventRef("B", (), evening.during),)), zone="America/New_York"),
    ]
    customer = Customer(During((0,)))
    customer.rules = delivery.Rules(1, compile_plan(segments))
    customer.does(MONDAY + 17 * HOUR - 1)
    customer.does(MONDAY + 17 * HOUR)
    customer.does(MONDAY + 18 * HOUR, "B", context={"timezone": "Asia/Tokyo"})
    customer.does(MONDAY + 22 * HOUR - 1, "B")
    customer.does(MONDAY + 23 * HOUR)
    customer.does(MONDAY + 28 * HOUR - 1, "B")
    assert [(one.kind, one.segment, one.effective_at - MONDAY) for one in customer.transitions] == [
        ("entered", "berlin", 17 * HOUR),
        ("exited", "berlin", 22 * HOUR - 1),
        ("entered", "york", 23 * HOUR),
        ("exited", "york", 28 * HOUR - 1),
    ]


def test_context_is_what_the_newest_event_says_that_says_anything() -> None:
    customer = Customer(Context((Test("context.device.type", Operator.EQ, "mobile"),), 100))
    customer.does(MONDAY, context={"device": {"type": "mobile"}})
    customer.does(MONDAY + 50)
    customer.does(MONDAY + 60, context={"device": {"type": "mobile"}})
    customer.waits(MONDAY + 200)
    assert customer.changes == [("entered", MONDAY), ("exited", MONDAY + 160)]
    customer.does(MONDAY + 300, context={"device": {"type": "mobile"}})
    customer.does(MONDAY + 299, context={"device": {"type": "desktop"}})
    assert customer.changes[2:] == [("entered", MONDAY + 300)]
    customer.does(MONDAY + 300, context={"device": {"type": "desktop"}})
    assert customer.changes[3:] == [("exited", MONDAY + 300)]


def test_a_late_event_joins_two_sessions() -> None:
    customer = Customer(Session(EventRef("A"), 10, (Test("", Operator.GTE, 3),), (Test("", Operator.GTE, 15),)))
    customer.does(MONDAY)
    customer.does(MONDAY + 15)
    assert customer.changes == []
    customer.does(MONDAY + 9)
    customer.waits(MONDAY + 100)
    assert customer.changes == [("entered", MONDAY + 15), ("exited", MONDAY + 25)]


def test_an_event_at_the_very_gap_begins_another_session() -> None:
    customer = Customer(Session(EventRef("A"), 10, (Test("", Operator.GTE, 2),)))
    customer.does(MONDAY)
    customer.does(MONDAY + 10)
    assert customer.changes == []
    customer.does(MONDAY + 19)
    customer.waits(MONDAY + 29)
    assert customer.changes == [("entered", MONDAY + 19), ("exited", MONDAY + 29)]


def test_the_last_session_counts_after_its_end_if_it_is_to() -> None:
    customer = Customer(Session(EventRef("A"), 10, (Test("", Operator.GTE, 2),), last=True))
    customer.does(MONDAY)
    customer.does(MONDAY + 9)
    customer.waits(MONDAY + DAY)
    assert customer.changes == [("entered", MONDAY + 9)]
    customer.does(MONDAY + 2 * DAY)
    assert customer.changes[1:] == [("exited", MONDAY + 2 * DAY)]


def test_a_trait_that_names_a_moment_counts_from_then_and_stops_to_the_millisecond() -> None:
    customer = Customer(Trait((Test("trial_begins", Operator.WITHIN, 100),)))
    customer.does(MONDAY - DAY, trial_begins="2026-03-02")
    customer.waits(MONDAY + 200)
    assert customer.changes == [("entered", MONDAY), ("exited", MONDAY + 100)]


@pytest.mark.parametrize(
    ("operator", "operand", "value", "holds"),
    [
        (Operator.BEFORE, MONDAY, "2026-03-01T23:59:59.999Z", True),
        (Operator.BEFORE, MONDAY, "2026-03-02", False),
        (Operator.AFTER, MONDAY, "2026-03-02", False),
        (Operator.AFTER, MONDAY, "2026-03-02 00:00:00.001", True),
        (Operator.AFTER, MONDAY, "2026-03-02T01:00:00.001+01:00", True),
        (Operator.AFTER, MONDAY, "2026-03-02T01:00+0100", False),
        (Operator.AFTER, MONDAY, MONDAY + 1, True),
        (Operator.BEFORE, MONDAY, -1, True),
        (Operator.BEFORE, MONDAY, True, False),
        (Operator.BEFORE, MONDAY, 10**400, False),
        (Operator.BEFORE, MONDAY, float("-inf"), False),
        (Operator.BEFORE, MONDAY, float("nan"), False),
        (Operator.BEFORE, MONDAY, "yesterday", False),
        (Operator.BEFORE, MONDAY, "20260101", False),
        (Operator.BEFORE, MONDAY, "0000-01-01", False),
        (Operator.BEFORE, MONDAY, "0001-01-01T00:00+23:59", True),
        (Operator.BEFORE, MONDAY, [MONDAY - 1], False),
        (Operator.BEFORE, MONDAY, None, False),
        (Operator.WITHIN, DAY, MONDAY, True),
        (Operator.WITHIN, DAY, MONDAY + 1, False),
        (Operator.WITHIN, DAY, MONDAY - DAY, False),
        (Operator.WITHIN, DAY, MONDAY - DAY + 1, True),
        (Operator.MATCHES, "^b.r$", "bär", True),
        (Operator.MATCHES, "(?i)SALE", "summer-sale", True),
        (Operator.MATCHES, "7", 7, False),
        (Operator.MATCHES, "a", "\ud800a", False),
        (Operator.MATCHES, "^x*$", 1000 * "x" + "y", True),
        (Operator.MATCHES, "y", 1000 * "x" + "y", False),
    ],
)
def test_moments_and_patterns(operator: Operator, operand: Any, value: Any, holds: bool) -> None:
    event = Event("e", "A", MONDAY, "c", {"a": value, "of": [{"a": None}, {"a": value}]})
    assert compile_test(Test("properties.a", operator, operand))(event) is holds
    assert compile_test(Test("properties.of[].a", operator, operand))(event) is holds


def test_a_pattern_that_would_take_others_for_ever_is_answered() -> None:
    """Engines that go back and forth try two to the thousandth ways here; this one reads the text once."""
    event = Event("e", "A", MONDAY, "c", {"a": 999 * "a" + "!"})
    assert not compile_test(Test("properties.a", Operator.MATCHES, "^(a|a)*(a+)+$"))(event)
