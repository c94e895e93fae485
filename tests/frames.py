"""The operator's side of the pipe, for tests of the worker: frames, states, timers and counters, as the JVM keeps them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flink_jobs.batch import HANDOVER_PARTITION, RECONCILE_PARTITION, REQUEST_PARTITION, TIMER_PARTITION, Arrival
from flink_jobs.frames import BATCH, HELLO, PROTOCOL_VERSION, RULES
from flink_jobs.outputs import Destination
from flink_jobs.worker import Worker
from profiles import NEVER
from rules.rule_set import RuleSet

START = 1_767_225_600_000
"""2026-01-01T00:00:00Z"""

MINUTE, DAY = 60_000, 86_400_000
MONTH = START + 30 * DAY
"""When records arrive, unless a test says otherwise."""

SETTINGS: dict[str, Any] = {
    "source": "segue/test",
    "events_topic": "events",
    "skew": 300_000,
    "expiry": 730 * DAY,
    "remembered_messages": 48,
}

FILES = {
    "buyers.yaml": "segment: buyers\nname: Bought within a week\nwhen: {event: Order Completed, within: 7d}\n",
    "cart.yaml": (
        "segment: cart\nname: Left a cart\nwhen:\n  sequence:\n    steps:\n"
        "      - {event: Cart Updated, where: {properties.item_count: {gte: 3}}}\n"
        "      - {not: Order Completed, for: 30m}\nexit: {on: Order Completed, after: 72h}\n"
    ),
    "vip.yaml": (
        "segment: vip\nname: High value\nwhen:\n  any:\n    - trait: {vip: true}\n"
        "    - aggregate: {of: properties.revenue, fn: sum, event: Order Completed, within: 90d, gte: 200}\n"
    ),
}

OUTCOMES = ("applied", "duplicate", "late", "quarantined", "dead_lettered")


def payload(
    version: int = 1, files: Mapping[str, str] = FILES, warming: Mapping[str, str | None] | None = None
) -> bytes:
    """A rule set as it travels."""
    names = {name.removesuffix(".yaml"): version for name in files}
    document = {"format": 1, "version": version, "created_at": START, "author": "a", "message": "m"}
    stage = {"warming": dict(warming)} if warming else {}
    made = json.dumps({**document, "segments": names, "files": dict(files), **stage}).encode()
    RuleSet.from_payload(made)  # a test that is about something else should not be fed a broken one
    return made


def record(event: str = "Order Completed", at: int = START, message_id: str | None = None, **fields: Any) -> bytes:
    """A track event as JSON."""
    wire: dict[str, Any] = {"type": "track", "event": event, "timestamp": at, **fields}
    if message_id is not None:
        wire["messageId"] = message_id
    return json.dumps(wire).encode()


class Operator:
    """Keeps states and timers by customer, numbers records, and takes the worker's answers apart."""

    def __init__(self, worker: Worker | None = None, rules: bytes | None = None, **settings: Any) -> None:
        self.worker = worker or Worker(lambda: START + 365 * DAY)
        self.states: dict[str, bytes] = {}
        self.timers: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        self.outputs: dict[Destination, list[tuple[bytes | None, bytes | None]]] = {one: [] for one in Destination}
        self.offset = 0
        self.watermark = -(2**63)
        self.ask([HELLO, PROTOCOL_VERSION, 0, 1, json.dumps({**SETTINGS, **settings}).encode()])
        self.rules(payload() if rules is None else rules)

    def ask(self, frame: Sequence[Any]) -> list[Any]:
        """One frame to the worker and its answer."""
        answer: list[Any] = msgspec.msgpack.decode(self.worker.answer(msgspec.msgpack.encode(frame)))
        assert answer[0] == frame[0]
        return answer

    def rules(self, made: bytes) -> tuple[bool, str]:
        """Hand over a rule set; whether it was accepted, and what was said of it."""
        _, accepted, detail, outputs, counters = self.ask([RULES, made])
        self._take(outputs, counters)
        return accepted, detail

    def arrival(
        self, value: bytes | None, time: int | None = None, size: int | None = None, key: bytes | None = None
    ) -> Arrival:
        """A record as the operator hands it over, at the next offset of partition 0."""
        self.offset += 1
        received = MONTH if time is None else time
        return value, received, 0, self.offset, len(value or b"") if size is None else size, key

    def send(self, groups: Mapping[str, Sequence[Arrival]], watermark: int | None = None) -> None:
        """One batch. Arrivals of a customer stay in their order."""
        if watermark is not None:
            self.watermark = watermark
        batch = [(customer, self.states.get(customer), arrivals) for customer, arrivals in groups.items()]
        _, results, outputs, counters = self.ask([BATCH, self.watermark, batch])
        assert len(results) == len(batch)
        for (customer, before, _), (state, timer) in zip(batch, results, strict=True):
            assert customer or (state, timer) == (None, NEVER), "nobody has no state"
            if state == b"":
                self.states.pop(customer, None)
                self.timers.pop(customer, None)
            elif state is not None:
                assert state != before, "a state that has not changed is not written again"
                self.states[customer] = state
            if timer != NEVER:
                self.timers[customer] = min(timer, self.timers.get(customer, NEVER))
        self._take(outputs, counters)

    def one(self, customer: str, *values: bytes | None) -> None:
        """A batch of records of one customer."""
        self.send({customer: [self.arrival(value) for value in values]})

    def control(self, partition: int, customer: str, *record: Any) -> None:
        """Something from the control topic, as the operator hands it over."""
        value = msgspec.msgpack.encode(record)
        self.send({customer: [(value, 0, partition, -1, len(value), None)]})

    def hand_over(self, version: int, customer: str, cut: int, shadow: bytes) -> None:
        """The profile that a customer has after all events up to `cut`."""
        self.control(HANDOVER_PARTITION, customer, 1, version, customer, 0, cut, shadow)

    def end_handover(self, version: int, customers: int) -> None:
        """Word that all customers have been handed over."""
        self.control(HANDOVER_PARTITION, "", 2, version, customers)

    def ask_why(self, customer: str, segment: str | None = None, request: str = "r1") -> Any:
        """The answer to a request to explain."""
        self.control(REQUEST_PARTITION, customer, 3, request, customer, segment)
        key, value = self.outputs[Destination.EXPLANATIONS][-1]
        assert key == request.encode()
        return json.loads(value or b"null")

    def sweep(self) -> None:
        """Go through all customers, and say so."""
        self.send({customer: [(None, 0, RECONCILE_PARTITION, -1, 0, None)] for customer in sorted(self.states)})
        self.send({"": [(None, 0, RECONCILE_PARTITION, len(self.states), 0, None)]})

    def advance(self, to: int) -> None:
        """Let the watermark come to `to`: each timer due by then fires, as often as it is armed anew."""
        self.watermark = to
        while due := {customer: at for customer, at in self.timers.items() if at <= to}:
            for customer in due:
                del self.timers[customer]
            self.send({customer: [(None, at, TIMER_PARTITION, -1, 0, None)] for customer, at in due.items()})

    def _take(self, outputs: list[Any], counters: dict[str, int]) -> None:
        for destination, key, value in outputs:
            self.outputs[Destination(destination)].append((key, value))
        self.counts.update(counters)

    def written(self, destination: Destination) -> list[Any]:
        """The values that were written to a topic, decoded; None for a tombstone."""
        return [None if value is None else json.loads(value) for _, value in self.outputs[destination]]

    @property
    def transitions(self) -> list[tuple[str, str, str]]:
        """Customer, type and segment of each transition, in order."""
        changes = self.written(Destination.SEGMENT_CHANGES)
        return [(one["subject"], one["type"].removeprefix("segment."), one["data"]["segment"]) for one in changes]

    def check_accounts(self, received: int) -> None:
        """Every record ended in exactly one place, and those that were refused can be found there."""
        assert self.counts["received"] == received
        assert sum(self.counts[name] for name in OUTCOMES) == received
        letters = self.written(Destination.DEAD_LETTERS)
        others = sum(count for name, count in self.counts.items() if name.startswith("failed_"))
        assert len(letters) == self.counts["dead_lettered"] + self.counts["quarantined"] + others
        assert len(self.outputs[Destination.LATE_EVENTS]) == self.counts["late"]
        assert self.counts["entered"] + self.counts["exited"] == len(self.outputs[Destination.SEGMENT_CHANGES])
