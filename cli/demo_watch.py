"""What the demo's view is fed with: transitions and word on models from Kafka, the job's condition from Flink, in threads."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from kafka import TopicPartition

from cli.changes import Change, read_change
from cli.errors import UserError
from cli.flink_rest import FlinkRest
from cli.live_models import Word, read_header, read_word
from cli.live_view import Vitals
from flink_jobs.model_records import Header
from flink_jobs.settings import Settings
from flink_jobs.topics import client_options, partitions_of, reading_consumer

_RATE_WINDOW: Final = 10.0
_LOOK_EVERY: Final = 0.5

_T = TypeVar("_T")


def _taken(of: queue.SimpleQueue[_T]) -> list[_T]:
    """All that is in the queue, in its order."""
    found = []
    while True:
        try:
            found.append(of.get_nowait())
        except queue.Empty:
            return found


class Watch:
    """Watches until closed; `changes()`, `words()` and `vitals` are for the one who draws.

    A failure to look is not the end of it: the job may be restarting. It is told in `vitals.trouble` until it is over.
    """

    def __init__(self, settings: Settings, flink: FlinkRest, job: str) -> None:
        self.vitals = Vitals(web_page=flink.url)
        self._settings = settings
        self._flink = flink
        self._job = job
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._words: queue.SimpleQueue[Word | Header] = queue.SimpleQueue()
        self._heard: dict[TopicPartition, int] = {}
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_on, args=(what,), name=what.__name__, daemon=True)
            for what in (self._read_changes, self._read_words, self._look)
        ]
        for thread in self._threads:
            thread.start()

    def changes(self) -> list[Change]:
        """The transitions that have come since the last call, in the order of time: partitions come one after the other."""
        return sorted(_taken(self._changes), key=lambda change: change.effective_at)

    def words(self) -> list[Word | Header]:
        """Word on models, and which versions there are, as they have come since the last call."""
        return _taken(self._words)

    def close(self) -> None:
        """End the threads; at most one wait of theirs is waited for."""
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=2.0)

    def _keep_on(self, what: Callable[[], None]) -> None:
        from kafka.errors import KafkaError

        while not self._over.is_set():
            try:
                what()
            except (UserError, KafkaError, OSError, KeyError, ValueError) as error:
                self.vitals.trouble = str(error) or type(error).__name__
                self._over.wait(1.0)

    def _consumer(self) -> Any:
        return reading_consumer(client_options(self._settings), fetch_max_wait_ms=100)

    def _read_changes(self) -> None:
        consumer = self._consumer()
        try:
            # After a failure it begins anew: the board knows what it has seen.
            partitions = partitions_of(consumer, self._settings.topics.segment_changes)
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            while not self._over.is_set():
                for records in consumer.poll(timeout_ms=200).values():
                    for record in records:
                        if (change := read_change(record.value)) is not None:
                            self._changes.put(change)
        finally:
            consumer.close()

    def _read_words(self) -> None:
        consumer = self._consumer()
        quality, updates = self._settings.topics.model_quality, self._settings.topics.model_updates
        try:
            partitions = [*partitions_of(consumer, quality), *partitions_of(consumer, updates)]
            consumer.assign(partitions)
            for one in partitions:
                # What has been heard counts once: after a failure it goes on where it was.
                consumer.seek(one, self._heard.get(one, 0))
            while not self._over.is_set():
                for partition, records in consumer.poll(timeout_ms=200).items():
                    for record in records:
                        read = read_word if partition.topic == quality else read_header
                        if (word := read(record.value)) is not None:
                            self._words.put(word)
                    self._heard[partition] = records[-1].offset + 1
        finally:
            consumer.close()

    def _look(self) -> None:
        consumer = self._consumer()
        samples: deque[tuple[float, int]] = deque()
        vitals = self.vitals
        try:
            partitions = partitions_of(consumer, self._settings.topics.events)
            while not self._over.wait(_LOOK_EVERY):
                vitals.events_in = sum(consumer.end_offsets(partitions).values())
                now = time.monotonic()
                samples.append((now, vitals.events_in))
                while now - samples[0][0] > _RATE_WINDOW:
                    samples.popleft()
                if now > samples[0][0]:
                    vitals.input_rate = (vitals.events_in - samples[0][1]) / (now - samples[0][0])
                self._look_at_job()
                vitals.trouble = ""
        finally:
            consumer.close()

    def _look_at_job(self) -> None:
        vitals = self.vitals
        vitals.state = self._flink.state(self._job)
        if totals := self._flink.totals(self._job):
            vitals.totals = totals
        if vitals.events_in is not None and vitals.totals:
            # The events are not written in transactions, so each offset is one record.
            vitals.lag = max(0, vitals.events_in - vitals.totals.get("received", 0))
        checkpoint = self._flink.latest_checkpoint(self._job)
        if checkpoint is not None:
            vitals.checkpoint_at = checkpoint.completed
            vitals.checkpoint_millis = checkpoint.duration
            vitals.checkpoint_bytes = checkpoint.size
