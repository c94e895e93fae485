"""The real broker and the real cluster: they come, answer, survive crashes of their parts, and leave nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from cli.cluster import STATE_FILE, LocalCluster
from cli.errors import UserError
from cli.processes import is_listening, processes_of_session, wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, jars: Path) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("run"), broker_heap="256m") as started:
        yield started


def produce(cluster: LocalCluster, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=cluster.bootstrap_servers)
    for value in values:
        producer.send(topic, value)
    producer.flush()
    producer.close()


def consume(cluster: LocalCluster, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(topic, bootstrap_servers=cluster.bootstrap_servers, auto_offset_reset="earliest")
    try:
        found: list[bytes] = []

        def enough() -> bool:
            for records in consumer.poll(timeout_ms=500).values():
                found.extend(record.value for record in records)
            return len(found) >= count

        wait_until(enough, 30, f"{count} records in {topic}")
        return found
    finally:
        consumer.close()


def create(cluster: LocalCluster, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=cluster.bootstrap_servers)
    admin.create_topics([NewTopic(topic, 1, 1)])
    admin.close()


def test_it_answers(cluster: LocalCluster) -> None:
    assert cluster.broker.answers()
    assert cluster.flink.answers()
    assert cluster.flink.slots() == 1
    assert set(cluster.pids()) == {"broker", "jobmanager", "taskmanager-1"}


def listeners() -> dict[str, str]:
    """Inodes of the sockets that listen, with the address in the kernel's notation."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                found[words[9]] = words[1].rpartition(":")[0]
    return found


def test_nothing_listens_beyond_the_loopback_interface(cluster: LocalCluster) -> None:
    by_inode = listeners()
    addresses = []
    for pid in cluster.pids().values():
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            target = str(entry.readlink()) if entry.is_symlink() else ""
            if target.startswith("socket:[") and target[8:-1] in by_inode:
                addresses.append(by_inode[target[8:-1]])
    assert len(addresses) >= 5
    assert set(addresses) <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_pips_package_is_not_altered(cluster: LocalCluster) -> None:
    from cli.paths import flink_home

    names = {jar.name for jar in (flink_home() / "lib").glob("*.jar")}
    linked = {jar.name for jar in cluster.flink.lib_dir.glob("*.jar")}
    assert names < linked
    assert not any("kafka" in name or "segue" in name for name in names)
    assert "segue-operator.jar" in linked
    assert any(name.startswith("flink-sql-connector-kafka") for name in linked)


def test_other_commands_find_it(cluster: LocalCluster) -> None:
    again = LocalCluster.attach(cluster.run_dir)
    assert again.bootstrap_servers == cluster.bootstrap_servers
    assert again.rest_url == cluster.rest_url
    assert again.pids() == cluster.pids()
    state = json.loads((cluster.run_dir / STATE_FILE).read_text())
    assert state["flink"]["job_manager"]["pid"] == cluster.pids()["jobmanager"]


def test_none_is_found_where_none_was_started(tmp_path: Path) -> None:
    assert LocalCluster.find(tmp_path) is None
    with pytest.raises(UserError, match="no local cluster is up"):
        LocalCluster.attach(tmp_path)


def test_a_second_start_changes_nothing(cluster: LocalCluster) -> None:
    before = cluster.pids()
    cluster.start()
    assert cluster.pids() == before


def test_the_broker_comes_back_after_a_crash_with_what_it_had(cluster: LocalCluster, topic: str) -> None:
    create(cluster, topic)
    produce(cluster, topic, [b"one", b"two"])
    address = cluster.bootstrap_servers
    cluster.broker.kill()
    assert not cluster.broker.answers()
    cluster.broker.start()
    assert cluster.bootstrap_servers == address
    produce(cluster, topic, [b"three"])
    assert consume(cluster, topic, 3) == [b"one", b"two", b"three"]


def test_a_task_manager_that_was_killed_is_replaced(cluster: LocalCluster) -> None:
    killed = cluster.flink.kill_task_manager()
    assert not killed.alive()
    new = cluster.flink.start_task_manager()
    assert new.id != killed.id
    assert new.id in {manager["id"] for manager in cluster.flink.rest("/taskmanagers")["taskmanagers"]}
    assert LocalCluster.attach(cluster.run_dir).pids() == cluster.pids()


def test_a_job_manager_comes_back_where_it_was(cluster: LocalCluster) -> None:
    url = cluster.rest_url
    cluster.flink.kill_job_manager()
    assert not cluster.flink.answers()
    cluster.flink.start()
    assert cluster.rest_url == url
    # The TaskManager that was there before has found it again.
    assert cluster.flink.slots() >= 1


def test_nothing_is_left_and_topics_survive(tmp_path: Path, jars: Path, topic: str) -> None:
    with LocalCluster(tmp_path, broker_heap="256m") as first:
        create(first, topic)
        produce(first, topic, [b"kept"])
        pids = first.pids()
        ports = [first.broker.port, first.broker.controller_port, first.flink.web_port, first.flink.rpc_port]
        assert all(is_listening(port) for port in ports)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())
    assert not any(processes_of_session(pid) for pid in pids.values())
    assert not any(is_listening(port) for port in ports)
    assert LocalCluster.find(tmp_path) is None
    with LocalCluster(tmp_path, broker_heap="256m") as second:
        assert consume(second, topic, 1) == [b"kept"]


def test_a_start_that_fails_leaves_nothing(tmp_path: Path, jars: Path) -> None:
    cluster = LocalCluster(tmp_path, flink_settings={"blob.server.port": "none"})
    with pytest.raises(UserError, match="the JobManager"):
        cluster.start()
    assert cluster.pids() == {}
    assert not is_listening(cluster.broker.port)
