"""Kafka for rules and models: reading a compacted topic to its end, and writing one record so that it is surely there."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cli.errors import UserError
from flink_jobs.settings import Settings, SettingsError

if TYPE_CHECKING:
    from flink_jobs.topics import Record

PATIENCE_SECONDS: Final = 30.0
_BOOTSTRAP_MS: Final = 10_000
_LARGEST_REQUEST: Final = 17 * 1024 * 1024
"""Room for the longest version of a model, see `flink_jobs.model_records`."""

Answer = TypeVar("Answer")


def read_topic(settings: Settings, topic: str) -> list[Record]:
    """Every record that the topic holds now, oldest first in each partition; none if there is no such topic."""
    from flink_jobs import topics

    return talk(settings, lambda _: topics.read_topic(settings, topic))


def ensure_topic(settings: Settings, topic: str) -> list[str]:
    """Create the topic if it is missing; what differs from what it ought to be is left as it is, and said in words."""
    from flink_jobs.topics import ensure_topics

    return talk(settings, lambda _: ensure_topics(settings, topic))


def publish(settings: Settings, topic: str, key: bytes, value: bytes) -> Record:
    """Write one record, and wait until all in-sync replicas have it."""
    return talk(settings, lambda options: _publish(options, topic, key, value))


def _publish(options: dict[str, Any], topic: str, key: bytes, value: bytes) -> Record:
    from kafka import KafkaProducer

    from flink_jobs.topics import Record

    producer = KafkaProducer(
        **options,
        acks="all",
        # The limit of the client is on what it is given, the broker's on what is sent: text shrinks to a tenth.
        compression_type="gzip",
        max_request_size=_LARGEST_REQUEST,
        delivery_timeout_ms=int(PATIENCE_SECONDS * 1000),
        bootstrap_timeout_ms=_BOOTSTRAP_MS,
    )
    try:
        written = producer.send(topic, key=key, value=value).get(timeout=PATIENCE_SECONDS + 5)
        return Record(written.partition, written.offset, written.timestamp, key, value)
    finally:
        producer.close(timeout=5)


def talk(settings: Settings, what: Callable[[dict[str, Any]], Answer]) -> Answer:
    """Do something with Kafka; a Kafka that does not answer is said in one line."""
    from kafka.errors import KafkaError, MessageSizeTooLargeError, TopicAuthorizationFailedError

    from flink_jobs.topics import SlowTopicError, client_options

    where = settings.kafka.bootstrap_servers
    if not any(map(_listens, where.split(","))):
        # The client's own way of finding nobody there takes ten seconds and leaves its sockets open.
        raise UserError(f"no Kafka answers at {where}", "is it up? `segue status`")
    with _quiet():
        try:
            return what(client_options(settings))
        except SettingsError as error:
            raise UserError(str(error)) from None
        except SlowTopicError as error:
            raise UserError(f"Kafka at {where} is slow: {error}", "is Kafka well?") from None
        except MessageSizeTooLargeError:
            raise UserError(
                "the broker takes no record as large as this one", "raise max.message.bytes of its topic"
            ) from None
        except TopicAuthorizationFailedError as error:
            raise UserError(f"Kafka at {where} does not allow this: {error}") from None
        except (KafkaError, OSError) as error:
            raise UserError(
                f"no Kafka answers at {where} ({type(error).__name__})", "is it up? `segue status`"
            ) from None


def rewind(consumer: Any, partitions: list[Any], begin: int) -> None:
    """Stand at the first records of that time (epoch ms) or later; at the very first where it is not after 1970."""
    if begin <= 0:
        consumer.seek_to_beginning(*partitions)
        return
    for partition, found in consumer.offsets_for_times(dict.fromkeys(partitions, begin)).items():
        if found is None:
            consumer.seek_to_end(partition)
        else:
            consumer.seek(partition, found.offset)


def _listens(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    if not port.isdecimal():
        return True  # the client knows more forms of addresses than we do
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return True
    except (OSError, OverflowError):
        return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the client's own warnings off the terminal: what matters of them comes as an exception."""
    logger = logging.getLogger("kafka")
    before, logger.level = logger.level, logging.CRITICAL
    try:
        yield
    finally:
        logger.setLevel(before)
