"""Thresholds of their own for groups: within the bound, exact at the boundary, and what rules see against what examples keep."""

from __future__ import annotations

import io
import itertools
import json
import random
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, demographic_parity_ratio
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from cli.model_view import fairness_lines
from flink_jobs.model_records import ModelRecordError, encode_version, read_record
from online_models.advancing import advance
from online_models.definition import Fairness, Model
from online_models.example import Example
from online_models.features import FeatureSet
from online_models.learner import Learner
from online_models.loop import Loop, Outcome
from online_models.parse import parse_models
from online_models.quality.fairness import fairness_report, own_thresholds
from online_models.quality.figures import LEAST, Observed
from online_models.selection import OwnThresholds, in_millionths, mapped
from online_models.serving import Serving
from online_models.standard import standard_kit
from online_models.version import Lineage, ModelVersion
from profiles import Event
from rules.compiler import compile_plan
from rules.definition import Operator, Score, Segment, Test
from rules.explain import explain
from tests.models import Says, model
from tests.properties.delivery import Rules
from tests.properties.serving import Served
from tests.properties.strategies import START as T
from tests.unit.test_explain_view import printed
from tests.unit.test_schemas import complaints
from tests.unit.test_serving import BOUGHT, customer, hand

MILLION = 1_000_000
RULE = Fairness("gender", 0.5, 0.1, constrain=True)
millionths = st.integers(0, MILLION)
thresholds = millionths.map(lambda one: max(one, 1) / MILLION) | st.floats(1e-6, 1.0)


# --- the map -------------------------------------------------------------------------------------------------------------


@given(thresholds, thresholds | st.sampled_from([0.0, 1.000001]), st.lists(millionths, min_size=1, max_size=30))
def test_a_mapped_score_is_above_the_one_threshold_exactly_where_the_score_is_above_its_own(
    common: float, own: float, raws: list[int]
) -> None:
    at = in_millionths(own)
    raws = sorted({*raws, *(one for one in (at - 1, at, at + 1) if 0 <= one <= MILLION), 0, MILLION})
    scores = [raw / MILLION for raw in raws]
    found = [mapped(score, common, own) for score in scores]
    assert [one >= common for one in found] == [score >= own for score in scores]
    assert found == sorted(found)
    assert all(0 <= one <= 1 and round(one, 6) == one for one in found), "a score as rules compare it"


@given(thresholds, millionths)
def test_where_both_thresholds_are_the_same_nothing_is_changed(common: float, raw: int) -> None:
    assert mapped(raw / MILLION, common, common) == raw / MILLION


@pytest.mark.parametrize(
    "made",
    [
        {"trait": "g", "common": 0.0, "groups": {}},
        {"trait": "g", "common": float("nan"), "groups": {}},
        {"trait": "g", "common": 0.5, "groups": {"a": 1.01}},
        {"trait": "g", "common": 0.5, "groups": {"a": -0.1}},
        {"trait": "g", "common": 0.5, "groups": {"a": float("nan")}},
        {"trait": "g", "common": 0.5, "groups": {str(one): 0.5 for one in range(21)}},
    ],
)
def test_what_cannot_be_thresholds_is_refused_with_its_version(made: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"threshold|groups"):
        OwnThresholds(**made)
    version = ModelVersion("m", "one", 1, "champion", "d", T, Lineage(), {}, b"", OwnThresholds("g", 0.5, {}))
    assert read_record(encode_version(version)).decode() == version
    told = msgspec.to_builtins(version, builtin_types=(bytes,)) | {"thresholds": made}
    head = encode_version(version)[: -len(msgspec.msgpack.encode(version))]
    with pytest.raises(ModelRecordError, match="no version"):
        read_record(head + msgspec.msgpack.encode(told)).decode()


# --- finding them ----------------------------------------------------------------------------------------------------------


