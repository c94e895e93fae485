"""Model files: each thing that is wrong is said where it stands, and all of them at once."""

from __future__ import annotations

import pytest

from online_models.parse import parse_model, parse_models
from rules.errors import RuleErrors

GOOD = """\
model: x
task: classification
target: {event: A, within: 7d}
features:
  - recency
  - {trait: {name: country}}
candidates:
  - name: one
    pipeline: [StandardScaler, LogisticRegression]
"""
CLUSTERS = """\
model: x
task: clustering
features: [monetary]
candidates: [{name: one, pipeline: [KMeans]}]
"""


def refused(text: str, file: str = "x.yaml") -> list[tuple[int, int, str]]:
    with pytest.raises(RuleErrors) as caught:
        parse_model(text, file)
    assert all(one.file == file for one in caught.value.errors)
    return [(one.line, one.column, one.message) for one in caught.value.errors]


def test_what_is_not_told_is_as_written_down() -> None:
    model = parse_model(GOOD, "x.yaml")
    assert (model.scoring.every, model.scoring.refresh) == (3_600_000, None)
    assert (model.learning.every, model.learning.publish, model.learning.publish_examples) == (
        86_400_000,
        3_600_000,
        1000,
    )
    assert (model.promotion.metric, model.promotion.least, model.promotion.automatic) == ("log_loss", 1000, True)
    assert model.title == "x"
    assert model.target is not None
    assert (model.target.kind, model.target.within) == ("happens", 7 * 86_400_000)


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "says"),
    [
        ("model: x", "model: X y", 1, 8, "small letters"),
        ("model: x", "model: y", 1, 8, "stands in a file named 'x'"),
        ("model: x\n", "name: x\n", 1, 1, "'model' is missing"),
        ("task: classification", "task: classifying", 2, 7, "`task` is one of"),
        ("task: classification\n", "", 1, 1, "'task' is missing"),
        ("task: classification", "task: regression", 3, 9, "does not go with regression"),
        ("task: classification", "task: clustering", 3, 1, "`target` has no meaning for clustering"),
        ("target: {event: A, within: 7d}\n", "", 1, 1, "'target' is missing"),
        (", within: 7d", "", 3, 9, "'within' is missing"),
        ("event: A", "sum: properties.a", 3, 9, "names no event"),
        ("event: A", "event: A, absent: B", 3, 20, "stands beside 'event'"),
        ("within: 7d", "within: 7 d", 3, 28, "within"),
        ("event: A", "evnt: A, event: A", 3, 10, "evnt"),
        ("  - recency\n", "  - recensy\n", 5, 5, "no feature 'recensy'"),
        ("  - recency\n", "  - recency\n  - {recency: {event: B}}\n", 6, 5, "already"),
        ("  - recency\n", "  - {recency: {log: maybe}}\n", 5, 21, "true or false"),
        ("{name: country}", "{nme: country}", 6, 14, "nme"),
        ("  - name: one\n", "  - name: One\n", 8, 11, "small letters"),
        ("    pipeline: [StandardScaler, LogisticRegression]\n", "", 8, 5, "'pipeline' is missing"),
        ("[StandardScaler, LogisticRegression]", "[StandardScaler]", 9, 16, "foretells nothing"),
        ("LogisticRegression]", "LinearRegression]", 9, 32, "is not for classification"),
        ("LogisticRegression]", "LogisticRegresion]", 9, 32, "no estimator"),
        ("LogisticRegression]", "{LogisticRegression: {l2: -1}}]", 9, 33, "`l2`"),
        ("LogisticRegression]", "{LogisticRegression: {}, Log: {}}]", 9, 32, "one name"),
    ],
)
def test_each_error_is_said_where_it_stands(old: str, new: str, line: int, column: int, says: str) -> None:
    assert old in GOOD
    found = refused(GOOD.replace(old, new))
    assert any(one[:2] == (line, column) and says in one[2] for one in found), found


