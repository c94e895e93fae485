"""Records to Kafka: bounded in flight, and each one's acknowledgement known."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, MessageSizeTooLargeError

from cli.errors import UserError
from profiles.document import suggestion

MAX_IN_FLIGHT: Final = 20_000
"""Records, about 8 MB of typical events: the client has no bound of its own, so a slow broker would fill the memory."""

_MAX_BYTES_IN_FLIGHT: Final = 32_000_000
_PATIENCE_SECONDS: Final = 60.0
_LAST_WORDS_SECONDS: Final = 5.0
"""For all that is still under way when Kafka is known to be gone."""

_LOOK_UP_EVERY: Final = 0.2

# Each batch carries a CRC-32C. Without the `crc32c` package the client computes it in Python, byte for byte, which costs more
# than all else together; then compressing first (zlib is C) more than doubles the speed.
_COMPRESSION: Final = None if find_spec("crc32c") else "gzip"


class Sender(Protocol):
    """Takes records and knows what became of them; `acknowledged + failed` reaches `sent` when `finish` returns."""

    sent: int
    acknowledged: int
    failed: int
    failure: str
    broken: bool
    """Whether a record failed for a reason that holds for those after it as well."""

    def send(self, topic: str, key: bytes | None, value: bytes, timestamp: int) -> None:
        """Hands over one record with its timestamp (epoch ms); blocks while too much is under way."""

    def finish(self) -> None:
        """Waits until each record is acknowledged or has failed."""


def bootstrap_servers(given: str | None, root: Path | None = None) -> str:
    """Kafka's address: as given, from the environment, or of the local cluster that runs from this folder."""
    if given:
        return given
    if address := os.environ.get("SEGUE_KAFKA__BOOTSTRAP_SERVERS"):
        return address
    state = (root or Path(__file__).resolve().parent.parent) / ".segue" / "run" / "cluster.json"
    try:
        address = json.loads(state.read_text())["bootstrap_servers"]
    except FileNotFoundError:
        raise UserError("no Kafka is known", "run `segue up`, or name one with --bootstrap HOST:PORT") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{state} is damaged", "run `segue down`, then `segue up`") from None
    return str(address)


def require_topics(bootstrap: str, topics: list[str]) -> None:
    """Raises `UserError` unless all topics exist: a topic that a broker makes by itself has the wrong partitions and cleanup."""
    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","), bootstrap_timeout_ms=10_000)
        try:
            there = set(admin.list_topics())
        finally:
            admin.close()
    except (KafkaError, OSError) as error:
        raise UserError(
            f"no Kafka answers at {bootstrap} ({type(error).__name__})", "is it up? `segue status`"
        ) from None
    for topic in topics:
        if topic not in there:
            hint = suggestion(topic, (name for name in there if not name.startswith("__")))
            raise UserError(f"Kafka has no topic {topic!r}", hint or "`segue up` makes the topics")


class KafkaSender:
    """A `Sender` over one idempotent producer. Use as a context manager."""

    def __init__(self, bootstrap: str, **settings: Any) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.failure = ""
        self.broken = False
        self.meanwhile: Callable[[], None] = lambda: None
        """Called now and then while an acknowledgement is waited for."""
        self._bytes = 0
        self._under_way: deque[tuple[Any, int]] = deque()
        try:
            self._producer = KafkaProducer(
                bootstrap_servers=bootstrap.split(","),
                acks="all",
                linger_ms=5,
                batch_size=262_144,
                delivery_timeout_ms=55_000,
                compression_type=_COMPRESSION,
                bootstrap_timeout_ms=10_000,
                **settings,
            )
        except KafkaError as error:
            raise UserError(
                f"no Kafka answers at {bootstrap} ({type(error).__name__})", "is it up? `segue up`"
            ) from None

    def send(self, topic: str, key: bytes | None, value: bytes, timestamp: int) -> None:
        under_way = self._under_way
        while under_way and (
            len(under_way) >= MAX_IN_FLIGHT or self._bytes > _MAX_BYTES_IN_FLIGHT or under_way[0][0].is_done
        ):
            self._settle()
        self.sent += 1
        try:
            future = self._producer.send(topic, value=value, key=key, timestamp_ms=timestamp)
        except KafkaError as error:
            self._fail(error)
            return
        under_way.append((future, len(value)))
        self._bytes += len(value)

    def _settle(self, patience: float = _PATIENCE_SECONDS) -> None:
        """Waits for the oldest record, up to `patience`; one that nothing is heard of counts as neither good nor failed."""
        future, size = self._under_way[0]
        deadline = time.monotonic() + patience
        while not future.is_done and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(KafkaError):  # that it is late and that it failed look the same here
                future.get(timeout=min(left, _LOOK_UP_EVERY))
            self.meanwhile()
        self._under_way.popleft()
        self._bytes -= size
        if not future.is_done:
            self.broken = True
            self.failure = self.failure or f"Kafka has not answered for {patience:.0f} seconds"
        elif future.succeeded():
            self.acknowledged += 1
        else:
            self._fail(future.exception)

    def _fail(self, error: BaseException) -> None:
        self.failed += 1
        self.failure = self.failure or f"{type(error).__name__}: {error}"
        self.broken = self.broken or not isinstance(error, MessageSizeTooLargeError)

    def finish(self) -> None:
        until = time.monotonic() + _LAST_WORDS_SECONDS
        while self._under_way:
            self._settle(max(0.0, until - time.monotonic()) if self.broken else _PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After Ctrl-C nobody wants to wait for what is still under way, and when Kafka is gone it is in vain.
        try:
            self._producer.close(timeout=30 if kind is None and not self.broken else 0)
        except KafkaError:
            # It gave up on its way to closing; its destructor would try again, and print what it fails with.
            self._producer._closed = True  # noqa: SLF001
