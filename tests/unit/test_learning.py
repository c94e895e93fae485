"""The worker that learns: examples and the watermark come in, versions go out, and what was learnt survives in pieces."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from flink_jobs import learning as module
from flink_jobs.frames import (
    BATCH,
    EXAMPLES,
    HELLO,
    MODEL,
    PROTOCOL_VERSION,
    RESTORE,
    RULES,
    SNAPSHOT,
    WATERMARK,
    ProtocolError,
)
from flink_jobs.learning import LearningWorker
from flink_jobs.model_records import encode_version, published
from flink_jobs.modelling import Learning
from flink_jobs.outputs import Destination
from online_models.definition import Model
from online_models.example import Example, encode_example
from online_models.version import ModelEvent, ModelVersion, Published
from tests.frames import START
from tests.unit.test_schemas import complaints
from tests.versions import MODELS, parse, version


class FakeLearner:
    """Counts examples, and publishes a version for each that it learns."""

    def __init__(self, models: Sequence[Model], learnt: int = 0) -> None:
        self.models = list(models)
        self.counts = Counter({"learnt": learnt} if learnt else {})
        self.waiting: list[int] = []
        self.until = -1

    @property
    def behind(self) -> bool:
        return any(one <= self.until for one in self.waiting)

    def offer(self, example: Example) -> str:
        if len(self.waiting) >= 6:
            return "full"
        self.waiting.append(example.labelled_at)
        self.counts["taken"] += 1
        return "taken"

    def advance(self, watermark: int, most: int | None = None) -> list[Published]:
        self.until = max(self.until, watermark)
        due = sorted(one for one in self.waiting if one <= self.until)[:most]
        for one in due:
            self.waiting.remove(one)
            self.counts["learnt"] += 1
        return [version(one) for one in due]

    def adopt(self, version: ModelVersion) -> list[Published]:
        return [ModelEvent(version.model, "adopted", START, version.candidate, {"version": version.version})]

    def follow(self, models: Sequence[Model]) -> list[Published]:
        self.models = list(models)
        return [ModelEvent("churn", "restarted", START)]

    def snapshot(self) -> bytes:
        return json.dumps([self.waiting, self.counts["learnt"]]).encode()


def restore(data: bytes, models: Sequence[Model]) -> tuple[FakeLearner, list[Published]]:
    waiting, learnt = json.loads(data)
    learner = FakeLearner(models, learnt)
    learner.waiting = waiting
    return learner, []


class Asker:
    """Asks the learner's worker, and keeps what it says."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.worker = LearningWorker(Learning(parse, FakeLearner, restore), clock)
        self.counts: Counter[str] = Counter()
        self.said: list[Any] = []
        assert self.ask(HELLO, PROTOCOL_VERSION, 0, 1, b"{}")[0].startswith("learner")

    def ask(self, *frame: Any) -> list[Any]:
        kind, *rest = msgspec.msgpack.decode(self.worker.answer(msgspec.msgpack.encode(frame)))
        assert kind == frame[0]
        if kind not in (HELLO, SNAPSHOT):
            *rest, outputs, counts = rest
            self.counts.update(counts)
            self.said += outputs
        return rest  # type: ignore[no-any-return]

    def define(self, code: int, models: Mapping[str, str] = MODELS) -> list[Any]:
        return self.ask(RULES, msgspec.msgpack.encode((code, models)))

    def examples(self, *times: int) -> None:
        made = [Example("churn", "digest 1", "c", at, at, [], 1.0) for at in times]
        self.ask(EXAMPLES, [encode_example(one) for one in made])

    def state(self) -> list[bytes]:
        count, first = self.ask(SNAPSHOT, 0)
        return [first, *(self.ask(SNAPSHOT, one)[1] for one in range(1, count))]


def test_examples_are_learnt_a_few_at_a_time_until_it_is_no_longer_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    asker = Asker()
    asker.define(3)
    asker.examples(5, 3, 9, 1, 2)
    assert [asker.ask(WATERMARK, 5) for _ in range(3)] == [[True], [False], [False]]
    assert [key for _, key, _ in asker.said] == [b"churn/line/1", b"churn/line/2", b"churn/line/3", b"churn/line/5"]
    assert asker.counts == {"examples_taken": 5, "examples_learnt": 4, "versions_published": 4}


def test_a_learner_without_models_waits_for_some_also_after_a_restart() -> None:
    asker = Asker()
    assert asker.define(3, {}) == [True, "no models"]
    assert asker.worker.learner is None, "River need not be there"
    assert asker.ask(WATERMARK, 5) == [False]
    (state,) = asker.state()
    again = Asker()
    again.ask(RESTORE, 0, 1, state)
    assert again.define(3, {}) == [True, "known"]
    assert again.define(5) == [True, "1 models"]
    again.examples(7)
    again.ask(WATERMARK, 7)
    assert again.counts["examples_learnt"] == 1


