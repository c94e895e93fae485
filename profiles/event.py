"""The canonical event, and how the JSON that shops send becomes one.

Accepted is what analytics SDKs send (`track`, `identify`, `page`, `screen`, `group`, `alias`): `type`, `event`, `userId`,
`anonymousId`, `messageId`, `timestamp`, `properties`, `traits`, `context`. Anything else is refused with a reason; the
caller accounts for it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

EARLIEST_EVENT_TIME = 946_684_800_000
"""2000-01-01: an older time is a missing time that became a number (1970), or a unit taken for another."""

_LATEST_EVENT_TIME = 253_402_300_799_999
_SECONDS_BELOW = 100_000_000_000
"""Numbers below this are seconds, not milliseconds: as milliseconds they would lie in 1973 or before."""

_LONGEST_NAME = 256
_LONGEST_ID = 512
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES = frozenset({"track", "identify", "page", "screen", "group", "alias"})


class InvalidRecord(Exception):
    """A record that is no event. The message says which field is wrong, and never holds a value from the record."""


class Event(msgspec.Struct, gc=False):
    """Something a customer did, or that was learnt about them. Times are epoch milliseconds (UTC).

    `received_at` is the time of the record that brought it: what the event's own time is held against.
    """

    id: str
    name: str
    event_time: int
    customer: str
    properties: dict[str, Any] = {}
    traits: dict[str, Any] | None = None
    context: dict[str, Any] = {}
    received_at: int = 0
    anonymous_id: str | None = None
    source: str = ""
    partition: int = -1
    offset: int = -1


class _Wire(msgspec.Struct, gc=False):
    type: str = "track"
    event: str | None = None
    messageId: str | int | None = None  # noqa: N815  (the wire's own names)
    anonymousId: str | int | None = None  # noqa: N815
    timestamp: str | int | float | None = None
    originalTimestamp: str | int | float | None = None  # noqa: N815
    time: str | int | float | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Wire)


def parse_time(raw: str | int | float) -> int:
    """Epoch milliseconds of an ISO 8601 text (no offset means UTC) or of a number of milliseconds or seconds.

    Raises ValueError for what is neither.

    >>> parse_time("2026-01-01T00:00:00.250Z"), parse_time(1767225600), parse_time(1767225600000)
    (1767225600250, 1767225600000, 1767225600000)
    """
    if type(raw) is str:
        moment = datetime.fromisoformat(raw)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since = moment - _EPOCH
        return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    if not -_LATEST_EVENT_TIME <= raw <= _LATEST_EVENT_TIME:  # type: ignore[operator]
        raise ValueError("out of range")
    return int(raw * 1000) if -_SECONDS_BELOW < raw < _SECONDS_BELOW else int(raw)  # type: ignore[operator]


def decode_event(value: bytes, customer: str, received_at: int, partition: int, offset: int) -> Event:
    """The event in a record's value; InvalidRecord says what is wrong with it.

    A record without a message id is identified by where it lies (`partition-offset`), and so never counts as a repeat.
    """
    try:
        wire = _decoder.decode(value)
    except msgspec.ValidationError as error:
        raise InvalidRecord(f"a field has the wrong type: {_without_values(error)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRecord("not JSON in UTF-8") from None
    except RecursionError:
        raise InvalidRecord("nested too deeply") from None
    if not value.isascii():
        # The decoder skips over what it does not know without a look at the text in it, but late events repeat all of it.
        try:
            value.decode()
        except UnicodeDecodeError:
            raise InvalidRecord("not JSON in UTF-8") from None
    name = wire.event if wire.type == "track" else wire.type
    if not name or len(name) > _LONGEST_NAME:
        raise InvalidRecord(f"field `event` must have 1 to {_LONGEST_NAME} characters")
    if wire.type not in _TYPES:
        raise InvalidRecord(f"field `type` must be one of {', '.join(sorted(_TYPES))}")
    raw = wire.timestamp
    if raw is None:
        raw = wire.originalTimestamp if wire.originalTimestamp is not None else wire.time
        if raw is None:
            raise InvalidRecord("field `timestamp` is missing")
    try:
        event_time = parse_time(raw)
    except (ValueError, OverflowError):
        raise InvalidRecord("field `timestamp` is neither ISO 8601 nor epoch milliseconds") from None
    if event_time < EARLIEST_EVENT_TIME:
        raise InvalidRecord("field `timestamp` lies before 2000-01-01")
    message_id = wire.messageId
    if message_id is None or message_id == "":
        message_id = f"{partition}-{offset}"
    elif type(message_id) is not str:
        message_id = str(message_id)
    if len(message_id) > _LONGEST_ID:
        raise InvalidRecord(f"field `messageId` has more than {_LONGEST_ID} characters")
    anonymous = wire.anonymousId
    return Event(
        message_id,
        name,
        event_time,
        customer,
        wire.properties or {},
        wire.traits,
        wire.context or {},
        received_at,
        anonymous if anonymous is None or type(anonymous) is str else str(anonymous),
        "",
        partition,
        offset,
    )


def _without_values(error: msgspec.ValidationError) -> str:
    # msgspec says "Expected `int`, got `str` - at `$.path`": types and places; other messages might quote the input.
    text = str(error)
    return text if text.startswith("Expected") else "see the schema"
