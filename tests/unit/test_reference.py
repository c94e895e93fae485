"""The reference and the editors' schema: in step with the code, complete, and true of every rule that ships."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from docs.generate_rules import rules_page, schema_text
from profiles.document import load
from rules import reference, vocabulary
from rules.condition_reader import CONDITION_KEYS
from rules.definition import Operator
from rules.kinds import KINDS, numbers
from rules.kinds.kind import Key
from rules.parse import parse_rule
from rules.reference import Entry
from rules.schema import rule_schema

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "docs" / "schemas" / "rule.json"
SHIPPED = sorted([*(ROOT / "rules" / "catalog").rglob("*.yaml"), *ROOT.glob("examples/*/rules/*.yaml")])
VALIDATOR = Draft202012Validator(rule_schema())


def complaints(text: str) -> list[str]:
    value: Any = load(text, "x.yaml").plain()
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(value)]


def names(keys: tuple[Key, ...]) -> set[str]:
    return {key.name for key in keys}


def test_the_page_is_in_step() -> None:
    assert (ROOT / "docs" / "rules.md").read_text("utf-8") == rules_page(), "run `python docs/generate.py`"


def test_the_schema_is_in_step_and_one() -> None:
    assert SCHEMA.read_text("utf-8") == schema_text(), "run `python docs/generate.py`"
    Draft202012Validator.check_schema(rule_schema())


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_every_rule_that_ships_names_the_schema_and_satisfies_it(file: Path) -> None:
    text = file.read_text("utf-8")
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert found, "begin with `# yaml-language-server: $schema=...`"
    assert os.path.samefile(file.parent / found[1], SCHEMA)
    assert complaints(text) == []


@pytest.mark.parametrize("entry", reference.CONDITIONS.values(), ids=lambda entry: entry.key)
def test_the_example_of_each_condition_is_a_rule(entry: Entry) -> None:
    lines = "".join(f"  {line}\n" for line in entry.example.splitlines())
    text = f"segment: x\nwhen:\n{lines}"
    assert parse_rule(text, "x.yaml").segment.digest
    assert complaints(text) == []


@pytest.mark.parametrize("entry", reference.PARTS.values(), ids=lambda entry: entry.key)
def test_the_example_of_each_mapping_beside_the_rule_is_one(entry: Entry) -> None:
    text = f"segment: x\nwhen: {{event: A, within: 1d}}\n{entry.example}\n"
    assert parse_rule(text, "x.yaml").segment.digest
    assert complaints(text) == []


@pytest.mark.parametrize("name", sorted(reference.OPERATORS))
def test_the_example_of_each_operator_compares(name: str) -> None:
    text = f"segment: x\nwhen: {{trait: {{value: {{{reference.OPERATORS[name][1]}}}}}}}\n"
    assert parse_rule(text, "x.yaml").segment.digest
    assert complaints(text) == []


def test_the_examples_in_the_text_are_rules() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "rules.template.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    for text in blocks:
        name = re.search(r"^segment: ([a-z-]+)", text, re.MULTILINE)
        assert name
        assert parse_rule(text, f"{name[1]}.yaml").segment.digest
        assert complaints(text) == []


def test_every_word_of_the_language_is_described() -> None:
    assert set(reference.CONDITIONS) == set(CONDITION_KEYS)
    assert names(reference.SEGMENT) == set(vocabulary.SEGMENT_KEYS)
    assert set(reference.OPERATORS) == {one.value for one in Operator}
    assert names(reference.TEST) == set(vocabulary.TEST_KEYS)
    assert names(reference.GIVEN) == set(vocabulary.GIVEN_KEYS)
    assert names(reference.EXPECT) == set(vocabulary.EXPECT_KEYS)
    assert names(reference.WITHOUT) == set(vocabulary.WITHOUT_KEYS)
    assert names(reference.REFERENCE) == set(vocabulary.REFERENCE_KEYS)
    assert names(reference.WEIGHTED) == set(vocabulary.POINT_KEYS)
    for key, known in (
        ("exit", vocabulary.EXIT_KEYS),
        ("stability", vocabulary.STABILITY_KEYS),
        ("group", vocabulary.GROUP_KEYS),
    ):
        assert names(reference.PARTS[key].keys) == set(known)


def test_every_key_of_the_conditions_is_described() -> None:
    for key in set(CONDITION_KEYS) - set(KINDS):
        entry = reference.CONDITIONS[key]
        assert {*names(entry.beside), *(() if entry.keys else entry.operators)} == set(
            vocabulary.MODIFIERS.get(key, ())
        )
    own = names(reference.CONDITIONS["aggregate"].keys)
    assert own == {*vocabulary.AGGREGATE_KEYS, "per", "against"}
    fn = next(key for key in reference.CONDITIONS["aggregate"].keys if key.name == "fn")
    assert set(fn.among) == {*vocabulary.AGGREGATES, *numbers.FUNCTIONS}
    assert names(reference.CONDITIONS["points"].keys) == set(vocabulary.POINTS_KEYS)
    assert names(reference.CONDITIONS["at_least"].keys) == set(vocabulary.AT_LEAST_KEYS)
