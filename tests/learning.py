"""Small candidates that really learn, and a kit of them: what the learner is tested with."""

from __future__ import annotations

import json
import math
from types import MappingProxyType
from typing import Any

import msgspec

from online_models.definition import Candidate, Learning, Model, Promotion, Step
from online_models.example import Example, Row
from online_models.kit import Kit
from online_models.predictor import Output


class Mean:
    """Foretells the mean of the labels, of which older ones fade by `fading`."""

    def __init__(self, fading: float = 0.0) -> None:
        self.fading, self.weight, self.sum = fading, 0.0, 0.0

    def predict(self, row: Row, previous: Output | None = None) -> Output | None:
        return self.sum / self.weight if self.weight else None

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        self.weight = self.weight * (1 - self.fading) + weight
        self.sum = self.sum * (1 - self.fading) + weight * (label or 0.0)

    def happened(self) -> list[dict[str, object]]:
        return []

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        return []

    def kept(self) -> Any:
        return [self.fading, self.weight, self.sum]

    def go_on(self, kept: Any) -> None:
        self.fading, self.weight, self.sum = kept


class Sgd:
    """Logistic regression by gradient steps. A row that begins with "fail" makes it raise, "nan" leaves it with no numbers."""

    def __init__(self, rate: float = 0.1) -> None:
        self.rate, self.weights = rate, dict[int, float]()

    def predict(self, row: Row, previous: Output | None = None) -> Output | None:
        total = sum(self.weights.get(at, 0.0) * value for at, value in enumerate(row) if isinstance(value, float))
        if math.isnan(total):
            return total
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        if row and row[0] == "fail":
            self.weights[0] = 1e9
            raise ValueError(f"anna's row {row}")
        if row and row[0] == "nan":
            self.weights[1] = math.nan
            return
        output = self.predict(row)
        assert isinstance(output, float)
        for at, value in enumerate(row):
            if isinstance(value, float):
                slope = self.rate * weight * ((label or 0.0) - output) * value
                self.weights[at] = self.weights.get(at, 0.0) + slope

    def happened(self) -> list[dict[str, object]]:
        return []

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        return []

    def kept(self) -> Any:
        return [self.rate, {str(at): value for at, value in sorted(self.weights.items())}]

    def go_on(self, kept: Any) -> None:
        self.rate, self.weights = kept[0], {int(at): value for at, value in kept[1].items()}


KINDS: dict[str, Any] = {"Mean": Mean, "Sgd": Sgd}


def make(model: Model, candidate: Candidate) -> Any:
    step = candidate.pipeline[0]
    return KINDS[step.name](**step.parameters)


def encode(predictor: Any) -> bytes:
    return json.dumps(predictor.kept()).encode()


def decode(model: Model, candidate: Candidate, data: bytes) -> Any:
    predictor = make(model, candidate)
    predictor.go_on(json.loads(data))
    return predictor


KIT = Kit(make, encode, decode, river="0.0", segue="0.0")


PROMOTION = Promotion("log_loss", least=200)


def candidate(name: str, kind: str, **parameters: Any) -> Candidate:
    return Candidate(name, (Step(kind, MappingProxyType(parameters)),))


def a_model(
    name: str = "purchase",
    candidates: tuple[Candidate, ...] = (candidate("mean", "Mean"), candidate("sgd", "Sgd")),
    *,
    publish: int = 1_000,
    publish_examples: int = 100,
    digest: str = "d1",
    promotion: Promotion = PROMOTION,
    task: Any = "classification",
) -> Model:
    learning = Learning(1, publish=publish, publish_examples=publish_examples)
    return Model(name, task, (), candidates, learning=learning, promotion=promotion, digest=digest)


def an_example(at: int, label: float | None = 1.0, **fields: Any) -> Example:
    base = Example(fields.pop("model", "purchase"), fields.pop("digest", "d1"), "anna", at, at, [1.0], label)
    return msgspec.structs.replace(base, **fields)
