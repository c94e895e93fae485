"""Models on real and planted histories: better than plain baselines, drift is noticed, and every replay makes the same bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from benchmarks import model_quality
from benchmarks.model_quality import RETAIL, ROOT, TELCO
from online_models.advancing import advance
from online_models.definition import Model
from online_models.features import FeatureSet
from online_models.learner import Learner
from online_models.loop import Loop
from online_models.parse import parse_models
from online_models.serving import Serving
from online_models.standard import standard_kit
from profiles import Event, decode_event
from rules.compiler import compile_plan
from shop import simulate

START = 1_767_225_600_000
KIT = standard_kit()


@pytest.mark.slow
@pytest.mark.skipif(not RETAIL.exists(), reason=f"{RETAIL.name} is not beside this copy of the project")
def test_purchases_are_foretold_better_than_by_baselines_that_are_fitted_daily() -> None:
    found = model_quality.retail()
    assert found["examples"] > 10_000
    ours = found["model"]
    for name, margin in (("base_rate", 0.05), ("fitted_daily", 0.005)):
        assert ours["log_loss"] < found[name]["log_loss"] - margin
        assert ours["roc_auc"] > found[name]["roc_auc"] + 0.01


@pytest.mark.slow
@pytest.mark.skipif(not TELCO.exists(), reason=f"{TELCO.name} is not beside this copy of the project")
def test_churn_learnt_row_by_row_is_as_good_as_at_once() -> None:
    found = model_quality.telco()
    assert found["examples"] > 2_000
    assert found["model"]["roc_auc"] > found["batch"]["roc_auc"] - 0.02


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_planted_change_is_reported_and_got_over(seed: int) -> None:
    found = model_quality.drift(seed)
    assert found["reported_after"] is not None and found["reported_after"] <= 300
    assert found["alarms_before"] == 0
    losses = found["log_loss"]
    assert losses["worst"] > losses["before"] + 0.3
    assert losses["last"] < losses["before"] + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_change_of_the_simulated_shop_is_reported_and_the_champion_recovers(seed: int) -> None:
    """Reported within 800 examples, of which 300 customers give some 260 a day; three days pass before the first outcome is all new."""
    found = model_quality.shop_drift(seed)
    assert found["reported_after"] is not None and found["reported_after"] <= 800
    assert found["alarms_before"] <= 2
    before, worst, last = found["before"], found["worst"], found["last"]
    assert before["log_loss"] < before["base"] - 0.05
    assert worst["log_loss"] > worst["base"] + 0.1 and worst["roc_auc"] < 0.6
    assert last["log_loss"] < last["base"] - 0.03 and last["roc_auc"] > 0.65


def _model() -> Model:
    path = ROOT / "online_models" / "catalog" / "purchase.yaml"
    (found,) = parse_models({path.name: path.read_text("utf-8")})
    # Every six hours for a publication: the shop is small, and the test is to be quick.
    return replace(found, learning=replace(found.learning, every=3_600_000, publish=6 * 3_600_000))


def _history() -> list[tuple[Event, int]]:
    traffic = simulate(1, 40, START, days=6, disorder=5_000, stragglers=0.0, dirty=0.0, until=START)
    return [
        (decode_event(one.value, one.key.decode(), one.at, 0, 0), one.at - 5_001)
        for one in traffic
        if one.key is not None
    ]


def _loop(model: Model) -> Loop:
    features = FeatureSet(model.features, model.zone)
    rules: Any = SimpleNamespace(version=1, code=1, plan=compile_plan([], watches=[features]))
    return Loop([model], rules, Serving([model], [features]), advance, Learner([model], KIT), KIT.decode)


def _digests(loop: Loop) -> list[str]:
    """What the newest versions are made of, and the numbers, lineage and figures of all."""
    outcome = loop.outcome
    bodies = [hashlib.sha256(one.body).hexdigest() for one in outcome.newest.values()]
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    return bodies + [hashlib.sha256(encode(one)).hexdigest() for one in outcome.versions]


def _played(stopped_after: int | None = None) -> list[str]:
    model, history = _model(), _history()
    loop = _loop(model)
    for number, (event, watermark) in enumerate(history):
        if number == stopped_after:
            loop._learner, said = Learner.restore(loop._learner.snapshot(), [model], KIT)
            assert said == []
        loop.take(event, watermark)
    loop.run([], START)
    return _digests(loop)


@pytest.mark.slow
def test_a_learner_that_was_stopped_midway_makes_the_same_versions() -> None:
    whole = _played()
    assert len(whole) > 20
    for stopped_after in (60, 200):
        assert _played(stopped_after) == whole


@pytest.mark.slow
def test_the_same_history_makes_the_same_bytes_in_any_process() -> None:
    said = set()
    for seed in ("1", "2"):
        words = [sys.executable, "-c", "from tests.unit.test_model_proofs import _played; print(_played())"]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT, env=environment, timeout=120)
        said.add(done.stdout)
    assert len(said) == 1
    assert len(said.pop()) > 1_000
