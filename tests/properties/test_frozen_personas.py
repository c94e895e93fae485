"""Frozen personas say what those that they were made from say, to the last bit, of any row."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from online_models import making
from online_models.definition import Candidate, Model, PersonaRule, Step
from online_models.encoding import Column
from online_models.named import PersonaPredictor
from online_models.personas.frozen import FrozenPersonas

COLUMNS = (Column("spend"), Column("device", True), Column("always"), Column("views"))
NUMBERS = st.one_of(
    st.none(), st.floats(-50, 150), st.sampled_from([0.0, 7, True, float("nan"), float("inf"), 1e12, 1e13])
)
ROWS = st.tuples(NUMBERS, st.sampled_from([None, "mobile", "desktop", "tv"]), NUMBERS, NUMBERS).map(list)


def learnt(kind: str, seed: int) -> PersonaPredictor:
    step = Step(kind, {"every": 50})  # type: ignore[arg-type]
    model = Model("m", "clustering", (), (), personas=PersonaRule(2, 4, first=100))
    predictor = PersonaPredictor(model, Candidate("c", (step,)), COLUMNS)
    dice = random.Random(seed)
    for number in range(400):
        spend, device = dice.choice(((10.0, "mobile"), (90.0, "desktop"), (40.0, "mobile")))
        row = [dice.gauss(spend, 3.0), device, 5.0, None if number % 7 == 0 else dice.gauss(spend / 10, 1.0)]
        predictor.learn(row, None, 1.0)
    return predictor


LEARNT = [learnt(kind, seed) for kind in ("KMeans", "Mixture", "DBSTREAM") for seed in (1, 2)]


@given(st.sampled_from(LEARNT), ROWS, st.data())
def test_frozen_personas_say_the_same(predictor: PersonaPredictor, row: list[Any], data: Any) -> None:
    frozen = making.ready(predictor)
    assert isinstance(frozen, FrozenPersonas)
    names = [one.name for one in predictor.personas.published]
    previous = data.draw(st.sampled_from([None, "nobody", *names]))
    assert frozen.predict(row, previous) == predictor.predict(row, previous)
    assert frozen.reasons(row) == predictor.reasons(row)


def test_what_is_no_number_is_refused_by_both() -> None:
    for predictor in LEARNT:
        raised = []
        for one in (predictor, making.ready(predictor)):
            try:
                one.predict(["text", "mobile", 1.0, 1.0])
            except TypeError:
                raised.append(one)
        assert len(raised) == 2


def test_without_personas_there_is_nothing_to_freeze() -> None:
    model = Model("m", "clustering", (), (), personas=PersonaRule(2, 4))
    predictor = PersonaPredictor(model, Candidate("c", (Step("KMeans"),)), COLUMNS)
    assert making.ready(predictor) is predictor