def observed(prediction: float, label: float, group: str, weight: float = 1.0, own: float | None = None) -> Observed:
    return Observed(prediction, label, weight, 0, 1, 7, [], group, own)


def drawn(seed: int, count: int, weighted: bool = False) -> list[Observed]:
    """Groups whose scores differ, as they come out of a model."""
    dice = random.Random(seed)
    lower = {"a": 1.0, "b": 0.7, "c": 0.5, "": 0.2}
    made = []
    for _ in range(count):
        group = dice.choice("aabbc") if dice.random() > 0.05 else ""
        chance = dice.random()
        label = float(dice.random() < chance)
        weight = 1.0 if label or not weighted else 4.0
        made.append(observed(round(chance * lower[group], 6), label, group, weight))
    return made


def figures(ones: list[Observed], own: OwnThresholds | None) -> tuple[float, float]:
    """What Fairlearn makes of the decisions by mapped scores."""
    known = [one for one in ones if one.group]
    level = own or OwnThresholds("gender", 0.5, {})
    told = {
        "y_true": [one.label for one in known],
        "y_pred": [mapped(one.prediction, 0.5, level.of(one.group)) >= 0.5 for one in known],
        "sensitive_features": [one.group for one in known],
        "sample_weight": [one.weight for one in known],
    }
    return demographic_parity_difference(**told), demographic_parity_ratio(**told)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([0.02, 0.05, 0.1, 0.2]), st.booleans())
def test_selection_rates_are_within_the_bound_and_nearer_on_what_comes_next(
    seed: int, bound: float, weighted: bool
) -> None:
    rule = Fairness("gender", 0.5, bound, constrain=True)
    window, next_ones = drawn(seed, 800, weighted), drawn(seed + 1, 800, weighted)
    own = own_thresholds(rule, window)
    assert own is not None and own == own_thresholds(rule, window)
    difference, ratio = figures(window, own)
    assert difference <= bound + 1e-9
    assert figures(next_ones, own)[0] < figures(next_ones, None)[0]
    found = fairness_report(rule, window)
    assert found["demographic_parity_difference"] == pytest.approx(figures(window, None)[0], abs=1e-6)
    told = found["cost"]["own_thresholds"]["demographic_parity_difference"]
    assert told == pytest.approx(difference, abs=1e-6)
    assert found["thresholds"] == {name: own.of(name) for name in "abc"}
    # Had they been in force, this is how it would have been decided.
    then = [msgspec.structs.replace(one, threshold=own.groups.get(one.group)) for one in window]
    decided = fairness_report(rule, then)
    assert decided["decided"]["demographic_parity_difference"] == told and decided["alert"] is False
    assert decided["decided"]["demographic_parity_ratio"] == pytest.approx(ratio, abs=1e-5)
    assert found["decided"]["demographic_parity_difference"] == found["demographic_parity_difference"]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), min_size=2 * LEAST, max_size=90),
    st.sampled_from([0.1, 0.3]),
)
def test_as_few_as_possible_are_decided_otherwise(made: list[tuple[int, int]], bound: float) -> None:
    """Against all ways to choose a threshold for each of two groups."""
    ones = [observed(score / 5, 1.0, "ab"[number % 2]) for number, (score, _) in enumerate(made)]
    by = {name: np.array([one.prediction for one in ones if one.group == name]) for name in "ab"}
    own = own_thresholds(Fairness("g", 0.4, bound, constrain=True), ones)
    levels = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]

    def tried(a: float, b: float) -> tuple[float, float, float]:
        """How far apart the groups are, how many are selected, how many are decided otherwise."""
        chosen = {"a": by["a"] >= a, "b": by["b"] >= b}
        rates = [float(one.mean()) for one in chosen.values()]
        moved = sum(int(np.sum(one != (by[name] >= 0.4))) for name, one in chosen.items())
        return abs(rates[0] - rates[1]), sum(rates), moved

    ways = [tried(*pair) for pair in itertools.product(levels, levels)]
    now = tried(0.4, 0.4)
    apart, selected, moved = tried(own.of("a"), own.of("b")) if own else now
    for width in (bound / 2, bound):
        within = [way for way in ways if way[0] <= width + 1e-9 and 0 < way[1] < 2]
        if now[1] in (0, 2) or not within:
            continue
        assert apart <= width + 1e-9
        assert moved == min(way[2] for way in within)
        return
    assert apart <= now[0]
    assert own is not None
    assert not own.groups or 0 < selected < 2, "nobody is shut out for the sake of a figure"


