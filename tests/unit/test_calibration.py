"""Calibration on a stream against brute force, and encodings of categories: what they know, and when."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_models.calibration import Isotonic, Platt, clamped, logit, pooled, sigmoid
from online_models.encoding import HASH_BUCKETS, ONEHOT_VALUES, SMOOTHING, TARGET_VALUES, Column, Encoder, TargetColumn


def distorted(count: int, seed: int) -> list[tuple[float, float]]:
    """Raw probabilities that are too sure of themselves and too high, with labels drawn from the true ones."""
    dice = random.Random(seed)
    truths = [dice.gauss(0.0, 1.0) for _ in range(count)]
    return [(sigmoid(3.0 * z + 1.5), float(dice.random() < sigmoid(z))) for z in truths]


def log_loss(pairs: list[tuple[float, float]]) -> float:
    return -sum(math.log(clamped(p if label else 1 - p)) for p, label in pairs) / len(pairs)


@pytest.mark.parametrize("kind", [Platt, Isotonic])
def test_a_planted_distortion_is_undone(kind: Any) -> None:
    calibrator = kind()
    for raw, label in distorted(5000, 1):
        calibrator.learn(raw, label)
    held_out = distorted(5000, 2)
    truth = [(sigmoid((logit(raw) - 1.5) / 3.0), label) for raw, label in held_out]
    calibrated = [(calibrator.calibrate(raw), label) for raw, label in held_out]
    assert log_loss(calibrated) < log_loss(truth) + 0.01
    assert log_loss(held_out) > log_loss(truth) + 0.1


def test_platt_finds_the_curve_that_newton_finds_on_all_at_once() -> None:
    pairs = [(logit(raw), label) for raw, label in distorted(4000, 3)]
    slope, shift = 0.0, 0.0
    for _ in range(30):
        a = b = c = g = h = 0.0
        for z, label in pairs:
            p = sigmoid(slope * z + shift)
            a, b, c = a + p * (1 - p) * z * z, b + p * (1 - p) * z, c + p * (1 - p)
            g, h = g + (p - label) * z, h + (p - label)
        slope, shift = slope - (c * g - b * h) / (a * c - b * b), shift - (a * h - b * g) / (a * c - b * b)
    platt = Platt(memory=1e9)
    for z, label in pairs:
        platt.learn(sigmoid(z), label)
    assert (platt.slope, platt.shift) == pytest.approx((slope, shift), abs=0.05)


@pytest.mark.parametrize("kind", [Platt, Isotonic])
@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 1.0]), st.floats(0.1, 50)), max_size=60))
def test_calibrated_probabilities_rise_with_raw_ones_whatever_was_learnt(kind: Any, examples: Any) -> None:
    calibrator = kind()
    for example in examples:
        calibrator.learn(*example)
    found = [calibrator.calibrate(place / 50) for place in range(51)]
    assert all(one <= other + 1e-12 for one, other in pairwise(found))
    assert all(1e-6 <= each <= 1 - 1e-6 for each in found)
    again = kind()
    again.restore(calibrator.state())
    assert [again.calibrate(place / 50) for place in range(51)] == found


def rising(points: list[tuple[float, float, float]]) -> list[float]:
    """The best rising values, by the min-max formula: max over the beginnings before of min over the ends after of the mean between."""

    def mean(first: int, last: int) -> float:
        return sum(y * w for _, w, y in points[first : last + 1]) / sum(w for _, w, _ in points[first : last + 1])

    count = len(points)
    return [max(min(mean(i, j) for j in range(k, count)) for i in range(k + 1)) for k in range(count)]


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from([0.0, 1.0])), min_size=1, max_size=12))
def test_pools_are_those_of_the_min_max_formula(drawn: list[tuple[int, float]]) -> None:
    points = [(float(place), float(weight), label) for place, (weight, label) in enumerate(drawn)]
    raws, shares = pooled([(raw, weight, weight * label) for raw, weight, label in points])
    expected = rising(points)
    # The pools are the runs of equal values.
    assert shares == pytest.approx(sorted({round(each, 9) for each in expected}))
    assert raws == sorted(raws)


@given(st.lists(st.tuples(st.integers(0, 100), st.sampled_from([0.0, 1.0])), max_size=80))
def test_with_a_bin_for_each_the_curve_goes_through_the_pools_of_all_examples(drawn: list[tuple[int, float]]) -> None:
    isotonic = Isotonic(memory=1e18)
    sums = {(place + 0.5) / 10: [1.0, (place + 0.5) / 10] for place in range(10)}
    for raw, label in drawn:
        isotonic.learn(raw / 100, label)
        each = sums.setdefault(raw / 100, [0.0, 0.0])
        each[0] += 1.0
        each[1] += label
    raws, shares = pooled([(raw, *sums[raw]) for raw in sorted(sums)])
    for raw, share in zip(raws, shares, strict=True):
        assert isotonic.calibrate(raw) == pytest.approx(clamped(share), abs=1e-6)


def test_bins_stay_few_and_keep_all_weight() -> None:
    isotonic = Isotonic(memory=1e18, bins=20)
    for raw, label in distorted(3000, 4):
        isotonic.learn(raw, label)
    assert len(isotonic.raws) == 20
    assert sum(isotonic.weights) == pytest.approx(3010)
    assert isotonic.raws == sorted(isotonic.raws)


@pytest.mark.parametrize("kind", [Platt, Isotonic])
def test_what_is_older_is_forgotten(kind: Any) -> None:
    calibrator = kind(memory=300)
    for label, turn in ((1.0, 2000), (0.0, 2000)):
        for _ in range(turn):
            calibrator.learn(0.5, label)
    assert calibrator.calibrate(0.5) < 0.05


@pytest.mark.parametrize("kind", [Platt, Isotonic])
def test_bad_states_are_refused(kind: Any) -> None:
    nan = float("nan")
    for state in (
        [],
        [1.0],
        [nan] * 5,
        [1.0, [0.2, 0.1], [1, 1], [1, 1]],
        [1.0, [], [], []],
        [1.0, [0.5], [0.0], [0.0]],
    ):
        with pytest.raises((ValueError, TypeError)):
            kind().restore(state)


# --- encodings --------------------------------------------------------------------------------------------------------


def encoder(encode: Any) -> Encoder:
    return Encoder([Column("c", True, encode)])


def learnt(made: Encoder, value: Any, label: float = 0.0, weight: float = 1.0) -> None:
    made.remember([value])
    made.learn([value], label, weight)


def test_the_label_of_an_example_takes_no_part_in_what_is_learnt_from_it() -> None:
    # A category of its own for each example: encoded by labels, it says nothing before, and all after.
    made = encoder("target")
    for place in range(100):
        value, label = f"id{place}", float(place % 2)
        made.remember([value])
        before = made.numbers([value])[0]
        assert before == pytest.approx(sum(k % 2 for k in range(place)) / place if place else 0.0)
        made.learn([value], label, 1.0)
        assert (made.numbers([value])[0] > before) == (label > before)


def test_a_target_mean_is_drawn_towards_that_of_all() -> None:
    made = encoder("target")
    for _ in range(30):
        learnt(made, "a", 1.0, 2.0)
        learnt(made, "b", 0.0)
    assert made.numbers(["a"]) == {0: pytest.approx((60 + SMOOTHING * 2 / 3) / (60 + SMOOTHING))}
    assert made.numbers(["unseen"]) == {0: pytest.approx(2 / 3)}
    assert made.numbers([None]) == {}


def test_values_remembered_are_bounded_and_the_rest_share() -> None:
    made = encoder("target")
    for place in range(TARGET_VALUES + 50):
        learnt(made, f"v{place}", float(place >= TARGET_VALUES))
    (part,) = made.parts
    assert isinstance(part, TargetColumn)
    assert len(part.values) == TARGET_VALUES
    assert made.numbers([f"v{TARGET_VALUES + 1}"]) == made.numbers(["unseen"])
    assert made.numbers(["unseen"])[0] > 0.5 > made.numbers(["v1"])[0]

    made = encoder("onehot")
    for place in range(ONEHOT_VALUES):
        learnt(made, f"v{place}")
    assert made.indicators(["unseen"]) == {}
    learnt(made, "one too many")
    assert made.indicators(["unseen"]) == made.indicators(["one too many"]) == {1: 1.0}
    assert len({*made.indicators(["v0"]), *made.indicators(["v1"]), *made.indicators(["unseen"])}) == 3
    assert len(made.all_indicators(["v0"])) == ONEHOT_VALUES + 1
    assert sum(made.all_indicators(["v0"]).values()) == 1.0
    assert sum(made.all_indicators([None]).values()) == 0.0


def test_buckets_are_the_same_everywhere() -> None:
    made = encoder("hash")
    for place in range(1000):
        learnt(made, f"v{place}")
    assert len(made.all_indicators([None])) == HASH_BUCKETS
    # Written down once: another machine or version must find the same.
    assert [next(iter(made.indicators([value]))) for value in ("Berlin", "Paris", "é")] == BUCKETS


BUCKETS = [7, 3, 12]


def test_text_that_is_half_a_pair_is_a_value_like_another() -> None:
    made = encoder("onehot")
    learnt(made, "\ud800")
    assert made.indicators(["\udfff"]) == made.indicators(["\ud800"]) != {}
