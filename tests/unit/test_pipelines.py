"""Every name on the safe list keeps the promises that serving, learning and storage rest on; wrong candidates are told where and why."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from online_models.definition import Candidate, Model, Step
from online_models.encoding import Column
from online_models.estimators import ESTIMATORS, FINAL_ROLE
from online_models.linear import FrozenLinear, freeze
from online_models.pipelines import BadCandidate, check_candidate, make_predictor
from online_models.river_predictor import PredictorFailed, RiverPredictor
from online_models.storage import decode_predictor, encode_predictor

TASK = {role: task for task, role in FINAL_ROLE.items()}
COLUMNS = (
    Column("recency"),
    Column("views"),
    Column("device", True, "onehot"),
    Column("city", True, "hash"),
    Column("product", True, "target"),
)
_LOGISTIC = [
    ["StandardScaler", "LogisticRegression"],
    ["StandardScaler", {"HoeffdingTreeClassifier": {"grace_period": 20}}],
]
_LINEAR = [["StandardScaler", "LinearRegression"], ["StandardScaler", {"LinearRegression": {"l2": 0.1}}]]
_TREE = {"grace_period": 20, "delta": 0.1, "max_depth": 4}

# How each is tried. One that is new on the list and not here fails `test_every_estimator_has_a_case`.
CASES: dict[str, dict[str, Any]] = {
    "LogisticRegression": {"optimizer": {"SGD": {"lr": 0.05}}, "l2": 0.001},
    "Perceptron": {},
    "ALMAClassifier": {},
    "PAClassifier": {"mode": 2},
    "LinearRegression": {"loss": {"Huber": {"epsilon": 0.5}}},
    "PARegressor": {},
    "HoeffdingTreeClassifier": {**_TREE, "splitter": {"HistogramSplitter": {"n_bins": 16}}},
    "HoeffdingAdaptiveTreeClassifier": {**_TREE, "drift_detector": {"ADWIN": {"delta": 0.01}}},
    "HoeffdingTreeRegressor": _TREE,
    "HoeffdingAdaptiveTreeRegressor": _TREE,
    "ARFClassifier": {**_TREE, "n_models": 3, "seed": 7},
    "ARFRegressor": {**_TREE, "n_models": 3, "drift_detector": "PageHinkley", "warning_detector": "NoDrift"},
    "GaussianNB": {},
    "KNNClassifier": {"window_size": 50},
    "KNNRegressor": {"window_size": 50},
    "SuccessiveHalvingClassifier": {"models": _LOGISTIC, "budget": 300},
    "SuccessiveHalvingRegressor": {"models": _LINEAR, "budget": 300},
    "GreedyRegressor": {"models": _LINEAR},
    "KMeans": {"n_clusters": 3},
    "STREAMKMeans": {"n_clusters": 3, "chunk_size": 7},
    "DBSTREAM": {"clustering_threshold": 1.5, "cleanup_interval": 20},
    "HalfSpaceTrees": {"n_trees": 3, "height": 4, "window_size": 30},
}
SCALERS = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "AdaptiveStandardScaler")
OPTIMIZERS = sorted(name for name, each in ESTIMATORS.items() if each.role == "optimizer")
Setting = tuple[Model, Candidate, tuple[Column, ...]]


def setting(name: str, scaler: str = "MinMaxScaler", calibrate: Any = "none", parameters: Any = None) -> Setting:
    task: Any = TASK[ESTIMATORS[name].role]
    steps = (Step(scaler), Step(name, CASES[name] if parameters is None else parameters))
    columns = COLUMNS if task in ("classification", "regression") else COLUMNS[:4]
    return Model("m", task, (), ()), Candidate("c", steps, calibrate), columns


def examples(model: Model, width: int, count: int, seed: int = 1) -> Iterator[tuple[list[Any], float | None, float]]:
    dice = random.Random(seed)
    for place in range(count):
        row: list[Any] = [
            dice.random() * 30 if dice.random() < 0.8 else None,
            # Of this nothing is known at first, of that now and then nothing.
            dice.expovariate(1.0) if place > 20 and dice.random() < 0.9 else None,
            dice.choice(["mobile", "desktop", None, "tablet" if place > 40 else None]),
            dice.choice("abcdefgh"),
            f"p{dice.randrange(30)}",
        ]
        z = (row[1] or 0.0) - (row[2] == "mobile") - (row[0] or 15.0) / 15
        label: float | None = z if model.task == "regression" else None
        if model.task == "classification":
            label = float(dice.random() < 1 / (1 + math.exp(-z)))
        yield row[:width], label, dice.choice([1.0, 1.0, 1.5, 2.0])


def taught(of: Setting, count: int = 200, predictor: RiverPredictor | None = None, seed: int = 1) -> RiverPredictor:
    predictor = predictor or make_predictor(*of)
    for example in examples(of[0], len(of[2]), count, seed):
        predictor.learn(*example)
    return predictor


def said(of: Setting, predictor: Any, seed: int = 9) -> list[Any]:
    rows = [row for row, _, _ in examples(of[0], len(of[2]), 40, seed)]
    rows += [[None] * len(of[2]), [1e300, float("nan"), "never seen", "\ud800", "never seen"][: len(of[2])]]
    return [predictor.predict(row) for row in rows]


def test_every_estimator_has_a_case() -> None:
    assert set(CASES) == {name for name, each in ESTIMATORS.items() if each.role in TASK}
    assert set(SCALERS) == {name for name, each in ESTIMATORS.items() if each.role == "transformer"}


@pytest.mark.parametrize("name", CASES)
class TestEveryEstimator:
    def test_says_nothing_before_the_first_example_and_something_finite_after(self, name: str) -> None:
        of = setting(name)
        assert said(of, make_predictor(*of)) == [None] * 42
        for outputs in (said(of, taught(of, 1)), said(of, taught(of))):
            if of[0].task == "clustering":
                assert all(type(each) is str for each in outputs)
            else:
                assert all(type(each) is float or each == int(each) for each in outputs)
                assert all(math.isfinite(each) for each in outputs)
            if of[0].task == "classification":
                assert all(1e-6 <= each <= 1 - 1e-6 for each in outputs)

    def test_being_asked_changes_nothing(self, name: str) -> None:
        of = setting(name)
        one, other = make_predictor(*of), make_predictor(*of)
        for row, label, weight in examples(of[0], len(of[2]), 60):
            one.learn(row, label, weight)
            other.learn(row, label, weight)
            said(of, one) if label else None
            one.predict(row)
        one.reasons([1.0, 2.0, "mobile", "a", "p1"][: len(of[2])])
        assert encode_predictor(one) == encode_predictor(other)

    def test_goes_on_from_bytes_as_if_nothing_had_happened(self, name: str) -> None:
        of = setting(name, calibrate="platt" if ESTIMATORS[name].role == "classifier" else "none")
        one = taught(of)
        data = encode_predictor(one)
        other = decode_predictor(*of, data)
        assert encode_predictor(other) == data
        assert said(of, other) == said(of, one)
        assert encode_predictor(taught(of, 120, other, 5)) == encode_predictor(taught(of, 120, one, 5))
        assert said(of, other) == said(of, one)

    def test_reasons_are_of_features_and_largest_first(self, name: str) -> None:
        of = setting(name)
        reasons = taught(of).reasons([1.0, 2.5, "mobile", "a", "p1"][: len(of[2])])
        sizes = [abs(by) for _, by in reasons]
        assert sizes == sorted(sizes, reverse=True)
        assert {feature for feature, _ in reasons} <= {column.name for column in of[2]}
        assert bool(reasons) == (of[0].task != "clustering")


_IN_ANOTHER_PROCESS = """
import hashlib
from tests.unit.test_pipelines import CASES, setting, taught, encode_predictor
print([hashlib.sha256(encode_predictor(taught(setting(name), 120))).hexdigest() for name in CASES])
"""


def test_the_same_learning_gives_the_same_bytes_in_another_process() -> None:
    found = set()
    for seed in ("1", "2"):
        program = [sys.executable, "-W", "ignore", "-c", _IN_ANOTHER_PROCESS]
        done = subprocess.run(program, env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        found.add(done.stdout)
    assert len(found) == 1


@pytest.mark.parametrize("scaler", SCALERS)
def test_scalers_cope_with_unknown_numbers_and_are_stored(scaler: str) -> None:
    for name in ("LogisticRegression", "KMeans", "GaussianNB"):
        of = setting(name, scaler)
        one = taught(of)
        assert said(of, decode_predictor(*of, encode_predictor(one))) == said(of, one)


def test_each_step_learns_from_what_the_one_before_has_made_of_it() -> None:
    model, candidate, columns = setting("LinearRegression")
    steps = (Step("MinMaxScaler"), Step("StandardScaler"), candidate.pipeline[-1])
    predictor = make_predictor(model, Candidate("c", steps), columns)
    for views in (10.0, 30.0, 20.0):
        predictor.learn([None, views, None, None, None], 1.0, 1.0)
    # Between 0 and 1 by what had been seen at each.
    assert predictor.transformers[1].means == {1: pytest.approx((0.0 + 1.0 + 0.5) / 3)}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_are_stored(optimizer: str) -> None:
    of = setting("LogisticRegression", parameters={"optimizer": optimizer})
    one = taught(of)
    other = decode_predictor(*of, encode_predictor(one))
    assert encode_predictor(taught(of, 50, other, 5)) == encode_predictor(taught(of, 50, one, 5))


def test_a_weight_counts_as_that_many_examples_where_an_estimator_takes_none() -> None:
    of = setting("GaussianNB")
    one, other = make_predictor(*of), make_predictor(*of)
    for row, label, _ in examples(of[0], 5, 100):
        one.learn(row, label, 2.0)
        other.learn(row, label, 1.0)
    counts = one.estimator.class_counts
    assert counts == {label: 2 * count for label, count in other.estimator.class_counts.items()}
    halves = make_predictor(*of)
    for _ in range(10):
        halves.learn([1.0, 1.0, "a", "b", "c"], 1.0, 1.5)
        halves.learn([2.0, 2.0, "a", "b", "c"], 0.0, 0.25)
    # What is over of one class is not given to the other.
    assert halves.estimator.class_counts == {True: 15, False: 2}


class Broken:
    def __init__(self, said: Any) -> None:
        self.said = said

    def predict_proba_one(self, features: Any) -> Any:
        if isinstance(self.said, Exception):
            raise self.said
        return {True: self.said}

    def learn_one(self, *arguments: Any, **named: Any) -> None:
        raise self.said


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), RuntimeError("no"), "text"])
def test_what_river_breaks_surfaces(wrong: Any) -> None:
    predictor = taught(setting("LogisticRegression"), 10)
    predictor.estimator = Broken(wrong)
    with pytest.raises(PredictorFailed):
        predictor.predict([1.0, 1.0, None, None, None])
    if isinstance(wrong, Exception):
        with pytest.raises(PredictorFailed, match="RuntimeError: no"):
            predictor.learn([1.0, 1.0, None, None, None], 1.0, 1.0)


@pytest.mark.parametrize(
    ("steps", "message", "hint"),
    [
        ([], "the pipeline is empty", ""),
        (
            [Step("LogisticRegresion", {}, 7, 3)],
            "no estimator 'LogisticRegresion'",
            "did you mean 'LogisticRegression'?",
        ),
        ([Step("StandardScaler", {}, 7, 3)], "cannot be last", "end with one of"),
        ([Step("LinearRegression", {}, 7, 3)], "LinearRegression is not for classification", "LogisticRegression"),
        ([Step("LogisticRegression", {"l3": 1}, 7, 3)], "no parameter 'l3'", "known: clip_gradient"),
        ([Step("LogisticRegression", {"l2": "x"}, 7, 3)], "must be a number between 0 and 10, not x", ""),
        ([Step("LogisticRegression", {"l2": True}, 7, 3)], "must be a number", ""),
        ([Step("LogisticRegression", {"l2": float("nan")}, 7, 3)], "must be a number", ""),
        ([Step("LogisticRegression", {"l1": 0.1, "l2": 0.1}, 7, 3)], "not both", ""),
        ([Step("LogisticRegression", {"optimizer": {"SDG": {}}}, 7, 3)], "not SDG", "did you mean 'SGD'?"),
        ([Step("LogisticRegression", {"optimizer": {"SGD": {"lr": 100}}}, 7, 3)], "`lr` of SGD", ""),
        ([Step("LogisticRegression", {"loss": "Huber"}, 7, 3)], "is for regression", ""),
        ([Step("ARFClassifier", {"n_models": 51}, 7, 3)], "between 1 and 50", ""),
        ([Step("ARFClassifier", {"n_models": 5.0}, 7, 3)], "whole number", ""),
        ([Step("HoeffdingTreeClassifier", {"max_depth": 17}, 7, 3)], "between 1 and 16", ""),
        ([Step("HoeffdingTreeClassifier", {"max_size": 9}, 7, 3)], "no parameter 'max_size'", ""),
        ([Step("SuccessiveHalvingClassifier", {}, 7, 3)], "needs `models`", "pipelines"),
        (
            [Step("SuccessiveHalvingClassifier", {"models": [["ARFClassifier"]] * 2}, 7, 3)],
            "cannot stand in a list",
            "",
        ),
        ([Step("SuccessiveHalvingClassifier", {"models": [[1]] * 2}, 7, 3)], "list of estimators by name", ""),
        ([Step("GaussianNB", {}, 7, 3), Step("GaussianNB", {}, 8, 3)], "must be the last step", ""),
        ([Step("PCA", {}, 7, 3), Step("GaussianNB", {}, 8, 3)], "no estimator 'PCA'", "known: "),
    ],
)
def test_what_is_wrong_with_a_candidate(steps: list[Any], message: str, hint: str) -> None:
    model, candidate = Model("m", "classification", (), ()), Candidate("c", tuple(steps))
    problem = check_candidate(model, candidate, COLUMNS)[0]
    assert message in problem.message
    assert hint in problem.hint
    assert (problem.line, problem.column) == ((7, 3) if steps else (1, 1))
    with pytest.raises(BadCandidate, match="candidate 'c'"):
        make_predictor(model, candidate, COLUMNS)


def test_without_labels_nothing_is_encoded_by_them_and_only_probabilities_are_calibrated() -> None:
    model, candidate, _ = setting("KMeans")
    assert "encoded by labels" in check_candidate(model, candidate, COLUMNS)[0].message
    assert "only probabilities" in check_candidate(*setting("LinearRegression", calibrate="platt"))[0].message


def test_calibration_is_learnt_from_what_was_said_before_the_label_was_known() -> None:
    predictor = make_predictor(*setting("KNNClassifier", calibrate="platt"))
    learnt = []
    assert predictor.calibrator is not None
    predictor.calibrator.learn = lambda raw, label, weight: learnt.append((raw, label))  # type: ignore[method-assign, assignment]
    for place in range(20):
        # Each row is one of its own, so one that already knew it would say its label for sure.
        predictor.learn([float(place), 0.0, None, None, None], float(place % 2), 1.0)
    assert len(learnt) == 19
    assert not any(raw == label for raw, label in learnt[5:])


def test_of_two_features_the_one_that_matters_is_the_first_reason() -> None:
    of = setting("LogisticRegression", "StandardScaler", parameters={"optimizer": {"SGD": {"lr": 0.1}}})
    reasons = dict(taught(of, 2000).reasons([15.0, 4.0, "mobile", None, None]))
    assert reasons["views"] > 0 > reasons["device"]
    assert next(iter(reasons)) == "views"


def test_linear_models_are_frozen_fast_and_others_as_they_are() -> None:
    assert isinstance(freeze(taught(setting("LogisticRegression", "StandardScaler"), 5)), FrozenLinear)
    tree = taught(setting("HoeffdingTreeClassifier"), 5)
    assert freeze(tree) is tree
    with pytest.raises(TypeError, match="does not learn"):
        freeze(taught(setting("LogisticRegression", "StandardScaler"), 5)).learn([], 1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "calibrate"),
    [
        ("LogisticRegression", "none"),
        ("LogisticRegression", "platt"),
        ("LogisticRegression", "isotonic"),
        ("LinearRegression", "none"),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 30, 400])
def test_frozen_says_what_river_says(name: str, calibrate: Any, count: int) -> None:
    of = setting(name, "StandardScaler", calibrate)
    predictor = taught(of, count)
    assert said(of, freeze(predictor)) == pytest.approx(said(of, predictor), abs=1e-9, rel=1e-9)
