"""A frozen linear model says what River says, over streams of any rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_models.definition import Candidate, Model, Step
from online_models.encoding import Column
from online_models.linear import FrozenLinear, freeze
from online_models.pipelines import make_predictor

COLUMNS = (
    Column("a"),
    Column("b"),
    Column("c", True, "onehot"),
    Column("d", True, "hash"),
    Column("e", True, "target"),
)
NUMBERS = st.one_of(
    st.none(), st.floats(-1e4, 1e4), st.sampled_from([0.0, float("nan"), float("inf"), 1e12, 1e13, True])
)
VALUES = st.one_of(st.none(), st.sampled_from(["x", "y", "", "é", "\ud800", "z" * 300]), st.text(max_size=2))
ROWS = st.tuples(NUMBERS, NUMBERS, VALUES, VALUES, VALUES).map(list)
EXAMPLES = st.lists(st.tuples(ROWS, st.sampled_from([0.0, 1.0]), st.sampled_from([1.0, 2.5])), min_size=1, max_size=40)


@given(
    EXAMPLES,
    st.lists(ROWS, min_size=1, max_size=10),
    st.sampled_from(["none", "platt", "isotonic"]),
    st.sampled_from([[], [Step("StandardScaler")], [Step("StandardScaler", {"with_std": False})]]),  # type: ignore[arg-type]
    st.booleans(),
)
def test_frozen_is_river(examples: Any, rows: Any, calibrate: Any, scaler: list[Step], logistic: bool) -> None:
    task: Any = "classification" if logistic else "regression"
    # A rate this low keeps unscaled numbers from running away, which is no matter of freezing.
    rate: Any = {
        "optimizer": {"SGD": {"lr": 0.000001 if not scaler or scaler[0].parameters else 0.05}},
        "clip_gradient": 10.0,
    }
    steps = (*scaler, Step("LogisticRegression" if logistic else "LinearRegression", rate))
    candidate = Candidate("c", steps, calibrate if logistic else "none")
    predictor = make_predictor(Model("m", task, (), ()), candidate, COLUMNS)
    for row, label, weight in examples:
        predictor.learn(row, label, weight)
    frozen = freeze(predictor)
    assert isinstance(frozen, FrozenLinear)
    for row in [*rows, *(row for row, _, _ in examples)]:
        assert frozen.predict(row) == pytest.approx(predictor.predict(row), rel=1e-9, abs=1e-9)
