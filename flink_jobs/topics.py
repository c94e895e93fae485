"""Kafka as the jobs need it: client options, topics that exist with the right cleanup policy, the published rule sets."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from flink_jobs.settings import Settings, SettingsError
from flink_jobs.sockets import ClosingSelector
from rules.rule_set import RuleSet, newest_valid

READ_SECONDS: Final = 30.0
"""How long reading a small topic may take: far more than it does where Kafka is well."""

CONTROL_RETENTION: Final = 7 * 86_400_000
"""A job that is down for no longer than this finds all that was handed over to it."""

EXPLANATIONS_RETENTION: Final = 3_600_000
"""Who asked has read the answer long before; it is about a person, so it does not stay."""

LONGEST_MODEL: Final = 17 * 1024 * 1024
"""Bytes of a record of a model: the longest version (see `flink_jobs.model_records`), and room for what goes around it."""

_CLIENT_OPTIONS = {
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
}
_LOGIN = re.compile(r'(username|password)\s*=\s*"((?:[^"\\]|\\.)*)"')


class SlowTopicError(KafkaError):  # type: ignore[misc]
    """A topic took longer to read than somebody would wait."""


@dataclass(frozen=True)
class Topic:
    """A topic as it ought to be. `compacted` topics keep the newest value of each key.

    The broker stamps all records with its own clock. A producer's clock decides neither how long a record of the past is
    kept (replayed history would be deleted at once for its age) nor whether an event comes from the future.
    """

    name: str
    partitions: int
    compacted: bool = False
    retention: int | None = None
    """How long records are kept, in milliseconds; None: as long as the broker keeps them by itself."""
    longest: int | None = None
    """Bytes of the longest batch of records; None: what the broker takes by itself."""


def client_options(settings: Settings) -> dict[str, Any]:
    """The settings as kafka-python takes them. Java's JAAS login line is understood; other Java-only ones are left out.

    Certificates have to be PEM files, which both kinds of client read: `ssl.ca.location`, or Java's own names with the type PEM.
    """
    if not settings.kafka.bootstrap_servers:
        raise SettingsError("`kafka.bootstrap_servers` is not set: name the brokers, or run `segue up` for a local one")
    servers = [one.strip() for one in settings.kafka.bootstrap_servers.split(",")]
    options: dict[str, Any] = {"bootstrap_servers": [one for one in servers if one]}
    properties = settings.kafka.properties
    for name, value in properties.items():
        if name in ("ssl.truststore.location", "ssl.keystore.location"):
            kind, ours = name.removesuffix("location") + "type", "ssl_cafile" if "trust" in name else "ssl_certfile"
            if properties.get(kind, "JKS") == "PEM":
                options.setdefault(ours, value)
            elif not {"ssl.ca.location", "ssl.certificate.location"} & properties.keys():
                raise SettingsError(
                    f"`kafka.properties` has {name} without {kind}: PEM; Python reads PEM files only, and Java does too"
                )
        elif name in _CLIENT_OPTIONS:
            options[_CLIENT_OPTIONS[name]] = value
        elif name == "sasl.jaas.config":
            for key, found in _LOGIN.findall(value):
                options.setdefault(f"sasl_plain_{key}", re.sub(r"\\(.)", r"\1", found))
    if "sasl_plain_username" in options:
        options.setdefault("sasl_mechanism", "PLAIN")
    return options


def java_properties(settings: Settings) -> Mapping[str, str]:
    """The properties as Java clients take them: a user name and password become a JAAS login line, a CA file a trust store."""
    properties = dict(settings.kafka.properties)
    authority = properties.pop("ssl.ca.location", None)
    if authority is not None and "ssl.truststore.location" not in properties:
        properties |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": authority}
    user, password = properties.pop("sasl.username", None), properties.pop("sasl.password", None)
    if (user is None) is not (password is None):
        raise SettingsError("`kafka.properties` has one of sasl.username and sasl.password; both are needed")
    if user is not None and password is not None and "sasl.jaas.config" not in properties:
        scram = properties.setdefault("sasl.mechanism", "PLAIN").startswith("SCRAM")
        module = "scram.ScramLoginModule" if scram else "plain.PlainLoginModule"
        quoted = [re.sub(r'(["\\])', r"\\\1", text) for text in (user, password)]
        properties["sasl.jaas.config"] = (
            f'org.apache.kafka.common.security.{module} required username="{quoted[0]}" password="{quoted[1]}";'
        )
    return properties


def expected_topics(settings: Settings) -> list[Topic]:
    """All topics of the segments job."""
    topics, partitions = settings.topics, settings.kafka.partitions
    return [
        Topic(topics.events, partitions),
        Topic(topics.segment_changes, partitions),
        Topic(topics.customer_segments, partitions, compacted=True),
        Topic(topics.dead_letters, 1),
        Topic(topics.late_events, 1),
        Topic(topics.rule_status, 1),
        Topic(topics.rules, 1, compacted=True),
        Topic(topics.control, 1, retention=CONTROL_RETENTION),
        Topic(topics.explanations, 1, retention=EXPLANATIONS_RETENTION),
        Topic(topics.model_updates, 1, compacted=True, longest=LONGEST_MODEL),
        Topic(topics.model_quality, 1),
    ]


def ensure_topics(settings: Settings, *names: str) -> list[str]:
    """Create what is missing (only of those named, if any are); never alter what is there.

    Answers with what differs from what is expected, in words.
    """
    wanted = [topic for topic in expected_topics(settings) if not names or topic.name in names]
    admin = KafkaAdminClient(**client_options(settings))
    try:
        present = set(admin.list_topics())
        missing = [topic for topic in wanted if topic.name not in present]
        for topic in missing:
            _create(admin, topic, settings.kafka.replication)
        kept = [topic for topic in wanted if topic.name in present]
        return _differences(admin, kept)
    finally:
        admin.close()


def _create(admin: Any, topic: Topic, replication: int) -> None:
    configs = {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "message.timestamp.type": "LogAppendTime",
    }
    if topic.retention is not None:
        configs["retention.ms"] = str(topic.retention)
    if topic.longest is not None:
        configs["max.message.bytes"] = str(topic.longest)
    new = NewTopic(
        name=topic.name,
        num_partitions=topic.partitions,
        replication_factor=replication,
        topic_configs=configs,
    )
    try:
        admin.create_topics([new])
    except TopicAlreadyExistsError:
        return  # another client was quicker; it is checked at the next start


def _differences(admin: Any, topics: list[Topic]) -> list[str]:
    from kafka.admin import ConfigResource, ConfigResourceType

    found = []
    for topic in topics:
        answer = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
        policy = _config(answer, "cleanup.policy")
        if policy is not None and ("compact" in policy) is not topic.compacted:
            wanted = "compact" if topic.compacted else "delete"
            found.append(f"topic {topic.name} has cleanup.policy={policy}, expected {wanted}; left as it is")
        longest = _config(answer, "max.message.bytes")
        if topic.longest is not None and longest is not None and int(longest) < topic.longest:
            limit = f"max.message.bytes={longest}, expected {topic.longest}"
            found.append(f"topic {topic.name} has {limit}; left as it is, and the job fails on what is longer")
    return found


def _config(answer: Any, name: str) -> str | None:
    """The setting of that name in what kafka-python answers: nested dicts in version 3, response objects before."""
    if isinstance(answer, dict):
        for key, value in answer.items():
            if key == name:
                return str(value["value"]) if isinstance(value, dict) else str(value)
            found = _config(value, name)
            if found is not None:
                return found
    return None


def newest_rules(settings: Settings) -> RuleSet | None:
    """The newest valid rule set on the rules topic; None if there is none. Raises KafkaError where no broker answers."""
    values = [record.value for record in read_topic(settings, settings.topics.rules)]
    return newest_valid(value for value in values if value is not None)[0]


class _Models(msgspec.Struct):
    models: dict[str, Any] = {}


_models_decoder: Final = msgspec.json.Decoder(_Models)


def has_had_models(settings: Settings) -> bool:
    """Whether any version on the rules topic has models. Raises KafkaError where no broker answers."""
    return any(names_models(one.value) for one in read_topic(settings, settings.topics.rules) if one.value is not None)


def names_models(payload: bytes) -> bool:
    """Whether a record of the rules topic has models, valid or not."""
    try:
        return bool(_models_decoder.decode(payload).models)
    except (ValueError, RecursionError):
        return False  # the job refuses it, whatever it is


@dataclass(frozen=True)
class Record:
    """One record of a topic; `timestamp` in epoch milliseconds."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def reading_consumer(options: Mapping[str, Any], **more: Any) -> Any:
    """A consumer that reads what is committed, and belongs to no group if `more`, which goes over all, names none.

    `options` are `client_options`.
    """
    known: dict[str, Any] = {
        "group_id": None,
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        "auto_offset_reset": "earliest",
        "bootstrap_timeout_ms": 10_000,
        "selector": ClosingSelector,
    }
    return KafkaConsumer(**{**known, **options, **more})


