"""Large predictors are not encoded for each snapshot: what is kept instead, how much of it, and when it begins afresh."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import msgspec
import pytest

from online_models import relearning
from online_models.definition import Model
from online_models.example import Row
from online_models.kit import Kit
from online_models.learner import Learner
from online_models.relearning import Relearning
from online_models.version import Lineage, ModelEvent, ModelVersion, Published
from tests.learning import KIT, Mean, a_model, an_example, candidate, decode, encode

MEAN = a_model(candidates=(candidate("mean", "Mean"),), publish_examples=3)
SGD = a_model(candidates=(candidate("sgd", "Sgd"),), publish_examples=3)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """All is large; here is what was encoded."""
    monkeypatch.setattr(relearning, "LARGE", 1)
    return []


def _counting(encoded: list[bytes]) -> Kit:
    def counted(predictor: Any) -> bytes:
        encoded.append(encode(predictor))
        return encoded[-1]

    return dataclasses.replace(KIT, encode=counted)


def _teach(learner: Learner, *times: int, **fields: Any) -> list[Published]:
    for at in times:
        assert learner.offer(an_example(at, **fields)) == "taken"
    return learner.advance(max(times))


def _bodies(said: list[Published]) -> list[bytes]:
    return [one.body for one in said if isinstance(one, ModelVersion)]


def _kept(learner: Learner) -> tuple[Any, int]:
    """The body, and the number of examples, that the first candidate is kept as."""
    (contender,) = msgspec.msgpack.decode(learner.snapshot()[1:])[-1][0][11].values()
    return contender[0], len(contender[-1])


def test_a_snapshot_of_a_large_model_encodes_nothing_while_it_learns(encoded: list[bytes]) -> None:
    learner = Learner([MEAN], _counting(encoded))
    (body,) = _bodies(_teach(learner, 1, 2, 3))
    for at in (4, 5):
        _teach(learner, at)
        assert _kept(learner) == (None, at - 3), "the version is kept anyway, and the examples since"
    assert encoded == [body]
    restored, _ = Learner.restore(learner.snapshot(), [MEAN], _counting(encoded))
    assert restored.snapshot() == learner.snapshot()
    expected = _bodies(_teach(learner, 6))
    assert _bodies(_teach(restored, 6)) == expected
    assert encoded == [body, *expected * 2], "a version is encoded, and nothing else was"


def test_before_the_first_version_the_snapshot_itself_is_gone_on_from(encoded: list[bytes]) -> None:
    learner = Learner([MEAN], _counting(encoded))
    _teach(learner, 1)
    assert _kept(learner) == (encoded[0], 0)
    _teach(learner, 2)
    assert _kept(learner) == (encoded[0], 1)
    assert len(encoded) == 1
    restored, _ = Learner.restore(learner.snapshot(), [MEAN], KIT)
    assert _bodies(_teach(restored, 3)) == _bodies(_teach(learner, 3))


def test_what_a_snapshot_has_just_encoded_is_published_as_it_is(encoded: list[bytes]) -> None:
    learner = Learner([MEAN], _counting(encoded))
    _teach(learner, 1)
    learner.snapshot()
    assert _bodies(learner.conclude()) == encoded
    _teach(learner, 2)
    learner.snapshot()
    assert _bodies(learner.conclude()) != encoded[:1]
    assert len(encoded) == 2


def test_a_small_model_is_encoded_for_each_snapshot() -> None:
    encoded: list[bytes] = []
    learner = Learner([MEAN], _counting(encoded))
    _teach(learner, 1, 2, 3)
    _teach(learner, 4)
    assert _kept(learner) == (encoded[1], 0)
    _teach(learner, 5)
    assert _kept(learner) == (encoded[2], 0)


@pytest.mark.parametrize(("length", "kept"), [(0, 0), (-1, None)], ids=["large", "a byte less"])
def test_large_begins_at_a_number_of_bytes(length: int, kept: int | None) -> None:
    known = Relearning()
    known.begin(bytes(relearning.LARGE + length))
    assert (None if known.body is None else len(known.learnt)) == kept


def test_so_many_examples_are_kept_and_with_one_more_it_is_encoded_anew(
    encoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relearning, "MOST", 2)
    model = dataclasses.replace(MEAN, learning=dataclasses.replace(MEAN.learning, publish_examples=4))
    learner = Learner([model], _counting(encoded))
    (body,) = _bodies(_teach(learner, 1, 2, 3, 4))
    _teach(learner, 5, 6)
    assert _kept(learner) == (None, 2)
    _teach(learner, 7)
    assert _kept(learner) == (encoded[-1], 0)
    assert len(encoded) == 2 and encoded[-1] != body
    restored, _ = Learner.restore(learner.snapshot(), [model], KIT)
    assert _bodies(_teach(restored, 8)) == _bodies(_teach(learner, 8))


def test_all_candidates_together_have_no_more_to_learn_again_than_one_may(
    encoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each example of a large forest takes tens of milliseconds, and there is one deadline for the learner's start."""
    monkeypatch.setattr(relearning, "MOST", 4)
    candidates = tuple(candidate(name, "Mean") for name in ("one", "two", "three"))
    models = [a_model(candidates=candidates[:2]), a_model("other", candidates[2:])]
    learner = Learner(models, _counting(encoded))
    learner.snapshot()
    lengths = []
    for at in range(1, 7):
        learner.offer(an_example(at, model="other"))
        _teach(learner, at)
        learner, _ = Learner.restore(learner.snapshot(), models, learner._kit)
        courses = msgspec.msgpack.decode(learner.snapshot()[1:])[-1]
        lengths.append([len(one[-1]) for course in courses for one in course[11].values()])
    assert lengths == [[1, 1, 1], [2, 2, 0], [3, 0, 1], [0, 1, 2], [1, 2, 0], [2, 0, 1]]
    assert _bodies(learner.conclude()) == [encode(_taught(Mean(), 6))] * 3


