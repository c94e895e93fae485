"""Sequences of several steps: how they are written, what they keep, what they say of themselves, and stories of one customer each."""

from __future__ import annotations

from typing import Any

import pytest

from profiles import Event
from rules.definition import (
    ANY_EVENT,
    Condition,
    EventRef,
    Exit,
    Happened,
    Journey,
    Operator,
    Segment,
    Sequence,
    Silence,
    Step,
    Test,
)
from rules.errors import RuleErrors
from rules.journeys import EVENT_VALUES, EVENTS, VALUES, Trail
from rules.parse import Rule, parse_rule
from tests.properties.delivery import Customer, rules

HOUR = 3_600_000
DAY = 24 * HOUR
A, B, C, X = (EventRef(name) for name in "ABCX")


# --- how they are written -------------------------------------------------------------------------------------------


def rule(sequence: str) -> Rule:
    return parse_rule(f"segment: x\nexit: {{after: 1d}}\nwhen: {{sequence: {sequence}}}", "x.yaml")


@pytest.mark.parametrize(
    ("sequence", "condition"),
    [
        ("{steps: [{event: A}, {not: B, for: 1h}]}", Sequence(A, HOUR, (B,))),
        ("{within: 1d, steps: [{event: A}, {not: [B, C], for: 1h}]}", Sequence(A, HOUR, (B, C))),
        ("{steps: [{any: [A, B]}, {not: C, for: 1h}]}", Journey((Step((A, B)), Silence((C,), HOUR)))),
        ("{within: 1d, steps: [{event: A}, {event: B}]}", Journey((Step((A,)), Step((B,))), DAY)),
        ("{steps: [{event: A}, {event: B, within: 1h}]}", Journey((Step((A,)), Step((B,), HOUR)))),
        (
            "{within: 1d, steps: [{event: A}, {not: C}, {not: B, for: 1h}, {event: any}]}",
            Journey((Step((A,)), Silence((C,)), Silence((B,), HOUR), Step((EventRef(ANY_EVENT),))), DAY),
        ),
        ("{steps: [{not: A, for: 1d}, {event: A}]}", Journey((Silence((A,), DAY), Step((A,))))),
        (
            "{per: properties.id, steps: [{event: A}, {not: B, for: 1h, per: 'properties.lines[].id'}]}",
            Journey((Step((A,)), Silence((B,), HOUR, "properties.lines[].id")), None, "properties.id"),
        ),
        (
            "{steps: [{event: A, where: {properties.n: {gte: 3}}}, {any: [B, {event: C, where: {name: C}}], within: 1h}]}",
            Journey(
                (
                    Step((EventRef("A", (Test("properties.n", Operator.GTE, 3),)),)),
                    Step((B, EventRef("C", (Test("name", Operator.EQ, "C"),))), HOUR),
                )
            ),
        ),
    ],
)
def test_what_is_written_is_what_is_meant(sequence: str, condition: Condition) -> None:
    assert rule(sequence).segment.when == condition


