"""The worker: frames in, frames out; whatever a record holds it is accounted for, and one customer's trouble is theirs alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from flink_jobs import batch as module
from flink_jobs import following
from flink_jobs.batch import TIMER_PARTITION
from flink_jobs.frames import BATCH, HELLO, PROTOCOL_VERSION, RULES, ProtocolError
from flink_jobs.outputs import KEY_LIMIT, LATE_LIMIT, RAW_LIMIT, Destination
from flink_jobs.worker import Worker
from profiles import Event, decode_profile
from rules.step import Timer, step
from tests.frames import DAY, FILES, MINUTE, MONTH, SETTINGS, START, Operator, payload, record
from tests.records import HOSTILE, QUARANTINED, STRANGE_BUT_GOOD

# --- one record of each kind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_record_that_is_no_event_is_a_dead_letter(kind: str) -> None:
    operator = Operator()
    operator.one("c", HOSTILE[kind])
    assert operator.counts["dead_lettered"] == 1
    operator.check_accounts(1)
    (letter,) = operator.written(Destination.DEAD_LETTERS)
    assert letter["stage"] == "intake"
    assert letter["reason"]
    assert letter["source"] == {"topic": "events", "partition": 0, "offset": 1, "timestamp": "2026-01-31T00:00:00.000Z"}
    assert letter["trace_id"] == "events-0-1"
    assert base64.b64decode(letter["raw_base64"]) == (HOSTILE[kind] or b"")[:RAW_LIMIT]
    assert operator.outputs[Destination.DEAD_LETTERS][0][0] == b"c"
    assert not operator.states, "a record that is no event leaves nothing behind"


@pytest.mark.parametrize("kind", QUARANTINED)
def test_an_event_from_the_future_is_quarantined(kind: str) -> None:
    """It must not move the clock: the customer's windows would all be over."""
    operator = Operator()
    operator.one("c", record(at=START))
    before = dict(operator.states)
    operator.one("c", QUARANTINED[kind])
    assert operator.counts["quarantined"] == 1
    operator.check_accounts(2)
    assert operator.written(Destination.DEAD_LETTERS)[0]["stage"] == "quarantine"
    assert operator.states == before


@pytest.mark.parametrize("kind", STRANGE_BUT_GOOD)
def test_what_is_strange_but_an_event_is_applied(kind: str) -> None:
    operator = Operator()
    operator.one("c", STRANGE_BUT_GOOD[kind])
    assert operator.counts["applied"] == 1
    operator.check_accounts(1)
    decode_profile(operator.states["c"])


def test_no_reason_quotes_what_the_record_holds() -> None:
    """Reasons are read by more people than the records are, and end up in logs."""
    operator = Operator()
    secret = "4111111111111111"
    for value in (
        f'{{"event": "A", "timestamp": "{secret}x"}}',
        f'{{"event": "{secret}" "timestamp": 1}}',
        f'{{"type": "{secret}", "timestamp": {START}}}',
        f'{{"event": "A", "timestamp": {START}, "properties": "{secret}"}}',
        f'{{"event": "A", "timestamp": {START}, "messageId": {{"{secret}": 1}}}}',
    ):
        operator.one("c", value.encode())
    reasons = [letter["reason"] for letter in operator.written(Destination.DEAD_LETTERS)]
    assert len(reasons) == 5
    assert not any(secret in reason for reason in reasons)


def test_everything_at_once_is_accounted_for() -> None:
    """The job's promise: in = applied + duplicate + late + quarantined + dead-lettered."""
    operator = Operator()
    values = [*HOSTILE.values(), *QUARANTINED.values(), *STRANGE_BUT_GOOD.values()]
    repeated = record(message_id="again")
    too_long = operator.arrival(b"x" * 100, size=10_000_000)
    late = operator.arrival(record(event="Order Completed", at=START - 91 * DAY))
    operator.send({"c": [operator.arrival(value) for value in [*values, repeated, repeated]] + [too_long, late]})
    operator.send({"": [operator.arrival(value, key=b"\xff") for value in values]})
    operator.check_accounts(2 * len(values) + 4)
    assert operator.counts["duplicate"] == 1
    assert operator.counts["late"] == 1
    assert operator.counts["quarantined"] == len(QUARANTINED)
    assert operator.counts["dead_lettered"] == len(HOSTILE) + 1 + len(values)


def test_a_record_that_names_nobody_is_a_dead_letter_with_its_own_key() -> None:
    operator = Operator()
    operator.send({"": [operator.arrival(record(), key=b"\xff\x00"), operator.arrival(record())]})
    operator.check_accounts(2)
    assert [key for key, _ in operator.outputs[Destination.DEAD_LETTERS]] == [b"\xff\x00", None]
    assert "no customer id" in operator.written(Destination.DEAD_LETTERS)[0]["reason"]


