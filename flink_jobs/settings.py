"""Every setting of a job in one typed place: a YAML file, then the environment on top.

`SEGUE_KAFKA__BOOTSTRAP_SERVERS=broker:9092` sets `kafka.bootstrap_servers`: two underscores go one level down. Unknown keys,
wrong types and values out of range are refused with the file, line and column (or the variable's name).
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from profiles.document import DocumentError, Node, load, suggestion
from profiles.document import Mapping as MappingNode
from rules.duration import format_duration, parse_duration


class SettingsError(Exception):
    """A setting that cannot be used; the message says where it stands and what is allowed."""


Duration = typing.NewType("Duration", int)
"""Milliseconds, written as words (`5s`, `10m`)."""


@dataclass(frozen=True)
class Kafka:
    """Where Kafka is. `properties` go to every client as they are (security.protocol, sasl.jaas.config, ssl...)."""

    bootstrap_servers: str = ""
    """Addresses of the brokers, `host:port`, with commas between. Empty: the broker of `segue up`."""
    properties: dict[str, str] = field(default_factory=dict)
    """Passed to every client as they are, such as `security.protocol`, `sasl.mechanism`, `sasl.username`, `sasl.password`."""
    replication: int = 1
    """Copies of each topic that is created."""
    partitions: int = 4
    """Partitions of each topic that is created (word on trouble and rules has one). No more tasks than this read at once."""


@dataclass(frozen=True)
class Topics:
    """Names of the topics."""

    events: str = "events"
    """Read: what customers do."""
    segment_changes: str = "segment-changes"
    """Written: who entered or left which segment."""
    customer_segments: str = "customer-segments"
    """Written, compacted: the segments that each customer is in."""
    dead_letters: str = "dead-letters"
    """Written: records that could not be used, and why."""
    late_events: str = "late-events"
    """Written: events that no window could count any more."""
    rule_status: str = "rule-status"
    """Written: whether a published rule set runs."""
    rules: str = "rules"
    """Read, compacted: published rule sets."""
    control: str = "segue-control"
    """Read: what the command tells the running job, such as customers whose history was counted. Who writes to it can change state."""
    explanations: str = "explanations"
    """Written: answers to `segue explain`."""
    model_updates: str = "model-updates"
    """Read and written, compacted: versions of models. Who writes to it decides how customers are scored."""
    model_quality: str = "model-quality"
    """Written: how good models are, and what happens to them."""


@dataclass(frozen=True)
class Job:
    """What the job does. `customer_field` is a path in the value; empty means that the record key is the customer id.

    `clock: live` lets time pass while no event comes, `replay` only with the data. `start` and `stop` bound what is read.
    """

    name: str = "segue"
    """Name on the cluster; also the consumer group and the beginning of the transactional ids. One running job a name."""
    parallelism: int = 1
    """How many tasks share the customers: one slot and one Python worker each."""
    max_parallelism: int = 128
    """The most that `parallelism` can ever be. Part of the layout of the state: never change it for a job that has some."""
    clock: Literal["live", "replay"] = "live"
    """`live`: time passes without events too (where none comes after a start, from half a minute on). `replay`: with events alone."""
    disorder: Duration = Duration(5_000)
    """By how much events may be out of order and their timers still wait for them."""
    idle_after: Duration = Duration(2_000)
    """A partition without events for so long no longer holds up the others. In a replay that ends (`stop: latest`) none is given up."""
    skew: Duration = Duration(300_000)
    """An event that claims to be from further in the future than this is quarantined."""
    start: Literal["committed", "earliest", "latest"] = "committed"
    """Where a job without a snapshot begins: where its group left off (else at the beginning), or at either end."""
    stop: Literal["never", "latest"] = "never"
    """`latest`: read what is there at the start, then end."""
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """`exactly_once`: seen with the next checkpoint. `at_least_once`: seen at once, and after a failure again under the same ids."""
    customer_field: str = ""
    """Path of the customer id in the value (`userId`, `customer.id`). Empty: the key of the record is the id."""
    max_record_bytes: int = 262_144
    """A longer record is a dead letter, and is not looked into."""
    expiry: Duration = Duration(730 * 86_400_000)
    """A customer who was silent for so long leaves all segments, and nothing is kept of them."""
    remembered_messages: int = 48
    """Newest message ids that are kept of each customer to know repeats by; 8 bytes each."""


@dataclass(frozen=True)
class Checkpoints:
    """How state is kept. `directory` is a URI that every TaskManager can write (file:, s3:, hdfs:)."""

    interval: Duration = Duration(10_000)
    """Time between checkpoints; exactly-once output is seen this much later."""
    timeout: Duration = Duration(600_000)
    """A checkpoint that takes longer is given up."""
    directory: str = ""
    """URI of the folder that holds checkpoints and savepoints. Empty: none outlives the cluster."""
    backend: Literal["heap", "rocksdb"] = "heap"
    """`heap`: quick, as much as fits into memory. `rocksdb`: on local disk, and checkpoints hold only what has changed."""
    transaction_timeout: Duration = Duration(840_000)
    """The broker drops output that was not committed for so long: longer than a checkpoint and a restart; 15m at most by default there."""


@dataclass(frozen=True)
class Batches:
    """How the operator hands arrivals to its worker, and how long bytes may wait on their way. Bigger is quicker and later."""

    size: int = 1000
    """The most arrivals that go to the worker at once."""
    linger: Duration = Duration(2)
    """The longest that an arrival waits for others to go with."""
    buffer_timeout: Duration = Duration(5)
    """The longest that Flink's network buffers wait to be full."""
    deadline: Duration = Duration(60_000)
    """A worker that takes longer over a batch counts as dead, and its task is restarted."""


