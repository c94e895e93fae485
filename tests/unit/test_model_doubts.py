"""Warnings of models, and of rules that ask them: what is allowed and hardly meant, where it stands, and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from online_models.definition import Model
from online_models.doubts import of_models, of_rules
from online_models.parse import digest, parse_model
from rules.rule_set import RuleSet, load_directory

DAY = 86_400_000
CHURN = """\
model: churn
task: classification
target:
  absent: Order Completed
  within: 30d
features: [recency]
candidates: [{name: line, pipeline: [LogisticRegression]}]
score: {every: 1d}
"""
PERSONAS = """\
model: personas
task: clustering
features: [{monetary: {as: spend}}, {frequency: {as: orders}}]
candidates: [{name: means, pipeline: [KMeans]}]
personas: {names: {big-spenders: {spend: high}, window-shoppers: {orders: low}}}
"""


def models(**changes: str) -> list[Model]:
    texts = {"churn": CHURN, "personas": PERSONAS, **changes}
    return [parse_model(text, f"{name}.yaml") for name, text in texts.items()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "churn.yaml").write_text(CHURN)
    (tmp_path / "models" / "personas.yaml").write_text(PERSONAS)
    return tmp_path


def asking(folder: Path, *conditions: str) -> RuleSet:
    """Rules of which the first asks for the first condition, and so on, each in the fourth line."""
    for number, one in enumerate(conditions):
        text = f"segment: s{number}\nwhen:\n  all:\n    - {one}\n    - {{trait: {{vip: true}}}}\n"
        (folder / "rules" / f"s{number}.yaml").write_text(text)
    return load_directory(Path("rules"))


def segue(*words: str) -> int:
    return main(list(words))


# --- models -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expiry", "lines"), [(30 * DAY - 1, [5]), (30 * DAY, []), (30 * DAY + 1, [])])
def test_a_target_beyond_the_life_of_a_silent_profile_is_doubted(expiry: int, lines: list[int]) -> None:
    found = list(of_models(models(), expiry))
    assert [(one.file, one.line, one.column) for one in found] == [("churn.yaml", line, 11) for line in lines]
    assert all("after 30d" in one.message and "expiry" in one.hint for one in found)


def test_where_a_target_stands_means_nothing() -> None:
    one, other = parse_model(CHURN, "churn.yaml"), parse_model(f"# a line\n{CHURN}", "churn.yaml")
    assert one.target == other.target
    assert digest(one) == digest(other)


# --- rules that ask them ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "says", "hint"),
    [
        ("score: {model: churn, gte: 0.7, max_age: 23h}", "makes one every 1d at most", "`max_age: 1d` or longer"),
        ("score: {model: churn, gte: 0.7, exit_below: 0.6, max_age: 1h}", "counts for 1h here", "in churn.yaml"),
        ("not: {score: {model: churn, gte: 0.7, max_age: 1h}}", "counts for 1h here", "in churn.yaml"),
        ("score: {model: personas, gte: 0.7}", "personas is clustering", "by `cluster`"),
        ("cluster: {model: churn, in: [big-spenders]}", "churn is classification", "by `score`"),
        ("cluster: {model: personas, in: [big-spender]}", "no persona 'big-spender'", "did you mean 'big-spenders'?"),
        (
            "cluster: {model: personas, in: [big-spenders, high-views]}",
            "no persona 'high-views'",
            "ask for one of big-spenders, window-shoppers, or declare it under `names` in personas.yaml",
        ),
        ("cluster: {model: personas, in: [big-spenders], max_age: 59m}", "makes one every 1h at most", "`max_age: 1h`"),
    ],
)
def test_what_can_hardly_be_asked_so_is_doubted_where_it_stands(
    folder: Path, condition: str, says: str, hint: str
) -> None:
    (found,) = of_rules(asking(folder, "trait: {a: 1}", condition), models())
    assert (found.file, found.line) == ("rules/s1.yaml", 4)
    assert says in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    "condition",
    [
        "score: {model: churn, gte: 0.7, max_age: 1d}",
        "score: {model: churn, gte: 0.7}",
        "score: {model: of-somebody-else, gte: 0.7, max_age: 1m}",
        "cluster: {model: personas, in: [window-shoppers, big-spenders], max_age: 1h}",
        "cluster: {model: unnamed, in: [high-views]}",
    ],
)
def test_what_may_well_be_meant_is_not(folder: Path, condition: str) -> None:
    unnamed = PERSONAS.replace("model: personas", "model: unnamed").replace(
        "names: {big-spenders: {spend: high}, window-shoppers: {orders: low}}", "most: 5"
    )
    assert list(of_rules(asking(folder, condition), models(unnamed=unnamed))) == []


# --- the commands -------------------------------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_checks_of_models_and_of_rules_say_it_alike(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asking(folder, "cluster: {model: personas, in: [big-spender]}")
    line = "rules/s0.yaml:4:7: warning: personas declares no persona 'big-spender'\n    did you mean 'big-spenders'?"
    assert segue("models", "check", "models", "--rules", "rules") == 0
    out = capsys.readouterr().out
    assert line in out
    assert "2 models checked, 1 warning\n" in out
    assert segue("rules", "check", "--no-cost", "rules", "--models", "models") == 0
    out = capsys.readouterr().out
    assert line in out
    assert out.endswith("1 segment checked, 1 warning\n")
    assert segue("models", "check", "models", "--rules", "rules", "--json") == 0
    (found,) = said(capsys)["warnings"]
    assert segue("rules", "check", "rules", "--models", "models", "--json") == 0
    assert said(capsys)["warnings"] == [found]
    assert (found["file"], found["line"]) == ("rules/s0.yaml", 4)


def test_the_expiry_is_that_of_the_settings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("settings.yaml").write_text("job: {expiry: 29d}\n")
    assert segue("models", "check", "models", "--json") == 0
    assert said(capsys)["warnings"] == []
    assert segue("models", "check", "models", "--settings", "settings.yaml", "--json") == 0
    assert [(one["file"], one["line"]) for one in said(capsys)["warnings"]] == [("models/churn.yaml", 5)]


def test_folders_of_ones_own_are_held_against_nothing_unless_segue(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the same names there are models in the catalogue, which mean nothing here."""
    asking(folder, "cluster: {model: personas, in: [big-spender], max_age: 1s}")
    for words in (("rules", "check", "rules", "--json"), ("models", "check", "models", "--json")):
        assert segue(*words) == 0
        assert said(capsys)["warnings"] == []


def test_files_that_are_wrong_are_refused_where_they_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asking(folder, "score: {model: churn, gte: 0.7}")
    (folder / "models" / "churn.yaml").write_text(CHURN.replace("recency", "recensy"))
    assert segue("rules", "check", "rules", "--models", "models") == 1
    assert "models/churn.yaml:6:12: there is no feature 'recensy'" in capsys.readouterr().out


def test_in_the_catalogue_models_and_rules_are_held_against_each_other(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(folder, "cluster: {model: personas, in: [big-spender]}")
    for module in ("cli.check", "cli.model_check"):
        monkeypatch.setattr(f"{module}.CATALOG", folder / "rules")
        monkeypatch.setattr(f"{module}.MODELS", folder / "models")
    for words in (("rules", "check", "rules"), ("models", "check", "models/personas.yaml")):
        assert segue(*words, "--json") == 0
        assert len(said(capsys)["warnings"]) == 1
    (folder / "models" / "churn.yaml").write_text("model: [")
    assert segue("rules", "check", "rules", "--json") == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["warnings"] == []
    assert "models is not valid (`segue models check`)" in found.err
