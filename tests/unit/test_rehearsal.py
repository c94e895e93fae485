"""Candidates over examples that were gathered once: the same figures as with the customers, and nothing of the future."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from online_models.advancing import advance
from online_models.compared import judged, losses, mean
from online_models.definition import Model
from online_models.example import Example
from online_models.features import FeatureSet
from online_models.learner import Learner
from online_models.loop import Loop
from online_models.parse import parse_model
from online_models.rehearsal import PROBE, Gathered, Gathering, Rehearsal
from online_models.serving import Serving
from online_models.standard import standard_kit
from profiles.event import Event
from rules.compiler import compile_plan

KIT = standard_kit()
HOUR, DAY = 3_600_000, 86_400_000
START = 1_767_225_600_000
TEXT = """\
model: buys
task: classification
target: {event: Order, within: 2d}
features: [{recency: {event: Visit, log: true}}, {count: {event: Visit, within: 7d}}, {trait: {name: tier}}]
candidates:
  - {name: line, pipeline: [StandardScaler, LogisticRegression], calibrate: platt}
  - {name: tree, pipeline: [{HoeffdingTreeClassifier: {grace_period: 20}}]}
  - {name: near, pipeline: [StandardScaler, {KNNClassifier: {n_neighbors: 3, window_size: 50}}], calibrate: isotonic}
score: {every: 0s, refresh: 1d}
learn: {every: 6h, negatives: 50%, publish: 12h, publish_examples: 40, least: 20}
"""
SPENDS = """\
model: spends
task: regression
target: {sum: properties.revenue, event: Order, within: 2d}
features: [{recency: {event: Visit, log: true}}, {count: {event: Visit, within: 7d}}]
candidates:
  - {name: line, pipeline: [StandardScaler, {LinearRegression: {optimizer: {SGD: {lr: 0.01}}}}]}
  - {name: tree, pipeline: [{HoeffdingTreeRegressor: {grace_period: 20}}]}
score: {every: 1h}
learn: {every: 6h, publish: 12h, publish_examples: 40, least: 20}
"""

CHOOSES = """\
candidates:
  - name: halving
    pipeline:
      - SuccessiveHalvingClassifier:
          {budget: 300, models: [[StandardScaler, LogisticRegression], [HoeffdingTreeClassifier], [GaussianNB]]}
    calibrate: platt
"""
CHOOSES_NUMBERS = """\
candidates:
  - name: halving
    pipeline:
      - SuccessiveHalvingRegressor:
          {budget: 300, models: [[StandardScaler, LinearRegression], [HoeffdingTreeRegressor], [StandardScaler, PARegressor]]}
  - name: greedy
    pipeline:
      - GreedyRegressor:
          {models: [[StandardScaler, LinearRegression], [StandardScaler, {LinearRegression: {l2: 0.5}}]]}
"""


def with_candidates(text: str, candidates: str) -> str:
    before, _, rest = text.partition("candidates:\n")
    return before + candidates + rest[rest.index("score:") :]


def history(seed: int, days: int = 40, customers: int = 20) -> list[tuple[Event, int]]:
    """Visits, and orders of those who visit much; out of order by up to an hour, each with its watermark."""
    dice = random.Random(seed)
    found = []
    for number in range(customers):
        keen = dice.random()
        at = START + dice.randrange(DAY)
        while at < START + days * DAY:
            at += int(dice.expovariate(1 / (8 * HOUR)))
            name = "Order" if dice.random() < keen * 0.3 else "Visit"
            found.append((at, at + dice.randrange(HOUR), number, name))
    found.sort(key=lambda one: one[1])
    events, newest = [], 0
    for at, received, number, name in found:
        newest = max(newest, at)
        properties = {"revenue": (number + 1) * 7.5}
        one = Event(f"{at}-{number}", name, at, f"c{number}", received_at=received, properties=properties)
        events.append((one, newest - HOUR - 1))
    return events


def run(model: Model, learner: Learner, events: list[tuple[Event, int]], probe: Any = None) -> Loop:
    features = FeatureSet(model.features, model.zone)
    rules: Any = SimpleNamespace(version=1, code=1, plan=compile_plan([], watches=[features]))
    serving = Serving([model], [features])
    if probe is not None:
        serving.adopt(model.name, PROBE, "challenger", 1, probe)
    loop = Loop([model], rules, serving, advance, learner, KIT.decode)
    loop.run(events, START + 45 * DAY)
    return loop


def gather(model: Model, events: list[tuple[Event, int]]) -> Gathered:
    learner = Gathering(model)
    run(model, learner, events, learner.probe)
    return learner.gathered()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "text",
    [TEXT, SPENDS, with_candidates(TEXT, CHOOSES), with_candidates(SPENDS, CHOOSES_NUMBERS)],
    ids=["classification", "regression", "choosing classifiers", "choosing regressors"],
)
def test_a_rehearsal_says_what_was_said_with_the_customers(text: str, seed: int) -> None:
    model = parse_model(text, f"{text[7:].split()[0]}.yaml")
    events = history(seed)
    loop = run(model, Learner([model], KIT), events)
    learnt = sorted((one for one in loop.outcome.examples if one.labelled_at <= START + 45 * DAY), key=Example.order)
    gathered = gather(model, events)
    assert [(one.customer, one.at, one.label, one.weight, one.row) for one in gathered.examples] == [
        (one.customer, one.at, one.label, one.weight, one.row) for one in learnt
    ]
    for candidate in model.candidates:
        rehearsal = Rehearsal(model, candidate, gathered, KIT)
        assert rehearsal.run()
        said = [one.predictions.get(candidate.name, [0, None])[1] for one in learnt]
        assert sum(one is not None for one in said) > 300
        assert rehearsal.outputs == said
        # What customers are scored by is, once read, what was written.
        body = loop.outcome.newest[model.name, candidate.name].body
        assert KIT.encode(KIT.decode(model, candidate, body)) == body


def known_after(hours: int) -> Gathered:
    """An example an hour, of which the outcome turns with every second day and is said to be known after so long: two days in truth."""
    model = parse_model(TEXT, "buys.yaml")
    found = []
    for number in range(2_000):
        at = START + number * HOUR
        row = [float(number), 1.0, "gold"]
        label = float(number // 48 % 2)
        one = Example(model.name, model.digest, "anna", at, at + hours * HOUR, row, label)
        found.append((one, at - 1))
    return Gathered.of(found)


def test_what_is_known_too_early_shows_in_the_figures_and_no_answer_comes_after_the_outcome() -> None:
    model = parse_model(TEXT, "buys.yaml")
    near = replace(model.candidates[2], calibrate="none")
    brier = []
    for hours in (48, 1):
        gathered = known_after(hours)
        rehearsal = Rehearsal(model, near, gathered, KIT)
        assert rehearsal.run()
        costs = losses("brier", rehearsal.outputs, gathered)
        brier.append(mean(costs, gathered, judged(costs, range(len(costs)))))
    assert brier[0] > 0.5
    assert brier[1] < 0.25
    gathered = known_after(48)
    asked = tuple(one.labelled_at for one in gathered.examples)
    with pytest.raises(ValueError, match="late"):
        Rehearsal(model, near, replace(gathered, asked=asked), KIT).run()
