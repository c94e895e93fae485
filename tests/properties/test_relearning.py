"""A large predictor is kept as an older encoding and the examples since: wherever it is stopped, it goes on as if it never had been."""

from __future__ import annotations

import random
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_models import making, relearning
from online_models.contender import Contender, ContenderState
from online_models.definition import Candidate, Model
from online_models.example import Example
from online_models.kit import Kit
from online_models.parse import parse_models
from online_models.pipelines import make_predictor
from online_models.storage import decode_predictor, encode_predictor
from tests.unit.test_pipelines import CASES, COLUMNS, examples, setting

PUBLISHED_EVERY = 70

PERSONAS = """
model: groups
task: clustering
features: [{monetary: {within: 90d, as: orders}}, {monetary: {within: 30d, as: spend}}, {category: {path: context.device}}]
candidates: [{name: one, pipeline: [%s]}]
personas: {first: 50, memory: 100, reviews: 1}
"""
CLUSTERERS = [
    "{KMeans: {every: 20}}",
    "{Mixture: {every: 20}}",
    "{DBSTREAM: {every: 20}}",
    "{Components: {n: 2}}, {KMeans: {every: 20}}",
]
VALUE = """
model: value
task: regression
target: {sum: properties.revenue, event: Order Completed, within: 90d}
features: [{count: {as: frequency}}, {count: {as: recency}}, {count: {as: age}}, {count: {as: value}}]
candidates: [{name: one, pipeline: [{BuyTillYouDie: {horizon: 90, every: 50}}]}]
"""


def _kit_of_river(columns: Any) -> Kit:
    return Kit(
        lambda model, candidate: make_predictor(model, candidate, columns),
        encode_predictor,  # type: ignore[arg-type]
        lambda model, candidate, data: decode_predictor(model, candidate, columns, data),
    )


Life = tuple[Model, Candidate, Kit, list[Example]]


def _of_river(name: str, count: int) -> Life:
    """One of River's estimators. What it has learnt turns round halfway, so that detectors of drift have something to say."""
    calibrate = "platt" if name == "ARFClassifier" else "none"
    model, candidate, columns = setting(name, calibrate=calibrate)
    found = []
    for at, (row, label, weight) in enumerate(examples(model, len(COLUMNS[: len(columns)]), count)):
        if model.task == "classification" and at > count / 2:
            label = 1.0 - (label or 0.0)
        found.append(Example("m", "", "c", at, at, row, label, weight))
    return model, candidate, _kit_of_river(columns), found


def _of_ours(text: str, count: int) -> Life:
    (model,) = parse_models({f"{text.split()[1]}.yaml": text})
    dice, found = random.Random(3), []
    for at in range(count):
        if model.task == "clustering":
            near = dice.choice([(1.0, 20.0), (6.0, 20.0), (1.0, 90.0)])
            row: list[Any] = [dice.gauss(near[0], 0.3), dice.gauss(near[1], 3.0), dice.choice(["a", "b", None])]
        else:
            age = dice.uniform(10.0, 300.0)
            row = [float(dice.randrange(1, 9)), dice.uniform(0.0, age), age, dice.lognormvariate(3.0, 0.5)]
        found.append(Example(model.name, model.digest, "c", at, at, row, 1.0 if model.target else None))
    return model, model.candidates[0], Kit(making.make, making.encode, making.decode), found


def _lived(life: Life, stops: set[int]) -> tuple[list[bytes], list[dict[str, Any]]]:
    """The bodies of its versions, and what has happened in it; at each of the `stops` it is kept, and made anew from that."""
    model, candidate, kit, those = life
    contender = Contender(model, candidate, kit)
    bodies, told = [], []
    for at, example in enumerate(those, 1):
        assert not contender.learn(example)
        told += contender.predictor.happened()
        if at % PUBLISHED_EVERY == 0:
            bodies.append(contender.publish(at, "champion", at).body)
        if at in stops:
            kept = msgspec.msgpack.decode(msgspec.msgpack.encode(contender.state()), type=ContenderState)
            contender = Contender(model, candidate, kit)
            assert not contender.restore(kept)
            assert not contender.predictor.happened(), "it was told before"
    return [*bodies, kit.encode(contender.predictor)], told


def _check(life: Life, stops: set[int], most: int) -> list[dict[str, Any]]:
    expected = _lived(life, set())
    with mock.patch.multiple(relearning, LARGE=1, MOST=most):
        assert _lived(life, stops) == expected
    return expected[1]


@pytest.mark.parametrize("name", CASES)
def test_every_estimator_learns_again_what_it_had_learnt(name: str) -> None:
    dice = random.Random(name)
    _check(_of_river(name, 200), set(dice.sample(range(1, 200), 6)), most=50)


@settings(max_examples=25)
@given(
    st.sampled_from(["ARFClassifier", "ARFRegressor", "HoeffdingAdaptiveTreeClassifier", "KNNClassifier"]),
    st.sets(st.integers(1, 120), max_size=6),
    st.integers(1, 60),
)
def test_forests_go_on_wherever_they_are_stopped(name: str, stops: set[int], most: int) -> None:
    _check(_of_river(name, 120), stops, most)


def test_a_forest_that_grows_new_trees_does_so_again() -> None:
    """Its trees are replaced as they drift, each by one that draws from chance of its own."""
    model, candidate, kit, those = _of_river("ARFClassifier", 1_500)
    life = model, candidate, kit, those[:1_000]
    predictor = kit.make(model, candidate)
    for one in those[:1_000]:
        predictor.learn(one.row, one.label, one.weight)
    assert predictor.estimator.n_drifts_detected() > 0  # type: ignore[attr-defined]
    _check(life, set(range(740, 1_000, 13)), most=500)


@settings(max_examples=12)
@given(st.sampled_from(CLUSTERERS), st.sets(st.integers(1, 150), max_size=6), st.integers(1, 80))
def test_personas_are_the_same_and_told_once(pipeline: str, stops: set[int], most: int) -> None:
    told = _check(_of_ours(PERSONAS % pipeline, 150), stops, most)
    assert told or "DBSTREAM" in pipeline


@settings(max_examples=12)
@given(st.sets(st.integers(1, 150), max_size=6), st.integers(1, 80))
def test_fits_to_what_customers_spend_are_the_same(stops: set[int], most: int) -> None:
    _check(_of_ours(VALUE, 150), stops, most)
