"""The obvious PyFlink job: `python -m benchmarks.obvious_job SPEC`, a PyFlink program that submits it.

KafkaSource, a Python `key_by`, a KeyedProcessFunction that reads and writes the customer's state for every event, event-time
timers, an exactly-once KafkaSink for each of the two topics. Spared what would slow it down more: its watermarks come from
the record times (in the JVM; the shop's records arrive within the bound), timers are lazy and few as in our operator, and
profile and armed timer share one state value. `mode` is Flink's Python execution mode: process (the default) or thread.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

import msgspec
from pyflink.common import Configuration, Duration, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import (
    KeyedProcessFunction,
    OutputTag,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
    KafkaTopicPartition,
)
from pyflink.datastream.state import ValueStateDescriptor

from benchmarks.engine import NEVER, Engine, decode_profile, encode_profile, load_rules
from benchmarks.remote import send_to_cluster
from benchmarks.spec import Spec
from benchmarks.workload import DISORDER
from flink_jobs.outputs import Destination, Output

MEMBERSHIPS = OutputTag("memberships", Types.STRING())
_END = 2**63 - 1
_armed = struct.Struct(">q")


class _Key(msgspec.Struct):
    userId: str  # noqa: N815  (the wire's own name)


_key = msgspec.json.Decoder(_Key).decode


def customer_of(value: str) -> str:
    """The customer that an event names."""
    return _key(value).userId


class Segments(KeyedProcessFunction):
    """One customer's profile, read, changed and written back for every event and timer."""

    def __init__(self, rules: str) -> None:
        self.rules = rules

    def open(self, runtime_context: RuntimeContext) -> None:
        self.engine = Engine(load_rules(self.rules))
        self.state = runtime_context.get_state(ValueStateDescriptor("customer", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value: str, ctx: KeyedProcessFunction.Context) -> Iterator[object]:
        held = self.state.value()
        armed, profile = (NEVER, None) if held is None else (_armed.unpack_from(held)[0], decode_profile(held[8:]))
        watermark = max(0, ctx.timer_service().current_watermark())
        found = self.engine.arrive(profile, ctx.get_current_key(), value.encode(), ctx.timestamp(), watermark)
        yield from self.keep(ctx, armed, *found)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[object]:
        watermark = ctx.timer_service().current_watermark()
        held = self.state.value()
        # The end of a bounded input is not the passage of time: nobody's absence is proven by it.
        if held is None or watermark == _END:
            return
        armed = _armed.unpack_from(held)[0]
        found = self.engine.wake(decode_profile(held[8:]), ctx.get_current_key(), timestamp, watermark)
        yield from self.keep(ctx, NEVER if armed == timestamp else armed, *found)

    def keep(self, ctx, armed, profile, decision, outputs: list[Output]) -> Iterator[object]:  # type: ignore[no-untyped-def]
        if profile is None:
            self.state.clear()
        else:
            if decision.next_timer < armed:
                armed = decision.next_timer
                ctx.timer_service().register_event_time_timer(armed)
            self.state.update(_armed.pack(armed) + encode_profile(profile))
        for destination, _, value in outputs:
            if value is None:
                continue
            if destination == Destination.SEGMENT_CHANGES:
                yield value.decode()
            else:
                yield MEMBERSHIPS, value.decode()


def sink(spec: Spec, topic: str) -> KafkaSink:
    """An exactly-once (or at-least-once) sink."""
    schema = (
        KafkaRecordSerializationSchema.builder().set_topic(topic).set_value_serialization_schema(SimpleStringSchema())
    )
    builder = (
        KafkaSink.builder()
        .set_bootstrap_servers(spec.bootstrap)
        .set_record_serializer(schema.build())
        .set_property("transaction.timeout.ms", "600000")
    )
    if spec.exactly_once:
        builder.set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE).set_transactional_id_prefix(topic)
    else:
        builder.set_delivery_guarantee(DeliveryGuarantee.AT_LEAST_ONCE)
    return builder.build()


def main() -> None:
    spec = Spec.read(sys.argv[1])
    flink = Configuration()
    for name, value in {
        "python.execution-mode": spec.mode or "process",
        "python.executable": sys.executable,
        "parallelism.default": "1",
        "pipeline.object-reuse": "true",
        "execution.checkpointing.interval": f"{spec.commit_seconds:g} s",
        "state.backend.type": "hashmap",
    }.items():
        flink.set_string(name, value)
    environment = StreamExecutionEnvironment.get_execution_environment(flink)
    send_to_cluster(environment, spec.rest)
    ends = {KafkaTopicPartition(spec.topic, partition): end for partition, end in enumerate(spec.ends)}
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(spec.bootstrap)
        .set_topics(spec.topic)
        .set_group_id(spec.changes)
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_bounded(KafkaOffsetsInitializer.offsets(ends))
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    watermarks = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_millis(DISORDER))
    changes = (
        environment.from_source(source, watermarks, "events")
        .key_by(customer_of, key_type=Types.STRING())
        .process(Segments(spec.rules), output_type=Types.STRING())
        .name("segments")
        .uid("segments")
    )
    changes.sink_to(sink(spec, spec.changes)).name("changes")
    changes.get_side_output(MEMBERSHIPS).sink_to(sink(spec, spec.memberships)).name("memberships")
    environment.execute_async(spec.changes)


if __name__ == "__main__":
    # What belongs to `__main__` would be pickled by value, and decoders cannot be: so not this module's own functions.
    from benchmarks import obvious_job

    obvious_job.main()
