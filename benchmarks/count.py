"""Read what a contender has written: `python -m benchmarks.count BOOTSTRAP TOPIC CUT RESULT`, in `.venv-bench`.

Only what is committed counts. The span from the first to the last emission is how long the contender worked, whatever its
kind: seen from outside, without its start and end.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, KafkaError, TopicPartition

from benchmarks.tally import Tally
from profiles import parse_time

_IDLE_SECONDS = 20.0


class _Data(msgspec.Struct, gc=False):
    effective_at: str
    emitted_at: str


class _Transition(msgspec.Struct, gc=False):
    id: str
    data: _Data


def main() -> None:
    bootstrap, topic, cut, result = sys.argv[1:]
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "count",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    decode = msgspec.json.Decoder(_Transition).decode
    tally, left = Tally(int(cut)), set(partitions)
    first, last = "9999", ""
    heard = time.monotonic()
    while left:
        messages = consumer.consume(5_000, timeout=0.2)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > _IDLE_SECONDS:
            raise SystemExit(f"the end of partitions {sorted(left)} of {topic} was not reached")
        for message in messages:
            error = message.error()
            if error is None:
                transition = decode(message.value())
                data = transition.data
                tally.add(transition.id, parse_time(data.effective_at))
                # Of one form and length, so that texts compare as times do.
                first, last = min(first, data.emitted_at), max(last, data.emitted_at)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  (its public name)
                left.discard(message.partition())
            else:
                raise SystemExit(str(error))
    consumer.close()
    seconds = (parse_time(last) - parse_time(first)) / 1000 if last else 0.0
    Path(result).write_bytes(msgspec.json.encode({"seconds": seconds, "tally": tally.summary()}))


if __name__ == "__main__":
    main()
