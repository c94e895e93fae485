"""Figures, drift, importance and fairness of models: each against another way to compute it."""

import random

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, demographic_parity_difference, demographic_parity_ratio, selection_rate
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from online_models.definition import Fairness
from online_models.example import Row
from online_models.quality.drift import Drift
from online_models.quality.fairness import fairness_report
from online_models.quality.figures import Figures, Observed, bins, lift, roc_auc
from online_models.quality.importance import Reservoir, importance

TASK = "classification"


def observed(
    prediction: float, label: float, weight: float = 1.0, segments: tuple[str, ...] = (), group: str = ""
) -> Observed:
    return Observed(prediction, label, weight, 0, 1, 7, list(segments), group)


ONES = st.lists(
    st.tuples(
        st.sampled_from([0.01, 0.1, 0.1, 0.3, 0.5, 0.7, 0.99]),
        st.sampled_from([0.0, 1.0]),
        st.sampled_from([1.0, 2.0, 0.5]),
    ),
    min_size=2,
    max_size=60,
)


@given(ONES)
def test_figures_equal_those_of_scikit_learn(ones: list[tuple[float, float, float]]) -> None:
    figures = Figures(TASK)
    for one in ones:
        figures.observe(observed(*one))
    found = figures.report()
    predictions, labels, weights = (np.array(column) for column in zip(*ones, strict=True))
    assert found["log_loss"] == pytest.approx(
        log_loss(labels, predictions, sample_weight=weights, labels=[0, 1]), abs=1e-6
    )
    assert found["brier"] == pytest.approx(brier_score_loss(labels, predictions, sample_weight=weights), abs=1e-6)
    if len(set(labels)) == 2:
        assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, predictions, sample_weight=weights), abs=1e-6)
    else:
        assert "roc_auc" not in found


def test_only_the_newest_examples_count() -> None:
    figures = Figures(TASK, window=10)
    for _ in range(50):
        figures.observe(observed(0.9, 0.0))
    for _ in range(10):
        figures.observe(observed(0.9, 1.0))
    assert figures.report()["base_rate"] == 1.0 and figures.report()["seen"] == 60


def test_coverage_is_the_share_of_examples_that_had_a_prediction() -> None:
    figures = Figures(TASK)
    figures.observe(observed(0.5, 1.0))
    for _ in range(3):
        figures.miss()
    assert figures.report()["coverage"] == 0.25
    assert figures.report()["examples"] == 1


def test_segments_with_enough_examples_have_figures_of_their_own() -> None:
    figures = Figures(TASK)
    for number in range(60):
        figures.observe(observed(0.8, 1.0, segments=("vip",) if number % 2 else ("vip", "rare") if number < 20 else ()))
    found = figures.report()["segments"]
    assert set(found) == {"vip"}, "rare has ten examples only"
    assert found["vip"]["examples"] == 40


def test_the_calibration_error_tells_a_distorted_model_from_an_honest_one() -> None:
    dice = random.Random(1)
    honest, distorted = Figures(TASK), Figures(TASK)
    for _ in range(2000):
        chance = dice.random()
        label = float(dice.random() < chance)
        honest.observe(observed(chance, label))
        distorted.observe(observed(chance**3, label))
    assert honest.report()["calibration_error"] < 0.05
    assert distorted.report()["calibration_error"] > 0.2
    assert honest.report()["roc_auc"] == distorted.report()["roc_auc"], "the order of customers is the same"


def test_lift_and_bins_by_hand() -> None:
    predictions = np.arange(100) / 100
    labels = (np.arange(100) >= 95).astype(float)
    weights = np.ones(100)
    assert lift(predictions, labels, weights) == pytest.approx(10.0)  # all five of the hundred are in the top ten
    parts = bins(predictions, labels, weights)
    assert [weight for _, _, weight in parts] == [10.0] * 10
    assert parts[-1][:2] == pytest.approx((0.945, 0.5))
    assert roc_auc(predictions, labels, weights) == 1.0


def test_regression_is_compared_with_always_saying_the_mean() -> None:
    figures = Figures("regression")
    for label in (0.0, 10.0):
        figures.observe(observed(5.0, label))
    found = figures.report()
    assert (found["mae"], found["naive_mae"], found["rmse"], found["bias"]) == (5.0, 5.0, 5.0, 0.0)


