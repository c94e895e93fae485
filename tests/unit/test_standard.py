"""What the kit of jobs says of a candidate, and when it is worked out anew."""

from __future__ import annotations

import random
from typing import Any

import pytest

from online_models import standard
from online_models.definition import Model
from online_models.example import Example
from online_models.kit import Kit
from online_models.learner import Learner
from online_models.parse import parse_models
from online_models.quality.figures import Figures
from online_models.standard import StandardFigures, standard_kit
from online_models.version import ModelVersion, Quality

HEAD = """
model: purchase
name: Purchase
owner: data@example.com
task: classification
target: {event: Order Completed, within: 3d}
features: [recency, {count: {as: views}}]
candidates:
  - name: logistic
    pipeline: [StandardScaler, {LogisticRegression: {l2: 0.001}}]
score: {every: 1h}
learn: {every: 1h, publish: 1h, publish_examples: 10, least: 1}
"""


@pytest.fixture
def model() -> Model:
    (found,) = parse_models({"purchase.yaml": HEAD})
    return found


def an_example(model: Model, number: int) -> Example:
    dice = random.Random(number)
    row = [dice.gauss(0, 1), dice.gauss(0, 1)]
    said = {"logistic": [1, 1 / (1 + 2 ** -row[0])]}
    return Example(model.name, model.digest, f"c{number}", number, number + 1, row, float(row[0] > 0), 1.0, said, ["a"])


def test_figures_are_computed_once_for_a_publication_and_anew_after_an_example(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    compute = Figures.report

    def counted(figures: Figures) -> dict[str, Any]:
        asked.append(figures.seen)
        return compute(figures)

    monkeypatch.setattr(Figures, "report", counted)
    learner = Learner([model], standard_kit())
    for number in range(30):
        learner.offer(an_example(model, number))
    said = learner.advance(1_000)
    assert asked == [10, 20, 30]
    versions = [one for one in said if isinstance(one, ModelVersion)]
    reports = [one for one in said if isinstance(one, Quality)]
    assert [one.metrics["seen"] for one in versions] == [10, 20, 30]
    assert [one.candidates["logistic"]["seen"] for one in reports] == [10, 20, 30]


def test_a_report_is_its_readers_own(model: Model) -> None:
    figures = StandardFigures(model, model.candidates[0])
    figures.observe(an_example(model, 1), 1, 0.5)
    figures.report().clear()
    assert figures.report()["seen"] == 1
    figures.miss(an_example(model, 2))
    assert figures.report()["seen"] == 2


def test_what_a_candidate_lives_on_is_looked_at_when_there_are_twice_as_many_examples(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit: Kit = standard_kit()
    looked: list[int] = []
    figures = StandardFigures(model, model.candidates[0])

    def importance(*told: object) -> dict[str, float]:
        looked.append(figures.examples)
        return {"recency": 0.1}

    monkeypatch.setattr(standard, "importance", importance)
    monkeypatch.setattr(standard, "EXPLAINED_EVERY", 100)
    predictor = kit.make(model, model.candidates[0])
    for number in range(400):
        figures.observe(an_example(model, number), 1, 0.5)
        said = kit.describe(figures, predictor)
        assert ("importance" in said) == (number >= 29)
    assert looked == [30, 60, 120, 220, 320]
    assert standard.EXPLAINED_FROM == 30
