"""Versions of models as they are published: what a model is made of, where it comes from, and how good it was."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from online_models.selection import OwnThresholds

KEPT: Final = 20
"""Versions of a candidate that are kept: the newest. The champion's is among them, being the newest of its candidate."""

Role = Literal["champion", "challenger"]


class Lineage(msgspec.Struct):
    """Where a version comes from. Times are epoch milliseconds of event time.

    `first`, `last`: the earliest and the latest `labelled_at` of the examples learnt; `examples`: their number. `parent`: the version
    it went
    on from (0: none). `origin`: the running job, a training over history, or somebody who went back to an older version, for the reason
    in `message`.
    """

    first: int = 0
    last: int = 0
    examples: int = 0
    parent: int = 0
    origin: Literal["stream", "history", "rollback"] = "stream"
    parameters: dict[str, Any] = {}
    river: str = ""
    segue: str = ""
    message: str = ""


class ModelVersion(msgspec.Struct):
    """One version of one candidate. `version` counts up over all candidates of a model. `created_at`: epoch ms of event time.

    `metrics` are the figures of the candidate when this was published, by name. `body` is the candidate as `online_models.storage`
    writes it. `thresholds` are those of groups of customers, where fairness asks for some.
    """

    model: str
    candidate: str
    version: int
    role: Role
    digest: str
    created_at: int
    lineage: Lineage
    metrics: dict[str, Any]
    body: bytes
    thresholds: OwnThresholds | None = None

    @property
    def key(self) -> str:
        """The key of its record: of each version of a candidate one record is kept."""
        return version_key(self.model, self.candidate, self.version)


class Retired(msgspec.Struct):
    """A version that is not kept any more: the record of its key is to be deleted."""

    model: str
    candidate: str
    version: int

    @property
    def key(self) -> str:
        """The key of the record."""
        return version_key(self.model, self.candidate, self.version)


class Quality(msgspec.Struct):
    """How good the candidates of a model were, at `at` (epoch ms of event time).

    `candidates`: by name, the figures of each with its `version`, `role` and `examples` learnt. `contests`: how each challenger stands
    against the champion; see `online_models.contest.Verdict`. `scores`: coverage and age of scores; see `online_models.usage.Recent`.
    """

    model: str
    digest: str
    at: int
    champion: str
    candidates: dict[str, dict[str, Any]]
    contests: list[dict[str, Any]]
    scores: dict[str, Any] = {}


class ModelEvent(msgspec.Struct):
    """Something that happened to a model, at `at` (epoch ms of event time).

    `drift`: what it foretells, or is told, has changed. `promoted`: a challenger is champion; `would promote`: it would be, were that
    automatic. `quarantined`: a candidate failed, and goes on from its last good version. `adopted`: a candidate goes on from a version
    that was trained, or gone back to; `refused`: it does not. `restarted`: the definition has changed, and what was learnt is given up;
    `removed`: there is no such model any more. `persona`: a cluster was born, split or died. `candidate` is "" where it is of the
    model as a whole.
    """

    model: str
    kind: Literal[
        "drift", "promoted", "would promote", "quarantined", "adopted", "refused", "restarted", "removed", "persona"
    ]
    at: int
    candidate: str = ""
    detail: dict[str, Any] = {}


Published = ModelVersion | Retired | Quality | ModelEvent
"""What a learner has to say."""


def version_key(model: str, candidate: str, version: int) -> str:
    """The key of the record of a version.

    >>> version_key("churn", "tree", 7)
    'churn/tree/7'
    """
    return f"{model}/{candidate}/{version}"