@dataclass(frozen=True)
class Flink:
    """Which cluster runs the job: the address of its REST endpoint (`host:port`). Empty: an embedded one in this process."""

    rest: str = ""
    """The cluster's REST endpoint, `host:port`. Empty: the cluster of `segue up`; for `flink run`, the one that it was told."""
    python: str = "python3"
    """The Python that runs the worker, as TaskManagers find it. It needs the locked packages."""
    jars: list[str] = field(default_factory=list)
    """Jars that travel with the job; what lies in the cluster's `lib/` is better left there."""
    properties: dict[str, str] = field(default_factory=dict)
    """Flink's own options for this job, over what is set here."""


@dataclass(frozen=True)
class Settings:
    """All settings. See each part for what they mean; `docs/settings.md` lists them with their defaults."""

    kafka: Kafka = field(default_factory=Kafka)
    topics: Topics = field(default_factory=Topics)
    job: Job = field(default_factory=Job)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    batches: Batches = field(default_factory=Batches)
    flink: Flink = field(default_factory=Flink)

    def to_json(self) -> str:
        """For handing the settings to another process."""
        return json.dumps(dataclasses.asdict(self))


ENVIRONMENT_PREFIX = "SEGUE_"


def load_settings(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """The settings in the file (defaults without one), with `SEGUE_PART__KEY` variables on top. Raises SettingsError."""
    values: dict[str, dict[str, Any]] = {}
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: cannot be read: {error}") from None
        try:
            values = _from_document(load(text, str(path)))
        except DocumentError as error:
            raise SettingsError(str(error)) from None
    for name, raw in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            part, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
            _from_variable(values, name, part, key, raw)
    settings = Settings(**{part: _types()[part](**keys) for part, keys in values.items()})
    _check(settings)
    return settings


def _types() -> dict[str, Any]:
    return typing.get_type_hints(Settings)


def _hints(part: str) -> dict[str, Any]:
    return typing.get_type_hints(_types()[part])


def _from_document(document: Node) -> dict[str, dict[str, Any]]:
    if not isinstance(document, MappingNode):
        raise document.error("settings are a mapping of parts", f"parts: {', '.join(_types())}")
    document.only(_types())
    values: dict[str, dict[str, Any]] = {}
    for part, node in document.items():
        if not isinstance(node, MappingNode):
            raise node.error(f"`{part}` must be a mapping")
        hints = _hints(part)
        node.only(hints)
        values[part] = {}
        for key, value in node.items():
            try:
                values[part][key] = _checked(part, key, _convert(hints[key], value.plain()))
            except ValueError as error:
                raise value.error(f"`{part}.{key}` {error}") from None
    return values


def _from_variable(values: dict[str, dict[str, Any]], name: str, part: str, key: str, raw: str) -> None:
    parts = _types()
    if part not in parts:
        raise SettingsError(f"environment variable {name}: no part `{part}`{suggestion(part, parts)}")
    hints = _hints(part)
    plain: Any = raw
    key, _, inner = key.partition("__")
    if key not in hints:
        raise SettingsError(f"environment variable {name}: no key `{key}` in `{part}`{suggestion(key, hints)}")
    if bool(inner) is not (hints[key] == dict[str, str]):
        wanted = f"{ENVIRONMENT_PREFIX}{part}__{key}{'' if inner else '__name'}".upper()
        raise SettingsError(f"environment variable {name}: did you mean {wanted}?")
    if inner:
        # SEGUE_KAFKA__PROPERTIES__SECURITY_PROTOCOL: Kafka's own names have dots where variables have underscores.
        plain = {**values.get(part, {}).get(key, {}), inner.replace("_", "."): raw}
    elif hints[key] == list[str]:
        plain = [one for one in raw.split(",") if one]
    elif hints[key] is int:
        plain = int(raw) if re.fullmatch(r"-?[0-9]{1,18}", raw) else raw
    try:
        values.setdefault(part, {})[key] = _checked(part, key, _convert(hints[key], plain))
    except ValueError as error:
        raise SettingsError(f"environment variable {name}: {error}") from None


def _convert(hint: Any, value: Any) -> Any:
    """`value` as the type asks; ValueError says what is allowed, never what a secret might be."""
    if hint is Duration:
        if not isinstance(value, str):
            raise ValueError("must be a duration such as 5s or 10m")
        return Duration(parse_duration(value))
    if typing.get_origin(hint) is Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}{suggestion(str(value), allowed)}")
        return value
    if typing.get_origin(hint) is dict:
        if not isinstance(value, dict) or not all(isinstance(one, str | int | float | bool) for one in value.values()):
            raise ValueError("must be a mapping of names to values")
        return {key: str(one).lower() if isinstance(one, bool) else str(one) for key, one in value.items()}
    if typing.get_origin(hint) is list:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ValueError("must be a list of texts")
        return value
    if (
        isinstance(hint, types.UnionType)
        or not isinstance(value, hint)
        or isinstance(value, bool) is not (hint is bool)
    ):
        raise ValueError(f"must be {'a whole number' if hint is int else 'a text'}")
    return value


