"""The same with Quix Streams: `python -m benchmarks.quix_job SPEC`, in `.venv-bench`. One process.

Its RocksDB state with changelog topics, one state value a customer, exactly-once (transactional) processing with a commit as
often as our checkpoints; with `exactly_once` false at-least-once, otherwise alike. Quix Streams has no timers in event time: what
falls due is noticed at the customer's next event, or never. That is less work than our job does.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from quixstreams import Application, State

from benchmarks.engine import Engine, decode_profile, encode_profile, load_rules
from benchmarks.spec import Spec


def main() -> None:
    begun = time.monotonic()
    spec = Spec.read(sys.argv[1])
    engine = Engine(load_rules(spec.rules))
    app = Application(
        broker_address=spec.bootstrap,
        consumer_group=spec.changes,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once" if spec.exactly_once else "at-least-once",
        commit_interval=spec.commit_seconds,
        state_dir=str(Path(spec.folder) / spec.changes),
        loglevel="WARNING",
    )
    events = app.topic(spec.topic, key_deserializer="bytes", value_deserializer="bytes")
    changes = app.topic(spec.changes, key_serializer="bytes", value_serializer="bytes")
    memberships = app.topic(spec.memberships, key_serializer="bytes", value_serializer="bytes")
    left = spec.events

    def decide(value: bytes, key: bytes, timestamp: int, headers: Any, state: State) -> list[bytes]:
        nonlocal left
        left -= 1
        if not left:
            app.stop()
        held = state.get_bytes("profile")
        profile = None if held is None else decode_profile(held)
        profile, _, outputs = engine.arrive(profile, key.decode(), value, timestamp)
        if profile is not None:
            state.set_bytes("profile", encode_profile(profile))
        return [output[2] for output in outputs if output[2] is not None]

    def topic_of(value: bytes, key: bytes, timestamp: int, headers: Any) -> Any:
        return changes if value.startswith(b'{"specversion"') else memberships

    frame = app.dataframe(events).apply(decide, stateful=True, expand=True, metadata=True)
    frame.to_topic(topic_of)
    gc.freeze()
    ready = time.monotonic()
    app.run()
    now = time.monotonic()
    Path(spec.result).write_bytes(msgspec.json.encode({"setup": ready - begun, "run": now - ready, "left": left}))


if __name__ == "__main__":
    main()
