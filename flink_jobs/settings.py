"""Every setting of a job in one typed place: a YAML file, then the environment on top.

`SEGUE_KAFKA__BOOTSTRAP_SERVERS=broker:9092` sets `kafka.bootstrap_servers`: two underscores go one level down. Unknown keys,
wrong types and values out of range are refused with the file, line and column (or the variable's name).
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from profiles.document import DocumentError, Node, load, suggestion
from profiles.document import Mapping as MappingNode
from profiles.document import Sequence as SequenceNode
from rules.duration import parse_duration


class SettingsError(Exception):
    """A setting that cannot be used; the message says where it stands and what is allowed."""


Duration = typing.NewType("Duration", int)
"""Milliseconds, written as words (`5s`, `10m`)."""


@dataclass(frozen=True)
class Kafka:
    """Where Kafka is. `properties` go to every client as they are (security.protocol, sasl.jaas.config, ssl...)."""

    bootstrap_servers: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    replication: int = 1
    partitions: int = 4


@dataclass(frozen=True)
class Topics:
    """Names of the topics."""

    events: str = "events"
    segment_changes: str = "segment-changes"
    customer_segments: str = "customer-segments"
    dead_letters: str = "dead-letters"
    late_events: str = "late-events"
    rule_status: str = "rule-status"
    rules: str = "rules"


@dataclass(frozen=True)
class Job:
    """What the job does. `customer_field` is a path in the value; empty means that the record key is the customer id.

    `clock: live` lets time pass while no event comes, `replay` only with the data. `start` and `stop` bound what is read.
    """

    name: str = "segue"
    parallelism: int = 1
    max_parallelism: int = 128
    clock: Literal["live", "replay"] = "live"
    disorder: Duration = Duration(5_000)
    idle_after: Duration = Duration(2_000)
    skew: Duration = Duration(300_000)
    start: Literal["committed", "earliest", "latest"] = "committed"
    stop: Literal["never", "latest"] = "never"
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    customer_field: str = ""
    max_record_bytes: int = 262_144
    expiry: Duration = Duration(730 * 86_400_000)
    remembered_messages: int = 48


@dataclass(frozen=True)
class Checkpoints:
    """How state is kept. `directory` is a URI that every TaskManager can write (file:, s3:, hdfs:)."""

    interval: Duration = Duration(10_000)
    timeout: Duration = Duration(600_000)
    directory: str = ""
    backend: Literal["heap", "rocksdb"] = "heap"
    transaction_timeout: Duration = Duration(840_000)


@dataclass(frozen=True)
class Batches:
    """How the operator hands arrivals to its worker, and how long bytes may wait on their way. Bigger is quicker and later."""

    size: int = 500
    linger: Duration = Duration(2)
    buffer_timeout: Duration = Duration(5)
    deadline: Duration = Duration(60_000)
    cached_profiles: int = 20_000


@dataclass(frozen=True)
class Flink:
    """Which cluster runs the job: the address of its REST endpoint (`host:port`). Empty: an embedded one in this process."""

    rest: str = ""
    python: str = "python3"
    jars: list[str] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)


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


def _from_document(document: Node) -> dict[str, dict[str, Any]]:
    if not isinstance(document, MappingNode):
        raise document.error("settings are a mapping of parts", f"parts: {', '.join(_types())}")
    document.only(_types())
    values: dict[str, dict[str, Any]] = {}
    for part, node in document.items():
        if not isinstance(node, MappingNode):
            raise node.error(f"`{part}` must be a mapping")
        hints = typing.get_type_hints(_types()[part])
        node.only(hints)
        values[part] = {}
        for key, value in node.items():
            try:
                values[part][key] = _convert(hints[key], value.plain())
            except ValueError as error:
                raise value.error(f"`{part}.{key}` {error}") from None
    return values


def _from_variable(values: dict[str, dict[str, Any]], name: str, part: str, key: str, raw: str) -> None:
    parts = _types()
    if part not in parts:
        raise SettingsError(f"environment variable {name}: no part `{part}`{suggestion(part, parts)}")
    hints = typing.get_type_hints(parts[part])
    plain: Any = raw
    key, _, inner = key.partition("__")
    if key not in hints:
        raise SettingsError(f"environment variable {name}: no key `{key}` in `{part}`{suggestion(key, hints)}")
    if hints[key] == dict[str, str]:
        # SEGUE_KAFKA__PROPERTIES__SECURITY_PROTOCOL: Kafka's own names have dots where variables have underscores.
        plain = {**values.get(part, {}).get(key, {}), inner.replace("_", "."): raw}
    elif hints[key] == list[str]:
        plain = [one for one in raw.split(",") if one]
    elif hints[key] is int:
        plain = int(raw) if raw.lstrip("-").isdigit() else raw
    try:
        values.setdefault(part, {})[key] = _convert(hints[key], plain)
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
    if isinstance(hint, types.UnionType) or not isinstance(value, hint) or isinstance(value, bool) is not (hint is bool):
        raise ValueError(f"must be {'a whole number' if hint is int else 'a text'}")
    return value


_RANGES = {
    ("kafka", "replication"): (1, 32),
    ("kafka", "partitions"): (1, 10_000),
    ("job", "parallelism"): (1, 1024),
    ("job", "max_parallelism"): (1, 32_768),
    ("job", "max_record_bytes"): (256, 64 * 1024 * 1024),
    ("job", "remembered_messages"): (1, 4096),
    ("job", "expiry"): (60_000, 100 * 365 * 86_400_000),
    ("checkpoints", "interval"): (100, 3_600_000),
    ("checkpoints", "transaction_timeout"): (1_000, 900_000),
    ("batches", "size"): (1, 100_000),
    ("batches", "linger"): (0, 10_000),
    ("batches", "buffer_timeout"): (0, 10_000),
    ("batches", "deadline"): (1_000, 3_600_000),
    ("batches", "cached_profiles"): (0, 10_000_000),
}


def _check(settings: Settings) -> None:
    for (part, key), (low, high) in _RANGES.items():
        value = getattr(getattr(settings, part), key)
        if not low <= value <= high:
            raise SettingsError(f"`{part}.{key}` is {value}, which is not between {low} and {high}")
    if settings.job.max_parallelism < settings.job.parallelism:
        raise SettingsError("`job.max_parallelism` must be at least `job.parallelism`; it is part of the state's layout")