RANGES = {
    ("kafka", "replication"): (1, 32),
    ("kafka", "partitions"): (1, 10_000),
    ("job", "parallelism"): (1, 1024),
    ("job", "max_parallelism"): (1, 32_768),
    ("job", "max_record_bytes"): (256, 32 * 1024 * 1024),  # half a frame: others go with it
    ("job", "remembered_messages"): (1, 4096),
    ("job", "expiry"): (60_000, 100 * 365 * 86_400_000),
    ("checkpoints", "interval"): (100, 3_600_000),
    ("checkpoints", "timeout"): (1_000, 86_400_000),
    ("checkpoints", "transaction_timeout"): (1_000, 900_000),
    ("batches", "size"): (1, 100_000),
    ("batches", "linger"): (0, 10_000),
    ("batches", "buffer_timeout"): (0, 10_000),
    ("batches", "deadline"): (1_000, 3_600_000),
}
"""Smallest and largest value, of durations in milliseconds."""


def _checked(part: str, key: str, value: Any) -> Any:
    """`value`, if it lies in the range of its setting; ValueError names the range."""
    if (part, key) not in RANGES:
        return value
    low, high = RANGES[part, key]
    if not low <= value <= high:
        words: Callable[[int], str] = format_duration if _hints(part)[key] is Duration else str
        raise ValueError(f"is {words(value)}, which is not between {words(low)} and {words(high)}")
    return value


def _check(settings: Settings) -> None:
    if settings.job.max_parallelism < settings.job.parallelism:
        raise SettingsError(
            "`job.max_parallelism` must be at least `job.parallelism`; it is part of the state's layout"
        )
