"""Rules that change while the job runs: history that is handed over, customers who are silent, and what cannot be used."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flink_jobs.batch import HANDOVER_PARTITION, REQUEST_PARTITION
from flink_jobs.outputs import Destination
from profiles import Profile, decode_event, decode_profile, encode_profile
from rules import handover
from rules.compiler import compile_plan
from rules.plan import Limits
from rules.rule_set import RuleSet
from rules.step import step
from tests.frames import DAY, FILES, MINUTE, MONTH, START, Operator, payload, record

LOYAL = "segment: loyal\nwhen: {event: Order Completed, within: 60d, count: {gte: 2}}\n"
BOTH = {**FILES, "loyal.yaml": LOYAL}
WARMING, LIVE = payload(2, BOTH, {"loyal": None}), payload(2, BOTH)


class Counted:
    """Somebody who runs the whole rule set over history."""

    version, code = 2, 5

    def __init__(self, made: bytes = LIVE) -> None:
        self.plan = compile_plan(RuleSet.from_payload(made).segments, Limits())

    def shadow(self, customer: str, *values: bytes) -> bytes:
        profile: Profile | None = None
        for offset, value in enumerate(values, 1):
            profile, _ = step(profile, self, decode_event(value, customer, MONTH, 0, offset), 0)
        assert profile is not None
        return encode_profile(profile)


ORDERS = [record(at=START + day * DAY, message_id=f"o{day}") for day in range(4)]


def stages(operator: Operator) -> list[tuple[int, str]]:
    return [(one["version"], one["stage"]) for one in operator.written(Destination.RULE_STATUS)]


def entered(operator: Operator, segment: str = "loyal") -> list[Any]:
    changes = operator.written(Destination.SEGMENT_CHANGES)
    return [(one["subject"], one["data"]["cause"]["kind"]) for one in changes if one["data"]["segment"] == segment]


def test_a_new_segment_waits_for_its_history_and_then_has_everybody() -> None:
    """Silent ones too. What comes before the cut is counted by the history, what comes after it by the job, each once."""
    operator = Operator(rules=payload(1))
    operator.one("silent", *ORDERS[:2])
    operator.one("busy", ORDERS[0])
    assert operator.rules(WARMING) == (True, "4 segments, 1 warming")
    operator.one("busy", ORDERS[1])
    assert entered(operator) == []
    cut = operator.offset
    history = Counted()
    operator.hand_over(2, "silent", cut, history.shadow("silent", *ORDERS[:2]))
    operator.hand_over(2, "busy", cut, history.shadow("busy", *ORDERS[:2]))
    operator.end_handover(2, 2)
    assert entered(operator) == []
    operator.one("busy", ORDERS[2])
    operator.rules(LIVE)
    operator.sweep()
    assert sorted(entered(operator)) == [("busy", "rule change"), ("silent", "rule change")]
    assert stages(operator)[-4:] == [(2, "warming"), (2, "taken in"), (2, "live"), (2, "reconciled")]
    assert operator.counts["handovers"] == operator.counts["merged"] == 2
    busy = decode_profile(operator.states["busy"])
    assert (busy.rules, busy.waiting) == (5, [])
    orders = [START + day * DAY for day in range(3)]
    assert orders[-2:] in [times[-2:] for times in busy.slots.values() if isinstance(times, list) and len(times) >= 2]
    members = dict(operator.outputs[Destination.CUSTOMER_SEGMENTS])
    assert msgspec.json.decode(members[b"silent"] or b"")["segments"]["loyal"] == {"since": "2026-01-02T00:00:00.000Z"}
    assert msgspec.json.decode(members[b"silent"] or b"")["rules"] == 2
    operator.check_accounts(5)


def test_the_customer_who_comes_first_is_merged_by_what_comes() -> None:
    operator = Operator(rules=payload(1))
    operator.one("c", ORDERS[0])
    operator.rules(WARMING)
    operator.hand_over(2, "c", operator.offset, Counted().shadow("c", ORDERS[0]))
    operator.rules(LIVE)
    operator.one("c", ORDERS[1])
    assert entered(operator) == [("c", "event")]
    operator.sweep()
    assert entered(operator) == [("c", "event")]
    assert operator.counts["merged"] == 1


def test_a_customer_of_whom_only_history_knows_is_adopted() -> None:
    operator = Operator(rules=payload(1))
    operator.rules(WARMING)
    operator.hand_over(2, "c", 0, Counted().shadow("c", *ORDERS[:2]))
    assert operator.counts["entered"] == 0
    operator.rules(LIVE)
    operator.sweep()
    assert sorted(set(operator.transitions)) == [("c", "entered", "buyers"), ("c", "entered", "loyal")]
    assert operator.timers["c"] > 0


def test_what_is_handed_over_survives_events_and_restarts() -> None:
    """The shadow of somebody new comes before the first event of theirs."""
    operator = Operator(rules=payload(1))
    operator.rules(WARMING)
    operator.hand_over(2, "c", 0, Counted().shadow("c", ORDERS[0]))
    operator.one("c", ORDERS[1])
    assert not entered(operator)
    restarted = Operator(rules=WARMING)
    restarted.rules(LIVE)
    restarted.states, restarted.timers = operator.states, operator.timers
    restarted.sweep()
    assert entered(restarted) == [("c", "rule change")]


@pytest.mark.parametrize("version", [1, 3])
def test_what_is_handed_over_for_another_version_is_ignored(version: int) -> None:
    operator = Operator(rules=payload(1))
    operator.rules(WARMING)
    operator.hand_over(version, "c", 0, Counted().shadow("c", *ORDERS))
    operator.end_handover(version, 1)
    assert operator.counts["handovers_ignored"] == 1
    assert stages(operator)[-1] == (2, "warming")
    assert "c" not in operator.states


@pytest.mark.parametrize("partition", [HANDOVER_PARTITION, REQUEST_PARTITION])
@pytest.mark.parametrize("values", [(), (1, "x"), (1, 2, "c", 0, "cut", b""), ({"a": 1},)])
def test_control_records_that_are_none_are_dropped_and_counted(partition: int, values: tuple[Any, ...]) -> None:
    operator = Operator(rules=WARMING)
    operator.one("c", ORDERS[0])
    before = dict(operator.states)
    operator.control(partition, "c", *values)
    assert operator.counts["control_dropped"] == 1
    assert operator.states == before


@pytest.mark.parametrize("shadow", [b"", b"\x01\xc1", b"\x07", msgspec.msgpack.encode([1, 2])])
def test_a_shadow_that_cannot_be_read_is_reported_and_the_customer_goes_on_without(shadow: bytes) -> None:
    operator = Operator(rules=payload(1))
    operator.one("c", ORDERS[0])
    operator.rules(WARMING)
    operator.hand_over(2, "c", 5, shadow)
    operator.rules(LIVE)
    operator.one("c", ORDERS[1], ORDERS[2])
    assert operator.counts["failed_handovers"] == 1
    assert entered(operator) == [("c", "event")]
    operator.check_accounts(3)
    assert operator.written(Destination.DEAD_LETTERS)[0]["source"]["partition"] == HANDOVER_PARTITION


def test_too_much_for_one_customer_is_given_up_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "MOST_ENTRIES", 3)
    operator = Operator(rules=payload(1))
    operator.rules(WARMING)
    operator.one("c", *[record(at=START + number, message_id=f"m{number}") for number in range(5)])
    assert operator.counts["backfill_overflow"] == 1
    assert decode_profile(operator.states["c"]).waiting == [4, -1, [], None]
    operator.rules(LIVE)
    operator.sweep()
    assert entered(operator) == []
    operator.one("c", *[record(at=START + MINUTE + number, message_id=f"n{number}") for number in range(2)])
    assert entered(operator) == [("c", "event")]


def test_a_removed_segment_is_left_by_the_silent_and_its_state_goes() -> None:
    operator = Operator(rules=payload(1))
    operator.one("c", ORDERS[0])
    size = len(operator.states["c"])
    files = {name: text for name, text in FILES.items() if name == "vip.yaml"}
    operator.rules(payload(2, files))
    operator.sweep()
    assert operator.transitions[-1] == ("c", "exited", "buyers")
    assert len(operator.states["c"]) < size
    assert operator.counts["reconciled"] == 1


def test_warming_that_another_version_takes_the_place_of_leaves_nothing_behind() -> None:
    operator = Operator(rules=payload(1))
    operator.rules(WARMING)
    operator.one("c", ORDERS[0])
    operator.hand_over(2, "c", 1, Counted().shadow("c", ORDERS[0]))
    operator.hand_over(2, "unknown", 1, Counted().shadow("unknown", ORDERS[0]))
    operator.rules(payload(3))
    operator.sweep()
    assert list(operator.states) == ["c"]
    assert decode_profile(operator.states["c"]).waiting == []


def test_an_explanation_changes_nothing() -> None:
    operator = Operator(rules=payload(1))
    operator.one("c", ORDERS[0])
    before, timers = dict(operator.states), dict(operator.timers)
    answer = operator.ask_why("c", "buyers")
    assert (answer["customer"], answer["known"]) == ("c", True)
    assert [(one["segment"], one["in"]) for one in answer["segments"]] == [("buyers", True)]
    assert operator.ask_why("nobody")["known"] is False
    assert (operator.states, operator.timers) == (before, timers)


def test_an_explanation_knows_what_was_handed_over_before_the_customer_is_gone_through() -> None:
    operator = Operator(rules=payload(1))
    operator.one("c", ORDERS[0])
    operator.rules(WARMING)
    assert [one["in"] for one in operator.ask_why("c", "loyal")["segments"]] == [False]
    operator.one("c", ORDERS[1])
    operator.hand_over(2, "c", operator.offset, Counted().shadow("c", *ORDERS[:2]))
    operator.rules(LIVE)
    before = dict(operator.states)
    assert [one["in"] for one in operator.ask_why("c", "loyal")["segments"]] == [True]
    assert operator.states == before
    assert entered(operator) == []
