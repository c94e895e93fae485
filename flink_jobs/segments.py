"""The segments job: events in, segment changes out. Read it from `build` downwards as its graph.

Run it with `segue submit`, or as any PyFlink job:

    flink run -m HOST:PORT -d -py flink_jobs/segments.py --settings segue.yaml
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # `flink run -py` starts this file as a script: make the packages beside it importable
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec
from py4j.java_gateway import JavaGateway
from pyflink.common import Configuration, Types
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from flink_jobs.learning import LearnerSettings
from flink_jobs.package import package_code
from flink_jobs.settings import Settings, SettingsError, load_settings
from flink_jobs.topics import LONGEST_MODEL, ensure_topics, has_had_models, java_properties, newest_rules
from flink_jobs.worker import WorkerSettings
from rules.rule_set import RuleSet, load_directory

CODE = "segue-code"
EVENT_TIME = 5
"""The column of the event time among those of `read_events`."""


def build(
    settings: Settings, rules: RuleSet, from_savepoint: str = "", *, with_learner: bool = False
) -> StreamExecutionEnvironment:
    """The job's graph, ready to be executed. It has a learner if there are models, or `with_learner` says that there may be some."""
    with_learner = with_learner or bool(rules.models)
    environment = execution_environment(configuration(settings, from_savepoint), remote=bool(settings.flink.rest))
    if settings.flink.jars:
        environment.add_jars(*[Path(jar).resolve().as_uri() for jar in settings.flink.jars])
    jvm = get_gateway().jvm

    records = read_events(environment, settings)
    if settings.job.stop == "latest":
        last = jvm.segue.LastWatermark(EVENT_TIME, watermark_delay(settings))
        records = records.transform("last watermark", records.getType(), last).uid("last-watermark")
    customers = (
        records.map(jvm.segue.ReadRecord(settings.job.customer_field or None, settings.job.max_record_bytes))
        .returns(jvm.segue.ReadRecord.outputType())
        .name("read record")
        .uid("read-record")
        .keyBy(jvm.segue.CustomerKey(), Types.STRING().get_java_type_info())
    )
    # With them comes what is on the control topic, and the versions of models.
    written_by = uuid.uuid4().hex
    rule_sets = read_rules(environment, settings, written_by if with_learner else "")
    outputs = (
        customers.connect(rule_sets.broadcast())
        .transform(
            "segments", jvm.segue.SegmentOperator.outputType(), operator(environment, settings, rules, with_learner)
        )
        .name("segments")
        .uid("segments")
    )
    if with_learner:
        outputs = learn(outputs, settings, rules)
    outputs.sinkTo(kafka_sink(settings, written_by)).name("outputs").uid("outputs")
    return environment


def learn(outputs: Any, settings: Settings, rules: RuleSet) -> Any:
    """Has the learner take the examples from among the outputs of the segments, and adds what it publishes to the rest.

    All goes to the same sink, so that a version is committed with the examples that it was learnt from.
    """
    jvm = get_gateway().jvm
    examples = outputs.filter(jvm.segue.ToLearner.only()).name("examples").uid("to-learner")
    worker = LearnerSettings(models=bool(rules.models))
    config = worker_config(settings, "flink_jobs.learning").setSettings(msgspec.json.encode(worker).decode())
    learner = jvm.segue.LearnerOperator(config)
    learnt = (
        examples.transform("learner", jvm.segue.SegmentOperator.outputType(), learner)
        .name("learner")
        .uid("learner")
        .setParallelism(1)
        .setMaxParallelism(1)
        # At parallelism 1 it would be chained to the segments, which have another maximum: no savepoint could be taken to or from there.
        .disableChaining()
    )
    rest = outputs.filter(jvm.segue.ToLearner.none()).name("to topics").uid("to-topics")
    return rest.union(_array([learnt], jvm.org.apache.flink.streaming.api.datastream.DataStream))


def execution_environment(flink: Configuration, remote: bool) -> StreamExecutionEnvironment:
    """The environment that executes on the named cluster, or on whatever started this program (`flink run`, else embedded).

    PyFlink's own factory starts an embedded cluster in a plain Python process, whatever `execution.target` says.
    """
    if not remote:
        return StreamExecutionEnvironment.get_execution_environment(flink)
    made = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    return StreamExecutionEnvironment(made(flink._j_configuration))  # noqa: SLF001  (there is no other way to it)