AB = "{event: A}, {event: B}"


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ("A", "3:18: `sequence` must be a mapping, not text (write `steps: ["),
        ("{within: 1d}", "3:18: 'steps' is missing here (write `steps: ["),
        ("{steps: []}", "3:26: `steps` is empty"),
        (f"{{within: 1d, steps: [{AB}], gap: 1d}}", "3:64: unknown key 'gap' (known: per, steps, within)"),
        (f"{{within: 1d, steps: [{', '.join(11 * ['{event: A}'])}]}}", "3:38: `steps` has 11 entries, more than 10"),
        ("{steps: [A, {event: B, within: 1h}]}", "3:27: a step must be a mapping, not text"),
        ("{steps: [{within: 1h}, {event: B, within: 1h}]}", "3:27: a step says what happens or what does not (write"),
        ("{within: 1d, steps: [{event: A, not: B}, {event: B}]}", "3:50: 'not' is a step of its own beside 'event'"),
        (
            "{steps: [{event: A}, {event: B, for: 1h}]}",
            "3:50: unknown key 'for' (how long a step may take is `within`; `for` belongs to `not`)",
        ),
        (
            "{steps: [{event: A}, {not: B, within: 1h}]}",
            "3:48: unknown key 'within' (how long nothing happens is `for: 30m`)",
        ),
        (
            "{steps: [{event: A}, {not: B, where: {properties.a: 1}, for: 1h}]}",
            "3:48: unknown key 'where' (write `not: {event: <name>, where: {...}}`)",
        ),
        (
            "{steps: [{event: A}, {any: [B, C], where: {properties.a: 1}, within: 1h}]}",
            "3:53: unknown key 'where' (write it at each: `any: [{event: <name>, where: {...}}]`)",
        ),
        ("{steps: [{event: A}]}", "3:26: a sequence has at least two steps (write `event: <name>` for one event"),
        ("{steps: [{not: A, for: 1h}]}", "3:26: no step of this sequence happens (say what happens before or after it"),
        ("{steps: [{not: A}, {event: B}]}", "3:27: 'for' is missing here (say for how long before the first step"),
        ("{steps: [{event: A}, {not: B}]}", "3:39: 'for' is missing here (say for how long: `for: 30m`)"),
        (
            "{steps: [{event: A, within: 1h}, {event: B, within: 1h}]}",
            "3:38: the first step has no step before it (it limits the time since the step before",
        ),
        (
            f"{{steps: [{AB}]}}",
            "3:39: nothing limits how long this step may take, so all before it is kept for ever (add `within: 24h` to it",
        ),
        (
            "{steps: [{event: A}, {event: B, within: 1h}, {event: C}]}",
            "3:63: nothing limits how long this step may take",
        ),
        (
            "{steps: [{event: A}, {event: B, within: 1h, per: properties.id}]}",
            "3:62: 'per' in a step needs 'per' beside 'steps' (which says what is the same in all)",
        ),
        ("{per: id, within: 1d, steps: [{event: A}, {event: B}]}", "3:24: a path starts with properties, context or"),
        (
            "{steps: [{event: A}, {not: C, for: 2h}, {event: B, within: 1h}]}",
            "3:69: the silence before this step lasts 2h, longer than this",
        ),
        (
            "{within: 2h, steps: [{event: A}, {not: C, for: 1h}, {event: B}, {not: C, for: 61m}, {event: B}]}",
            "3:19: the silences between the steps last 2h1m, longer than this",
        ),
        ("{steps: [{event: A}, {not: B, for: 3651d}]}", "3:53: `for` must be at least 0.001s and at most 3650d"),
    ],
)
def test_each_error_has_its_place_and_a_hint(sequence: str, expected: str) -> None:
    with pytest.raises(RuleErrors) as caught:
        rule(sequence)
    (error,) = map(str, caught.value.errors)
    assert error.startswith(f"x.yaml:{expected}")


def test_limits_that_are_just_met_are_no_error() -> None:
    assert not rule("{within: 2h, steps: [{event: A}, {not: C, for: 2h}, {event: B, within: 2h}]}").warnings


def test_a_limit_that_limits_nothing_is_warned_of() -> None:
    (warning,) = rule("{within: 1h, steps: [{event: A}, {event: B, within: 2h}]}").warnings
    assert "this limits nothing: all steps lie within 1h" in warning.message
    assert (warning.line, warning.column) == (3, 62)


def test_a_segment_that_nobody_leaves_is_warned_of_and_each_completion_is_a_rise() -> None:
    text = "segment: x\nwhen: {sequence: {within: 1d, steps: [{event: A}, {event: B}]}}\n"
    (warning,) = parse_rule(text, "x.yaml").warnings
    assert "nobody ever leaves" in warning.message
    assert not parse_rule(f"{text}exit: {{on: C}}\n", "x.yaml").warnings


# --- stories of one customer ----------------------------------------------------------------------------------------

T = 1_700_000_000_000


def event(name: str, at: int, number: int = 0, **properties: Any) -> Event:
    """An event that happened `at` milliseconds after the beginning."""
    identity = f"{name}{at}-{number}-{properties}"
    return Event(identity, name, T + at, "c", properties, received_at=T + at)


def played(when: Condition, *events: Event, exit_: Exit | None = None) -> Customer:
    """A customer of whom these events were heard, in this order."""
    customer = Customer(rules([Segment("s", when, exit_)]))
    for one in events:
        customer.apply(one, 0)
    return customer


def told(customer: Customer) -> list[tuple[str, int]]:
    return [(one.kind, one.effective_at - T) for one in customer.transitions]


def progress(customer: Customer, at: int) -> Any:
    """What evidence would say at a moment."""
    (segment,) = customer.rules.plan.segments
    assert customer.profile is not None
    (found,) = segment.condition.evidence(customer.profile, T + at)
    return found["actual"]


def trail(customer: Customer) -> Any:
    """What is kept of the only journey: `[[settled, since, times, marks], time, ...]`."""
    assert customer.profile is not None
    (slot,) = customer.rules.plan.slots.values()
    assert isinstance(slot, Trail)
    return customer.profile.slots[slot.key]


