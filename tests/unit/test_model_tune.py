"""A search of parameters: what a file may ask for, the same answer whoever counts, nothing of what is kept aside, an end at any time."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.main import main
from cli.model_search import Attempt, Bench, Crew, Searching
from online_models.compared import blocks, judged, losses, mean
from online_models.parse import parse_model
from online_models.rehearsal import Gathered, Rehearsal
from online_models.standard import standard_kit
from rules.errors import RuleErrors
from tests.unit.test_cli_models import history
from tests.unit.test_rehearsal import TEXT, gather
from tests.unit.test_rehearsal import history as visits

RATE = "LogisticRegression.optimizer.SGD.lr"
TUNE = f"tune: {{line: {{{RATE}: {{from: 0.001, to: 0.5, log: true}}, calibrate: [none, platt]}}}}\n"
BUYS = """\
model: buys
task: classification
target: {event: Order, within: 2d}
features: [recency, {count: {event: Visit, within: 1d, as: visits}}]
candidates: [{name: line, pipeline: [StandardScaler, {LogisticRegression: {optimizer: {SGD: {lr: 0.0001}}}}]}]
score: {every: 0s}
learn: {every: 6h, publish: 6h, publish_examples: 100, least: 20}
"""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{lien: {calibrate: [none, platt]}}", "there is no candidate 'lien'"),
        ("{line: {LogisticRegresion.l2: {from: 0, to: 1}}}", "'LogisticRegresion' is not in candidate 'line'"),
        ("{line: {LogisticRegression.l3: {from: 0, to: 1}}}", "LogisticRegression has no parameter 'l3' here"),
        ("{line: {LogisticRegression.l2: {from: 0.1}}}", "'to' is missing here"),
        ("{line: {LogisticRegression.l2: {from: 0.2, to: 0.1}}}", "`from` is not below `to`"),
        ("{line: {LogisticRegression.l2: {from: 0, to: 1, log: true}}}", "with `log`, `from` is above 0"),
        ("{line: {LogisticRegression.l2: {from: -1, to: 1}}}", "`l2` must be"),
        ("{line: {calibrate: [none, plat]}}", "`calibrate` must be"),
        ("{line: {calibrate: [none, none]}}", "none stands there twice"),
        ("{line: {}}", "a search is over 1 to 10 parameters, not 0"),
        ("{}", "`tune` is empty"),
    ],
)
def test_what_cannot_be_searched_is_said_with_its_place(written: str, expected: str) -> None:
    with pytest.raises(RuleErrors) as raised:
        parse_model(f"{TEXT}tune: {written}\n", "buys.yaml")
    (error,) = raised.value.errors
    assert expected in error.message
    assert error.line == len(TEXT.splitlines()) + 1


def test_a_search_is_no_part_of_what_a_model_means() -> None:
    """So a running job goes on with what it has learnt."""
    assert parse_model(TEXT + TUNE, "buys.yaml").digest == parse_model(TEXT, "buys.yaml").digest


# --- on examples ------------------------------------------------------------------------------------------------------


def bench(gathered: Gathered, share: float = 0.3) -> Bench:
    model = parse_model(TEXT + TUNE, "buys.yaml")
    rehearsal = Rehearsal(model, model.candidates[0], gathered, standard_kit())
    assert rehearsal.run()
    cut = gathered.cut(share)
    costs = losses("log_loss", rehearsal.outputs, gathered)
    return Bench(model, model.candidates[0], gathered, cut, judged(costs, gathered.earlier(cut)))


@pytest.fixture(scope="module")
def gathered() -> Gathered:
    return gather(parse_model(TEXT, "buys.yaml"), visits(1))


def test_a_trial_knows_nothing_of_what_was_kept_aside(gathered: Gathered) -> None:
    made = bench(gathered)
    known = made.attempt({RATE: 0.1})
    turned = [
        msgspec.structs.replace(one, label=1.0 - (one.label or 0.0)) if one.labelled_at > made.cut else one
        for one in gathered.examples
    ]
    assert sum(one is not other for one, other in zip(turned, gathered.examples, strict=True)) > 100
    other = dataclasses.replace(gathered, examples=tuple(turned))
    assert dataclasses.replace(made, gathered=other).attempt({RATE: 0.1}) == known
    assert known.loss is not None


def test_a_trial_is_ended_early_only_where_it_is_worse(gathered: Gathered) -> None:
    made = bench(gathered)
    good, bad = {RATE: 0.01}, {RATE: 8.0, "calibrate": "none"}
    best, worst = made.attempt(good), made.attempt(bad)
    assert best.loss is not None and worst.loss is not None and best.loss < worst.loss
    assert made.attempt(good, worst.parts) == best
    ended = made.attempt(bad, best.parts)
    assert ended.loss is None
    assert 0 < len(ended.parts) < len(blocks(made.places, 30))
    assert ended.parts == worst.parts[: len(ended.parts)]


class Impatient(Crew):
    """Whoever asks has enough during the second round."""

    def __init__(self, of: Bench) -> None:
        super().__init__(of, None)
        self.tried = 0

    def attempts(self, wanted: Mapping[str, Mapping[str, Any]], best: Sequence[float]) -> Iterator[tuple[str, Attempt]]:
        for found in super().attempts(wanted, best):
            self.tried += 1
            if self.tried > 10:
                raise KeyboardInterrupt
            yield found


def test_an_interrupt_ends_a_search_with_what_is_known(gathered: Gathered) -> None:
    made = bench(gathered)
    (search,) = made.model.searches
    costs = losses("log_loss", [0.5] * len(gathered.examples), gathered)
    coin = Attempt(mean(costs, gathered, made.places), [])
    found = Searching(made, search, coin, 1).run(40, Impatient(made))
    assert found.interrupted
    assert len(found.trials) == 10
    assert found.best is not None


# --- as a command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "buys.yaml").write_text(BUYS + TUNE)
    history()
    return tmp_path


def tune(*words: str) -> int:
    return main(["models", "tune", "buys.yaml", "--history", "history.jsonl", "--trials", "12", *words])


@pytest.mark.slow
def test_the_same_is_found_by_one_process_and_by_two(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for jobs in ("1", "2"):
        assert tune("--json", "--jobs", jobs) == 0
        found.append(json.loads(capsys.readouterr().out))
    for one in found:
        one.pop("seconds")
    assert found[0] == found[1]
    (search,) = found[0]["searches"]
    assert search["earlier"]["best"] < search["earlier"]["declared"]
    assert search["later"]["difference"]["low"] is None, "twelve customers are too few"
    assert search["later"]["best"]["log_loss"] < search["later"]["declared"]["log_loss"]
    candidate = BUYS.replace("[{name: line", "\n" + search["yaml"] + "\n  - {name: line").replace("]}]", "]}")
    names = [one.name for one in parse_model(candidate, "buys.yaml").candidates]
    assert names == ["line-tuned", "line"]


def test_what_is_to_be_pasted_is_in_whole_lines(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune("--jobs", "1") == 0
    out = capsys.readouterr().out
    (pasted,) = [line for line in out.splitlines() if "pipeline: " in line]
    assert pasted.endswith("}}}}]")
    assert max(len(line) for line in out.splitlines() if line != pasted) <= 80


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ((TUNE, ""), "does not say what is to be searched"),
        (("tune: {line", "tune: {lime"), "there is no candidate 'lime'"),
    ],
)
def test_what_keeps_a_search_from_beginning_is_said(
    change: tuple[str, str], expected: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "buys.yaml").write_text((BUYS + TUNE).replace(*change))
    assert tune() != 0
    told = capsys.readouterr()
    assert expected in told.out + told.err


def test_without_optuna_it_is_said_how_to_get_it(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "cli.model_search")
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert tune() == 2
    assert "requirements-tune.txt" in capsys.readouterr().err