def test_so_many_bytes_of_examples_are_kept_and_not_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    row: Row = ["x" * 100, 1.0, None]
    each = len(msgspec.msgpack.encode((row, 1.0, 1.0)))
    for most, kept in ((3 * each, 3), (3 * each - 1, None)):
        monkeypatch.setattr(relearning, "MOST_BYTES", most)
        known = Relearning()
        known.begin(bytes(relearning.LARGE))
        for _ in range(3):
            known.take(row, 1.0, 1.0)
        assert (None if known.body is None else len(known.learnt)) == kept


@pytest.mark.parametrize("encoded_anew", [False, True])
def test_a_candidate_in_quarantine_goes_on_from_its_version_and_forgets_what_it_had_learnt_since(
    encoded: list[bytes], encoded_anew: bool
) -> None:
    learner = Learner([SGD], _counting(encoded))
    (good,) = _bodies(_teach(learner, 1, 2, 3))
    _teach(learner, 4)
    if encoded_anew:
        learner.snapshot()
    _teach(learner, 5, row=["fail"])
    assert _kept(learner) == (None, 0)
    _teach(learner, 6)
    _teach(learner, 7)
    assert _kept(learner) == (None, 1)
    restored, _ = Learner.restore(learner.snapshot(), [SGD], KIT)
    expected = decode(SGD, SGD.candidates[0], good)
    for _ in range(3):
        expected.learn([1.0], 1.0, 1.0)
    assert _bodies(_teach(restored, 8, 9)) == [encode(expected)] == _bodies(_teach(learner, 8, 9))


def test_a_candidate_that_begins_anew_is_encoded(encoded: list[bytes]) -> None:
    learner = Learner([SGD], _counting(encoded))
    _teach(learner, 1)
    learner.snapshot()
    _teach(learner, 2, row=["fail"])
    _teach(learner, 3)
    assert _kept(learner) == (encode(KIT.make(SGD, SGD.candidates[0])), 0)


def test_a_version_from_elsewhere_is_what_is_gone_on_from(encoded: list[bytes]) -> None:
    model = a_model(candidates=MEAN.candidates)
    learner = Learner([model], _counting(encoded))
    _teach(learner, 1)
    learner.snapshot()
    _teach(learner, 2)
    body = encode(Mean())
    lineage = Lineage(1, 2, 9, 0, "rollback")
    learner.adopt(ModelVersion("purchase", "mean", 7, "champion", "d1", 2, lineage, {}, body))
    assert _kept(learner) == (None, 0)
    _teach(learner, 3)
    restored, _ = Learner.restore(learner.snapshot(), [model], KIT)
    (found,) = _bodies(restored.conclude())
    assert found == encode(_taught(Mean(), 1))
    assert len(encoded) == 1