def partitions_of(consumer: Any, topic: str) -> list[TopicPartition]:
    """The topic's partitions in order; none if there is no such topic."""
    return [TopicPartition(topic, one) for one in sorted(consumer.partitions_for_topic(topic) or ())]


def read_topic(settings: Settings, topic: str) -> list[Record]:
    """Every record of `records`, for topics that fit into memory."""
    return list(records(settings, topic))


def records(settings: Settings, topic: str, *, within: float = READ_SECONDS) -> Iterator[Record]:
    """Every committed record that the topic holds now, oldest first in each partition; none if there is no such topic.

    Raises `KafkaError` where no broker answers, or reading takes longer than `within` seconds.
    """
    consumer = reading_consumer(client_options(settings))
    try:
        partitions = partitions_of(consumer, topic)
        if not partitions:
            return
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        deadline = time.monotonic() + within
        while any(consumer.position(one) < ends[one] for one in partitions):
            if time.monotonic() > deadline:
                raise SlowTopicError(f"reading topic {topic} takes longer than {within:.0f} s")
            for found in consumer.poll(timeout_ms=500).values():
                for one in found:
                    yield Record(one.partition, one.offset, one.timestamp, one.key, one.value)
    finally:
        consumer.close()


__all__ = [
    "KafkaError",
    "Record",
    "SlowTopicError",
    "Topic",
    "client_options",
    "ensure_topics",
    "expected_topics",
    "has_had_models",
    "java_properties",
    "names_models",
    "newest_rules",
    "partitions_of",
    "read_topic",
    "reading_consumer",
    "records",
]
