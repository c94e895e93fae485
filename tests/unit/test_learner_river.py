"""The learner with a pipeline of River's: stopped and gone on anywhere it is the same, and it is the pipeline that learns."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import pytest
from river import compose, linear_model, optim, preprocessing

from online_models.definition import Candidate, Model
from online_models.example import Example, Row
from online_models.learner import Learner
from online_models.predictor import Output
from online_models.version import ModelVersion, Published
from tests.learning import KIT, a_model, an_example, candidate

NAMES = "abcdefgh"


class Logistic:
    """Scaled logistic regression as River has it, and all that it has learnt as JSON."""

    def __init__(self) -> None:
        self.scaler = preprocessing.StandardScaler()
        self.model = linear_model.LogisticRegression(optim.SGD(0.05), l2=0.001)
        self.pipeline = compose.Pipeline(self.scaler, self.model)

    def predict(self, row: Row, previous: Output | None = None) -> Output | None:
        return float(self.pipeline.predict_proba_one(dict(zip(NAMES, row, strict=False)))[True])

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        features = dict(zip(NAMES, row, strict=False))
        self.scaler.learn_one(features)
        self.model.learn_one(self.scaler.transform_one(features), bool(label), w=weight)

    def happened(self) -> list[dict[str, object]]:
        return []

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        return []

    def encode(self) -> bytes:
        scaler, model = self.scaler, self.model
        kept = [scaler.counts, scaler.means, scaler.vars, model.weights, model.intercept, model.optimizer.n_iterations]
        return json.dumps(kept, sort_keys=True).encode()

    def decode(self, data: bytes) -> None:
        counts, means, variances, weights, self.model.intercept, steps = json.loads(data)
        self.scaler.counts.update(counts)
        self.scaler.means.update(means)
        self.scaler.vars.update(variances)
        self.model._weights.update(weights)
        self.model.optimizer.n_iterations = steps


def _decode(model: Model, candidate: Candidate, data: bytes) -> Any:
    predictor = Logistic()
    predictor.decode(data)
    return predictor


KIT_OF_RIVER = dataclasses.replace(
    KIT, make=lambda model, candidate: Logistic(), encode=lambda one: one.encode(), decode=_decode
)
MODEL = a_model(candidates=(candidate("logistic", "LogisticRegression"),), publish_examples=50)


def _examples(size: int) -> list[Example]:
    dice, found = random.Random(2), []
    for at in range(1, size + 1):
        row = [dice.gauss(3, 2) for _ in NAMES]
        label = float(row[0] - row[1] + dice.gauss(0, 1) > 0)
        found.append(an_example(at, label, row=row, weight=1.0 + at % 2, labelled_at=at + dice.randrange(40)))
    return found


def _versions(said: list[Published]) -> list[ModelVersion]:
    return [one for one in said if isinstance(one, ModelVersion)]


@pytest.mark.parametrize("every", [1, 7, 333])
def test_stopped_and_gone_on_it_is_as_never_interrupted(every: int) -> None:
    straight, stopped = Learner([MODEL], KIT_OF_RIVER), Learner([MODEL], KIT_OF_RIVER)
    expected, found = list[Published](), list[Published]()
    for number, one in enumerate(_examples(400)):
        straight.offer(one)
        stopped.offer(one)
        expected += straight.advance(one.at)
        found += stopped.advance(one.at)
        if number % every == 0:
            stopped, more = Learner.restore(stopped.snapshot(), [MODEL], KIT_OF_RIVER)
            assert not more
    assert found == expected and len(_versions(found)) == 7
    assert stopped.snapshot() == straight.snapshot()


def test_what_is_published_is_the_pipeline_after_its_examples_and_it_has_learnt() -> None:
    examples = _examples(600)
    learner, plain = Learner([MODEL], KIT_OF_RIVER), Logistic()
    for one in examples:
        learner.offer(one)
    last = [*_versions(learner.advance(10**6)), *_versions(learner.conclude())][-1]
    for one in sorted(examples, key=Example.order):
        plain.learn(one.row, one.label, one.weight)
    assert last.body == plain.encode()
    served = _decode(MODEL, MODEL.candidates[0], last.body)
    right = sum((served.predict(one.row) > 0.5) == bool(one.label) for one in _examples(600))
    assert right > 0.8 * 600
