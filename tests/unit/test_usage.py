"""Coverage and age of scores: where customers are scored, in the learner, and as it is told."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_models.definition import Learning, Scoring
from online_models.example import Example
from online_models.learner import Learner
from online_models.usage import EDGES, OLDER, Recent, Usage, counted, counter
from online_models.version import Quality
from tests.learning import KIT, a_model, an_example
from tests.models import Says, model
from tests.properties.strategies import START as T
from tests.unit.test_serving import BOUGHT, customer, hand

HOUR = 3_600_000
ages = (
    st.none()
    | st.integers(0, 40 * 24 * HOUR)
    | st.sampled_from([one + off for one in EDGES.values() for off in (-1, 0, 1)])
)


# --- where customers are scored ------------------------------------------------------------------------------------------


def test_each_time_a_customer_is_to_be_scored_counts_with_the_age_of_the_score_before() -> None:
    one = customer(model(BOUGHT, scoring=Scoring(10), learning=Learning(1_000)))
    assert one.serving is not None
    usage = one.serving.models["m"].held.usage
    hand(one, "A", 0)  # the first example
    hand(one, "A", 10)  # no version is known
    assert usage.take() == {"scores_due": 2, "scores_given": 0}
    said: list[Any] = [0.5]
    one.serving.adopt("m", "one", "champion", 1, Says(lambda row: said[0]))
    hand(one, "A", 20)
    hand(one, "A", 25)  # too early to be scored again
    hand(one, "A", 20 + EDGES["10m"])
    assert usage.take() == {"scores_due": 2, "scores_given": 2, "score_age_10m": 1}
    said[0] = None
    hand(one, "A", 21 + 2 * EDGES["10m"])
    hand(one, "A", 20 + EDGES["10m"] + EDGES["1h"] + 1)
    assert usage.take() == {"scores_due": 2, "scores_given": 0, "score_age_1h": 1, "score_age_6h": 1}


def test_an_example_knows_how_old_the_score_before_was() -> None:
    one = customer(model(BOUGHT), says=lambda row: 0.5)
    hand(one, "A", 0)
    hand(one, "A", 7)
    hand(one, "A", 9)
    one.wake(T + 100, "each")
    assert [(example.at - T, example.score_age) for example in one.examples] == [(0, None), (7, 7), (9, 2)]


# --- figures ---------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(ages, st.booleans()), min_size=1, max_size=60))
def test_counters_tell_the_ages_within_their_edges(made: list[tuple[int | None, bool]]) -> None:
    usage, totals = Usage(), dict[str, int]()
    for age, is_given in made:
        usage.note(age, is_given)
        for name, count in usage.take().items():
            totals[counter(name, "m")] = totals.get(counter(name, "m"), 0) + count
    found = counted(totals, ["m"])
    assert found["due"] == len(made) and found["coverage"] == sum(given for _, given in made) / len(made)
    known = sorted(age for age, _ in made if age is not None)
    for key, share in (("half", 0.5), ("most", 0.95)):
        if not known:
            assert key not in found
            continue
        age = known[math.ceil(share * len(known) - 1e-9) - 1]
        assert found[key] == next((name for name, edge in EDGES.items() if age <= edge), OLDER)
    assert counted(totals, ["other"]) == {}


@given(st.lists(st.tuples(ages, st.booleans(), st.sampled_from([1, 4])), min_size=1, max_size=60))
def test_the_learners_figures_are_exact_and_weigh_what_was_sampled(made: list[tuple[int | None, bool, int]]) -> None:
    recent, again = Recent(), Recent()
    for age, is_given, weight in made:
        said = {"two": [1, 0.5], **({"one": [1, 0.5]} if is_given else {})}
        recent.observe(Example("m", "", "c", 0, 1, [], 1.0, float(weight), said, score_age=age), "one")
    found = recent.report()
    given_weights = [weight for _, is_given, weight in made for _ in range(weight) if is_given]
    total = sum(weight for _, _, weight in made)
    assert found["coverage"] == pytest.approx(len(given_weights) / total, abs=1e-6)
    known = [age for age, _, weight in made for _ in range(weight) if age is not None]
    for key, share in (("age_median", 50), ("age_p95", 95)):
        expected = int(np.percentile(known, share, method="inverted_cdf")) if known else None
        assert found.get(key) == expected
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(recent.state())))
    assert again.report() == found


def test_a_quality_report_has_them_also_after_a_restart() -> None:
    examples = [
        an_example(at, 1.0, predictions={"mean": [1, 0.5]} if at > 40 else {}, score_age=at) for at in range(1, 101)
    ]
    whole, learner = Learner([a_model()], KIT), Learner([a_model()], KIT)
    for one in examples:
        whole.offer(one)
    (expected,) = [one for one in whole.advance(1_000) if isinstance(one, Quality)]
    assert expected.scores == {"moments": 100, "coverage": 0.6, "age_median": 50, "age_p95": 95}
    for one in examples[:50]:
        learner.offer(one)
    learner.advance(50)
    learner, _ = Learner.restore(learner.snapshot(), [a_model()], KIT)
    for one in examples[50:]:
        learner.offer(one)
    (found,) = [one for one in learner.advance(1_000) if isinstance(one, Quality)]
    assert found == expected