def test_the_event_that_a_later_step_follows_need_not_be_the_newest() -> None:
    """Of two second steps the older belongs to the instance that is still in time.

    0 A      20 A        30 B  30 X     32 B       45 C         within 40
             (-- no X --]
    A 20 and B 30: nothing lies between them. A 20 and B 32: X does, so B 32 goes with A 0, which is too long ago for C.
    """
    journey = Journey((Step((A,)), Silence((X,), 10), Step((B,)), Step((C,))), 40)
    story = [event("A", 0), event("A", 20), event("B", 30), event("X", 30), event("B", 32), event("C", 45)]
    customer = played(journey, *story)
    assert told(customer) == [("entered", 45)]
    assert [one["at"] for one in progress(customer, 45)["done"]] == [iso(20), iso(30), iso(45)]


def test_what_a_silence_broke_long_ago_does_not_come_back() -> None:
    """The event that broke it is forgotten before the step that it stood before; that one must not count then.

    -5 X   0 A    12 X    17 A              no X for 10 before A: neither counts
    """
    journey = Journey((Silence((X,), 10), Step((A,))))
    customer = played(journey, event("X", -5), event("A", 0), event("X", 12), event("A", 17))
    assert trail(customer)[0][2] == [T, T + 12, T + 17]
    assert trail(customer)[1:] == []
    assert told(customer) == []


def test_the_newest_completion_is_known_when_all_are_settled() -> None:
    journey = Journey((Step((A,)), Step((B,), 10)))
    story = [event(name, at) for at in (0, 30, 100) for name in "AB"]
    customer = played(journey, *story)
    assert trail(customer)[0][0] == T + 30  # out of reach of any event that may still come
    assert trail(customer)[1:] == [T + 30, T + 100]
    assert told(customer) == [("entered", 0)]


def test_an_event_that_is_several_things_is_kept_once_and_is_one_step_of_an_instance() -> None:
    """Three of the same: each step is an event of its own."""
    any_event = EventRef(ANY_EVENT)
    journey = Journey((Step((A, any_event)), Step((any_event,)), Step((A,))), 100)
    customer = played(journey, event("A", 0), event("A", 1))
    assert len(trail(customer)[0][2]) == 2
    assert told(customer) == []
    customer.apply(event("A", 2), 0)
    assert told(customer) == [("entered", 2)]


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (event("X", 5), [("entered", 60), ("exited", 80)]),  # between A and B, so they are no instance
        (event("X", 10), [("entered", 60), ("exited", 80)]),  # after B at the same time: B's silence is broken
        (event("X", 60), [("entered", 60), ("exited", 80)]),  # at the last millisecond of the silence
        (event("X", 61), [("entered", 60)]),
        (event("X", -1), [("entered", 60)]),
    ],
)
def test_what_is_heard_of_late_takes_a_completion_back(late: Event, expected: list[tuple[str, int]]) -> None:
    """A at 0, B at 10, no X between them nor for 50 after: complete at 60. The answer comes when it is 80."""
    journey = Journey((Step((A,)), Silence((X,)), Step((B,)), Silence((X,), 50)), 100)
    for exit_ in (None, Exit((), 1000)):
        customer = played(journey, event("A", 0), event("B", 10), event("Z", 80), late, exit_=exit_)
        assert told(customer) == expected


def test_what_is_heard_of_late_completes_a_journey_for_as_long_as_it_could_take() -> None:
    """Two steps within 30 and a silence of 20 after them: what is 49 old counts, what is 50 old goes to the late events."""
    journey = Journey((Step((A,)), Step((B,)), Silence((X,), 20)), 30)
    in_time = played(journey, event("B", 60), event("Z", 79), event("A", 30))
    assert in_time.outcomes == {"applied": 3}
    in_time.wake(T + 200, "each")
    assert told(in_time) == [("entered", 80)]
    too_late = played(journey, event("B", 60), event("Z", 80), event("A", 30))
    assert too_late.outcomes == {"applied": 2, "late": 1}
    too_late.wake(T + 200, "each")
    assert told(too_late) == []


def test_an_event_that_no_step_means_is_not_late_for_the_journey() -> None:
    """It has the name of a step, but not what the step asks for: it is applied, however old."""
    small = EventRef("A", (Test("properties.n", Operator.LT, 3),))
    large = EventRef("A", (Test("properties.n", Operator.GT, 5),))
    journey = Journey((Step((large,)), Silence((small,)), Step((B,), 10)))
    customer = played(journey, event("Z", 100), event("A", 0, n=4), event("A", 0, n=6), event("A", 0, n=2))
    assert customer.outcomes == {"applied": 2, "late": 2}