def configuration(settings: Settings, from_savepoint: str) -> Configuration:
    """Flink's own settings: time, state, checkpoints, restarts, and where the job runs."""
    job, checkpoints = settings.job, settings.checkpoints
    # A partition that is merely slow is not idle. In a replay with an end none need be given up, so nothing hangs on the wall clock.
    idle_after = 0 if job.clock == "replay" and job.stop == "latest" else job.idle_after
    values = {
        "pipeline.name": job.name,
        "parallelism.default": job.parallelism,
        "pipeline.max-parallelism": job.max_parallelism,
        "pipeline.object-reuse": "true",
        "pipeline.auto-watermark-interval": "100 ms",
        "execution.buffer-timeout.interval": f"{settings.batches.buffer_timeout} ms",
        "execution.checkpointing.interval": f"{checkpoints.interval} ms",
        "execution.checkpointing.timeout": f"{checkpoints.timeout} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.tolerable-failed-checkpoints": 3,
        "state.backend.type": "rocksdb" if checkpoints.backend == "rocksdb" else "hashmap",
        "table.exec.source.idle-timeout": f"{idle_after} ms",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "500 ms",
        "restart-strategy.exponential-delay.max-backoff": "30 s",
    }
    if checkpoints.directory:
        values["execution.checkpointing.dir"] = f"{checkpoints.directory.rstrip('/')}/checkpoints"
        values["execution.checkpointing.savepoint-dir"] = f"{checkpoints.directory.rstrip('/')}/savepoints"
    if settings.flink.rest:
        address, _, port = settings.flink.rest.rpartition(":")
        values |= {"execution.target": "remote", "rest.address": address, "rest.port": port}
    if from_savepoint:
        values["execution.state-recovery.path"] = from_savepoint
    values |= settings.flink.properties
    flink = Configuration()
    for name, value in values.items():
        flink.set_string(name, str(value))
    return flink


def read_events(environment: StreamExecutionEnvironment, settings: Settings) -> Any:
    """The events topic as a Java stream of rows, with a watermark for each partition."""
    job = settings.job
    tables = StreamTableEnvironment.create(environment)
    tables.execute_sql("CREATE TEMPORARY SYSTEM FUNCTION EVENT_TIME_OF AS 'segue.EventTimeOf'")
    start = {"committed": "group-offsets", "earliest": "earliest-offset", "latest": "latest-offset"}[job.start]
    options = {
        "connector": "kafka",
        "topic": settings.topics.events,
        "properties.bootstrap.servers": settings.kafka.bootstrap_servers,
        "properties.group.id": job.name,
        "properties.auto.offset.reset": "earliest",
        "properties.fetch.max.wait.ms": "50",
        "properties.max.poll.records": "5000",
        "scan.startup.mode": start,
        "key.format": "raw",
        "key.fields": "record_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
    } | {f"properties.{name}": value for name, value in java_properties(settings).items()}
    if job.stop == "latest":
        options["scan.bounded.mode"] = "latest-offset"
    behind = watermark_delay(settings)
    quoted = ",\n".join(f"'{_quote(name)}' = '{_quote(value)}'" for name, value in options.items())
    tables.execute_sql(
        f"""
        CREATE TABLE events (
            record_key BYTES,
            record_value BYTES,
            record_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
            record_partition INT METADATA FROM 'partition',
            record_offset BIGINT METADATA FROM 'offset',
            event_time AS EVENT_TIME_OF(record_value, record_time, CAST({job.skew} AS BIGINT)),
            WATERMARK FOR event_time AS event_time - INTERVAL '{_interval(behind)}' DAY TO SECOND(3)
        ) WITH ({quoted})
        """
    )
    table = tables.sql_query(
        "SELECT record_key, record_value, record_time, record_partition, record_offset, event_time FROM events"
    )
    octets = Types.PRIMITIVE_ARRAY(Types.BYTE())
    columns = Types.ROW([octets, octets, Types.INSTANT(), Types.INT(), Types.LONG(), Types.INSTANT()])
    # Without the rowtime column among those selected neither timestamps nor watermarks would flow.
    return tables.to_append_stream(table, columns)._j_data_stream  # noqa: SLF001  (the graph goes on in the JVM)