def test_a_record_that_was_cut_off_is_reported_and_not_looked_into() -> None:
    operator = Operator()
    start = record()  # a whole event: that it parses must not matter
    operator.send({"c": [operator.arrival(start, size=10_000_000)]})
    operator.check_accounts(1)
    (letter,) = operator.written(Destination.DEAD_LETTERS)
    assert letter["size"] == 10_000_000
    assert letter["reason"] == "longer than allowed: 10000000 bytes"


def test_a_long_dead_letter_repeats_only_the_start() -> None:
    operator = Operator()
    operator.one("c", b"x" * 200_000)
    (letter,) = operator.written(Destination.DEAD_LETTERS)
    assert letter["size"] == 200_000
    assert base64.b64decode(letter["raw_base64"]) == b"x" * RAW_LIMIT


def test_a_key_without_end_is_cut_off() -> None:
    """A key of two megabytes once came back with its dead letter, which Kafka refused for ever: the job never got past it."""
    operator = Operator()
    operator.send({"": [operator.arrival(record(), key=b"k" * 2_000_000)]})
    operator.check_accounts(1)
    ((key, _),) = operator.outputs[Destination.DEAD_LETTERS]
    assert key == b"k" * KEY_LIMIT


def test_a_record_time_that_is_no_date_does_not_matter() -> None:
    operator = Operator()
    for time in (-1, 2**62, -(2**62)):
        operator.send({"c": [operator.arrival(b"?", time=time)]})
    operator.check_accounts(3)
    assert {letter["source"]["timestamp"] for letter in operator.written(Destination.DEAD_LETTERS)} == {None}


# --- duplicates and late events ----------------------------------------------------------------------------------------


def test_a_repeat_changes_nothing() -> None:
    operator = Operator()
    first = record(message_id="m1", properties={"revenue": 150})
    operator.one("c", first)
    before = dict(operator.states)
    operator.one("c", first, first)
    assert operator.states == before
    assert operator.counts["duplicate"] == 2
    assert operator.transitions == [("c", "entered", "buyers")], "twice 150 would have made a VIP"


def test_records_without_an_id_are_never_repeats_of_each_other() -> None:
    operator = Operator()
    operator.one("c", record(properties={"revenue": 100}), record(properties={"revenue": 100}))
    assert operator.counts["applied"] == 2
    assert ("c", "entered", "vip") in operator.transitions


def test_a_late_event_is_kept_word_for_word() -> None:
    operator = Operator()
    operator.one("c", record(at=MONTH))
    value = b'{ "event": "Order Completed",\n"timestamp": "2025-10-01T00:00:00Z", "x": [1, 2.50, "\\u00e9\xc3\xa9"] }'
    operator.one("c", value)
    operator.check_accounts(2)
    (_, written), (late,) = operator.outputs[Destination.LATE_EVENTS][0], operator.written(Destination.LATE_EVENTS)
    assert written is not None
    assert value in written
    assert late["late_by_ms"] == MONTH - 90 * DAY - 1_759_276_800_000
    assert late["event_time"] == "2025-10-01T00:00:00.000Z"


def test_a_very_long_late_event_is_told_of_without_its_record() -> None:
    """Kafka would refuse it for its length, whenever the job tried again."""
    operator = Operator()
    operator.one("c", record(at=MONTH))
    operator.one("c", record(at=START - 91 * DAY, note="x" * LATE_LIMIT))
    operator.check_accounts(2)
    (late,) = operator.written(Destination.LATE_EVENTS)
    assert late["record"] is None
    assert late["source"]["offset"] == operator.offset


