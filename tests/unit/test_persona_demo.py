"""Personas of the catalogue on the simulated shop, and what a rule makes of one that is no more."""

from __future__ import annotations

from collections import Counter
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest

from cli.model_files import load_models
from cli.paths import MODELS
from online_models.advancing import advance
from online_models.definition import Model
from online_models.features import FeatureSet
from online_models.learner import Learner
from online_models.loop import Loop
from online_models.serving import Serving
from online_models.standard import standard_kit
from profiles import InvalidRecord, decode_event
from rules.compiler import compile_plan
from shop import simulate

START = 1_767_225_600_000
MINUTE = 60_000
CUSTOMERS = 1_000
DAYS = 12.0
MOST_EVENTS = 3
"""Of a candidate over the history of the demo, after the first personas are born."""

CANDIDATES = ("k-means", "mixture")


@cache
def _catalogue() -> Model:
    (found,) = (one for one in load_models(MODELS).models if one.name == "personas")
    return found


@cache
def _played(seed: int) -> Loop:
    """The history of the demo and two minutes of its live part, through the loop."""
    model, kit = _catalogue(), standard_kit()
    features = FeatureSet(model.features, model.zone)
    rules: Any = SimpleNamespace(version=1, code=1, plan=compile_plan([], watches=[features]))
    loop = Loop([model], rules, Serving([model], [features]), advance, Learner([model], kit), kit.decode)
    end = START + 2 * MINUTE
    for one in simulate(seed, CUSTOMERS, START, days=DAYS, rate=50.0, disorder=2_000, dirty=0.0, until=end):
        assert one.key is not None
        try:
            event = decode_event(one.value, one.key.decode(), one.at, 0, 0)
        except InvalidRecord:
            continue
        loop.take(event, one.at - 2_001)
    loop.run([], end)
    return loop


def _events(loop: Loop, candidate: str) -> list[dict[str, Any]]:
    return [one.detail for one in loop.outcome.happened if one.kind == "persona" and one.candidate == candidate]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_few_personas_change_over_the_history_of_the_shop(seed: int) -> None:
    loop = _played(seed)
    for candidate in CANDIDATES:
        events = _events(loop, candidate)
        begun = [one for one in events if one["examples"] == events[0]["examples"]]
        assert {one["kind"] for one in begun} == {"persona birth"} and 4 <= len(begun) <= 6
        assert len(events) - len(begun) <= MOST_EVENTS


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_bargain_hunters_are_there_from_the_first_day_on_and_stay(seed: int) -> None:
    loop = _played(seed)
    for candidate in CANDIDATES:
        events = [one for one in _events(loop, candidate) if "bargain-hunters" in (one["name"], one.get("was"))]
        assert [one["kind"] for one in events] == ["persona birth"]
        reports = [one.candidates[candidate]["personas"] for one in loop.outcome.figures]
        shares = [one["bargain-hunters"]["share"] for one in reports if one]
        assert len(shares) >= 8 and min(shares) > 0.02 and max(shares) < 0.25
    said = Counter(
        profile.scores["personas"][0]
        for number in range(CUSTOMERS)
        if (profile := loop.profile(f"c{number:06d}")) is not None and "personas" in profile.scores
    )
    assert 0.02 < said["bargain-hunters"] / said.total() < 0.2
