"""Send traffic at a steady rate and time the answers: `python -m benchmarks.probe PLAN`, in `.venv-bench`.

Open loop: when each event is to be sent is fixed beforehand and does not wait for anything, and latency counts from that
moment. A sender that is held up therefore shows in the latencies; how late it was is said beside them.
"""

from __future__ import annotations

import gc
import heapq
import json
import random
import sys
import threading
import time
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from benchmarks.spec import Found, Plan
from benchmarks.workload import DISORDER, lean
from shop import simulate

SEGMENT = "high-value"
"""What a probe, the large purchase of a customer never seen before, enters at once."""

GRACE_SECONDS = 15.0


class _Data(msgspec.Struct, gc=False):
    customer: str
    segment: str


class _Change(msgspec.Struct, gc=False):
    data: _Data


Due = tuple[float, int, bytes, bytes]
"""When to send (epoch seconds), a tie-breaker, key, value."""


def timetable(plan: Plan, start: float) -> tuple[list[Due], dict[str, float]]:
    """What is to be sent when, in order of time, and the probes' customers with their times."""
    chance = random.Random(plan.seed)
    span = plan.warm_up + plan.seconds
    begin = int(start * 1000)
    background: list[Due] = []
    shop = simulate(
        plan.seed,
        plan.customers,
        begin,
        days=0,
        past=False,
        rate=plan.rate * (1 - 1 / plan.every),
        until=begin + int(span * 1000),
        disorder=DISORDER,
        stragglers=0.0,
        dirty=0.0,
        duplicates=0.0,
    )
    for number, delivery in enumerate(shop):
        if delivery.at >= begin and delivery.key is not None:
            # The shop counts in whole milliseconds; spread within them, events do not come in bursts.
            at = delivery.at / 1000 + chance.random() / 1000
            background.append((at, number, delivery.key, lean(delivery.value)))
    background.sort()
    probes: list[Due] = []
    times: dict[str, float] = {}
    count = int(span * plan.rate / plan.every)
    for number in range(count):
        at = start + (number + chance.random()) * span / count
        customer = f"probe-{number}"
        times[customer] = at
        value = {
            "type": "track",
            "event": "Order Completed",
            "userId": customer,
            "messageId": customer,
            "timestamp": int(at * 1000),
            "properties": {"order_id": f"o{number}", "revenue": 999.0, "currency": "EUR", "products": []},
            "context": {"device": {"type": "mobile"}},
        }
        probes.append((at, number, customer.encode(), json.dumps(value, separators=(",", ":")).encode()))
    return list(heapq.merge(background, probes)), times


class Listener(threading.Thread):
    """Reads the transitions and notes when each probe's came."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(name="listener", daemon=True)
        self.probes: set[str] = set()
        self.came: dict[str, float] = {}
        self.over = threading.Event()
        self.consumer = Consumer(
            {
                "bootstrap.servers": plan.bootstrap,
                "group.id": "probe",
                "enable.auto.commit": False,
                "isolation.level": "read_committed" if plan.committed else "read_uncommitted",
                "fetch.wait.max.ms": 20,
            }
        )
        partitions = self.consumer.list_topics(plan.changes, timeout=20).topics[plan.changes].partitions
        here = []
        for partition in partitions:
            _, end = self.consumer.get_watermark_offsets(TopicPartition(plan.changes, partition), timeout=20)
            here.append(TopicPartition(plan.changes, partition, end))
        self.consumer.assign(here)

    def run(self) -> None:
        decode = msgspec.json.Decoder(_Change).decode
        while not self.over.is_set():
            message: Message | None = self.consumer.poll(0.05)
            if message is None or message.error() is not None:
                continue
            now = time.time()
            data = decode(message.value()).data
            if data.segment == SEGMENT and data.customer in self.probes:
                self.came.setdefault(data.customer, now)
        self.consumer.close()


def send(plan: Plan, events: list[Due]) -> list[float]:
    """Send each event at its time; how late each was handed over, in seconds."""
    producer = Producer({"bootstrap.servers": plan.bootstrap, "linger.ms": 0, "acks": "all"})
    delays = []
    for at, _, key, value in events:
        while (early := at - time.time()) > 0:
            time.sleep(early)
        producer.produce(plan.topic, value, key, timestamp=int(at * 1000))
        producer.poll(0)
        delays.append(time.time() - at)
    if producer.flush(30):
        raise SystemExit("not all events were delivered")
    return delays


def main() -> None:
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    listener = Listener(plan)
    start = plan.start or time.time() + plan.time_to_make
    events, times = timetable(plan, start)
    listener.probes.update(times)
    gc.freeze()
    gc.disable()
    listener.start()
    delays = send(plan, events)
    deadline = time.monotonic() + GRACE_SECONDS
    while len(listener.came) < len(times) and time.monotonic() < deadline:
        time.sleep(0.05)
    listener.over.set()
    listener.join(10)
    counted = {customer: at for customer, at in times.items() if at >= start + plan.warm_up}
    answers = sorted((at, listener.came[one] - at) for one, at in counted.items() if one in listener.came)
    latencies = sorted(latency for _, latency in answers)
    late = sorted(delay for (at, *_), delay in zip(events, delays, strict=True) if at >= start + plan.warm_up)
    found = Found(latencies, late, len(counted), len(counted) - len(latencies), len(late), answers)
    Path(plan.result).write_bytes(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