def test_nothing_is_changed_without_need_or_knowledge() -> None:
    alike = [observed(chance / 100, 1.0, group) for chance in range(100) for group in "ab"]
    assert own_thresholds(RULE, alike) == OwnThresholds("gender", 0.5, {})
    apart = drawn(1, 1_000)
    assert own_thresholds(replace(RULE, constrain=False), apart) is None
    assert own_thresholds(replace(RULE, threshold=0.0), apart) is None
    few = [one for one in apart if one.group == "a"] + [one for one in apart if one.group == "b"][: LEAST - 1]
    assert own_thresholds(RULE, few) is None
    small = [one for one in apart if one.group in ("a", "b")] + [observed(0.1, 0.0, "z")] * (LEAST - 1)
    own = own_thresholds(RULE, small)
    assert own is not None and own.groups.keys() <= {"a", "b"} and own.of("z") == own.of("") == 0.5


def test_scores_that_tell_nobody_apart_empty_no_segment() -> None:
    """Two groups, each of one score: to select both alike would be to select nobody, or everybody."""
    coarse = [observed(0.9, 1.0, "a")] * 50 + [observed(0.1, 0.0, "b")] * 50
    assert own_thresholds(RULE, coarse) == OwnThresholds("gender", 0.5, {})
    assert fairness_report(RULE, coarse)["alert"]


def test_a_report_says_what_a_constraint_costs() -> None:
    ones = drawn(5, 2_000)
    found = fairness_report(RULE, ones)["cost"]
    known = [one for one in ones if one.group]
    own = own_thresholds(RULE, ones)
    assert own is not None
    for name, level in (("one_threshold", OwnThresholds("gender", 0.5, {})), ("own_thresholds", own)):
        chosen = [one.prediction >= level.of(one.group) for one in known]
        hits = sum(one.label for one, selected in zip(known, chosen, strict=True) if selected)
        right = sum(one.label == selected for one, selected in zip(known, chosen, strict=True))
        assert found[name]["precision"] == pytest.approx(hits / sum(chosen), abs=1e-6)
        assert found[name]["true_positive_rate"] == pytest.approx(hits / sum(one.label for one in known), abs=1e-6)
        assert found[name]["accuracy"] == pytest.approx(right / len(known), abs=1e-6)
    assert found["own_thresholds"]["accuracy"] != found["one_threshold"]["accuracy"]
    assert found["own_thresholds"]["log_loss"] != found["one_threshold"]["log_loss"]


def test_a_report_can_be_read() -> None:
    console = Console(file=io.StringIO(), width=250, highlight=False)
    own = own_thresholds(RULE, drawn(5, 2_000))
    ones = [
        msgspec.structs.replace(one, threshold=own.groups.get(one.group) if own else None) for one in drawn(6, 2_000)
    ]
    found = fairness_report(RULE, ones)
    console.print(*fairness_lines({"fairness": found}), sep="\n")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"as it was decided: parity difference {found['decided']['demographic_parity_difference']:.3f}" in text
    assert f"thresholds from now on: a {found['thresholds']['a']:.3f}, b " in text
    costs = found["cost"]
    for words, key in (("accuracy", "accuracy"), ("found", "true_positive_rate"), ("log loss", "log_loss")):
        assert f"{words} {costs['own_thresholds'][key]:.3f} instead of {costs['one_threshold'][key]:.3f}" in text