def test_silences_and_steps_are_about_the_same_value() -> None:
    """Bought one of the two that were looked at: the other one is left."""
    journey = Journey((Step((A,)), Step((B,), 10), Silence((X,), 20, "properties.lines[].id")), None, "properties.id")
    viewed = [event("A", 0, id=1), event("A", 1, id="2"), event("B", 2, id="1"), event("B", 3, id=2.0)]
    other = played(journey, *viewed, event("B", 4, id="3"), event("X", 5, lines=[{"id": 9}, {"id": 1}]))
    other.wake(T + 100, "each")
    assert told(other) == [("entered", 23)]
    both = played(journey, *viewed, event("X", 5, lines=[{"id": 2}, {"id": 1}]))
    both.wake(T + 100, "each")
    assert told(both) == []


@pytest.mark.parametrize("value", [None, [], {}, {"id": 1}])
def test_what_is_no_value_binds_nothing(value: Any) -> None:
    journey = Journey((Step((A,)), Step((B,), 10)), None, "properties.id")
    assert told(played(journey, event("A", 0, id=value), event("B", 1, id=value))) == []
    assert told(played(journey, event("A", 0, id=""), event("B", 1, id=""))) == [("entered", 1)]


def test_two_segments_share_what_they_keep_of_one_journey() -> None:
    journey = Journey((Step((A,)), Step((B,), 10)))
    other = Journey((Step((A,)), Step((B,), 11)))
    plan = rules([Segment("a", journey), Segment("b", journey, Exit((C,)))]).plan
    assert len(plan.slots) == 1
    assert len(rules([Segment("a", journey), Segment("b", other)]).plan.slots) == 2


# --- how much is kept -----------------------------------------------------------------------------------------------


def test_the_newest_events_are_kept_and_what_has_completed_stands() -> None:
    """A B, and then so many A that A B is forgotten: the customer stays in, and one more B completes anew."""
    journey = Journey((Step((A,)), Step((B,))), 1000)
    many = [event("A", 10 + number) for number in range(EVENTS)]
    customer = played(journey, event("A", 0), event("B", 1), *many, event("B", 500))
    assert len(trail(customer)[0][2]) == EVENTS
    assert trail(customer)[1:] == [T + 1, T + 500]
    assert told(customer) == [("entered", 1)]


@pytest.mark.parametrize(("others", "expected"), [(EVENTS - 2, [("entered", 900)]), (EVENTS - 1, [])])
def test_a_step_that_is_forgotten_leads_to_nothing(others: int, expected: list[tuple[str, int]]) -> None:
    journey = Journey((Step((A,)), Silence((X,), 1), Step((B,)), Step((C,))), 1000)
    noise = [event("B", 10, number) for number in range(others)]
    assert told(played(journey, event("A", 0), *noise, event("C", 900))) == expected


def test_a_silence_that_waits_is_given_up_with_the_steps_before_it() -> None:
    """The silence after A B is broken, but A B is forgotten: nobody can tell that it was theirs, so it never completes."""
    journey = Journey((Step((A,)), Step((B,)), Silence((X,), 500)), 100)
    many = [event("A", 10 + number) for number in range(EVENTS)]
    customer = played(journey, event("A", 0), event("B", 1), *many, event("X", 200))
    customer.wake(T + 5000, "each")
    assert told(customer) == []


def test_up_to_when_events_were_forgotten_never_goes_back() -> None:
    """An older event that comes late and finds no room does not make the silence before it known."""
    journey = Journey((Silence((X,), 100), Step((A,)), Step((B,), 100)))
    noise = [event("B", 0, number) for number in range(EVENTS)]
    customer = played(journey, event("X", 0), *noise, event("A", 99), event("B", 100), event("B", -5))
    assert trail(customer)[0][1] == T
    assert told(customer) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_silence_of_which_not_all_is_known_counts_as_broken(known: bool) -> None:
    """X lies in the silence before A; forgotten or not, A does not count."""
    journey = Journey((Silence((X,), 100), Step((A,)), Step((B,), 100)))
    noise = [event("B", 10, number) for number in range(EVENTS - 3 + (not known))]
    customer = played(journey, event("X", 0), *noise, event("A", 50), event("B", 60))
    assert (T in trail(customer)[0][2]) is known
    assert told(customer) == []


