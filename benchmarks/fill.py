"""Produce a workload to a topic: `python -m benchmarks.fill BOOTSTRAP TOPIC EVENTS CUSTOMERS SEED`, in `.venv-bench`."""

from __future__ import annotations

import sys

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.workload import Workload


def main() -> None:
    bootstrap, topic, events, customers, seed = sys.argv[1:]
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 20,
            "batch.size": 262_144,
            "queue.buffering.max.messages": 100_000,
            "on_delivery": delivered,
        }
    )
    for record in Workload(int(events), int(customers), int(seed)).records():
        while True:
            try:
                # The partition is ours to choose, so that what lies where is known without asking.
                producer.produce(topic, record.value, record.key, record.partition, timestamp=record.at)
                break
            except BufferError:
                producer.poll(0.1)
        if not record.offset % 256:
            producer.poll(0)
    left = producer.flush(120)
    if left or failed:
        raise SystemExit(f"{left + len(failed)} records were not delivered: {failed[:1]}")


if __name__ == "__main__":
    main()