def _taught(mean: Mean, count: int) -> Mean:
    for _ in range(count):
        mean.learn([], 1.0, 1.0)
    return mean


def test_state_of_a_build_that_encoded_each_time_is_gone_on_from(encoded: list[bytes]) -> None:
    learner = Learner([MEAN], KIT)
    _teach(learner, 1, 2, 3, 4)
    state = msgspec.msgpack.decode(learner.snapshot()[1:])
    for course in state[-1]:
        for contender in course[11].values():
            assert len(contender.pop()) == 1, "what was added last"
            contender[0] = encode(_taught(Mean(), 4))
    old = learner.snapshot()[:1] + msgspec.msgpack.encode(state)
    restored, told = Learner.restore(old, [MEAN], _counting(encoded))
    assert not told
    assert _kept(restored) == (encode(_taught(Mean(), 4)), 0)
    _teach(restored, 5)
    assert _kept(restored)[1] == 1 and not encoded, "large as it is, it is gone on from"
    assert _bodies(_teach(restored, 6)) == _bodies(_teach(learner, 5, 6))


def test_definitions_that_stay_as_they_are_cost_nothing_when_others_change(encoded: list[bytes]) -> None:
    kit = _counting(encoded)
    read: list[bytes] = []

    def reading(model: Model, candidate: Any, body: bytes) -> Any:
        read.append(body)
        return decode(model, candidate, body)

    learner = Learner([MEAN, a_model("other")], dataclasses.replace(kit, decode=reading))
    _teach(learner, 1)
    other = a_model("other", digest="d2")
    told = learner.follow([other, MEAN])
    assert [(one.model, one.kind) for one in told if isinstance(one, ModelEvent)] == [("other", "restarted")]
    assert not read and len(encoded) == len(other.candidates)
    again, _ = Learner.restore(learner.snapshot(), [other, MEAN], kit)
    assert again.snapshot() == learner.snapshot(), "in the order of the definitions"


class Telling(Mean):
    """Tells of each example that it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        super().learn(row, label, weight)
        self.events.append({"kind": "persona birth"})

    def happened(self) -> list[dict[str, Any]]:
        found, self.events = self.events, []
        return found


def test_what_has_happened_is_not_told_again(encoded: list[bytes]) -> None:
    def read(model: Model, candidate: Any, body: bytes) -> Telling:
        one = Telling()
        one.go_on(msgspec.json.decode(body))
        return one

    kit = dataclasses.replace(KIT, make=lambda model, candidate: Telling(), decode=read)
    learner = Learner([MEAN], kit)
    _teach(learner, 1, 2, 3, 4, 5)
    restored, told = Learner.restore(learner.snapshot(), [MEAN], kit)
    assert _kept(learner)[1] == 2
    assert not told
    assert _teach(restored, 6) == _teach(learner, 6)


def test_what_cannot_be_learnt_again_is_quarantined_and_the_job_goes_on(encoded: list[bytes]) -> None:
    """Another build may fail where the one before did not; raising would stop the job at each start."""
    learner = Learner([MEAN], KIT)
    (good,) = _bodies(_teach(learner, 1, 2, 3))
    _teach(learner, 4)

    class Strict(Mean):
        def learn(self, row: Row, label: float | None, weight: float) -> None:
            raise ValueError(f"anna's row {row}")

    def read(model: Model, candidate: Any, body: bytes) -> Strict:
        one = Strict()
        one.go_on(msgspec.json.decode(body))
        return one

    restored, told = Learner.restore(learner.snapshot(), [MEAN], dataclasses.replace(KIT, decode=read))
    (event,) = told
    assert isinstance(event, ModelEvent)
    assert (event.kind, event.candidate, event.at) == ("quarantined", "mean", 4)
    assert event.detail["failure"].startswith("learning again raised ValueError (")
    assert "anna" not in str(event)
    assert _kept(restored) == (None, 0)
    assert _bodies(functools.reduce(lambda _, at: _teach(restored, at), (5, 6), list[Published]())) == []
    assert encode(restored._courses["purchase"].contenders["mean"].predictor) == good