def test_a_restored_window_goes_on_where_it_was() -> None:
    one, other = Figures(TASK, 5), Figures(TASK, 5)
    for number in range(8):
        one.observe(observed(number / 10, float(number % 2), segments=("a",), group="x"))
    one.miss()
    other.restore(one.state())
    for figures in (one, other):
        figures.observe(observed(0.3, 1.0))
    assert one.report() == other.report() and one.state() == other.state()


# --- fairness -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_selection_rates_and_parity_equal_fairlearns(seed: int) -> None:
    dice = random.Random(seed)
    ones = [observed(round(dice.random(), 2), float(dice.random() < 0.4), group=dice.choice("abc")) for _ in range(300)]
    found = fairness_report(Fairness("gender", 0.6, 0.1), ones)
    selected = [one.prediction >= 0.6 for one in ones]
    labels, groups = [one.label for one in ones], [one.group for one in ones]
    frame = MetricFrame(metrics=selection_rate, y_true=labels, y_pred=selected, sensitive_features=groups)
    for name, rate in frame.by_group.items():
        assert found["groups"][name]["selection_rate"] == pytest.approx(rate, abs=1e-6)
    difference = demographic_parity_difference(labels, selected, sensitive_features=groups)
    ratio = demographic_parity_ratio(labels, selected, sensitive_features=groups)
    assert found["demographic_parity_difference"] == pytest.approx(difference, abs=1e-6)
    assert found["demographic_parity_ratio"] == pytest.approx(ratio, abs=1e-5)
    assert found["alert"] == (found["demographic_parity_difference"] > 0.1)


def test_unknown_and_tiny_groups_are_reported_and_not_compared() -> None:
    ones = [observed(0.9, 1.0, group="a") for _ in range(40)] + [observed(0.1, 0.0, group="b") for _ in range(5)]
    ones += [observed(0.1, 0.0, group="") for _ in range(50)]
    found = fairness_report(Fairness("gender", 0.5, 0.1), ones)
    assert set(found["groups"]) == {"", "a", "b"}
    assert "demographic_parity_difference" not in found and "alert" not in found


# --- drift ----------------------------------------------------------------------------------------------------------


def test_a_jump_of_the_error_is_found_soon_and_calm_is_left_alone() -> None:
    dice = random.Random(5)
    drift = Drift(("x",))
    calm = [event for at in range(3000) for event in drift.observe(dice.gauss(0.3, 0.05), [1.0], at)]
    assert calm == []
    fired = [event for at in range(500) for event in drift.observe(dice.gauss(0.9, 0.05), [1.0], 3000 + at)]
    assert {event["detector"] for event in fired} == {"adwin", "page_hinkley"}
    first = min(event["at"] for event in fired)
    assert first < 3100
    assert fired[0]["kind"] == "drift" and fired[0]["of"] == "error"


def test_a_feature_that_moves_is_named() -> None:
    dice = random.Random(6)
    drift = Drift(("still", "moves", "text"))
    for at in range(4000):
        drift.observe(0.3, [dice.random(), dice.random(), "x"], at)
    fired = [event for at in range(2000) for event in drift.observe(0.3, [dice.random(), 3 + dice.random(), "x"], at)]
    assert {event["of"] for event in fired} == {"moves"}


# --- importance -----------------------------------------------------------------------------------------------------


class Knows:
    """Says the first of two values."""

    def predict(self, row: Row, previous: object = None) -> float:
        return float(row[0])

    def learn(self, row: Row, label: float | None, weight: float) -> None: ...

    def happened(self) -> list[dict[str, object]]:
        return []

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        return []


def test_what_a_model_lives_on_matters_and_what_it_ignores_does_not() -> None:
    dice = random.Random(2)
    reservoir = Reservoir(1)
    for _ in range(1000):
        label = float(dice.random() < 0.5)
        reservoir.observe([0.9 if label else 0.1, dice.random()], label, 1.0)
    found = importance(Knows(), ("decides", "ignored"), reservoir, TASK)
    assert list(found) == ["decides", "ignored"]
    assert found["decides"] > 0.5 and found["ignored"] == 0.0


def test_the_reservoir_is_a_fair_sample_and_the_same_after_a_restore() -> None:
    whole, first = Reservoir(1, 50), Reservoir(1, 50)
    for number in range(5000):
        whole.observe([float(number)], 1.0, 1.0)
        if number == 2500:
            first.restore(whole.state())
        elif number > 2500:
            first.observe([float(number)], 1.0, 1.0)
    assert whole.state() == first.state()
    late = sum(row[0] >= 2500 for row, _, _ in whole.kept)
    assert 12 <= late <= 38, "about half of what is kept came in the second half"
