"""One set of properties serves Java's clients and Python's; topics are created as they ought to be and never altered."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient

from flink_jobs import topics as module
from flink_jobs.model_records import LONGEST_VALUE
from flink_jobs.settings import Settings, SettingsError, load_settings
from flink_jobs.topics import (
    LONGEST_MODEL,
    Record,
    SlowTopicError,
    client_options,
    ensure_topics,
    expected_topics,
    has_had_models,
    java_properties,
    newest_rules,
    read_topic,
)
from tests.frames import FILES, payload


def settings(**properties: str) -> Settings:
    variables = {f"SEGUE_KAFKA__PROPERTIES__{name.upper()}": value for name, value in properties.items()}
    return load_settings(None, {"SEGUE_KAFKA__BOOTSTRAP_SERVERS": "one:9092, two:9092,", **variables})


def test_brokers_are_a_list() -> None:
    assert client_options(settings()) == {"bootstrap_servers": ["one:9092", "two:9092"]}
    with pytest.raises(SettingsError, match=r"kafka\.bootstrap_servers.*is not set"):
        client_options(Settings())


@pytest.mark.parametrize(
    ("mechanism", "module_name"),
    [
        ("SCRAM-SHA-512", "scram.ScramLoginModule"),
        ("SCRAM-SHA-256", "scram.ScramLoginModule"),
        ("PLAIN", "plain.PlainLoginModule"),
    ],
)
def test_a_name_and_a_password_serve_both_clients(mechanism: str, module_name: str) -> None:
    made = settings(security_protocol="SASL_SSL", sasl_mechanism=mechanism, sasl_username="ann", sasl_password="s3cret")
    assert client_options(made) == {
        "bootstrap_servers": ["one:9092", "two:9092"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "ann",
        "sasl_plain_password": "s3cret",
    }
    assert java_properties(made) == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.jaas.config": (
            f'org.apache.kafka.common.security.{module_name} required username="ann" password="s3cret";'
        ),
    }


def test_without_a_mechanism_both_clients_take_the_same() -> None:
    """Java's own default is Kerberos, which a name and a password are no use for."""
    made = settings(security_protocol="SASL_SSL", sasl_username="ann", sasl_password="x")
    assert client_options(made)["sasl_mechanism"] == java_properties(made)["sasl.mechanism"] == "PLAIN"


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_password_survives_the_login_line(user: str, password: str) -> None:
    """Quotes and backslashes included: what Java is told is read back as what was meant."""
    variables = {
        "SEGUE_KAFKA__BOOTSTRAP_SERVERS": "one:9092",
        "SEGUE_KAFKA__PROPERTIES__SASL_USERNAME": user,
        "SEGUE_KAFKA__PROPERTIES__SASL_PASSWORD": password,
    }
    line = java_properties(load_settings(None, variables))["sasl.jaas.config"]
    again = load_settings(
        None, {"SEGUE_KAFKA__BOOTSTRAP_SERVERS": "one:9092", "SEGUE_KAFKA__PROPERTIES__SASL_JAAS_CONFIG": line}
    )
    options = client_options(again)
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == (user, password)
    assert java_properties(again)["sasl.jaas.config"] == line


@pytest.mark.parametrize("alone", ["sasl_username", "sasl_password"])
def test_one_without_the_other_is_refused(alone: str) -> None:
    with pytest.raises(SettingsError, match="both are needed"):
        java_properties(settings(**{alone: "hunter2"}))


def test_a_certificate_authority_serves_both_clients() -> None:
    ours = settings(security_protocol="SSL", ssl_ca_location="/etc/ca.pem")
    assert client_options(ours)["ssl_cafile"] == "/etc/ca.pem"
    assert java_properties(ours) == {
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": "/etc/ca.pem",
    }
    javas = settings(ssl_truststore_type="PEM", ssl_truststore_location="/etc/ca.pem")
    assert client_options(javas)["ssl_cafile"] == "/etc/ca.pem"
    assert java_properties(javas) == {"ssl.truststore.type": "PEM", "ssl.truststore.location": "/etc/ca.pem"}
    store = settings(ssl_keystore_type="PEM", ssl_keystore_location="/etc/me.pem", ssl_key_password="x")
    assert client_options(store)["ssl_certfile"] == "/etc/me.pem"


