"""Whatever a record holds: the job goes on as if nothing were, good customers get what is theirs, and every record is accounted for."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from flink_jobs.outputs import KEY_LIMIT, RAW_LIMIT
from rules.rule_set import load_directory
from tests.fixtures.expected import Expected
from tests.fixtures.jobs import BenchMaker, JobBench, Record, check_accounts, event, write_rules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

START = 1_767_225_600_000
"""2026-01-01T00:00:00Z"""

MINUTE, HOUR = 60_000, 3_600_000
LONGEST = 12 * 1024 * 1024
TOPIC_LONGEST = 20 * 1024 * 1024
CUSTOMERS = 24

RULES = {
    "viewer": "when: {event: Product Viewed, within: 1h, count: {gte: 3}}\n",
    "looker": "when: {event: Product Viewed, per: properties.product_id, within: 1h, count: {gte: 2}}\n",
    "spender": "when: {aggregate: {of: properties.revenue, fn: sum, event: Order Completed, within: 2h, gte: 100}}\n",
    "collector": (
        "when:\n  aggregate: {of: 'properties.products[].product_id', fn: distinct, event: Order Completed, within: 2h, gte: 3}\n"
    ),
    "cart": (
        "when:\n  sequence:\n    steps:\n      - {event: Cart Updated}\n      - {not: Order Completed, for: 30m}\n"
        "exit: {on: Order Completed, after: 1h}\n"
    ),
    "gold": "when: {trait: {tier: gold}}\n",
}


@dataclass(frozen=True)
class Case:
    """A hostile record and how it must end: the counter, and for a refused one some words of the reason."""

    name: str
    key: bytes | None
    value: bytes | None
    outcome: str = "dead_lettered"
    reason: str = ""
    stage: str = "intake"


def track(name: str = "Product Viewed", time: Any = START + MINUTE, **fields: Any) -> bytes:
    """An event without an id."""
    return json.dumps({"type": "track", "event": name, "timestamp": time, **fields}).encode()


def unreadable(key: bytes) -> Iterator[Case]:
    """Records that are no event at all, under a good customer's key."""
    good = track(properties={"product_id": "a"})
    yield Case("a tombstone", key, None, reason="no value")
    for name, value in {
        "an empty value": b"",
        "not JSON": b"id,time,event\n1,2,3\n",
        "half an event": good[: len(good) // 2],
        "an event and a half": good + good[:20],
        "not UTF-8": good.replace(b"Product Viewed", b"Produ\xe7t Viewed"),
        "not UTF-8 in a field nobody reads": good[:-1] + b', "note": "\xff\xfe"}',
        "UTF-16": good.decode().encode("utf-16"),
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + bytes(range(256)),
        "zeros": bytes(1000),
        "NaN": good.replace(b'"a"', b"NaN"),
        "minus infinity": good.replace(b'"a"', b"-Infinity"),
        "single quotes": good.replace(b'"', b"'"),
        "half a surrogate pair": track(properties={"product_id": "\ud800"}),
        "half a surrogate pair as id": track(messageId="\udfff"),
        "half a surrogate pair as name": track(name="\ud83d"),
        "half a surrogate pair in bytes": good.replace(b'"a"', b'"\xed\xa0\x80"'),
    }.items():
        yield Case(name, key, value, reason="JSON")
    yield Case("longer than allowed", key, track(note="x" * (LONGEST + 1)), reason="longer than allowed")
    for depth in (10_000, 500_000):
        nested = b"[" * depth + b"]" * depth
        yield Case(f"{depth} lists deep", key, b'{"event": "Product Viewed", "properties": {"a": ' + nested + b"}}")
        objects = b'{"a":' * depth + b"1" + b"}" * depth
        yield Case(f"{depth} objects deep", key, b'{"event": "Product Viewed", "properties": ' + objects + b"}")
        yield Case(f"{depth} lists and no end", key, b"[" * depth)


def wrong(key: bytes) -> Iterator[Case]:
    """JSON that is no event."""
    for name, value in {
        "a list": b"[]",
        "a number": b"1",
        "a text": b'"Product Viewed"',
        "null": b"null",
        "an event whose name is a number": track(name=5),  # type: ignore[arg-type]
        "properties as a list": track(properties=[1]),
        "traits as a text": track(traits="gold"),
        "a context that is a number": track(context=1),
        "an id that is a list": track(messageId=["m"]),
        "a time that is an object": track(time={"at": 1}),
        "a time that is true": track(time=True),
    }.items():
        yield Case(name, key, value, reason="wrong type")
    yield Case("nothing in it", key, b"{}", reason="`event`")
    yield Case("no name", key, track(name=None), reason="`event`")  # type: ignore[arg-type]
    yield Case("a name without end", key, track(name="x" * 300), reason="`event`")
    yield Case("an unknown type", key, track(type="teleport"), reason="`type`")
    yield Case("an id without end", key, track(messageId="m" * 600), reason="`messageId`")
    yield Case("no time", key, track(time=None), reason="missing")
    for time in ("", "yesterday", "2026-13-45", "2026-01-01T00:00:00+99:00", "10000-01-01", 1e30, -1e300):
        yield Case(f"the time {time!r}", key, track(time=time), reason="neither ISO 8601")
    for early in ("1970-01-01T00:00:00Z", 0, 1, -1, "0001-01-01", "1999-12-31T23:59:59.999Z"):
        yield Case(f"the time {early!r}", key, track(time=early), reason="before 2000")
    for late in ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z", 253_402_300_799_999, "2999-01-01"):
        yield Case(f"the time {late!r}", key, track(time=late), "quarantined", "future", "quarantine")


def unnamed() -> Iterator[Case]:
    """Records that name nobody."""
    for name, key in {
        "no key": None,
        "an empty key": b"",
        "a key of blanks": b"  \t ",
        "a key that is not UTF-8": b"\xff\xfegood-1",
        "half a surrogate pair as key": b"\xed\xa0\x80",
        "a key with a zero": b"good\x00-1",
        "a key of two megabytes": b"k" * 2_000_000,
    }.items():
        yield Case(name, key, track(), reason="customer")
    yield Case("an empty key and no value", b"", None, reason="customer")


def odd() -> Iterator[Case]:
    """Events that are none the worse for what they hold, each of a customer of its own: they count."""
    values: dict[str, bytes] = {
        "no id": track(),
        "an empty id": track(messageId=""),
        "a number as id": track(messageId=17),
        "a million small keys": track(properties={f"{key:x}": 0 for key in range(1_000_000)}),
        "a number beyond all": track("Order Completed", properties={"revenue": 10**400}),
        "a huge number": track("Order Completed", properties={"revenue": 1.7e308}),
        "a huge negative number": track("Order Completed", properties={"revenue": -(10**30)}),
        "a revenue that is a text": track("Order Completed", properties={"revenue": "a lot"}),
        "a revenue that is true": track("Order Completed", properties={"revenue": True}),
        "a revenue that is a list": track("Order Completed", properties={"revenue": [100]}),
        "products that are none": track("Order Completed", properties={"products": "three"}),
        "products of all kinds": track(
            "Order Completed", properties={"products": [None, 1, "x", [], {"product_id": {}}, {"product_id": 1.0}]}
        ),
        "ten thousand products": track(
            "Order Completed", properties={"products": [{"product_id": f"p{number}"} for number in range(10_000)]}
        ),
        "a product without end": track(properties={"product_id": "x" * 100_000}),
        "traits of all kinds": track(traits={"tier": {"gold": True}, "a": [1], "b": 2**70, "c": None, "": ""}),
        "ten thousand traits": track(traits={f"t{number}": number for number in range(10_000)}),
        "a trait without end": json.dumps(
            {"type": "identify", "timestamp": START, "traits": {"tier": "gold" * 10**5}}
        ).encode(),
        "equal names": b'{"event": "Nothing", "timestamp": 1, "event": "Product Viewed", "timestamp": "2026-01-01T00:01:00Z"}',
        "names spelt with escapes": rb'{"\u0065vent": "Product Viewed", "time\u0073tamp": "2026-01-01T00:01:00Z"}',
        "fifty deep": b'{"event": "Product Viewed", "timestamp": 1767225660, "x": ' + b"[" * 50 + b"]" * 50 + b"}",
    }
    for number, (name, value) in enumerate(values.items()):
        yield Case(name, f"odd-{number}".encode(), value, "applied")


def good_stream(customer: str) -> list[bytes]:
    """What every good customer does: three views, a cart that is left, and an order that reaches the limit to the penny."""
    names = iter(f"{customer}/{number}" for number in range(100))

    def at(minutes: int, name: str, **properties: Any) -> bytes:
        return event(next(names), name, START + minutes * MINUTE, properties=properties)

    return [
        at(1, "Product Viewed", product_id="a"),
        at(2, "Product Viewed", product_id="b"),
        at(3, "Product Viewed", product_id="a"),
        at(4, "Cart Updated"),
        at(40, "Order Completed", revenue=60.10, products=[{"product_id": "a"}, {"product_id": "b"}]),
        at(50, "Order Completed", revenue=39.89, products=[{"product_id": "b"}]),
        at(55, "Order Completed", revenue=0.01, products=[{"product_id": "c"}]),
    ]


GOOD = [
    ("looker", "entered", 3 * MINUTE),
    ("viewer", "entered", 3 * MINUTE),
    ("cart", "entered", 34 * MINUTE),
    ("cart", "exited", 40 * MINUTE),
    ("collector", "entered", 55 * MINUTE),
    ("spender", "entered", 55 * MINUTE),
    # The oldest view leaves its hour, the oldest order its two.
    ("looker", "exited", 61 * MINUTE),
    ("viewer", "exited", 61 * MINUTE),
    ("collector", "exited", 160 * MINUTE),
    ("spender", "exited", 160 * MINUTE),
]


def mutants(dice: random.Random, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Good events with bytes changed, left out or repeated at random, each of some stranger."""
    for number in range(count):
        value = bytearray(dice.choice(good_stream("stranger")))
        for _ in range(dice.randint(1, 4)):
            where = dice.randrange(len(value))
            match dice.randrange(3):
                case 0:
                    value[where] = dice.randrange(256)
                case 1:
                    del value[where : where + dice.randint(1, 9)]
                case _:
                    value[where:where] = value[: dice.randint(1, 40)]
            value = value or bytearray(b" ")
        yield f"stranger-{number % 40}".encode(), bytes(value)


def allow_long_records(bench: JobBench) -> None:
    """As whoever runs such a topic would set it."""
    admin = KafkaAdminClient(bootstrap_servers=bench.kafka.bootstrap_servers)
    longest = {"max.message.bytes": str(TOPIC_LONGEST)}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, bench.settings.topics.events, longest)])
    admin.close()


@dataclass
class Sent:
    """What lies in the topic: each hostile record's case by place, and the numbers of the rest."""

    cases: dict[tuple[int, int], Case]
    records: int


def send_all(bench: JobBench, dice: random.Random) -> Sent:
    """Good and hostile records in one stream, mixed by the dice; each customer's own stay in order."""
    victims = iter(range(10**9))

    def victim() -> bytes:
        return f"good-{next(victims) % CUSTOMERS}".encode()

    hostile = [*unreadable(b""), *wrong(b"")]
    hostile = [Case(one.name, victim(), one.value, one.outcome, one.reason, one.stage) for one in hostile]
    hostile += [*unnamed(), *odd()]
    # A repeat follows the event itself; the late one all that its customer did, longer ago than any window holds.
    streams: list[list[Case]] = [[one] for one in hostile]
    for number in range(CUSTOMERS):
        key = f"good-{number}".encode()
        stream = [Case("good", key, value, "applied") for value in good_stream(key.decode())]
        stream.insert(dice.randint(2, 7), Case("a repeat", key, stream[dice.randrange(2)].value, "duplicate"))
        long_ago = event(f"{number}/late", "Product Viewed", START - 3 * HOUR, properties={"product_id": "a"})
        stream.append(Case("late", key, long_ago, "late"))
        streams.append(stream)
    streams += [[Case("mutant", key, value, "any")] for key, value in mutants(dice, 300)]
    mixed: list[Case] = []
    while streams:
        at = dice.randrange(len(streams))
        mixed.append(streams[at].pop(0))
        if not streams[at]:
            streams.pop(at)
    # What time a mutant claims is a matter of luck; all in one partition, they do not move the clock.
    places = bench.produce([(one.key, one.value, 0) if one.outcome == "any" else (one.key, one.value) for one in mixed])
    assert len(set(places)) == len(mixed)
    return Sent(dict(zip(places, mixed, strict=True)), len(mixed))


def check_letter(bench: JobBench, letter: Record, case: Case) -> None:
    """A dead letter says where the record lies, at which stage it failed and why, and repeats its bytes and key."""
    said = letter.json()
    source = said["source"]
    assert source["topic"] == bench.settings.topics.events
    assert said["trace_id"] == f"{source['topic']}-{source['partition']}-{source['offset']}"
    assert letter.key == (case.key or None) or letter.key == (case.key or b"")[:KEY_LIMIT], case.name
    assert said["reason"] and said["stage"] in ("intake", "quarantine", "step"), (case.name, said["reason"])
    value = case.value or b""
    assert said["size"] == len(value), case.name
    raw = base64.b64decode(said["raw_base64"])
    assert value.startswith(raw), case.name
    assert len(raw) == min(len(value), RAW_LIMIT) or said["size"] > LONGEST, case.name
    if case.outcome != "any":
        assert said["stage"] == case.stage, (case.name, said["reason"])
        assert case.reason in said["reason"], (case.name, said["reason"])


def test_whatever_a_record_holds(job_bench: BenchMaker) -> None:
    bench = job_bench(
        job={"clock": "replay", "disorder": "10h", "idle_after": "10m", "max_record_bytes": LONGEST},
        kafka={"partitions": 3},
    )
    allow_long_records(bench)
    rules = write_rules(bench.folder / "rules", **RULES)
    sent = send_all(bench, random.Random(20))
    end = START + 6 * HOUR
    records = sent.records + bench.let_time_pass(end + 10 * HOUR + 1)
    bench.submit(rules)
    totals = bench.wait_received(records, timeout=240)
    check_accounts(totals, records)
    bench.wait_watermark(end)
    totals = bench.totals()
    assert bench.restarts() == 0
    assert bench.rest.failures(bench.job) == []
    bench.stop()

    letters = bench.read("dead_letters")
    late = bench.read("late_events")
    assert len(letters) == totals["dead_lettered"] + totals["quarantined"]
    assert len(late) == totals["late"]
    refused = {(said["partition"], said["offset"]) for said in (one.json()["source"] for one in letters)}
    assert len(refused) == len(letters), "a record has two dead letters"
    for letter in letters:
        source = letter.json()["source"]
        check_letter(bench, letter, sent.cases[source["partition"], source["offset"]])
    behind = {(said["partition"], said["offset"]): one for one in late for said in (one.json()["source"],)}
    for place, case in sent.cases.items():
        if case.outcome != "any":
            assert (place in refused) == (case.outcome in ("dead_lettered", "quarantined")), case
            assert (place in behind) == (case.outcome == "late"), case
    known = [case.outcome for case in sent.cases.values()]
    assert totals["duplicate"] >= known.count("duplicate") == CUSTOMERS
    assert totals["quarantined"] >= known.count("quarantined") == 4
    check_late(bench, [one for place, one in behind.items() if sent.cases[place].outcome == "late"])
    check_good(bench)
    check_odd(bench, sent, end)


def check_late(bench: JobBench, late: list[Record]) -> None:
    """Each late event is repeated whole, with by how much it came too late."""
    assert len(late) == CUSTOMERS
    for one in late:
        said = one.json()
        assert one.key is not None and one.key.decode() == said["customer"]
        assert said["event_id"] == said["record"]["messageId"]
        assert said["event"] == "Product Viewed"
        assert said["source"]["topic"] == bench.settings.topics.events
        # Their clock stands at their last order; the longest window that counts views is an hour.
        assert said["late_by_ms"] >= 55 * MINUTE + 3 * HOUR - HOUR


def check_good(bench: JobBench) -> None:
    """Good customers get their transitions to the millisecond, whatever came under their names between."""
    told = bench.told()
    for number in range(CUSTOMERS):
        own = sorted((one for one in told if one.customer == f"good-{number}"), key=lambda one: one.sequence)
        assert [(one.segment, one.kind, one.effective_at - START) for one in own] == GOOD, f"good-{number}"
    assert not set(bench.members()) & {f"good-{number}" for number in range(CUSTOMERS)}


def check_odd(bench: JobBench, sent: Sent, last: int) -> None:
    """What odd events lead to is what the core says they do, and all that goes out can be read."""
    odd_ones = [
        one for one in bench.read("events") if one.key is not None and one.key.startswith((b"odd-", b"passer-by-"))
    ]
    expected = Expected(load_directory(bench.folder / "rules"))
    expected.arrive(odd_ones)
    expected.let_time_pass(last)
    assert set(expected.outcomes) == {"applied"}
    told = [one for one in bench.told() if one.customer.startswith("odd-")]
    assert sorted(told, key=repr) == sorted(expected.told, key=repr)
    assert {"collector"} == {one.segment for one in told}, "ten thousand products are more than three"
