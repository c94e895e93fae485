"""A Kafka consumer without Kafka."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class FakeConsumer:
    """As much of a Kafka consumer as is used: records by partition, handed out a few at a time."""

    def __init__(self, partitions: dict[int, list[tuple[bytes | None, bytes | None, int]]], at_once: int = 3) -> None:
        self.records = {
            number: [
                SimpleNamespace(key=key, value=value, timestamp=stamp, offset=offset, partition=number)
                for offset, (key, value, stamp) in enumerate(rows)
            ]
            for number, rows in partitions.items()
        }
        self.at_once = at_once
        self.at: dict[Any, int] = {}
        self.closed = False

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(self.records) or None

    def assign(self, partitions: list[Any]) -> None:
        self.at = dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: list[Any]) -> dict[Any, int]:
        return {one: len(self.records[one.partition]) for one in partitions}

    def beginning_offsets(self, partitions: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(partitions, 0)

    def seek_to_beginning(self, *partitions: Any) -> None:
        self.at.update(dict.fromkeys(partitions, 0))

    def seek_to_end(self, *partitions: Any) -> None:
        self.at.update(self.end_offsets(list(partitions)))

    def seek(self, partition: Any, offset: int) -> None:
        self.at[partition] = offset

    def offsets_for_times(self, times: dict[Any, int]) -> dict[Any, Any]:
        return {
            one: next((record for record in self.records[one.partition] if record.timestamp >= begin), None)
            for one, begin in times.items()
        }

    def position(self, partition: Any) -> int:
        return self.at[partition]

    def poll(self, timeout_ms: int) -> dict[Any, list[Any]]:
        found = {}
        for one, at in self.at.items():
            if records := self.records[one.partition][at : at + self.at_once]:
                found[one] = records
                self.at[one] = at + len(records)
        return found

    def close(self) -> None:
        self.closed = True