# --- poison: an arrival that makes the core fail -----------------------------------------------------------------------


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make `step` fail for events of this name, and for timers if told."""

    def poison(name: str = "Poison", timers: bool = False) -> None:
        def failing(profile: Any, rules: Any, arrival: Any, *more: Any) -> Any:
            done = step(profile, rules, arrival, *more)  # it fails when the profile is changed already
            if (isinstance(arrival, Event) and arrival.name == name) or (timers and isinstance(arrival, Timer)):
                raise ZeroDivisionError("a message with personal data")
            return done

        monkeypatch.setattr(following, "step", failing)

    return poison


def test_one_failing_arrival_is_left_out_and_all_others_go_on(poisoned: Callable[..., None]) -> None:
    def run(operator: Operator, poison: bool) -> None:
        bad = [operator.arrival(record("Poison"))] if poison else []
        if not poison:
            operator.offset += 1
        operator.send(
            {
                "a": [operator.arrival(record(message_id="1", properties={"revenue": 150}))],
                "b": [
                    operator.arrival(record(message_id="2", properties={"revenue": 150})),
                    *bad,
                    operator.arrival(record(message_id="3", properties={"revenue": 60})),
                ],
                "c": [operator.arrival(record(message_id="4"))],
            }
        )

    untouched = Operator()
    run(untouched, poison=False)
    poisoned()
    operator = Operator()
    run(operator, poison=True)
    operator.check_accounts(5)
    assert operator.counts["dead_lettered"] == 1
    assert operator.states == untouched.states
    assert operator.outputs[Destination.SEGMENT_CHANGES] == untouched.outputs[Destination.SEGMENT_CHANGES]
    assert operator.timers == untouched.timers
    (letter,) = operator.written(Destination.DEAD_LETTERS)
    assert letter["stage"] == "step"
    assert letter["reason"].startswith("ZeroDivisionError in the core at test_worker.py:")
    assert "personal" not in letter["reason"]


def test_poison_alone_leaves_a_new_customer_unknown(poisoned: Callable[..., None]) -> None:
    poisoned()
    operator = Operator()
    operator.one("c", record("Poison"), record("Poison"))
    operator.check_accounts(2)
    assert not operator.states


def test_a_timer_that_fails_does_not_fire_for_ever(poisoned: Callable[..., None]) -> None:
    """It is given up, the customer stays as they are, and still expires one day."""
    operator = Operator()
    operator.one("c", record(at=START))
    due = operator.timers["c"]
    poisoned(timers=True)
    operator.advance(due)
    assert operator.counts["failed_timers"] == 1
    assert operator.written(Destination.DEAD_LETTERS)[0]["source"]["partition"] == TIMER_PARTITION
    assert operator.transitions == [("c", "entered", "buyers")]
    assert operator.timers["c"] > due
    before = operator.counts["failed_timers"]
    operator.advance(START + SETTINGS["expiry"])
    assert operator.counts["failed_timers"] > before, "the expiry was still to come"
    assert "c" not in operator.timers, "and it was not armed again when that failed as well"
    operator.check_accounts(1)


def test_what_fails_as_a_whole_is_refused_from_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that cannot be encoded is nobody's arrival's fault alone; the worker must come to an end all the same."""
    from profiles import encode_profile as real

    def failing(profile: Any) -> bytes:
        if len(profile.recent) > 16:
            raise OverflowError
        return real(profile)

    monkeypatch.setattr(module, "encode_profile", failing)
    operator = Operator()
    operator.one("c", *[record(message_id=str(number)) for number in range(5)])
    operator.check_accounts(5)
    assert operator.counts["applied"] == 2
    assert [one["source"]["offset"] for one in operator.written(Destination.DEAD_LETTERS)] == [3, 4, 5]


def test_a_customer_who_cannot_be_encoded_at_all_stays_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = Operator()
    operator.one("c", record())
    before = dict(operator.states)
    monkeypatch.setattr(module, "encode_profile", lambda profile: 1 // 0)
    operator.send({"c": [operator.arrival(record()), (None, START, TIMER_PARTITION, -1, 0, None)]})
    operator.check_accounts(2)
    assert operator.states == before


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (b"\x63whatever", "state has codec version 99, this build reads"),
        (b"\x01\xc1", "state is damaged"),
        (b"\x01", "state is damaged"),
        (b"\x01\x93\x01\x02", "state is damaged"),
        (b"\x01\x91\xa3abc", "state is damaged"),
    ],
)
def test_state_that_cannot_be_read_is_kept_and_all_arrivals_are_refused(state: bytes, reason: str) -> None:
    """Bytes of a newer build, or damage. Writing anything over them would destroy what could still be rescued."""
    operator = Operator()
    operator.states = {"c": state}
    timer = (None, START, TIMER_PARTITION, -1, 0, None)
    operator.send({"c": [operator.arrival(record()), timer, operator.arrival(b"?")], "d": [operator.arrival(record())]})
    operator.check_accounts(3)
    assert operator.states["c"] == state
    assert operator.counts["applied"] == 1
    assert operator.counts["failed_timers"] == 1
    assert all(letter["reason"].startswith(reason) for letter in operator.written(Destination.DEAD_LETTERS))


# --- profiles, timers, memberships -------------------------------------------------------------------------------------


def test_a_state_that_was_rewound_is_not_mixed_up_with_what_is_remembered() -> None:
    """After a failure the operator goes back to a checkpoint. The worker is a new one then, but should it ever not be ..."""
    operator = Operator()
    operator.one("c", record(message_id="1", properties={"revenue": 150}))
    checkpoint = dict(operator.states)
    operator.one("c", record(message_id="2", properties={"revenue": 60}))
    assert operator.transitions[-1] == ("c", "entered", "vip")
    operator.states = checkpoint
    operator.one("c", record(message_id="2", properties={"revenue": 60}))
    assert operator.counts["duplicate"] == 0
    changes = operator.written(Destination.SEGMENT_CHANGES)
    assert changes[-1]["id"] == changes[-2]["id"]