def test_values_are_bounded_for_each_event_and_for_all_together() -> None:
    journey = Journey((Step((A,)), Step((B,), 1000)), None, "properties.lines[].id")
    lines = [{"id": number} for number in range(EVENT_VALUES + 1)]
    assert told(played(journey, event("A", 0, lines=lines), event("B", 1, lines=lines[-2:-1]))) == [("entered", 1)]
    assert told(played(journey, event("A", 0, lines=lines), event("B", 1, lines=lines[-1:]))) == []
    many = [event("A", at, lines=[{"id": f"{at} {one}"} for one in range(EVENT_VALUES)]) for at in range(6)]
    customer = played(journey, *many)
    assert sum(map(len, trail(customer)[0][3])) == VALUES
    assert trail(customer)[0][1] == T + 1
    customer.apply(event("B", 10, lines=[{"id": "1 0"}]), 0)
    assert told(customer) == []
    customer.apply(event("B", 11, lines=[{"id": "5 0"}]), 0)
    assert told(customer) == [("entered", 11)]


def test_only_a_change_of_completions_touches_segments() -> None:
    """A step that completes nothing, and a silence that breaks nothing, are kept and change nothing."""
    journey = Journey((Step((A,)), Step((B,), 10), Silence((X,), 10)))
    (slot,) = rules([Segment("s", journey)]).plan.slots.values()
    state: dict[int, Any] = {}
    answers = [
        slot.add(state, one.event_time, one, one.event_time)
        for one in (event("X", 0), event("B", 1), event("A", 2), event("B", 3), event("X", 4), event("X", 5))
    ]
    assert answers == [False, False, False, True, True, False]


# --- evidence -------------------------------------------------------------------------------------------------------


def iso(at: int) -> str:
    return f"2023-11-14T22:13:20.{at:03d}Z"


def test_evidence_says_what_is_done_and_what_is_waited_for() -> None:
    journey = Journey((Step((A,)), Silence((X,)), Step((B, C), 10), Silence((X,), 20)), 100, "properties.id")
    customer = played(journey, event("X", 0, id=7))
    first = {"done": [], "awaited": "A"}
    assert progress(customer, 0) == first
    customer.apply(event("A", 1, id=7), 0)
    done = [{"step": "A", "at": iso(1)}]
    assert progress(customer, 11) == {"done": done, "value": "7", "awaited": "no X, then B or C within 0.01s"}
    assert progress(customer, 12) == first
    customer.apply(event("C", 5, id="7"), 0)
    done = [*done, {"step": "B or C", "at": iso(5)}]
    assert progress(customer, 24) == {"done": done, "value": "7", "awaited": "no X for 0.02s"}
    assert progress(customer, 25) == {"completed": iso(25), "done": done, "value": "7"}
    customer.wake(T + 25, "each")
    (entered,) = customer.transitions
    assert entered.evidence == [
        {
            "condition": "A, then no X, then B or C within 0.01s, then no X for 0.02s, the same properties.id",
            "holds": True,
            "actual": {"completed": iso(25), "done": done, "value": "7"},
            "threshold": {
                "steps": ["A", "no X", "B or C within 0.01s", "no X for 0.02s"],
                "within": "0.1s",
                "per": "properties.id",
            },
        }
    ]


def test_evidence_is_about_the_newest_completion() -> None:
    journey = Journey((Step((A,)), Step((B,), 10)))
    customer = played(journey, event("A", 0), event("B", 1), event("A", 5), event("B", 6))
    assert progress(customer, 6)["done"] == [{"step": "A", "at": iso(5)}, {"step": "B", "at": iso(6)}]


def test_evidence_leaves_out_what_a_silence_has_ended() -> None:
    journey = Journey((Step((A,)), Silence((X,)), Step((B,), 10)))
    customer = played(journey, event("A", 0))
    assert progress(customer, 1)["done"] == [{"step": "A", "at": iso(0)}]
    customer.apply(event("X", 1), 0)
    assert progress(customer, 1) == {"done": [], "awaited": "A"}


def test_evidence_of_a_completion_whose_events_are_forgotten_says_when_it_was() -> None:
    journey = Journey((Step((A,)), Step((B,), 10)))
    customer = played(journey, event("A", 0), event("B", 1), event("A", 400))
    assert progress(customer, 400) == {"completed": iso(1)}


def test_evidence_without_any_event_says_what_comes_first() -> None:
    journey = Journey((Silence((X,), 10), Step((A,)), Step((B,), 10)))
    customer = played(Happened(EventRef("Z")), event("Z", 0))
    (segment,) = rules([Segment("s", journey)]).plan.segments
    assert customer.profile is not None
    (found,) = segment.condition.evidence(customer.profile, T)
    assert found["actual"] == {"done": [], "awaited": "no X for 0.01s, then A"}
    assert not found["holds"]
