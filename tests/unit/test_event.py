"""How wire bytes become an event: what is accepted, what is refused with which words, and how times are read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import Event, InvalidRecord, decode_event
from profiles.event import EARLIEST_EVENT_TIME, parse_time
from tests.frames import START


def decoded(received: int = START, **wire: Any) -> Event:
    return decode_event(json.dumps({"timestamp": START, **wire}).encode(), "c", received, 3, 14)


def refused(**wire: Any) -> str:
    with pytest.raises(InvalidRecord) as caught:
        decoded(**wire)
    return str(caught.value)


def test_a_track_event() -> None:
    event = decoded(
        type="track",
        event="Order Completed",
        userId="u",
        anonymousId="a1",
        messageId="m1",
        properties={"revenue": 9.99, "products": [{"id": "p"}]},
        context={"device": {"type": "mobile"}},
        received=START + 5,
    )
    assert event == Event(
        id="m1",
        name="Order Completed",
        event_time=START,
        customer="c",
        properties={"revenue": 9.99, "products": [{"id": "p"}]},
        traits=None,
        context={"device": {"type": "mobile"}},
        received_at=START + 5,
        anonymous_id="a1",
        source="",
        partition=3,
        offset=14,
    )


@pytest.mark.parametrize("kind", ["identify", "page", "screen", "group", "alias"])
def test_other_types_are_named_by_their_type(kind: str) -> None:
    event = decoded(type=kind, traits={"vip": True}, event="is not read")
    assert (event.name, event.traits) == (kind, {"vip": True})


def test_without_a_type_it_is_a_track_event() -> None:
    assert decoded(event="A").name == "A"


def test_nulls_count_as_missing() -> None:
    event = decoded(event="A", properties=None, traits=None, context=None, messageId=None, anonymousId=None)
    assert (event.properties, event.traits, event.context, event.anonymous_id) == ({}, None, {}, None)


@pytest.mark.parametrize("missing", [{}, {"messageId": None}, {"messageId": ""}])
def test_without_an_id_its_place_stands_in(missing: dict[str, Any]) -> None:
    assert decoded(event="A", **missing).id == "3-14"


def test_numbers_as_ids_are_texts() -> None:
    event = decoded(event="A", messageId=7, anonymousId=8)
    assert (event.id, event.anonymous_id) == ("7", "8")


def test_the_customer_is_the_callers_whatever_the_record_says() -> None:
    assert decoded(event="A", userId="somebody else").customer == "c"


def test_what_is_not_known_is_ignored() -> None:
    assert decoded(event="A", integrations={"All": True}, _metadata=[1]).name == "A"


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        ({}, "field `event` must have 1 to 256 characters"),
        ({"event": ""}, "field `event` must have 1 to 256 characters"),
        ({"event": "A" * 257}, "field `event` must have 1 to 256 characters"),
        ({"type": "", "event": "A"}, "field `event` must have 1 to 256 characters"),
        ({"type": "delete", "event": "A"}, "field `type` must be one of alias, group, identify, page, screen, track"),
        ({"type": "Track", "event": "A"}, "field `type` must be one of"),
        ({"event": "A", "messageId": "i" * 513}, "field `messageId` has more than 512 characters"),
        ({"event": "A", "timestamp": None}, "field `timestamp` is missing"),
        ({"event": "A", "timestamp": ""}, "neither ISO 8601 nor epoch milliseconds"),
        ({"event": "A", "timestamp": "12:00"}, "neither ISO 8601 nor epoch milliseconds"),
        ({"event": "A", "timestamp": "2026-13-01T00:00:00Z"}, "neither ISO 8601 nor epoch milliseconds"),
        ({"event": "A", "timestamp": 1e300}, "neither ISO 8601 nor epoch milliseconds"),
        ({"event": "A", "timestamp": 0}, "lies before 2000-01-01"),
        ({"event": "A", "timestamp": -5}, "lies before 2000-01-01"),
        ({"event": "A", "timestamp": "1970-01-01T00:00:00Z"}, "lies before 2000-01-01"),
        ({"event": "A", "timestamp": "0001-01-01T00:00:00+23:59"}, "lies before 2000-01-01"),
        ({"event": 5}, "a field has the wrong type: Expected `str | null`, got `int` - at `$.event`"),
        ({"event": "A", "properties": "x"}, "a field has the wrong type: Expected `object | null`, got `str`"),
        ({"event": "A", "timestamp": True}, "a field has the wrong type"),
        ({"event": "A", "messageId": 1.5}, "a field has the wrong type"),
    ],
)
def test_what_is_refused_and_in_which_words(wire: dict[str, Any], says: str) -> None:
    assert says in refused(**wire)


def test_limits_are_inclusive() -> None:
    event = decoded(event="A" * 256, messageId="i" * 512)
    assert (len(event.name), len(event.id)) == (256, 512)
    assert decoded(event="A", timestamp=EARLIEST_EVENT_TIME).event_time == EARLIEST_EVENT_TIME
    assert "lies before" in refused(event="A", timestamp=EARLIEST_EVENT_TIME - 1)


# --- times -------------------------------------------------------------------------------------------------------------


def test_the_first_time_that_is_there_counts() -> None:
    times: dict[str, Any] = {"timestamp": START + 1, "originalTimestamp": START + 2, "time": START + 3}
    assert decoded(event="A", **times).event_time == START + 1
    assert decoded(event="A", **{**times, "timestamp": None}).event_time == START + 2
    assert decoded(event="A", timestamp=None, time=START + 3).event_time == START + 3


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("2026-01-01T00:00:00Z", START),
        ("2026-01-01T00:00:00.000Z", START),
        ("2026-01-01T00:00:00.001Z", START + 1),
        ("2026-01-01T00:00:00.0019Z", START + 1),
        ("2026-01-01T01:00:00+01:00", START),
        ("2025-12-31T18:00:00-0600", START),
        ("2026-01-01 00:00:00", START),
        ("2026-01-01T00:00", START),
        ("2026-01-01", START),
        (START, START),
        (START / 1000, START),
        (START // 1000, START),
        (float(START), START),
        (1767225600.25, START + 250),
    ],
)
def test_times_in_many_forms(raw: Any, expected: int) -> None:
    assert parse_time(raw) == expected


def test_seconds_and_milliseconds_are_told_apart_by_size() -> None:
    assert parse_time(99_999_999_999) == 99_999_999_999_000  # the year 5138, in seconds
    assert parse_time(100_000_000_000) == 100_000_000_000  # 1973, in milliseconds


@given(
    st.datetimes(min_value=datetime(2000, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001  (the zone is drawn)
    st.integers(-23 * 60, 23 * 60),
)
def test_a_text_with_an_offset_is_the_moment_that_it_names(local: datetime, minutes: int) -> None:
    moment = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    exact = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert parse_time(moment.isoformat()) == exact


# --- anything at all ---------------------------------------------------------------------------------------------------

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(
    [
        "type",
        "event",
        "messageId",
        "anonymousId",
        "timestamp",
        "originalTimestamp",
        "time",
        "properties",
        "traits",
        "context",
    ]
)


@given(st.binary())
def test_any_bytes_are_an_event_or_refused(value: bytes) -> None:
    with pytest.raises(InvalidRecord):
        decode_event(value, "c", START, 0, 0)


@given(st.dictionaries(fields, json_values), st.booleans())
def test_any_json_is_an_event_or_refused(wire: dict[str, Any], sound: bool) -> None:
    if sound:
        wire = {**wire, "type": "track", "event": "A", "timestamp": START}
    value = json.dumps(wire).encode()
    try:
        event = decode_event(value, "c", START, 1, 2)
    except InvalidRecord:
        return
    assert 1 <= len(event.name) <= 256
    assert 1 <= len(event.id) <= 512
    assert event.event_time >= EARLIEST_EVENT_TIME
    assert isinstance(event.properties, dict)
    assert isinstance(event.context, dict)
    assert event.traits is None or isinstance(event.traits, dict)
