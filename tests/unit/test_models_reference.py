"""The page about models and the editors' schema: in step with the code, complete, and true of every model that ships."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from docs.generate_models import model_schema_text, models_page
from online_models import reference
from online_models.features import KINDS, FeatureKind
from online_models.parse import KEYS, TASKS, parse_model
from online_models.part_reader import METRICS
from online_models.schema import model_schema
from profiles.document import load
from rules.errors import RuleErrors

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "docs" / "schemas" / "model.json"
SHIPPED = sorted([*(ROOT / "online_models" / "catalog").rglob("*.yaml"), *ROOT.glob("examples/*/models/*.yaml")])
VALIDATOR = Draft202012Validator(model_schema())

PLAIN = """\
model: x
task: classification
target: {event: A, within: 7d}
features: [recency]
candidates: [{name: one, pipeline: [StandardScaler, LogisticRegression]}]
"""


def complaints(text: str) -> list[str]:
    value: Any = load(text, "x.yaml").plain()
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(value)]


def accepted(text: str) -> bool:
    try:
        parse_model(text, "x.yaml")
    except RuleErrors:
        return False
    return True


def test_the_page_is_in_step() -> None:
    assert (ROOT / "docs" / "models.md").read_text("utf-8") == models_page(), "run `python docs/generate.py`"


def test_the_schema_is_in_step_and_one() -> None:
    assert SCHEMA.read_text("utf-8") == model_schema_text(), "run `python docs/generate.py`"
    Draft202012Validator.check_schema(model_schema())


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_every_model_that_ships_names_the_schema_and_satisfies_it(file: Path) -> None:
    text = file.read_text("utf-8")
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert found, "begin with `# yaml-language-server: $schema=...`"
    assert os.path.samefile(file.parent / found[1], SCHEMA)
    assert complaints(text) == []
    assert parse_model(text, file.name).digest


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_example_of_each_feature_is_one(kind: FeatureKind) -> None:
    text = PLAIN.replace("[recency]", f"[{{{kind.example}}}]")
    assert parse_model(text, "x.yaml").features[0].kind == kind.name
    assert complaints(text) == []


@pytest.mark.parametrize("name", reference.PARTS)
def test_the_example_of_each_part_is_one(name: str) -> None:
    text = "".join(line for line in PLAIN.splitlines(keepends=True) if not line.startswith(f"{name}:"))
    if name == "personas":
        text = text.replace("classification", "clustering").replace("target: {event: A, within: 7d}\n", "")
        text = text.replace("recency", "{monetary: {as: spend}}, {frequency: {as: orders}}")
        text = text.replace("[StandardScaler, LogisticRegression]", "[KMeans]")
    text += reference.PARTS[name][1] + "\n"
    assert parse_model(text, "x.yaml").digest
    assert complaints(text) == []


def test_every_key_is_described() -> None:
    own = {key.name for key in reference.MODEL}
    assert own | reference.PARTS.keys() | {"features", "candidates", "tune"} == set(KEYS)
    task = next(key for key in reference.MODEL if key.name == "task")
    assert task.among == TASKS
    metric = next(key for key in reference.PARTS["promote"][2] if key.name == "metric")
    assert set(metric.among) == {one for metrics in METRICS.values() for one in metrics}


@pytest.mark.parametrize("name", reference.PARTS)
def test_the_parser_knows_every_key_of_a_part_and_no_other(name: str) -> None:
    """All keys at once: whatever is wrong with their values, none is said to be unknown; one more is."""
    supervised = name != "personas"
    text = PLAIN if supervised else PLAIN.replace("classification", "clustering")
    text = "".join(
        line for line in text.splitlines(keepends=True) if not line.startswith("target:") or name != "target"
    )
    keys = [key.name for key in reference.PARTS[name][2]]
    for more, expected in (([], 0), (["nonsense"], 1)):
        body = ", ".join(f"{key}: 0" for key in [*keys, *more])
        with pytest.raises(RuleErrors) as caught:
            parse_model(f"{text}{name}: {{{body}}}\n", "x.yaml")
        unknown = [one for one in caught.value.errors if "unknown" in one.message or "nonsense" in one.message]
        assert len(unknown) == expected, [one.message for one in caught.value.errors]


@pytest.mark.parametrize(
    "text",
    [
        PLAIN + "colour: red\n",
        PLAIN.replace("recency", "recensy"),
        PLAIN.replace("[recency]", "[{recency: {evnt: A}}]"),
        PLAIN.replace("[recency]", "[{number: {as: x}}]"),
        PLAIN.replace("[recency]", "[]"),
        PLAIN.replace("LogisticRegression", "DeepLearning"),
        PLAIN.replace("LogisticRegression]", "{LogisticRegression: {l2: 11}}]"),
        PLAIN.replace("LogisticRegression]", "{LogisticRegression: {l3: 1}}]"),
        PLAIN.replace("LogisticRegression]", "{LogisticRegression: {optimizer: {SGD: {lr: 20}}}}]"),
        PLAIN.replace("LogisticRegression]", "{LogisticRegression: {optimizer: Log}}]"),
        PLAIN.replace("7d}", "7 days}"),
        PLAIN.replace("task: classification", "task: guessing"),
        PLAIN.replace("name: one, ", ""),
        PLAIN.replace("candidates", "candidate"),
        PLAIN + "learn: {sample: 5}\n",
        PLAIN + "promote: {metric: accuracy}\n",
    ],
)
def test_what_the_schema_refuses_the_parser_refuses(text: str) -> None:
    assert complaints(text)
    assert not accepted(text)


def test_the_schema_lets_through_what_the_parser_does() -> None:
    many = PLAIN + "learn: {sample: 100%, negatives: 12.5%}\nscore: {every: 0s}\npromote: {margin: 0%}\n"
    choosing = "{SuccessiveHalvingClassifier: {models: [[StandardScaler, LogisticRegression], [GaussianNB]]}}"
    for text in (PLAIN, many, PLAIN.replace("[StandardScaler, LogisticRegression]", f"[{choosing}]")):
        assert accepted(text)
        assert complaints(text) == []