# --- where customers are scored ----------------------------------------------------------------------------------------------

CHOSEN = Segment("chosen", Score("m", (Test("", Operator.GTE, 0.5),), None, False))
OWN = OwnThresholds("gender", 0.5, {"f": 0.4, "m": 0.6})


def scored(made: Model, gender: str | None, says: float, own: OwnThresholds | None = OWN) -> Served:
    one = customer(made, CHOSEN)
    assert one.serving is not None
    one.serving.adopt("m", "one", "champion", 1, Says(lambda row: says), own)
    one.serving.adopt("m", "two", "challenger", 2, Says(lambda row: 0.3))
    hand(one, "A", 0, traits={"gender": gender} if gender else {})
    hand(one, "Order", 5)
    one.wake(T + BOUGHT.within, "each")
    return one


@pytest.mark.parametrize(
    ("gender", "says", "inside"),
    [
        ("f", 0.4, True),
        ("f", 0.399999, False),
        ("m", 0.6, True),
        ("m", 0.599999, False),
        ("x", 0.5, True),
        ("x", 0.499999, False),
        (None, 0.5, True),
        (None, 0.499999, False),
    ],
)
def test_rules_see_the_mapped_score_and_examples_keep_what_was_said(
    gender: str | None, says: float, inside: bool
) -> None:
    one = scored(model(BOUGHT, fairness=RULE), gender, says)
    assert one.members == ({"chosen"} if inside else set())
    level = OWN.of(gender or "")
    assert one.profile is not None and one.profile.scores["m"][0] == mapped(says, 0.5, level)
    beside = [level] if gender in ("f", "m") else []
    assert one.examples[0].predictions == {"one": [1, says, *beside], "two": [2, 0.3]}


@pytest.mark.parametrize(
    "rule",
    [
        None,
        replace(RULE, constrain=False),
        replace(RULE, trait="country"),
        replace(RULE, threshold=0.3),
    ],
)
def test_thresholds_count_for_the_fairness_that_they_were_made_for(rule: Fairness | None) -> None:
    """It can be declared otherwise while versions stay."""
    one = scored(model(BOUGHT, fairness=rule), "f", 0.45)
    assert one.members == set()
    assert one.examples[0].predictions["one"] == [1, 0.45]


def test_a_changed_declaration_counts_at_once_for_versions_that_are_held() -> None:
    one = scored(model(BOUGHT, fairness=RULE), "f", 0.45)
    assert one.members == {"chosen"}
    one.serving = Serving([model(BOUGHT, fairness=replace(RULE, constrain=False))], one.features, before=one.serving)
    hand(one, "A", 9)
    assert one.members == set()


def test_an_explanation_says_both_numbers_and_the_thresholds() -> None:
    one = scored(model(BOUGHT, fairness=RULE), "f", 0.45)
    assert one.serving is not None
    found = explain(one.profile, one.rules, T + 9, "c", reasons=one.serving.reasons)
    assert found["segments"][0]["condition"]["model"]["fairness"] == {
        "trait": "gender",
        "threshold": 0.5,
        "own_threshold": 0.4,
        "model_says": 0.45,
        "score": 0.541666,
    }
    request = {"request": "r", **json.loads(json.dumps(found))}
    assert [one for one in complaints("explanations", request) if "fairness" in str(one)] == []
    text = printed(json.loads(json.dumps(found)))
    assert "the model says 0.45, rules see 0.541666: by gender this customer is selected from 0.4, not from 0.5" in text
    other = scored(model(BOUGHT, fairness=RULE), None, 0.45)
    assert other.serving is not None
    found = explain(other.profile, other.rules, T + 9, "c", reasons=other.serving.reasons)
    assert found["segments"][0]["condition"]["model"]["fairness"] is None


# --- from the events to the segment -------------------------------------------------------------------------------------------

