"""The measured population as part of the rule set: read beside the rule files, published with them, and meant by who uses it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from rules.population import Population
from rules.rule_set import RuleErrors, RuleSet, diff, load_directory, load_file, next_version, warm

KEY = "monetary (properties.a) of A within 30d"
USES = "segment: uses\nwhen: {rfm: {event: A, of: properties.a, within: 30d, monetary_score: {gte: 4}}}\n"
PLAIN = "segment: plain\nwhen: {rfm: {event: A, of: properties.a, within: 30d, monetary: {gte: 4}}}\n"


def folder(path: Path, *bounds: float) -> RuleSet:
    (path / "uses.yaml").write_text(USES)
    (path / "plain.yaml").write_text(PLAIN)
    if bounds:
        (path / "population.json").write_text(Population({KEY: bounds}, 10, 1).to_text())
    return load_directory(path)


def test_it_is_read_beside_the_rule_files_and_travels_with_them(tmp_path: Path) -> None:
    rules = folder(tmp_path, 1, 2, 3, 4)
    assert rules.population.bounds == {KEY: (1, 2, 3, 4)}
    again = RuleSet.from_payload(rules.to_payload())
    assert again.population == rules.population
    assert again.digests == rules.digests


def test_a_rule_set_without_one_says_nothing_of_it(tmp_path: Path) -> None:
    rules = folder(tmp_path)
    assert "population" not in json.loads(rules.to_payload())
    assert RuleSet.from_payload(rules.to_payload()).population == Population()


def test_measured_anew_only_what_compares_scores_means_something_else(tmp_path: Path) -> None:
    first = next_version(None, folder(tmp_path, 1, 2, 3, 4))
    second = next_version(first, folder(tmp_path, 1, 2, 3, 5))
    assert {one.name: one.version for one in second.segments} == {"plain": 1, "uses": 2}
    assert [(one.segment, one.kind) for one in diff(first, second)] == [("uses", "changed")]
    assert set(warm(first, second).warming) == {"uses"}
    third = next_version(second, dataclasses.replace(folder(tmp_path, 1, 2, 3, 5)))
    assert {one.name: one.version for one in third.segments} == {"plain": 1, "uses": 2}


def test_what_is_warming_is_evaluated_with_the_population_too(tmp_path: Path) -> None:
    first = next_version(None, folder(tmp_path, 1, 2, 3, 4))
    warming = warm(first, next_version(first, folder(tmp_path, 1, 2, 3, 5)))
    assert RuleSet.from_payload(warming.to_payload()).active.population.bounds == {KEY: (1, 2, 3, 5)}


def test_one_that_is_wrong_is_refused_with_the_rules(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "population.json").write_text('{"bounds": {}')
    with pytest.raises(RuleErrors, match=r"population\.json:1:14: this is no JSON"):
        load_directory(tmp_path)
    payload = json.loads(folder(tmp_path, 1, 2, 3, 4).to_payload())
    payload["population"]["bounds"][KEY] = [4, 3, 2, 1]
    with pytest.raises(RuleErrors, match="must ascend"):
        RuleSet.from_payload(json.dumps(payload).encode())


def test_a_difference_shows_the_bounds_that_moved(tmp_path: Path) -> None:
    first = next_version(None, folder(tmp_path, 1, 2, 3, 4))
    other = {KEY: (1, 2, 3, 5), "frequency of B within 1d": (1, 1, 1, 1)}
    (tmp_path / "population.json").write_text(Population(other, 11, 2).to_text())
    (changed,) = diff(first, load_directory(tmp_path))
    assert changed.text.splitlines() == [
        "--- population.json (version 1)",
        "+++ population.json",
        "@@ -1 +1 @@",
        f'-"{KEY}": [1.0, 2.0, 3.0, 4.0]',
        f'+"{KEY}": [1.0, 2.0, 3.0, 5.0]',
    ]


def test_a_difference_shows_what_was_not_measured_before(tmp_path: Path) -> None:
    first = next_version(None, folder(tmp_path))
    (changed,) = diff(first, folder(tmp_path, 1, 2, 3, 4))
    assert (changed.segment, changed.kind) == ("uses", "changed")
    assert [line for line in changed.text.splitlines() if line.startswith("+")] == [
        "+++ population.json",
        f'+"{KEY}": [1.0, 2.0, 3.0, 4.0]',
    ]


def test_another_text_alone_says_nothing_of_the_population(tmp_path: Path) -> None:
    first = next_version(None, folder(tmp_path, 1, 2, 3, 4))
    (tmp_path / "uses.yaml").write_text(USES + "owner: ann@example.com\n")
    (reworded,) = diff(first, load_directory(tmp_path))
    assert reworded.kind == "reworded"
    assert "population" not in reworded.text


def test_a_file_alone_is_compared_with_the_population_beside_it(tmp_path: Path) -> None:
    rules = folder(tmp_path, 1, 2, 3, 4)
    assert load_file(tmp_path / "uses.yaml").digests == {"uses": rules.digests["uses"]}
    (tmp_path / "population.json").write_text("[]")
    with pytest.raises(RuleErrors, match=r"population\.json:1:1: a population holds"):
        load_file(tmp_path / "uses.yaml")