def test_a_store_that_only_java_reads_is_refused_with_the_way_out() -> None:
    """It would fail later, in OpenSSL, with words that name neither the file nor the setting."""
    with pytest.raises(SettingsError, match=r"ssl\.truststore\.type: PEM"):
        client_options(settings(ssl_truststore_location="/etc/trust.jks"))
    both = settings(ssl_truststore_location="/etc/trust.jks", ssl_ca_location="/etc/ca.pem")
    assert client_options(both)["ssl_cafile"] == "/etc/ca.pem"
    assert java_properties(both)["ssl.truststore.location"] == "/etc/trust.jks"


def test_pythons_clients_know_every_option_that_they_are_given() -> None:
    for client in (KafkaConsumer, KafkaAdminClient):
        assert set(module._CLIENT_OPTIONS.values()) | {"ssl_certfile"} <= set(client.DEFAULT_CONFIG)


def test_other_properties_go_to_java_untouched() -> None:
    made = load_settings(None, {"SEGUE_KAFKA__BOOTSTRAP_SERVERS": "a:1", "SEGUE_KAFKA__PROPERTIES__CLIENT_ID": "me"})
    assert java_properties(made) == {"client.id": "me"}
    assert client_options(made) == {"bootstrap_servers": ["a:1"]}
    assert made.kafka.properties == {"client.id": "me"}, "settings are not changed by being read"


# --- topics ------------------------------------------------------------------------------------------------------------


def test_all_topics_of_the_job_are_expected_once() -> None:
    made = Settings()
    names = [topic.name for topic in expected_topics(made)]
    assert sorted(names) == sorted(vars(made.topics).values())
    compacted = {topic.name for topic in expected_topics(made) if topic.compacted}
    assert compacted == {"customer-segments", "rules", "model-updates"}


def test_order_per_customer_needs_as_many_partitions_for_what_is_kept_as_for_what_is_read() -> None:
    by_name = {
        topic.name: topic.partitions for topic in expected_topics(load_settings(None, {"SEGUE_KAFKA__PARTITIONS": "7"}))
    }
    assert by_name["events"] == by_name["segment-changes"] == by_name["customer-segments"] == 7
    assert by_name["rules"] == 1, "rule sets have an order among themselves"


class Admin:
    """A broker of which only what `ensure_topics` asks is there. `policies` are those of the topics that exist."""

    def __init__(self, policies: dict[str, str], longest: int) -> None:
        self.policies = policies
        self.longest = longest
        self.created: list[Any] = []
        self.closed = False

    def list_topics(self) -> list[str]:
        return list(self.policies)

    def create_topics(self, topics: list[Any]) -> None:
        self.created += topics

    def describe_configs(self, resources: list[Any]) -> Any:
        (resource,) = resources
        policy = {
            "cleanup.policy": {"value": self.policies[resource.name]},
            "max.message.bytes": {"value": str(self.longest)},
        }
        return {"topic": {resource.name: policy}}

    def close(self) -> None:
        self.closed = True


def ensured(
    monkeypatch: pytest.MonkeyPatch, policies: dict[str, str], *names: str, longest: int = LONGEST_MODEL
) -> tuple[Admin, list[str]]:
    admin = Admin(policies, longest)
    monkeypatch.setattr(module, "KafkaAdminClient", lambda **_: admin)
    differences = ensure_topics(settings(), *names)
    assert admin.closed
    return admin, differences


def test_missing_topics_are_created_with_their_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    admin, differences = ensured(monkeypatch, {"events": "delete"})
    assert differences == []
    created = {topic.name: topic for topic in admin.created}
    assert set(created) == {topic.name for topic in expected_topics(Settings())} - {"events"}
    for name, topic in created.items():
        assert topic.topic_configs["cleanup.policy"] == (
            "compact" if name in ("customer-segments", "rules", "model-updates") else "delete"
        )
    longest = {name: topic.topic_configs.get("max.message.bytes") for name, topic in created.items()}
    assert int(longest.pop("model-updates")) > LONGEST_VALUE
    assert set(longest.values()) == {None}


