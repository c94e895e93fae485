"""The bytes that go out: transitions as CloudEvents, memberships, dead letters, late events, word on rule sets.

One place builds them, so that every topic's form is in one file. Times inside are ISO 8601 in UTC with milliseconds.
`docs/schemas/` holds the JSON Schema of each.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import msgspec

from profiles import Event, Profile
from rules.compiled import moment
from rules.step import Transition


class Destination(IntEnum):
    """Where an output goes; the operator's router has the topics in this order. `LEARNER` is the other worker, and no topic."""

    LEARNER = -1
    SEGMENT_CHANGES = 0
    CUSTOMER_SEGMENTS = 1
    DEAD_LETTERS = 2
    LATE_EVENTS = 3
    RULE_STATUS = 4
    EXPLANATIONS = 5
    MODEL_UPDATES = 6
    MODEL_QUALITY = 7


Output = tuple[int, bytes | None, bytes | None]

RAW_LIMIT = 65_536
"""Bytes of a refused record that its dead letter repeats; the record itself lies at the place that the letter names."""

LATE_LIMIT = 524_288
"""Bytes up to which a late event's record is repeated. Kafka takes messages of a megabyte unless told otherwise."""

KEY_LIMIT = 4096
"""Bytes of a refused record's key that go on: no customer id is longer, and a key of megabytes would be refused for ever."""

_json = msgspec.json.Encoder()


class _TransitionData(msgspec.Struct, gc=False):
    customer: str
    segment: str
    version: int
    sequence: int
    effective_at: str
    emitted_at: str
    cause: dict[str, Any]
    evidence: list[dict[str, Any]]
    scores: dict[str, float | str]


class _CloudEvent(msgspec.Struct, gc=False):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    data: _TransitionData


def segment_change(transition: Transition, source: str, emitted_at: str) -> Output:
    """A transition as a CloudEvent, keyed by customer. `emitted_at` is the only part that differs between replays."""
    effective_at = moment(transition.effective_at)
    data = _TransitionData(
        transition.customer,
        transition.segment,
        transition.version,
        transition.sequence,
        effective_at,
        emitted_at,
        transition.cause,
        transition.evidence,
        transition.scores,
    )
    event = _CloudEvent(
        "1.0",
        transition.id,
        source,
        "segment.entered" if transition.kind == "entered" else "segment.exited",
        transition.customer,
        effective_at,
        "application/json",
        data,
    )
    return Destination.SEGMENT_CHANGES, _key(transition.customer), _json.encode(event)


def customer_segments(customer: str, profile: Profile | None, updated_at: int) -> Output:
    """The current memberships of a customer; a tombstone once nothing is kept of them."""
    if profile is None:
        return Destination.CUSTOMER_SEGMENTS, _key(customer), None
    value = {
        "customer": customer,
        "sequence": profile.sequence,
        "updated_at": moment(updated_at),
        "rules": profile.rules // 2,  # without the stage
        "segments": {name: {"since": moment(entry[0])} for name, entry in profile.segments.items() if entry[0]},
    }
    return Destination.CUSTOMER_SEGMENTS, _key(customer), _json.encode(value)


def dead_letter(
    key: bytes | None, value: bytes | None, size: int, source: Mapping[str, Any], stage: str, reason: str
) -> Output:
    """A record that could not be used: where it lies, at which stage it failed, why, and (the start of) its bytes."""
    letter = {
        "source": source,
        "stage": stage,
        "reason": reason,
        "trace_id": f"{source['topic']}-{source['partition']}-{source['offset']}",
        "size": size,
        "raw_base64": base64.b64encode((value or b"")[:RAW_LIMIT]).decode(),
    }
    return Destination.DEAD_LETTERS, key and key[:KEY_LIMIT], _json.encode(letter)


def late_event(event: Event, value: bytes, late_by: int, source: Mapping[str, Any]) -> Output:
    """An event that no window could count any more, and by how many milliseconds it missed the last of them.

    A very long record is left out; it lies at the place that is named.
    """
    letter = {
        "customer": event.customer,
        "event_id": event.id,
        "event": event.name,
        "event_time": moment(event.event_time),
        "late_by_ms": late_by,
        "source": source,
        "record": msgspec.Raw(value) if len(value) <= LATE_LIMIT else None,
    }
    return Destination.LATE_EVENTS, _key(event.customer), _json.encode(letter)


def rule_status(
    version: int | None, accepted: bool, detail: str, running: int, at: str, stage: str, place: tuple[int, int]
) -> Output:
    """Word of one subtask on a rule set that reached the job: how far it is with it, else why not and which one runs on.

    `place` is the number of the subtask and how many there are.
    """
    status = {
        "version": version,
        "accepted": accepted,
        "detail": detail,
        "running": running,
        "at": at,
        "stage": stage,
        "subtask": place[0],
        "parallelism": place[1],
    }
    return Destination.RULE_STATUS, b"rules", _json.encode(status)


def explanation(request: str, found: Mapping[str, Any]) -> Output:
    """The answer to a request, keyed by it."""
    return Destination.EXPLANATIONS, request.encode("utf-8", "surrogatepass"), _json.encode(found)


def _key(customer: str) -> bytes:
    return customer.encode("utf-8", "surrogatepass")
