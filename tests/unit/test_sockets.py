"""A client of Kafka that was closed leaves no socket open, whatever it was about to say."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from kafka.net.compat import KafkaNetClient
from kafka.net.connection import KafkaConnection
from kafka.net.transport import KafkaTCPTransport

from flink_jobs import topics
from flink_jobs.sockets import ClosingSelector


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    with mine, theirs:
        yield mine, theirs


def close_while_it_writes(selector: type[selectors.BaseSelector], mine: socket.socket) -> None:
    """What happens in a consumer whose own thread has just been given something to say as it is closed: a fetch, a look at the metadata."""
    client = KafkaNetClient(bootstrap_servers="127.0.0.1:9", selector=selector)
    connection = KafkaConnection(client._net, node_id=0)
    client._manager._conns[0] = connection
    connection.connection_made(KafkaTCPTransport(client._net, mine))
    connection._init_complete()
    client._net.poll(timeout_ms=0)
    connection.transport.write(b"the next fetch")
    client.close()


def test_a_connection_that_was_closed_while_a_request_was_written_is_closed_with_the_client(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """A test once failed for a socket that the garbage collector found, long after the consumer was closed."""
    mine, _ = pair
    close_while_it_writes(ClosingSelector, mine)
    assert mine.fileno() == -1


def test_without_it_the_connection_stays_open(pair: tuple[socket.socket, socket.socket]) -> None:
    """Should this fail, kafka-python has mended it, and `ClosingSelector` can go."""
    mine, _ = pair
    close_while_it_writes(selectors.DefaultSelector, mine)
    assert mine.fileno() != -1


def test_nothing_is_closed_that_was_not_registered_or_is_in_use(pair: tuple[socket.socket, socket.socket]) -> None:
    mine, theirs = pair
    selector = ClosingSelector()
    selector.register(mine, selectors.EVENT_READ, "mine")
    theirs.send(b"x")
    assert [key.data for key, _ in selector.select(5)] == ["mine"]
    selector.unregister(mine)
    assert mine.recv(1) == b"x"
    selector.close()
    assert mine.fileno() == -1
    assert theirs.fileno() != -1


def test_every_consumer_has_such_a_selector(monkeypatch: pytest.MonkeyPatch) -> None:
    assert topics.KafkaConsumer.DEFAULT_CONFIG["selector"] is selectors.DefaultSelector
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(topics, "KafkaConsumer", lambda **options: made.append(options))
    topics.reading_consumer({"bootstrap_servers": ["one:9092"]})
    topics.reading_consumer({"bootstrap_servers": ["one:9092"]}, group_id="segue")
    assert [(one["selector"], one["group_id"]) for one in made] == [(ClosingSelector, None), (ClosingSelector, "segue")]
