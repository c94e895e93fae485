"""The same with Bytewax: `python -m benchmarks.bytewax_job SPEC`, in `.venv-bench`. One worker, one process.

Profiles stay decoded in memory and no recovery is configured, so nothing is durable and nothing but the outputs is ever
encoded. Bytewax's timers go by the system's clock, not by event time: what falls due is noticed at the customer's next event, or
never. That is less work than our job does, and less safety.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import run_main

from benchmarks.engine import Engine, Profile, load_rules
from benchmarks.spec import Spec
from flink_jobs.outputs import Destination

Arrival = tuple[bytes, int]


class Customer(StatefulBatchLogic[Arrival, KafkaSinkMessage, Profile | None]):
    """One customer's profile, decoded."""

    __slots__ = ("engine", "profile", "topics")

    def __init__(self, engine: Engine, topics: dict[int, str], profile: Profile | None) -> None:
        self.engine = engine
        self.topics = topics
        self.profile = profile

    def on_batch(self, values: list[Any]) -> tuple[list[KafkaSinkMessage], bool]:
        messages = []
        for customer, value, time_ in values:
            self.profile, _, outputs = self.engine.arrive(self.profile, customer, value, time_)
            for destination, key, content in outputs:
                messages.append(KafkaSinkMessage(key, content, self.topics[destination]))
        return messages, False

    def snapshot(self) -> Profile | None:
        return self.profile


def keyed(messages: list[KafkaSourceMessage]) -> list[tuple[str, Any]]:
    """(customer, (customer, value, record time)) of each message."""
    found = []
    for message in messages:
        customer = message.key.decode()
        found.append((customer, (customer, message.value, message.timestamp[1])))
    return found


def flow(spec: Spec) -> Dataflow:
    """Kafka in, the core, Kafka out."""
    engine = Engine(load_rules(spec.rules))
    topics: dict[int, str] = {
        Destination.SEGMENT_CHANGES: spec.changes,
        Destination.CUSTOMER_SEGMENTS: spec.memberships,
    }
    dataflow = Dataflow("segments")
    messages = op.input("events", dataflow, KafkaSource([spec.bootstrap], [spec.topic], tail=False))
    customers = op.flat_map_batch("customers", messages, keyed)
    outputs = op.stateful_batch("segments", customers, lambda held: Customer(engine, topics, held))
    op.output("outputs", op.key_rm("values", outputs), KafkaSink([spec.bootstrap], None))
    return dataflow


def main() -> None:
    begun = time.monotonic()
    spec = Spec.read(sys.argv[1])
    dataflow = flow(spec)
    gc.freeze()
    ready = time.monotonic()
    run_main(dataflow)
    now = time.monotonic()
    Path(spec.result).write_bytes(msgspec.json.encode({"setup": ready - begun, "run": now - ready}))


if __name__ == "__main__":
    main()
