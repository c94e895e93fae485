"""What the running job says of a version of the rules on the topic `rule-status`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from cli.errors import UserError
from cli.kafka import talk
from flink_jobs.settings import Settings


class JobStatus:
    """All that the job has said of one version, told to it word by word (each a value of the topic).

    >>> status = JobStatus(2)
    >>> for subtask in (0, 1):
    ...     status.note({"version": 2, "accepted": True, "stage": "warming", "subtask": subtask, "parallelism": 2})
    >>> status.all_say("warming"), status.all_say("live")
    (True, False)
    """

    def __init__(self, version: int) -> None:
        self.version = version
        self.words = 0
        self.refused = ""
        self.parallelism = 0
        self._said: dict[str, set[int]] = {}

    def note(self, status: Any) -> None:
        """Take in one word of the job; what is of another version, or no such word, is passed over."""
        if not isinstance(status, dict) or status.get("version") != self.version:
            return
        self.words += 1
        if status.get("accepted") is False:
            self.refused = str(status.get("detail") or "the job refuses it")
            return
        subtask, parallelism, stage = status.get("subtask"), status.get("parallelism"), status.get("stage")
        if isinstance(subtask, int) and isinstance(parallelism, int) and isinstance(stage, str):
            self.parallelism = parallelism
            self._said.setdefault(stage, set()).add(subtask)

    def all_say(self, stage: str) -> bool:
        """Whether each subtask of the job, as many as there are now, has come to this stage of the version."""
        return self.parallelism > 0 and self._said.get(stage, set()) >= set(range(self.parallelism))

    def missing(self, stage: str) -> int:
        """How many subtasks have not come to this stage."""
        return len(set(range(self.parallelism)) - self._said.get(stage, set()))


class StatusReader:
    """Tells a `JobStatus` what is committed on the topic, from its beginning: the job may have spoken before.

    What is not committed does not count: a job that fails would take it back, and what it was said of may come in another order.
    """

    def __init__(self, settings: Settings, status: JobStatus) -> None:
        self.status = status
        self._settings = settings
        self._consumer = talk(settings, lambda options: _consumer(options, settings.topics.rule_status))

    def poll(self) -> JobStatus:
        """The status with all that has been said since."""
        for value in talk(self._settings, lambda _: _values(self._consumer)):
            self.status.note(value)
        return self.status

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def _consumer(options: dict[str, Any], topic: str) -> Any:
    from flink_jobs import topics

    consumer = topics.reading_consumer(options, fetch_max_wait_ms=100)
    try:
        partitions = topics.partitions_of(consumer, topic)
        if not partitions:
            raise UserError(f"Kafka has no topic {topic!r}", "the job makes it when it is submitted: `segue submit`")
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
    except BaseException:
        consumer.close()
        raise
    return consumer


def _values(consumer: Any) -> list[Any]:
    records: Iterable[Any] = [one for found in consumer.poll(timeout_ms=200).values() for one in found]
    return [value for one in records if (value := _read(one.value)) is not None]


def _read(value: bytes | None) -> Any:
    try:
        return json.loads(value or b"null")
    except ValueError:
        return None
