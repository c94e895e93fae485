"""A model with two candidates, versions of it and rule sets that carry it, as bare as the workers can be shown them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from online_models.definition import Candidate, Model
from online_models.version import Lineage, ModelVersion
from rules.errors import RuleError, RuleErrors
from tests.frames import START, payload

MODELS = {"churn.yaml": "digest 1"}


def version(number: int = 1, candidate: str = "line", body: bytes = b"0.5", **fields: Any) -> ModelVersion:
    """A version of the model; unless told, of the definition in `MODELS`."""
    made: dict[str, Any] = {"digest": "digest 1", "role": "champion", **fields}
    return ModelVersion("churn", candidate, number, **made, created_at=START, lineage=Lineage(), metrics={}, body=body)


def parse(files: Mapping[str, str]) -> list[Model]:
    """The text of a file is the model's digest."""
    if "wrong" in files.values():
        raise RuleErrors([RuleError("churn.yaml", 1, 1, "this is wrong")])
    candidates = (Candidate("line", ()), Candidate("tree", ()))
    return [
        Model(name.removesuffix(".yaml"), "classification", (), candidates, digest=text) for name, text in files.items()
    ]


def with_models(version: int = 1, models: Mapping[str, str] = MODELS, **more: Any) -> bytes:
    """A rule set with these models, as it travels."""
    return json.dumps({**json.loads(payload(version, **more)), "models": models}).encode()
