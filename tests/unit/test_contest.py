"""Champion and challenger: who is equal is hardly ever promoted, who is better is, and who is worse never."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from online_models.contest import CLIP, FEWEST, ROUND, Contest, loss, lower_bound
from online_models.definition import Promotion


def _logit(p: float, off: float) -> float:
    return 1 / (1 + (1 - p) / p * math.exp(-off))


def _promoted(dice: random.Random, metric: str, rate: float, margin: float, edge: float, examples: int) -> bool:
    """Whether a challenger is promoted in one run, looked at after each 50 examples.

    Both are off the truth by noise of their own; `edge` makes the champion's greater.
    """
    contest = Contest(Promotion(metric, margin, 0.9, 200), "old", ["new", "other"])  # type: ignore[arg-type]
    for number in range(examples):
        truth = _logit(rate, dice.gauss(0, 0.5))
        label = float(dice.random() < truth)
        outputs = {name: _logit(truth, dice.gauss(0, 0.4)) for name in ("new", "other")}
        contest.observe({"old": _logit(truth, dice.gauss(0, 0.4 + edge)), **outputs}, label, 1.0)
        if number % 50 == 49 and contest.winner() is not None:
            return True
    return False


@pytest.mark.parametrize(("metric", "rate"), [("log_loss", 0.3), ("brier", 0.3), ("log_loss", 0.03)])
def test_equal_candidates_are_promoted_in_no_more_than_the_stated_share_of_runs(metric: str, rate: float) -> None:
    """Two equal challengers, looked at 100 times over two rounds, at a confidence of 0.9: at most one run in ten, in all."""
    dice = random.Random(7)
    runs = 120
    promoted = sum(_promoted(dice, metric, rate, 0.0, 0.0, 5_000) for _ in range(runs))
    assert promoted <= 0.1 * runs + 2 * math.sqrt(0.1 * 0.9 * runs)


def test_a_look_at_a_time_that_ignores_the_others_would_promote_too_often() -> None:
    """What the bound is for: with that of a single look, many more equal challengers are promoted. So the test above can fail."""
    dice, promoted = random.Random(7), 0
    for _ in range(100):
        count, total = 0, 0.0
        for _ in range(100):
            count, total = count + 50, total + dice.gauss(0, math.sqrt(50))
            if count >= 200 and total / count > 1.2816 / math.sqrt(count):
                promoted += 1
                break
    assert promoted > 20


def test_a_better_challenger_is_promoted_and_a_worse_one_never() -> None:
    dice = random.Random(1)
    assert all(_promoted(dice, "log_loss", 0.3, 0.0, 0.9, 5_000) for _ in range(10))
    assert not any(_promoted(dice, "log_loss", 0.3, 0.0, -0.3, 4_000) for _ in range(20))


def test_the_margin_is_part_of_what_is_proven() -> None:
    """The losses are 0.16 and 0.15, better by 6.25%: past a margin of 6%, not past one of 7%."""
    for margin, proven in ((0.06, True), (0.07, False)):
        contest = Contest(Promotion("brier", margin, 0.95, 100), "old", ["new"])
        for _ in range(150):
            contest.observe({"old": 0.4, "new": math.sqrt(0.15)}, 0.0, 1.0)
        assert (contest.winner() is not None) is proven


def test_nothing_is_concluded_below_the_least_examples() -> None:
    for least in (1, 150):
        contest = Contest(Promotion("brier", 0.0, 0.95, least), "old", ["new"])
        for _ in range(max(least, FEWEST) - 1):
            contest.observe({"old": 0.9, "new": 0.1}, 0.0, 1.0)
        assert contest.winner() is None and contest.verdict("new").bound is None
        contest.observe({"old": 0.9, "new": 0.1}, 0.0, 1.0)
        assert contest.winner() is not None


def test_only_examples_that_both_had_foretold_count() -> None:
    contest = Contest(Promotion("brier", 0.0, 0.95, 100), "old", ["new", "none"])
    for outputs in ({"old": 0.5}, {"new": 0.5}, {"old": None, "new": 0.5}, {"old": math.nan, "new": 0.5}):
        contest.observe(outputs, 1.0, 1.0)
    assert contest.verdict("new").examples == 0
    contest.observe({"old": 0.5, "new": 0.25}, 1.0, 4.0)
    verdict = contest.verdict("new")
    assert (verdict.examples, verdict.champion_loss, verdict.challenger_loss) == (1, 0.25, 0.5625)
    assert verdict.better == 4 * (0.25 - 0.5625)


def test_a_round_ends_and_the_next_one_asks_for_more() -> None:
    contest = Contest(Promotion("brier", 0.0, 0.95, 100), "old", ["new"])
    for number in range(ROUND * 100):
        contest.observe({"old": 0.5, "new": 0.6 if number % 2 else 0.5}, 0.0, 1.0)
    verdict = contest.verdict("new")
    assert (verdict.round, verdict.examples) == (1, ROUND * 100)
    contest.observe({"old": 0.5, "new": 0.5}, 0.0, 1.0)
    verdict = contest.verdict("new")
    assert (verdict.round, verdict.examples) == (2, 1)
    assert lower_bound(500, 0.1, 1.0, 0.05 / 6, 100) < lower_bound(500, 0.1, 1.0, 0.05 / 2, 100)


def test_a_round_is_not_begun_anew_for_a_handful_of_examples() -> None:
    """A detector that fires often would else keep a challenger from ever being compared."""
    contest = Contest(Promotion("brier", 0.0, 0.95, 100), "old", ["new"])
    for _ in range(99):
        contest.observe({"old": 0.5, "new": 0.4}, 0.0, 1.0)
    contest.begin_round()
    assert contest.verdict("new").examples == 99
    contest.observe({"old": 0.5, "new": 0.4}, 0.0, 1.0)
    contest.begin_round()
    assert (contest.verdict("new").examples, contest.verdict("new").round) == (0, 2)


def test_a_loss_is_finite_whatever_was_foretold() -> None:
    assert loss("log_loss", 0.0, 1.0) == loss("log_loss", 1.0, 0.0) == pytest.approx(-math.log(CLIP))
    assert loss("log_loss", 7.0, 1.0) == pytest.approx(0, abs=1e-5)
    assert loss("mae", True, 1.0) is None and loss("mae", "persona-3", 1.0) is None


def test_the_bound_is_that_of_the_differences_at_the_share_of_error_that_is_left() -> None:
    """Two challengers share 0.1; the second round of one may spend a sixth of its half."""
    contest, dice = Contest(Promotion("brier", 0.0, 0.9, 100), "old", ["new", "other"]), random.Random(3)
    for _ in range(100):
        contest.observe({"old": 0.5, "new": 0.4}, 0.0, 1.0)
    contest.begin_round()
    found = []
    for _ in range(150):
        outputs, weight = {"old": dice.random(), "new": dice.random()}, dice.choice([1.0, 4.0])
        contest.observe(outputs, 0.0, weight)
        found.append(weight * (outputs["old"] ** 2 - outputs["new"] ** 2))
    mean, variance = statistics.mean(found), statistics.variance(found)
    verdict = contest.verdict("new")
    assert verdict.better == pytest.approx(mean)
    assert verdict.bound == pytest.approx(lower_bound(150, mean, variance, 0.1 / 2 / 6, 100))
