"""Rules on a real Kafka: versions follow each other, nothing is overwritten, and two people do not undo each other's work."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from cli import main
from cli.errors import UserError
from cli.kafka import publish, read_topic
from cli.published import apply_rules, publish_rules, read_published
from flink_jobs.settings import Kafka as KafkaSettings
from flink_jobs.settings import Settings, Topics
from flink_jobs.topics import newest_rules
from rules.rule_set import load_directory
from tests.fixtures.services import Kafka

pytestmark = pytest.mark.slow

VIP = "segment: vip\nwhen: {event: Order Completed, within: 30d, count: {gte: 3}}\n"
NEWS = "segment: news\nwhen: {event: Email Opened, within: 7d}\n"


@pytest.fixture
def settings(kafka: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SEGUE_KAFKA__BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("SEGUE_TOPICS__RULES", topic)
    return Settings(kafka=KafkaSettings(kafka.bootstrap_servers), topics=Topics(rules=topic))


def folder(path: Path, **texts: str) -> Path:
    path.mkdir(exist_ok=True)
    for name, text in texts.items():
        (path / f"{name}.yaml").write_text(text)
    return path


def test_versions_follow_each_other(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = folder(tmp_path / "rules", vip=VIP)
    assert main.main(["rules", "list"]) == 0
    assert "no rules" in capsys.readouterr().out
    assert main.main(["rules", "apply", str(rules), "-m", "begin", "--author", "ann"]) == 0
    assert "version 1 published: 1 segment" in capsys.readouterr().out
    assert main.main(["rules", "apply", str(rules)]) == 0
    assert "nothing changed: version 1" in capsys.readouterr().out

    folder(rules, news=NEWS)
    assert main.main(["rules", "diff", str(rules), "--json"]) == 0
    assert [one["kind"] for one in json.loads(capsys.readouterr().out)["changes"]] == ["added"]
    assert main.main(["rules", "apply", str(rules), "--no-backfill"]) == 0
    assert "version 2 published" in capsys.readouterr().out

    newest = newest_rules(settings)
    assert newest is not None
    assert {one.name: one.version for one in newest.segments} == {"news": 2, "vip": 1}
    assert newest.message == "added news"
    assert main.main(["rules", "history", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["version"], one["author"]) for one in listed["versions"]][1] == (1, "ann")
    assert [one.key for one in read_topic(settings, settings.topics.rules)] == [b"00000001", b"00000002"]


def test_the_topic_is_made_compacted(settings: Settings, tmp_path: Path) -> None:
    apply_rules(settings, load_directory(folder(tmp_path / "rules", vip=VIP)), author="ann")
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    answer = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topics.rules)])
    names = set(admin.list_topics())
    admin.close()
    assert "compact" in str(answer)
    assert settings.topics.rules in names


def test_a_topic_that_is_not_compacted_is_left_so(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    admin.create_topics([NewTopic(settings.topics.rules, 1, 1, topic_configs={"cleanup.policy": "delete"})])
    admin.close()
    apply_rules(settings, load_directory(folder(tmp_path / "rules", vip=VIP)), author="ann")
    assert "cleanup.policy=delete" in capsys.readouterr().err


def test_who_publishes_meanwhile_is_not_overwritten(settings: Settings, tmp_path: Path) -> None:
    mine = load_directory(folder(tmp_path / "mine", vip=VIP))
    before = read_published(settings)
    apply_rules(settings, load_directory(folder(tmp_path / "theirs", news=NEWS)), author="bob")
    with pytest.raises(UserError, match="somebody else has just published version 1"):
        publish_rules(settings, mine, after=before)
    newest = newest_rules(settings)
    assert newest is not None
    assert [one.name for one in newest.segments] == ["news"]


def test_a_version_that_is_not_valid_is_passed_over_and_its_number_not_used_again(
    settings: Settings, tmp_path: Path
) -> None:
    rules = load_directory(folder(tmp_path / "rules", vip=VIP))
    apply_rules(settings, rules, author="ann")
    broken = dataclasses.replace(rules, version=7, sources={"vip.yaml": "segment: vip\nwhen: {evnt: x}\n"})
    publish(settings, settings.topics.rules, b"00000007", broken.to_payload())
    publish(settings, settings.topics.rules, b"x", b"not even JSON")
    published = read_published(settings)
    assert published.rules is not None
    assert published.rules.version == 1
    assert published.highest == 7
    applied = apply_rules(settings, load_directory(folder(tmp_path / "rules", news=NEWS)), author="ann")
    assert applied.rules.version == 8
    assert {one.name: one.version for one in applied.rules.segments} == {"news": 8, "vip": 1}


def test_an_invalid_set_is_refused_whole(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = folder(tmp_path / "rules", vip=VIP, news=NEWS.replace("within", "withn"))
    assert main.main(["rules", "apply", str(rules)]) == 1
    assert "news.yaml:2:29: unknown key 'withn'" in capsys.readouterr().out
    assert read_topic(settings, settings.topics.rules) == []


def test_a_large_set_passes_through(settings: Settings, tmp_path: Path) -> None:
    texts = {f"s{n}": VIP.replace("vip", f"s{n}") + f"description: {'long ' * 700}{n}\n" for n in range(1000)}
    applied = apply_rules(settings, load_directory(folder(tmp_path / "rules", **texts)), author="ann")
    assert len(applied.rules.to_payload()) > 3_000_000
    newest = newest_rules(settings)
    assert newest is not None
    assert len(newest.segments) == 1000
