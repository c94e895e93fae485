"""Everything that goes out is as its JSON Schema says, and what comes in is accepted as its schema says."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from flink_jobs.batch import TIMER_PARTITION
from flink_jobs.outputs import Destination
from profiles import InvalidRecord, decode_event
from shop import simulate
from tests.frames import DAY, MINUTE, START, Operator, payload, record
from tests.records import HOSTILE, QUARANTINED, STRANGE_BUT_GOOD

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMAS = {
    file.stem: json.loads(file.read_text())
    for file in sorted((DOCS / "schemas").glob("*.json"))
    if file.stem not in ("rule", "model")  # what people write, see test_reference.py and test_models_reference.py
}
OF_MODELS = (Destination.LEARNER, Destination.MODEL_UPDATES, Destination.MODEL_QUALITY)  # see test_model_records.py
TOPICS = {one: one.name.lower().replace("_", "-") for one in Destination if one not in OF_MODELS}

formats = FormatChecker()


@formats.checks("date-time", raises=ValueError)  # type: ignore[untyped-decorator]
def is_moment(value: object) -> bool:
    """RFC 3339: `fromisoformat` alone would take more."""
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return moment.tzinfo is not None and "T" in value
    return True


@formats.checks("uri-reference")  # type: ignore[untyped-decorator]
def is_uri_reference(value: object) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", value) is not None


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(SCHEMAS[name], format_checker=formats)


def complaints(name: str, value: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(value)]


# --- the schemas themselves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMAS[name]["$id"] == f"urn:segue:{name}:1"


def test_each_topic_that_is_written_has_one() -> None:
    assert set(SCHEMAS) == {*TOPICS.values(), "events", "model-quality"}


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema and schema.get("type") == "object":
            yield schema
        for inner in schema.values():
            yield from objects(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects(inner)


@pytest.mark.parametrize("name", sorted(set(SCHEMAS) - {"events"}))
def test_what_we_write_has_no_fields_that_are_not_written_down(name: str) -> None:
    found = list(objects(SCHEMAS[name]))
    assert found
    for one in found:
        assert one["additionalProperties"] is False
        assert sorted(one["required"]) == sorted(one["properties"]), "each field is always there"


# --- what goes out -----------------------------------------------------------------------------------------------------


def played() -> Operator:
    """A simulated shop through the worker, with all that can go wrong; then silence until everybody has expired."""
    operator = Operator(expiry=200 * DAY)
    groups: dict[str, list[Any]] = {}
    for delivery in simulate(7, 60, START, days=3.0, rate=5.0, until=START + 3 * MINUTE, dirty=0.02, stragglers=0.01):
        customer = (delivery.key or b"").decode("utf-8", "replace")
        groups.setdefault(customer, []).append(operator.arrival(delivery.value, time=delivery.at))
    operator.send(groups)
    operator.rules(payload(2))
    hostile = [*HOSTILE.values(), *QUARANTINED.values(), *STRANGE_BUT_GOOD.values()]
    operator.send({customer: [operator.arrival(value) for value in hostile] for customer in ("c1", "ü/\0'", "")})
    operator.one("c1", record(at=START - 100 * DAY))
    operator.one("c3", record(type="identify", traits={"vip": True}))
    operator.send({"c2": [operator.arrival(b"x", time=-5, size=9_999_999)]})
    operator.states["damaged"] = b"\x01\xc1"
    operator.send({"damaged": [(None, START, TIMER_PARTITION, -1, 0, None), operator.arrival(record())]})
    for number, customer in enumerate((*sorted(operator.states)[:5], "nobody")):
        operator.ask_why(customer, None if number % 2 else "cart", f"r{number}")
    operator.rules(b"{}")
    operator.rules(payload(3).replace(b"within: 7d", b"withn: 7d"))
    operator.advance(START + 400 * DAY)
    return operator


@pytest.fixture(scope="module")
def operator() -> Operator:
    return played()


@pytest.mark.parametrize("destination", list(TOPICS), ids=TOPICS.get)
def test_everything_written_is_valid(operator: Operator, destination: Destination) -> None:
    values = operator.written(destination)
    assert len(values) >= 3 or destination is Destination.LATE_EVENTS
    assert values
    for value in values:
        if value is None:
            assert destination is Destination.CUSTOMER_SEGMENTS
        else:
            assert complaints(TOPICS[destination], value) == []


def test_the_run_shows_all_that_there_is(operator: Operator) -> None:
    """Else the test above would say little."""
    changes = operator.written(Destination.SEGMENT_CHANGES)
    assert {one["type"] for one in changes} == {"segment.entered", "segment.exited"}
    assert {one["data"]["cause"]["kind"] for one in changes} >= {"event", "timer", "expiry"}
    assert {letter["stage"] for letter in operator.written(Destination.DEAD_LETTERS)} == {
        "intake",
        "quarantine",
        "step",
    }
    assert {word["accepted"] for word in operator.written(Destination.RULE_STATUS)} == {True, False}
    assert None in operator.written(Destination.CUSTOMER_SEGMENTS)


def test_a_rule_change_is_a_cause_too() -> None:
    made = Operator()
    made.one("c", record(at=START, properties={"revenue": 500}))
    only = {"vip.yaml": "segment: vip\nname: VIP\nwhen: {trait: {vip: true}}\n"}
    made.rules(payload(2, only))
    made.one("c", record("Looked", at=START + 1))
    changes = made.written(Destination.SEGMENT_CHANGES)
    assert {one["data"]["cause"]["kind"] for one in changes} == {"event", "rule change"}
    assert [complaint for one in changes for complaint in complaints("segment-changes", one)] == []


def test_what_is_said_twice_is_the_same(operator: Operator) -> None:
    for (key, _), change in zip(
        operator.outputs[Destination.SEGMENT_CHANGES], operator.written(Destination.SEGMENT_CHANGES), strict=True
    ):
        data = change["data"]
        assert key == change["subject"].encode() == data["customer"].encode()
        assert change["time"] == data["effective_at"]
    for key, value in operator.outputs[Destination.CUSTOMER_SEGMENTS]:
        assert value is None or key == json.loads(value)["customer"].encode()
    for letter in operator.written(Destination.DEAD_LETTERS):
        source = letter["source"]
        assert letter["trace_id"] == f"{source['topic']}-{source['partition']}-{source['offset']}"
        assert len(base64.b64decode(letter["raw_base64"])) <= letter["size"]


def test_memberships_follow_from_the_changes(operator: Operator) -> None:
    """A consumer of one topic and a consumer of the other come to know the same."""
    by_changes: dict[str, set[str]] = {}
    for customer, kind, segment in operator.transitions:
        known = by_changes.setdefault(customer, set())
        assert (segment in known) is (kind == "exited")
        known ^= {segment}
    newest: dict[str, set[str]] = {}
    for key, value in operator.outputs[Destination.CUSTOMER_SEGMENTS]:
        assert key is not None
        newest[key.decode()] = set(json.loads(value)["segments"]) if value is not None else set()
    assert newest == by_changes


@pytest.mark.parametrize("destination", list(TOPICS), ids=TOPICS.get)
def test_a_schema_notices_what_is_wrong(operator: Operator, destination: Destination) -> None:
    """Each field removed, each of another type, and one too many: otherwise the schema would pass anything."""
    name = TOPICS[destination]
    sample = next(value for value in operator.written(destination) if value is not None)
    assert complaints(name, {**sample, "extra": 1})
    for key in sample:
        assert complaints(name, {one: value for one, value in sample.items() if one != key}), key
        assert complaints(name, {**sample, key: [1.5]}), key


@pytest.mark.parametrize(
    "wrong",
    ["2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000+00:00", "2026-13-01T00:00:00.000Z", 1767225600000],
)
def test_times_are_utc_to_the_millisecond(operator: Operator, wrong: Any) -> None:
    sample = copy.deepcopy(operator.written(Destination.SEGMENT_CHANGES)[0])
    sample["data"]["emitted_at"] = wrong
    assert complaints("segment-changes", sample)


# --- what comes in -----------------------------------------------------------------------------------------------------

TIME_IS_WRONG = {"a time that is none", "a time beyond numbers", "1970", "1970 in words"}
"""What a schema cannot say: which moments there are, and which of them are too old."""


def accepted(value: bytes) -> bool:
    try:
        decode_event(value, "c", START, 0, 0)
    except InvalidRecord:
        return False
    return True


def no_json(word: str) -> None:
    raise ValueError(f"Python reads {word}, JSON has none")


@pytest.mark.parametrize("kind", [*HOSTILE, *QUARANTINED, *STRANGE_BUT_GOOD])
def test_the_schema_of_events_says_what_the_job_accepts(kind: str) -> None:
    value = {**HOSTILE, **QUARANTINED, **STRANGE_BUT_GOOD}[kind]
    try:
        wire = json.loads((value or b"").decode(), parse_constant=no_json)
    except (ValueError, RecursionError):
        assert value is None or not accepted(value)
        return
    if kind in TIME_IS_WRONG or kind in {"half a surrogate pair", "an endless id", "infinity", "byte order mark"}:
        assert value is not None
        assert not accepted(value)
        return
    assert (complaints("events", wire) == []) is accepted(value or b""), complaints("events", wire)


def test_what_the_shop_sends_is_what_the_schema_says() -> None:
    sent = 0
    for delivery in simulate(3, 40, START, days=1.0, until=START + MINUTE):
        if delivery.label is None:
            sent += 1
            assert complaints("events", json.loads(delivery.value)) == []
    assert sent > 100


# --- the page about topics ---------------------------------------------------------------------------------------------


def test_the_examples_on_the_page_about_topics_are_valid() -> None:
    page = (DOCS / "topics.md").read_text()
    shown = set()
    for name, example in re.findall(
        r"^## ([\w-]+)$(?:.(?!^## ))*?^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    ):
        shown.add(name)
        assert complaints(name, json.loads(example)) == [], name
    assert shown == set(SCHEMAS)


def test_times_in_tests_are_what_they_seem() -> None:
    assert datetime.fromtimestamp(START / 1000, UTC).isoformat() == "2026-01-01T00:00:00+00:00"