TEXT = """
model: again
name: Orders again
owner: data@example.com
task: classification
target: {event: Order Completed, within: 2d}
features:
  - {count: {event: Product Viewed, within: 2d, as: views}}
candidates:
  - name: logistic
    pipeline: [StandardScaler, {LogisticRegression: {optimizer: {SGD: {lr: 0.05}}}}]
score: {every: 0s}
learn: {every: 1d, publish: 1d, publish_examples: 200, least: 100}
fairness: {trait: gender, threshold: 0.5, bound: 0.1, constrain: %s}
"""
DAY = 86_400_000


def history(days: int) -> list[Event]:
    """Half of each group buys every other day; those of one group look less, so that the model finds fewer of them."""
    dice = random.Random(4)
    made = []
    for day, number in itertools.product(range(days), range(60)):
        gender = "fm"[number % 2]
        keen = number % 4 < 2 and dice.random() < 0.5
        at = T + day * DAY + number * 1_000
        views = dice.randint(1, 3) + (number % 4 < 2) * (5 if gender == "m" else dice.randint(0, 2))
        for view in range(views):
            made.append(("Product Viewed", at + view, number, gender))
        if keen:
            made.append(("Order Completed", at + 600_000, number, gender))
    made.sort(key=lambda one: one[1])
    return [
        Event(f"e{place}", name, at, f"c{number}", received_at=at, traits={"gender": gender})
        for place, (name, at, number, gender) in enumerate(made)
    ]


def run(constrain: str) -> Outcome:
    (made,) = parse_models({"again.yaml": TEXT % constrain})
    features = FeatureSet(made.features, made.zone)
    plan = compile_plan((), watches=[features])
    kit = standard_kit()
    loop = Loop([made], Rules(1, plan), Serving([made], [features]), advance, Learner([made], kit), kit.decode)
    return loop.run([(event, event.event_time - 1) for event in history(40)], T + 45 * DAY)


def test_a_history_learns_thresholds_and_the_groups_come_together() -> None:
    free, held = run("false"), run("true")
    assert not any(one.thresholds for one in free.versions)
    assert any(one.thresholds and one.thresholds.groups for one in held.versions)
    assert held.newest["again", "logistic"].thresholds == held.versions[-1].thresholds
    assert {name: one.body for name, one in free.newest.items()} == {
        name: one.body for name, one in held.newest.items()
    }
    without = free.figures[-1].candidates["logistic"]["fairness"]
    found = held.figures[-1].candidates["logistic"]["fairness"]
    assert without["demographic_parity_difference"] == found["demographic_parity_difference"] > 0.1, "of what is said"
    assert found["decided"]["demographic_parity_difference"] < 0.6 * without["demographic_parity_difference"]
    assert found["cost"]["own_thresholds"]["demographic_parity_difference"] <= 0.1
    logged = [one.predictions["logistic"] for one in held.examples if "logistic" in one.predictions]
    assert any(len(one) == 3 for one in logged)
    assert [one[:2] for one in logged] == [
        one.predictions["logistic"] for one in free.examples if "logistic" in one.predictions
    ]


def test_a_job_that_goes_on_from_a_training_keeps_its_thresholds_until_it_knows_better() -> None:
    (trained,) = run("true").trained("again", 100)
    assert trained.thresholds is not None and trained.thresholds.groups
    for declared in ("true", "false"):
        (model_of,) = parse_models({"again.yaml": TEXT % declared})
        learner = Learner([model_of], standard_kit())
        learner.adopt(trained)
        later = T + 60 * DAY
        learner.offer(Example("again", model_of.digest, "anna", later, later + 1, [3.0], 1.0))
        learner, _ = Learner.restore(learner.snapshot(), [model_of], standard_kit())
        learner.advance(later + 1)
        (version,) = [one for one in learner.conclude() if isinstance(one, ModelVersion)]
        assert version.version == 102
        assert version.thresholds == (trained.thresholds if declared == "true" else None)
