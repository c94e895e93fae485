"""Whatever the order in which examples come, wherever watermarks fall, and however often it is stopped: the learner learns the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_models import relearning
from online_models.definition import Model, Promotion
from online_models.example import Example
from online_models.learner import Learner
from online_models.version import ModelEvent, ModelVersion, Published, Quality, Retired
from tests.learning import KIT, a_model, candidate

MODELS = (
    a_model(publish=50, publish_examples=7, promotion=Promotion("brier", least=100, confidence=0.6)),
    a_model("value", (candidate("slow", "Mean"), candidate("fast", "Mean", fading=0.2)), publish=31, task="regression"),
)


def _row(number: int) -> list[Any]:
    return [("fail", "nan", float(number))[number % 3] if number < 6 else float(number % 5), 1.0, None]


@st.composite
def examples(draw: st.DrawFn) -> list[Example]:
    """Up to 60 examples of two models, some labelled at the same moment, some that break a candidate."""
    numbers = draw(st.lists(st.tuples(*[st.integers(0, 255)] * 4), max_size=60, unique=True))
    found = {}
    for a, b, c, d in numbers:
        model = MODELS[a % 2].name
        at, customer = b, "abc"[a % 3]
        said = {name: [1 + d % 3, (c % 10) / 10] for name in ("mean", "sgd", "slow") if d % (len(name)) > 1}
        found[model, customer, at] = Example(
            model, "d1", customer, at, at + c % 64, _row(d), float(c % 2), 1.0 + d % 3, said, ["vip"] if d % 2 else []
        )
    return list(found.values())


def _bodies(said: list[Published]) -> dict[str, list[bytes]]:
    """What was said of each model, in its order, as bytes."""
    found: dict[str, list[bytes]] = {}
    for one in said:
        assert isinstance(one, ModelVersion | Retired | Quality | ModelEvent)
        found.setdefault(one.model, []).append(type(one).__name__.encode() + msgspec.msgpack.encode(one))
    return found


def _straight(given_examples: list[Example]) -> tuple[dict[str, list[bytes]], bytes]:
    learner = Learner(MODELS, KIT)
    for one in sorted(given_examples, key=Example.order):
        assert learner.offer(one) == "taken"
    said = learner.advance(1_000) + learner.conclude()
    return _bodies(said), learner.snapshot()


@pytest.mark.parametrize(("large", "most"), [(relearning.LARGE, relearning.MOST), (1, 3)], ids=["small", "large"])
@given(examples(), st.randoms(use_true_random=False), st.lists(st.integers(0, 400), max_size=8))
def test_neither_order_nor_watermarks_nor_restarts_change_what_is_learnt(
    large: int, most: int, those: list[Example], dice: random.Random, watermarks: list[int]
) -> None:
    expected = _straight(those)
    with mock.patch.multiple(relearning, LARGE=large, MOST=most):
        _check(expected, those, dice, watermarks)


def _check(expected: Any, those: list[Example], dice: random.Random, watermarks: list[int]) -> None:
    learner, said = Learner(MODELS, KIT), list[Published]()
    left = list(those)
    for watermark in [*sorted(watermarks), 1_000]:
        due = [one for one in left if one.labelled_at <= watermark]
        early = [one for one in left if one.labelled_at > watermark and dice.random() < 0.3]
        offered = due + early
        dice.shuffle(offered)
        for one in offered:
            assert learner.offer(one) == "taken"
            if dice.random() < 0.2:
                assert learner.offer(one) == "duplicate"
        left = [one for one in left if one not in offered]
        said += learner.advance(watermark, most=dice.choice([None, 0, 1, 3]))
        while learner.behind:
            if dice.random() < 0.5:
                learner = _again(learner, said)
            said += learner.advance(watermark, most=2)
        if dice.random() < 0.5:
            learner = _again(learner, said)
        for one in due:
            assert learner.offer(one) == "late"
    said += learner.conclude()
    assert learner.counts["learnt"] == len(those)
    learner.counts = _counts(learner, those)
    assert (_bodies(said), learner.snapshot()) == expected


def _again(learner: Learner, said: list[Published]) -> Learner:
    restored, more = Learner.restore(learner.snapshot(), MODELS, KIT)
    assert not more
    assert restored.snapshot() == learner.snapshot()
    return restored


def _counts(learner: Learner, those: list[Example]) -> Any:
    """Offering again what is refused is counted, and is the only thing that may differ."""
    learner.counts.pop("late", None)
    learner.counts.pop("duplicate", None)
    return type(learner.counts)({"taken": len(those), "learnt": len(those)} if those else {})


@given(examples())
def test_a_version_is_what_its_examples_make(those: list[Example]) -> None:
    """Against brute force: a candidate that never failed has learnt all examples up to its version, in their order."""
    learner = Learner(MODELS, KIT)
    for one in those:
        learner.offer(one)
    versions = [one for one in learner.advance(1_000) if isinstance(one, ModelVersion)]
    for model, name in ((MODELS[0], "mean"), (MODELS[1], "slow"), (MODELS[1], "fast")):
        ordered = sorted((one for one in those if one.model == model.name), key=Example.order)
        for version in (one for one in versions if (one.model, one.candidate) == (model.name, name)):
            known = ordered[: version.lineage.examples]
            assert known[0].labelled_at == version.lineage.first
            assert known[-1].labelled_at == version.lineage.last <= version.created_at
            assert version.body == _taught(model, name, known)
        if ordered:
            last = max(one.version for one in versions if one.model == model.name)
            assert last <= 2 * len(ordered)


def _taught(model: Model, name: str, known: list[Example]) -> bytes:
    make: Callable[..., Any] = KIT.make
    predictor = make(model, next(one for one in model.candidates if one.name == name))
    for one in known:
        predictor.learn(one.row, one.label, one.weight)
    return KIT.encode(predictor)
