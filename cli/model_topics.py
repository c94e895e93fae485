"""What the topics of models hold, and putting versions there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from cli.errors import UserError
from cli.kafka import ensure_topic, publish, read_topic
from flink_jobs.model_records import Header, ModelRecordError, encode_version, read_record
from flink_jobs.settings import Settings
from online_models.version import ModelVersion

GAP: Final = 100
"""Numbers that are left free above the highest on the topic: a learner that runs takes the next ones meanwhile."""


@dataclass(frozen=True)
class Versions:
    """The versions on the topic, by model and number: their headers and the records as they were written."""

    headers: dict[tuple[str, int], Header]
    values: dict[tuple[str, int], bytes]

    def of(self, model: str) -> list[Header]:
        """The headers of one model, the newest first."""
        found = [header for (name, _), header in self.headers.items() if name == model]
        return sorted(found, key=lambda one: -one.version)

    def above(self, model: str) -> int:
        """A number above which nobody else numbers the versions of a model; 0 where there is none yet."""
        highest = max((one.version for one in self.of(model)), default=0)
        return highest + GAP if highest else 0

    def champion(self, model: str) -> Header | None:
        """The newest version of a model's champion; None if none is one."""
        return next((one for one in self.of(model) if one.role == "champion"), None)

    def version(self, model: str, number: int) -> ModelVersion:
        """One version; `UserError` where the topic does not hold it, or it cannot be read."""
        value = self.values.get((model, number))
        if value is None:
            known = ", ".join(str(one.version) for one in self.of(model)[:20])
            hint = f"of {model} there are {known}" if known else "`segue models list` says which models have versions"
            raise UserError(f"there is no version {number} of {model}", hint)
        try:
            return read_record(value).decode()
        except ModelRecordError as error:
            raise UserError(f"version {number} of {model} cannot be read: {error}") from None

    def models(self) -> list[str]:
        """The names of the models that have versions."""
        return sorted({model for model, _ in self.headers})


def read_versions(settings: Settings) -> Versions:
    """What is on the topic of versions. What cannot be read is left out, and said: the job refuses it as well."""
    newest: dict[bytes | None, bytes | None] = {}
    for one in read_topic(settings, settings.topics.model_updates):
        newest[one.key] = one.value
    headers: dict[tuple[str, int], Header] = {}
    values: dict[tuple[str, int], bytes] = {}
    for value in newest.values():
        if value is None:
            continue
        try:
            header = read_record(value).header
        except ModelRecordError as error:
            print(f"warning: topic {settings.topics.model_updates}: {error}", file=sys.stderr)
            continue
        headers[header.model, header.version] = header
        values[header.model, header.version] = value
    return Versions(headers, values)


def publish_versions(settings: Settings, versions: Iterable[ModelVersion]) -> None:
    """Write versions, in order, and wait until they are surely there."""
    for difference in ensure_topic(settings, settings.topics.model_updates):
        print(f"warning: {difference}", file=sys.stderr)
    for one in versions:
        try:
            value = encode_version(one)
        except ModelRecordError as error:
            raise UserError(str(error), "bound the model's size: fewer trees, or less depth") from None
        publish(settings, settings.topics.model_updates, one.key.encode(), value)


def read_words(settings: Settings, model: str | None = None) -> list[dict[str, Any]]:
    """The words on one model, or all, as `docs/schemas/model-quality.json` has them, in the order in which they were written."""
    return list(_words(settings, model))


def _words(settings: Settings, model: str | None) -> Iterator[dict[str, Any]]:
    for one in read_topic(settings, settings.topics.model_quality):
        if one.value is None or (model is not None and one.key != model.encode()):
            continue
        try:
            found = json.loads(one.value)
        except (ValueError, RecursionError):
            continue  # whoever wrote that was not the job
        if not isinstance(found, dict) or not {"model", "kind", "candidate", "at", "detail"} <= found.keys():
            continue
        if isinstance(found["model"], str) and isinstance(found["detail"], dict):
            yield found


def newest_quality(words: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By model, the newest report: `at`, and what `detail` has of `champion`, `candidates` and `contests`.

    None from before the model began anew or was removed: the figures were of something else.
    """
    found: dict[str, dict[str, Any]] = {}
    for one in words:
        if one["kind"] == "quality" and isinstance(one["detail"].get("candidates"), dict):
            found[one["model"]] = {"at": one["at"], **one["detail"]}
        elif one["kind"] in ("restarted", "removed"):
            found.pop(one["model"], None)
    return found