def watermark_delay(settings: Settings) -> int:
    """By how many milliseconds the watermark is behind the newest event.

    It says that nothing comes any more of its own millisecond either, so it is one behind the oldest that may still come.
    """
    return int(settings.job.disorder) + 1


def _interval(milliseconds: int) -> str:
    """`days hours:minutes:seconds.millis`: the one form of interval in which SQL takes any length."""
    seconds, millis = divmod(int(milliseconds), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} {hours:02d}:{minutes:02d}:{seconds:02d}.{millis:03d}"


def _quote(text: str) -> str:
    return text.replace("'", "''")


def read_rules(environment: StreamExecutionEnvironment, settings: Settings, written_by: str) -> Any:
    """The rules and control topics, and that of models, as one Java stream; its clock keeps time going while no event comes.

    `written_by` is how this submission of the job signs the versions that it publishes; "" where it has no models.
    A job without a snapshot reads all rules and models that there are, but no old control records: they were meant for another life of it.
    """
    jvm = get_gateway().jvm
    offsets = jvm.org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer
    topics = settings.topics
    kafka = jvm.org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema
    published = _small_topic(
        environment, settings, topics.rules, offsets.earliest(), kafka.valueOnly(jvm.segue.RawBytes()), "rules"
    )
    control = kafka.valueOnly(jvm.segue.RawBytes.control())
    others = [_small_topic(environment, settings, topics.control, offsets.latest(), control, "control")]
    if written_by:
        models = jvm.segue.ModelRecords(written_by)
        others.append(_small_topic(environment, settings, topics.model_updates, offsets.earliest(), models, "models"))
    clock = jvm.segue.RulesClock.replay()
    if settings.job.clock == "live":
        clock = jvm.segue.RulesClock.live(watermark_delay(settings))
    return (
        published.union(_array(others, jvm.org.apache.flink.streaming.api.datastream.DataStream))
        .assignTimestampsAndWatermarks(clock)
        .setParallelism(1)
        .name("rules clock")
        .uid("rules-clock")
    )


def _small_topic(
    environment: StreamExecutionEnvironment, settings: Settings, topic: str, start: Any, form: Any, uid: str
) -> Any:
    """A topic of one partition as a Java stream of what `form` makes of its records."""
    jvm = get_gateway().jvm
    kafka = jvm.org.apache.flink.connector.kafka.source
    # What is written exactly once shall not be read before it is committed; where nothing writes so, this changes nothing.
    properties = {"isolation.level": "read_committed", **java_properties(settings)}
    source = (
        kafka.KafkaSource.builder()
        .setBootstrapServers(settings.kafka.bootstrap_servers)
        .setTopics(_array([topic], jvm.java.lang.String))
        .setStartingOffsets(start)
        .setDeserializer(form)
        .setProperties(_properties(jvm, properties))
    )
    if settings.job.stop == "latest":
        source = source.setBounded(kafka.enumerator.initializer.OffsetsInitializer.latest())
    none = jvm.org.apache.flink.api.common.eventtime.WatermarkStrategy.noWatermarks()
    stream = environment._j_stream_execution_environment.fromSource(source.build(), none, uid)  # noqa: SLF001
    return stream.setParallelism(1).uid(uid)


def operator(environment: StreamExecutionEnvironment, settings: Settings, rules: RuleSet, with_learner: bool) -> Any:
    """The operator of the segments, with its worker's settings and first rule set."""
    jvm = get_gateway().jvm
    code = package_code(Path(tempfile.gettempdir()) / f"segue-code-{os.getuid()}")
    environment._j_stream_execution_environment.registerCachedFile(str(code), CODE)  # noqa: SLF001
    worker = WorkerSettings(
        source=f"segue/{settings.job.name}",
        events_topic=settings.topics.events,
        skew=settings.job.skew,
        expiry=settings.job.expiry,
        remembered_messages=settings.job.remembered_messages,
        models=with_learner,
    )
    return jvm.segue.SegmentOperator(
        worker_config(settings, "flink_jobs.worker")
        .setLingerMillis(int(settings.batches.linger))
        .setSettings(msgspec.json.encode(worker).decode())
        .setRules(rules.to_payload())
    )


