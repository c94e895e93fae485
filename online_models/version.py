"""Versions of models as they are published: what a model is made of, where it comes from, and how good it was."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Lineage(msgspec.Struct):
    """Where a version comes from. Times are epoch milliseconds of event time.

    `first`, `last`: the earliest and the latest `labelled_at` of the examples learnt; `examples`: their number. `parent`: the version
    it went
    on from (0: none). `origin`: the running job, a training over history, or somebody who went back to an older version.
    """

    first: int = 0
    last: int = 0
    examples: int = 0
    parent: int = 0
    origin: Literal["stream", "history", "rollback"] = "stream"
    parameters: dict[str, Any] = {}
    river: str = ""
    segue: str = ""


class ModelVersion(msgspec.Struct):
    """One version of one candidate. `version` counts up over all candidates of a model. `created_at`: epoch ms of event time.

    `metrics` are the figures of the candidate when this was published, by name. `body` is the candidate as `online_models.storage`
    writes it.
    """

    model: str
    candidate: str
    version: int
    role: Literal["champion", "challenger"]
    digest: str
    created_at: int
    lineage: Lineage
    metrics: dict[str, Any]
    body: bytes

    @property
    def key(self) -> str:
        """The key of its record: of each version of a candidate one record is kept."""
        return f"{self.model}/{self.candidate}/{self.version}"
