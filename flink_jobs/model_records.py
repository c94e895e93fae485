"""What goes over the topics of models: versions with a header that the JVM can read, and word on quality as JSON.

The value of a record of `model-updates` is MessagePack twice: the header `[model, candidate, version, role, origin]`, by which the operator
keeps versions of each candidate without knowing the rest, and behind it the whole `ModelVersion`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from flink_jobs.outputs import Destination, Output
from online_models.version import ModelVersion, Published, Quality, Retired
from rules.compiled import moment
from rules.rule_set import RuleSet

LONGEST_VALUE: Final = 16 * 1024 * 1024
"""Bytes of a version with all that belongs to it; see `flink_jobs.topics` for what Kafka is told."""

MOST_TIME: Final = 253_402_300_800_000
"""The year 10000, in epoch milliseconds: no later moment can be written."""

_encode: Final = msgspec.msgpack.Encoder().encode
_json: Final = msgspec.json.Encoder(order="deterministic").encode


class ModelRecordError(Exception):
    """Bytes that hold no version of a model; the message says nothing of what they hold."""


class Header(NamedTuple):
    """Which version it is, and where it comes from."""

    model: str
    candidate: str
    version: int
    role: str
    origin: str


class ModelRecord(NamedTuple):
    """A record whose header was read; the version in `rest` has not been looked at."""

    header: Header
    rest: memoryview

    def decode(self) -> ModelVersion:
        """The version. Raises `ModelRecordError` where there is none, or another than the header says."""
        try:
            found: ModelVersion = _version_decoder.decode(self.rest)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ModelRecordError("behind the header there is no version of a model") from None
        if header_of(found) != self.header:
            raise ModelRecordError("the header is that of another version")
        return found


_version_decoder: Final = msgspec.msgpack.Decoder(ModelVersion)
_header_decoder: Final = msgspec.msgpack.Decoder(tuple[str, str, int, str, str])


def header_of(version: ModelVersion) -> Header:
    """The header that goes before a version."""
    return Header(version.model, version.candidate, version.version, version.role, version.lineage.origin)


def encode_version(version: ModelVersion) -> bytes:
    """The value of a version's record; `ModelRecordError` if it is longer than the topic takes."""
    value = _encode(tuple(header_of(version))) + _encode(version)
    if len(value) > LONGEST_VALUE:
        raise ModelRecordError(f"{version.key} has {len(value):,} bytes, more than {LONGEST_VALUE:,}")
    return value


def read_record(value: bytes) -> ModelRecord:
    """The record in `value`; `ModelRecordError` where its header cannot be read."""
    try:
        end = _header_end(value)
        header = Header(*_header_decoder.decode(memoryview(value)[:end]))
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError):
        raise ModelRecordError("this is no record of a model: it has no header") from None
    return ModelRecord(header, memoryview(value)[end:])


def _header_end(value: bytes) -> int:
    """Where the header ends: an array of five, four texts and a number."""
    if value[0] != 0x95:
        raise IndexError
    at = 1
    for part in range(5):
        first = value[at]
        at += 1
        if part == 2:
            at += {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.get(first, 0)
        elif 0xA0 <= first < 0xC0:
            at += first & 31
        elif first == 0xD9:
            at += 1 + value[at]
        elif first == 0xDA:
            at += 2 + int.from_bytes(value[at : at + 2])
        else:
            raise IndexError
    return at


def published(one: Published) -> Output:
    """What a learner has to say, as an output: versions and their removal to `model-updates`, all else to `model-quality`."""
    if isinstance(one, ModelVersion):
        return Destination.MODEL_UPDATES, one.key.encode(), encode_version(one)
    if isinstance(one, Retired):
        return Destination.MODEL_UPDATES, one.key.encode(), None
    if isinstance(one, Quality):
        detail = {key: value for key, value in msgspec.structs.asdict(one).items() if key not in ("model", "at")}
        return word(one.model, "quality", at=one.at, detail=detail)
    return word(one.model, one.kind, one.candidate, one.at, one.detail)


def word(
    model: str, kind: str, candidate: str = "", at: int | None = None, detail: Mapping[str, Any] | None = None
) -> Output:
    """A word on a model for `model-quality`, keyed by the model. `at`: epoch ms of event time, if it is of a moment."""
    when = moment(at) if at is not None and 0 < at < MOST_TIME else None  # 0: nothing has been learnt yet
    value = {"model": model, "kind": kind, "candidate": candidate, "at": when, "detail": detail or {}}
    return Destination.MODEL_QUALITY, model.encode(), _json(value)


def reported(report: Mapping[str, Any]) -> Output:
    """What the customers' side of models reports, `{"kind", "model", "candidate", ...}`."""
    detail = {name: value for name, value in report.items() if name not in ("kind", "model", "candidate")}
    return word(report["model"], report["kind"], report["candidate"], detail=detail)


class Definitions(msgspec.Struct, array_like=True):
    """The model files of a rule set. `code` is that of the rule set: of two the higher one is the newer."""

    code: int
    models: dict[str, str]


_definitions_decoder: Final = msgspec.msgpack.Decoder(Definitions)


def definitions(rule_set: RuleSet) -> Output:
    """The models of a rule set, for the learner. They come before the first example that was made under them."""
    return Destination.LEARNER, b"definitions", _encode(Definitions(rule_set.code, dict(rule_set.models)))


def read_definitions(data: bytes) -> Definitions:
    """What `definitions` wrote; `ModelRecordError` where it is something else."""
    try:
        return _definitions_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ModelRecordError("these are no definitions of models") from None


__all__ = [
    "LONGEST_VALUE",
    "Definitions",
    "Header",
    "ModelRecord",
    "ModelRecordError",
    "definitions",
    "encode_version",
    "header_of",
    "published",
    "read_definitions",
    "read_record",
    "reported",
    "word",
]