def test_a_topic_that_differs_is_named_and_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changing `delete` to `compact` on a topic that others use would delete what they rely on."""
    compacted = {"rules": "compact,delete", "model-updates": "compact"}
    there = {topic.name: "delete" for topic in expected_topics(Settings())} | compacted
    admin, differences = ensured(monkeypatch, there)
    assert admin.created == []
    assert differences == ["topic customer-segments has cleanup.policy=delete, expected compact; left as it is"]


def test_a_topic_that_takes_no_large_models_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"model-updates": "compact", "rules": "compact"}
    _, differences = ensured(monkeypatch, there, *there, longest=1_048_588)
    assert [one.split(";")[0] for one in differences] == [
        f"topic model-updates has max.message.bytes=1048588, expected {LONGEST_MODEL}"
    ]


def test_only_those_that_are_named_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    admin, _ = ensured(monkeypatch, {}, "rules")
    assert [topic.name for topic in admin.created] == ["rules"]


# --- reading a topic --------------------------------------------------------------------------------------------------


class Log:
    """A Kafka consumer of one partition that holds `count` records and gives `pace` of them at a time."""

    def __init__(self, count: int, pace: int) -> None:
        self.count, self.pace, self.at, self.closed = count, pace, 0, False

    def partitions_for_topic(self, _: str) -> set[int]:
        return {0} if self.count else set()

    def assign(self, _: object) -> None:
        pass

    def seek_to_beginning(self, *_: object) -> None:
        self.at = 0

    def end_offsets(self, partitions: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(partitions, self.count)

    def position(self, _: object) -> int:
        return self.at

    def poll(self, timeout_ms: int) -> dict[Any, list[Any]]:
        begin, self.at = self.at, min(self.count, self.at + self.pace)
        return {
            None: [
                SimpleNamespace(partition=0, offset=n, timestamp=n, key=b"k", value=b"v") for n in range(begin, self.at)
            ]
        }

    def close(self) -> None:
        self.closed = True


def test_a_topic_is_read_to_its_end_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(10, 3)
    monkeypatch.setattr(module, "KafkaConsumer", lambda **_: log)
    assert [one.offset for one in read_topic(settings(), "rules")] == list(range(10))
    assert log.closed


def test_a_topic_that_is_not_there_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(0, 1)
    monkeypatch.setattr(module, "KafkaConsumer", lambda **_: log)
    assert read_topic(settings(), "rules") == []
    assert log.closed


def test_a_topic_that_does_not_come_to_its_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(10, 0)
    monkeypatch.setattr(module, "KafkaConsumer", lambda **_: log)
    with pytest.raises(SlowTopicError, match="reading topic rules takes longer"):
        list(module.records(settings(), "rules", within=0.01))
    assert log.closed


# --- rule sets ---------------------------------------------------------------------------------------------------------


def records(*values: bytes) -> list[Record]:
    return [Record(0, offset, 0, b"rules", value) for offset, value in enumerate(values)]


@pytest.mark.parametrize("order", ["in order", "out of order"])
def test_the_newest_valid_rule_set_is_found(monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    broken = re.sub(rb"within: 7d", b"withn: 7d", payload(9))
    found = [payload(1), payload(3, {"vip.yaml": FILES["vip.yaml"]}), payload(2), broken, b"\xff"]
    if order == "in order":
        found.sort(key=len)
    monkeypatch.setattr(module, "read_topic", lambda *_: records(*found))
    newest = newest_rules(Settings())
    assert newest is not None
    assert (newest.version, [segment.name for segment in newest.segments]) == (3, ["vip"])
    monkeypatch.setattr(module, "read_topic", lambda *_: records(broken))
    assert newest_rules(Settings()) is None


def test_models_that_were_removed_are_remembered_by_the_rules_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*values: bytes) -> bool:
        monkeypatch.setattr(module, "read_topic", lambda *_: records(*values))
        return has_had_models(Settings())

    with_models = json.dumps(json.loads(payload(1)) | {"models": {"churn.yaml": "x"}}).encode()
    assert found(with_models, payload(2))
    broken = [b"\xff", b"[" * 200_000, b'{"models": 3}', b'{"models": {}}', b"1"]
    assert not found(payload(1), *broken)
    assert found(*broken, with_models)
