"""What the command tells the running job on the control topic: customers handed over, and requests to explain one.

Each record is a MessagePack array that begins with its kind. Whoever may write to this topic can change what the job knows.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from cli.errors import UserError
from cli.kafka import ensure_topic, talk
from flink_jobs.settings import Settings

HANDOVER, END, REQUEST = 1, 2, 3
ANSWER_SECONDS: Final = 15.0
"""How long an answer is waited for; it comes within a second where the job keeps up."""

_SEND_SECONDS: Final = 60.0
_LARGEST: Final = 16 * 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode


def handover(version: int, customer: str, partition: int, cut: int, shadow: bytes) -> bytes:
    """One customer's encoded profile after all that history holds of them up to and including offset `cut` of the partition."""
    return _encode((HANDOVER, version, customer, partition, cut, shadow))


def end(version: int, customers: int) -> bytes:
    """All customers of a version have been handed over, so many."""
    return _encode((END, version, customers))


def request(request_id: str, customer: str, segment: str | None) -> bytes:
    """Ask where a customer stands, in one segment or in all."""
    return _encode((REQUEST, request_id, customer, segment))


def send(settings: Settings, records: Iterable[bytes]) -> None:
    """Write records to the control topic in their order, and wait until all in-sync replicas have them."""
    talk(settings, lambda options: _send(options, settings.topics.control, records))


def _send(options: dict[str, Any], topic: str, records: Iterable[bytes]) -> None:
    from kafka import KafkaProducer

    failures: list[BaseException] = []
    producer = KafkaProducer(
        **options,
        acks="all",
        linger_ms=5,
        compression_type="gzip",
        max_request_size=_LARGEST,
        bootstrap_timeout_ms=10_000,
    )
    try:
        for record in records:
            producer.send(topic, value=record, partition=0).add_errback(failures.append)
            if failures:
                break
        producer.flush(timeout=_SEND_SECONDS)
        if failures:
            raise failures[0]
    finally:
        producer.close(timeout=5)


def ask(settings: Settings, customer: str, segment: str | None, patience: float = ANSWER_SECONDS) -> dict[str, Any]:
    """The running job's explanation of a customer; `UserError` if it does not answer.

    The answer is read before it is committed: it changes nothing, and a commit may be a checkpoint away.
    """
    for topic in (settings.topics.control, settings.topics.explanations):
        ensure_topic(settings, topic)
    request_id = uuid.uuid4().hex
    found: dict[str, Any] | None = talk(
        settings,
        lambda options: _ask(
            options, settings, request_id, lambda: send(settings, [request(request_id, customer, segment)]), patience
        ),
    )
    if found is None:
        raise UserError(
            f"the job has not answered within {patience:.0f} s",
            "is it up (`segue status`)? `--at now` replays the customer's events instead of asking it",
        )
    return found


def _ask(
    options: dict[str, Any], settings: Settings, request_id: str, put: Callable[[], None], patience: float
) -> dict[str, Any] | None:
    """Stand at the end of the answers, put the question, and wait for the answer to it."""
    from flink_jobs import topics

    consumer = topics.reading_consumer(options, isolation_level="read_uncommitted", fetch_max_wait_ms=50)
    try:
        partitions = topics.partitions_of(consumer, settings.topics.explanations)
        consumer.assign(partitions)
        for partition, offset in consumer.end_offsets(partitions).items():
            consumer.seek(partition, offset)
        put()
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=200).values():
                for record in records:
                    if record.key == request_id.encode() and record.value:
                        answer: dict[str, Any] = json.loads(record.value)
                        return answer
        return None
    finally:
        consumer.close()