@pytest.mark.parametrize(("settings", "prepared"), [(b"{}", 0), (b'{"models": false}', 0), (b'{"models": true}', 1)])
def test_it_gets_ready_with_its_first_word_where_there_are_models(settings: bytes, prepared: int) -> None:
    """Later, examples would wait for it, and customers behind them."""
    ready: list[None] = []
    worker = LearningWorker(Learning(parse, FakeLearner, restore, lambda: ready.append(None)))
    assert worker.hello(PROTOCOL_VERSION, 0, 1, settings).startswith("learner")
    assert len(ready) == prepared


@pytest.mark.parametrize(("step", "learnt"), [(0.25, [4, 2]), (0.5, [2, 2, 2]), (1.0, [1] * 6)])
def test_a_frame_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch, step: float, learnt: list[int]) -> None:
    """Five hundred examples of a large forest once took most of the time after which a worker counts as dead."""
    monkeypatch.setattr(module, "STEP", 1)
    asker = Asker(itertools.count(0.0, step).__next__)
    asker.define(3)
    asker.examples(1, 2, 3, 4, 5, 6)
    found = []
    behind = True
    while behind:
        before = asker.counts["examples_learnt"]
        (behind,) = asker.ask(WATERMARK, 6)
        found.append(asker.counts["examples_learnt"] - before)
    assert found == learnt


def test_definitions_are_followed_once_though_every_subtask_says_them() -> None:
    asker = Asker()
    assert asker.define(3) == [True, "1 models"]
    assert asker.define(3) == [True, "known"]
    assert asker.define(5) == [True, "1 models"]
    assert asker.said == [], "the same models in another rule set"
    asker.define(7, {"churn.yaml": "digest 2"})
    asker.define(5)
    assert [json.loads(value)["kind"] for _, _, value in asker.said] == ["restarted"]
    assert [one.digest for one in asker.worker.learner.models] == ["digest 2"]  # type: ignore[union-attr]
    assert asker.define(9, {"churn.yaml": "wrong"}) == [False, "churn.yaml:1:1: this is wrong"]


def test_what_was_learnt_goes_on_after_a_failure_and_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 7)
    before = Asker()
    before.define(3)
    before.examples(1, 2, 3)
    before.ask(WATERMARK, 1)
    pieces = before.state()
    assert len(pieces) > 2
    after = Asker()
    for number, piece in enumerate(pieces):
        after.ask(RESTORE, number, len(pieces), piece)
    assert after.define(3) == [True, "known"]
    after.ask(WATERMARK, 3)
    assert after.counts["examples_learnt"] == 2
    assert [key for _, key, _ in after.said] == [b"churn/line/2", b"churn/line/3"]


def test_before_there_are_models_there_is_a_state_too() -> None:
    asker = Asker()
    (state,) = asker.state()
    other = Asker()
    other.ask(RESTORE, 0, 1, state)
    assert other.ask(WATERMARK, 5) == [False]
    assert other.define(3) == [True, "1 models"]
    with pytest.raises(ProtocolError, match="before the definitions"):
        asker.examples(1)
    with pytest.raises(ProtocolError, match="codec version 9"):
        asker.ask(RESTORE, 0, 1, b"\x09")
    with pytest.raises(ProtocolError, match="unknown frame 2"):
        asker.ask(BATCH)


def test_examples_for_which_there_is_no_room_are_counted() -> None:
    asker = Asker()
    asker.define(3)
    asker.examples(*range(1, 9))
    assert asker.counts == {"examples_taken": 6, "examples_dropped": 2}


def test_it_goes_on_from_a_version_made_elsewhere() -> None:
    asker = Asker()
    asker.ask(MODEL, encode_version(version(4)), True)
    asker.define(3)
    asker.ask(MODEL, b"nonsense", True)
    asker.ask(MODEL, encode_version(version(5)), True)
    assert [json.loads(value)["detail"] for _, _, value in asker.said] == [{"version": 5}]


@pytest.mark.parametrize("kind", get_args(get_type_hints(ModelEvent)["kind"]))
def test_the_schema_knows_whatever_may_happen_to_a_model(kind: Any) -> None:
    value = published(ModelEvent("churn", kind, START, "line", {"name": "x"}))[2]
    assert value is not None
    assert complaints("model-quality", json.loads(value)) == []


def test_a_version_that_is_too_long_is_said_instead_of_failing_the_job_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flink_jobs.model_records.LONGEST_VALUE", 10)
    asker = Asker()
    asker.define(3)
    asker.examples(1)
    asker.ask(WATERMARK, 1)
    ((destination, _, value),) = asker.said
    assert destination == Destination.MODEL_QUALITY
    assert "more than 10" in json.loads(value)["detail"]["reason"]
    assert asker.counts["versions_too_long"] == 1