def test_time_alone_lets_a_customer_enter_and_leave() -> None:
    operator = Operator()
    operator.one("c", record("Cart Updated", at=START, properties={"item_count": 3}))
    operator.advance(START + 30 * MINUTE - 1)
    assert operator.transitions == []
    operator.advance(START + 30 * MINUTE)
    assert operator.transitions == [("c", "entered", "cart")]
    operator.advance(START + 30 * MINUTE + 3 * DAY)
    assert operator.transitions[1:] == [("c", "exited", "cart")]
    operator.check_accounts(1)


def test_who_expires_leaves_all_and_is_forgotten() -> None:
    operator = Operator(expiry=20 * DAY)
    operator.one("c", record(at=START, properties={"revenue": 500}))
    operator.advance(START + 20 * DAY - 1)
    assert operator.written(Destination.CUSTOMER_SEGMENTS)[-1]["segments"].keys() == {"vip"}
    operator.advance(START + 20 * DAY)
    assert operator.transitions[-1] == ("c", "exited", "vip")
    assert operator.outputs[Destination.CUSTOMER_SEGMENTS][-1] == (b"c", None)
    assert not operator.states
    assert not operator.timers


def test_who_expires_and_is_back_in_the_same_batch_has_no_memberships_to_tell_of() -> None:
    """The snapshot once spoke of the year 1970 and a sequence of 0."""
    operator = Operator(expiry=20 * DAY)
    operator.one("c", record(at=START, properties={"revenue": 500}))
    back = operator.arrival(record("Looked Around", at=START + 21 * DAY))
    operator.send({"c": [(None, START + 20 * DAY, TIMER_PARTITION, -1, 0, None), back]}, watermark=START + 20 * DAY)
    assert operator.transitions[-1] == ("c", "exited", "vip")
    assert operator.outputs[Destination.CUSTOMER_SEGMENTS][-1] == (b"c", None)
    assert "c" in operator.states


# --- rules -------------------------------------------------------------------------------------------------------------


def test_a_new_rule_set_is_followed_and_said_to_be() -> None:
    operator = Operator()
    assert operator.rules(payload(2, {"buyers.yaml": FILES["buyers.yaml"]})) == (True, "1 segments")
    operator.one("c", record(properties={"revenue": 500}))
    assert operator.transitions == [("c", "entered", "buyers")]
    words = operator.written(Destination.RULE_STATUS)
    assert [(one["version"], one["accepted"], one["running"]) for one in words] == [(1, True, 1), (2, True, 2)]
    assert operator.counts["rules_accepted"] == 2


@pytest.mark.parametrize(
    ("bad", "version"),
    [
        (b"", None),
        (b"\xff\xfe", None),
        (b"{}", None),
        (b"[" * 100_000, None),
        (b'{"version": "2"}', None),
        (payload(2).replace(b'"format": 1', b'"format": 9'), 2),
        (payload(2).replace(b"within: 7d", b"withn: 7d"), 2),
        (payload(2).replace(b"within: 7d", b"within: 7 days"), 2),
        (payload(2).replace(b"buyers.yaml", b"../../x"), 2),
    ],
)
def test_a_refused_rule_set_leaves_the_last_good_one_running(bad: bytes, version: int | None) -> None:
    operator = Operator()
    accepted, detail = operator.rules(bad)
    assert not accepted
    assert detail.startswith("rule set refused: ")
    assert operator.counts["rules_refused"] == 1
    word = operator.written(Destination.RULE_STATUS)[-1]
    assert (word["version"], word["accepted"], word["running"], word["detail"]) == (version, False, 1, detail)
    operator.one("c", record())
    assert operator.transitions == [("c", "entered", "buyers")]


def test_a_long_complaint_is_cut() -> None:
    names = [f"s{number}.yaml" for number in range(300)]
    bad = json.loads(payload(2))
    bad["files"] = {name: f"segment: {name}\nwhen: {{evnt: {'x' * 60}}}\n" for name in names}
    accepted, detail = Operator().rules(json.dumps(bad).encode())
    assert not accepted
    assert len(detail) <= 4000


def test_nothing_is_evaluated_before_the_first_rules() -> None:
    worker = Worker(lambda: START)
    frame = msgspec.msgpack.encode
    with pytest.raises(ProtocolError, match="before the rules"):
        worker.answer(frame([BATCH, 0, []]))
    worker.answer(frame([HELLO, PROTOCOL_VERSION, 0, 1, json.dumps(SETTINGS).encode()]))
    worker.answer(frame([RULES, b"refused"]))
    with pytest.raises(ProtocolError, match="before the rules"):
        worker.answer(frame([BATCH, 0, [["c", None, [[record(), START, 0, 1, 9, None]]]]]))