def worker_config(settings: Settings, module: str) -> Any:
    """How a worker is started, and how batches go to it."""
    jvm = get_gateway().jvm
    return (
        jvm.segue.WorkerConfig()
        .setCommand(_list(jvm, [settings.flink.python, "-m", module]))
        .setCachedFile(CODE)
        .setMaxBatch(settings.batches.size)
        .setFrameDeadlineMillis(int(settings.batches.deadline))
    )


def kafka_sink(settings: Settings, written_by: str) -> Any:
    """One sink for all topics: a checkpoint commits what belongs together, together. Versions of models are signed."""
    jvm = get_gateway().jvm
    kafka = jvm.org.apache.flink.connector
    topics = settings.topics
    names = [
        topics.segment_changes,
        topics.customer_segments,
        topics.dead_letters,
        topics.late_events,
        topics.rule_status,
        topics.explanations,
        topics.model_updates,
        topics.model_quality,
    ]
    exactly_once = settings.job.delivery == "exactly_once"
    guarantee = (
        kafka.base.DeliveryGuarantee.EXACTLY_ONCE if exactly_once else kafka.base.DeliveryGuarantee.AT_LEAST_ONCE
    )
    properties = {
        **java_properties(settings),
        "linger.ms": str(settings.batches.linger),
        "transaction.timeout.ms": str(settings.checkpoints.transaction_timeout),
        "max.request.size": str(LONGEST_MODEL),
    }
    builder = (
        kafka.kafka.sink.KafkaSink.builder()
        .setBootstrapServers(settings.kafka.bootstrap_servers)
        .setKafkaProducerConfig(_properties(jvm, properties))
        .setRecordSerializer(jvm.segue.TopicRouter(_list(jvm, names)).sign(topics.model_updates, written_by))
        .setDeliveryGuarantee(guarantee)
    )
    if exactly_once:
        builder = builder.setTransactionalIdPrefix(f"{settings.job.name}-outputs")
    return builder.build()


def _array(items: list[Any], kind: Any) -> Any:
    array = JavaGateway.new_array(get_gateway(), kind, len(items))
    for index, item in enumerate(items):
        array[index] = item
    return array


def _list(jvm: Any, texts: list[str]) -> Any:
    found = jvm.java.util.ArrayList()
    for text in texts:
        found.add(text)
    return found


def _properties(jvm: Any, values: Any) -> Any:
    found = jvm.java.util.Properties()
    for name, value in values.items():
        found.setProperty(name, value)
    return found


def first_rules(settings: Settings, directory: str) -> RuleSet:
    """The rule set to begin with: the newest on the rules topic, or a directory's. A job never starts without one."""
    if directory:
        return load_directory(Path(directory))
    rules = newest_rules(settings)
    if rules is None:
        raise SettingsError(
            f"topic {settings.topics.rules} holds no rule set: publish one with `segue rules apply`, then submit the job"
        )
    return rules


def main() -> int:
    """Build the job from settings and submit it; prints its id."""
    parser = argparse.ArgumentParser(description="Submit the segments job.")
    parser.add_argument("--settings", type=Path, help="settings file (YAML); SEGUE_ variables go on top")
    parser.add_argument("--rules", default="", help="directory of rule files to begin with, instead of the rules topic")
    parser.add_argument("--from-savepoint", default="", help="savepoint or retained checkpoint to start from")
    parser.add_argument("--wait", action="store_true", help="stay until the job ends (for jobs with `stop: latest`)")
    arguments = parser.parse_args()
    try:
        settings = load_settings(arguments.settings, os.environ)
        for difference in ensure_topics(settings):
            print(f"warning: {difference}", file=sys.stderr)
        rules = first_rules(settings, arguments.rules)
        # Where models have been removed a savepoint has what they had learnt, and Flink starts from none of whose parts are missing.
        with_learner = bool(rules.models) or has_had_models(settings)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    environment = build(settings, rules, arguments.from_savepoint, with_learner=with_learner)
    client = environment.execute_async(settings.job.name)
    print(f"job {client.get_job_id()}", flush=True)
    if arguments.wait:
        client.get_job_execution_result().result()
    return 0


if __name__ == "__main__":
    sys.exit(main())