@pytest.mark.parametrize(
    ("more", "column", "says"),
    [
        ("score: {every: soon}", 16, "`every`"),
        ("score: {refresh: 1s}", 18, "at least 1m"),
        ("learn: {sample: 0%}", 17, "a share up to 100%"),
        ("learn: {negatives: 101%}", 20, "a share up to 100%"),
        ("learn: {publish_examples: 0}", 27, "`publish_examples`"),
        ("learn: {outcomes: later}", 19, "`outcomes` is one of together, at_once"),
        ("promote: {metric: mae}", 19, "`metric` is one of log_loss, brier"),
        ("promote: {confidence: 1}", 23, "between 0.5 and 0.9999"),
        ("promote: {automatic: 1}", 22, "true or false"),
        ("fairness: {trait: gender, bound: 0.1}", 11, "'threshold' is missing"),
        ("fairness: {trait: gender, threshold: 2, bound: 0.1}", 38, "between 0.0 and 1.0"),
        ("fairness: {trait: country, threshold: 0.5, bound: 0.1}", 19, "'country' is protected, and feature 'trait'"),
        ("timezone: Mars", 11, "no time zone"),
        ("personas: {most: 3}", 1, "`personas` has no meaning for classification"),
        ("colour: red", 1, "colour"),
    ],
)
def test_each_error_of_a_part_is_said_where_it_stands(more: str, column: int, says: str) -> None:
    found = refused(f"{GOOD}{more}\n")
    assert any(one[:2] == (10, column) and says in one[2] for one in found), found


@pytest.mark.parametrize(
    ("more", "column", "says"),
    [
        ("personas: {fewest: 5, most: 3}", 11, "more than the most"),
        ("personas: {names: {Rich: {monetary: high}}}", 26, "small letters"),
        ("personas: {names: {rich: {monetary: tall}}}", 37, "a side is one of high, low"),
        ("personas: {names: {rich: {monetry: high}}}", 27, "no feature 'monetry'"),
        ("fairness: {trait: a, threshold: 0.5, bound: 0.1}", 1, "`fairness` has no meaning for clustering"),
    ],
)
def test_each_error_of_personas_is_said_where_it_stands(more: str, column: int, says: str) -> None:
    found = refused(f"{CLUSTERS}{more}\n")
    assert any(one[:2] == (5, column) and says in one[2] for one in found), found


def test_a_constraint_is_for_probabilities() -> None:
    amounts = GOOD.replace("classification", "regression").replace("{event: A", "{sum: properties.a, event: A")
    fairness = "fairness: {trait: a, threshold: 0.5, bound: 0.1, constrain: true}\n"
    ((line, column, says),) = refused(amounts.replace("LogisticRegression", "LinearRegression") + fairness)
    assert (line, column) == (10, 61) and "regression has none" in says


def test_all_errors_of_all_files_are_said_at_once() -> None:
    texts = {
        "a.yaml": GOOD.replace("model: x", "model: a").replace("recency", "recensy").replace("7d", "seven"),
        "b.yaml": "model: b\n",
        "c.yaml": GOOD.replace("model: x", "model: c"),
    }
    with pytest.raises(RuleErrors) as caught:
        parse_models(texts)
    assert {one.file for one in caught.value.errors} == {"a.yaml", "b.yaml"}
    assert len([one for one in caught.value.errors if one.file == "a.yaml"]) == 2


def test_only_what_may_happen_can_be_learnt_at_once() -> None:
    for outcomes in ("together", "at_once"):
        model = parse_model(f"{GOOD}learn: {{outcomes: {outcomes}}}\n", "x.yaml")
        assert model.learning.outcomes == outcomes
    assert parse_model(GOOD, "x.yaml").learning.outcomes == "together"
    found = refused(f"{CLUSTERS}learn: {{outcomes: at_once}}\n")
    assert [one[:2] for one in found] == [(5, 19)] and "no meaning for clustering" in found[0][2]


def test_a_model_is_declared_once() -> None:
    with pytest.raises(RuleErrors) as caught:
        parse_models({"one/x.yaml": GOOD, "two/x.yaml": GOOD})
    assert "is declared in one/x.yaml as well" in str(caught.value.errors[0].message)


def test_texts_and_promotion_do_not_change_what_a_model_means() -> None:
    plain = parse_model(GOOD, "x.yaml").digest
    for same in ("name: Other\n", "owner: me\n", "promote: {margin: 5%}\n", "# a remark\n"):
        assert parse_model(GOOD + same, "x.yaml").digest == plain
    for other in ("score: {every: 2h}\n", "learn: {every: 2d}\n", "learn: {outcomes: at_once}\n"):
        assert parse_model(GOOD + other, "x.yaml").digest != plain
    assert parse_model(GOOD.replace("7d", "8d"), "x.yaml").digest != plain
    assert parse_model(GOOD.replace("7d", "1w"), "x.yaml").digest == plain
