"""Records of every strange kind that was thought of, by what is strange about them."""

from __future__ import annotations

import json

from tests.frames import DAY, MONTH, SETTINGS, START, record


def deep(levels: int) -> bytes:
    return b'{"event":"A","timestamp":%d,"properties":{"a":%s1%s}}' % (START, b"[" * levels, b"]" * levels)


HOSTILE: dict[str, bytes | None] = {
    "tombstone": None,
    "empty": b"",
    "not JSON": b"order completed",
    "cut off": record()[:-5],
    "two values": record() + record(),
    "an array": b"[1,2]",
    "a number": b"7",
    "null": b"null",
    "not UTF-8 in a field": b'{"event":"A","timestamp":1767225600000,"properties":{"a":"\xff\xfe"}}',
    "not UTF-8 in a field that is ignored": b'{"event":"A","timestamp":1767225600000,"zzz":"\xff\xfe"}',
    "half a surrogate pair": b'{"event":"A\\ud800","timestamp":1767225600000}',
    "UTF-16": '{"event":"A","timestamp":1767225600000}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + record(),
    "NaN": b'{"event":"A","timestamp":1767225600000,"properties":{"revenue":NaN}}',
    "infinity": b'{"event":"A","timestamp":1767225600000,"properties":{"revenue":1e999}}',
    "nested deeply": deep(100_000),
    "an endless number": b'{"event":"A","timestamp":1767225600000,"properties":{"n":' + b"9" * 10_000 + b"}}",
    "an endless id": b'{"event":"A","timestamp":1767225600000,"messageId":' + b"9" * 10_000 + b"}",
    "no name": json.dumps({"type": "track", "timestamp": START}).encode(),
    "an empty name": record(event=""),
    "a name of another type": json.dumps({"event": {"a": 1}, "timestamp": START}).encode(),
    "a long name": record(event="A" * 257),
    "a long id": record(message_id="i" * 513),
    "an unknown type": json.dumps({"type": "delete", "timestamp": START}).encode(),
    "properties of another type": json.dumps({"event": "A", "timestamp": START, "properties": [1]}).encode(),
    "traits of another type": json.dumps({"type": "identify", "timestamp": START, "traits": "vip"}).encode(),
    "no time": json.dumps({"event": "A"}).encode(),
    "a time that is none": json.dumps({"event": "A", "timestamp": "yesterday"}).encode(),
    "a time of another type": json.dumps({"event": "A", "timestamp": True}).encode(),
    "a time beyond numbers": b'{"event":"A","timestamp":' + b"9" * 400 + b"}",
    "1970": record(at=0),
    "1970 in words": json.dumps({"event": "A", "timestamp": "1970-01-01T00:00:00Z"}).encode(),
}

QUARANTINED: dict[str, bytes] = {
    "the year 9999": json.dumps({"event": "A", "timestamp": "9999-12-31T23:59:59.999Z"}).encode(),
    "beyond the year 9999": json.dumps({"event": "A", "timestamp": "9999-12-31T23:59:59.999-23:59"}).encode(),
    "one millisecond beyond the skew": record(at=MONTH + SETTINGS["skew"] + 1),
    "microseconds": record(at=START * 1000 // 1000 + 100 * 365 * DAY),
}

STRANGE_BUT_GOOD: dict[str, bytes] = {
    "at the skew": record(at=MONTH + SETTINGS["skew"]),
    "nested": deep(200),
    "a number as id": json.dumps({"event": "A", "timestamp": START, "messageId": 12}).encode(),
    "seconds": json.dumps({"event": "A", "timestamp": START // 1000}).encode(),
    "huge numbers in a trait": json.dumps({"type": "identify", "timestamp": START, "traits": {"n": 2**80}}).encode(),
    "lists in a trait": json.dumps({"type": "identify", "timestamp": START, "traits": {"a": [1], "b": {}}}).encode(),
    "a thousand traits": json.dumps(
        {"type": "identify", "timestamp": START, "traits": {f"t{n}": n for n in range(1000)}}
    ).encode(),
    "revenue as text": record(properties={"revenue": "20"}),
    "revenue beyond 64 bits": record(properties={"revenue": 2**70}),
    "revenue of 1e308": record(properties={"revenue": 1e308}),
    "revenue as a list": record(properties={"revenue": [1, {"a": 2}]}),
    "text that is not ASCII": record(event="Prüfung ✓", context={"page": {"title": "日本語"}}),
    "a NUL": record(event="A\0B"),
    "keys twice": b'{"event":"A","event":"B","timestamp":1767225600000}',
}
