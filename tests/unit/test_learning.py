"""Models in the workers: definitions and versions come in, examples and words go out, and what was learnt survives in pieces."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs import learning as module
from flink_jobs.adoption import SMALL
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
from flink_jobs.model_records import (
    LONGEST_VALUE,
    ModelRecordError,
    encode_version,
    header_of,
    published,
    read_definitions,
    read_record,
)
from flink_jobs.modelling import Learning, Scoring
from flink_jobs.outputs import Destination
from flink_jobs.worker import Worker
from online_models.definition import Candidate, Model
from online_models.example import Example, Row, decode_example, encode_example
from online_models.selection import OwnThresholds
from online_models.usage import Usage
from online_models.version import Lineage, ModelEvent, ModelVersion, Published, Quality, Retired
from profiles import Event, Profile
from rules.errors import RuleError, RuleErrors
from rules.rule_set import RuleSet
from rules.step import Decision, Rules, Timer, step
from rules.watch import Watched
from tests.frames import MONTH, START, Operator, payload, record
from tests.unit.test_schemas import complaints

HOUR = 3_600_000
MODELS = {"churn.yaml": "digest 1"}


def version(number: int = 1, candidate: str = "line", body: bytes = b"0.5", **fields: Any) -> ModelVersion:
    made: dict[str, Any] = {"digest": "digest 1", "role": "champion", **fields}
    return ModelVersion("churn", candidate, number, **made, created_at=START, lineage=Lineage(), metrics={}, body=body)


def parse(files: Mapping[str, str]) -> list[Model]:
    """The text of a file is the model's digest."""
    if "wrong" in files.values():
        raise RuleErrors([RuleError("churn.yaml", 1, 1, "this is wrong")])
    candidates = (Candidate("line", ()), Candidate("tree", ()))
    return [
        Model(name.removesuffix(".yaml"), "classification", (), candidates, digest=text) for name, text in files.items()
    ]


# --- the worker of the segments -----------------------------------------------------------------------------------------


class Features:
    def attach(self, compiler: Any) -> Watched:
        return Watched()


class Constant:
    """Says always the same."""

    def __init__(self, says: float) -> None:
        self.says = says

    def predict(self, row: Row) -> float:
        return self.says

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        raise AssertionError("nothing is learnt where customers are")

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        return []


class FakeServing:
    def __init__(self, models: Sequence[Model], features: Sequence[Any], before: FakeServing | None) -> None:
        self.models: dict[str, Any] = {}
        self.words: list[dict[str, Any]] = []
        for model, read in zip(models, features, strict=True):
            known = before.models.get(model.name) if before is not None else None
            held = SimpleNamespace(counts=Counter[str](), versions={}, usage=Usage())
            if known is not None and known.model.digest == model.digest:
                held = known.held
            self.models[model.name] = SimpleNamespace(model=model, features=read, held=held)

    def adopt(
        self, model: str, candidate: str, role: str, version: int, predictor: Any, thresholds: OwnThresholds | None
    ) -> bool:
        self.models[model].held.versions[candidate] = SimpleNamespace(
            version=version, role=role, predictor=predictor, thresholds=thresholds
        )
        return True

    def reports(self) -> list[dict[str, Any]]:
        words, self.words = self.words, []
        return words


def advance(
    profile: Profile | None, rules: Rules, serving: Any, happening: Event | Timer, watermark: int, customer: str
) -> tuple[Profile | None, Decision]:
    """Each event is an example; what is foretold is what each candidate says."""
    profile, decision = step(profile, rules, happening, watermark, None, customer)
    for name, served in serving.models.items() if isinstance(happening, Event) and serving else ():
        said = {one: [held.version, held.predictor.predict([])] for one, held in served.held.versions.items()}
        served.held.counts["predicted"] += len(said)
        served.held.usage.note(HOUR, bool(said))
        decision.examples = [
            *decision.examples,
            Example(name, served.model.digest, customer, happening.event_time, START, [], 1.0, 1.0, said),
        ]
    return profile, decision


class Reading:
    """Makes predictors of bodies; one that is `slow` waits until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.read: list[str] = []

    def __call__(self, model: Model, features: Any, version: ModelVersion) -> Constant:
        assert isinstance(features, Features)
        self.read.append(threading.current_thread().name)
        if version.body.startswith(b"slow"):
            assert self.go_on.wait(60)
        return Constant(float(version.body.removeprefix(b"slow").strip(b"\0")))


def with_models(version: int = 1, models: Mapping[str, str] = MODELS, **more: Any) -> bytes:
    return json.dumps({**json.loads(payload(version, **more)), "models": models}).encode()


class Shop(Operator):
    """The operator of a job that has models."""

    def __init__(self, rules: bytes | None = None, models: bool = True) -> None:
        self.reading = Reading()
        scoring = Scoring(parse, lambda model: Features(), FakeServing, self.reading, advance)
        super().__init__(Worker(lambda: MONTH, scoring), with_models() if rules is None else rules, models=models)

    def model(self, made: ModelVersion | bytes, now: bool = False) -> int:
        """Tell of a version; the one that is held then."""
        value = made if isinstance(made, bytes) else encode_version(made)
        _, held, outputs, counters = self.ask([MODEL, value, now])
        self._take(outputs, counters)
        return int(held)

    def foretold(self) -> dict[str, list[Any]]:
        """What is foretold of one more event."""
        self.one("c", record(at=START))
        return self.examples()[-1].predictions

    def examples(self) -> list[Example]:
        return [decode_example(value or b"") for key, value in self.outputs[Destination.LEARNER] if key is None]

    def refusals(self) -> list[str]:
        return [one["detail"]["reason"] for one in self.written(Destination.MODEL_QUALITY)]


def test_examples_go_to_the_learner_behind_the_definitions_of_their_models() -> None:
    shop = Shop()
    shop.one("c", record(at=START))
    (key, definitions), (none, example) = shop.outputs[Destination.LEARNER]
    assert key == b"definitions"
    assert read_definitions(definitions or b"").models == MODELS
    assert none is None
    assert decode_example(example or b"").customer == "c"
    assert shop.counts["examples"] == 1
    shop.check_accounts(1)


def test_a_version_is_scored_by_until_a_newer_one_comes() -> None:
    shop = Shop()
    assert shop.foretold() == {}
    shop.model(version(1))
    shop.model(version(2, "tree", b"0.25", role="challenger"))
    assert shop.foretold() == {"line": [1, 0.5], "tree": [2, 0.25]}
    shop.model(version(4, body=b"0.75"))
    shop.model(version(3, body=b"0.1"))
    assert shop.foretold()["line"] == [4, 0.75]
    assert shop.counts["models_accepted"] == 3
    assert shop.counts["scored"] == 4
    assert (shop.counts["scores_due_churn"], shop.counts["scores_given_churn"]) == (3, 2)
    assert shop.counts["score_age_1h_churn"] == 3
    assert shop.reading.read.count(threading.current_thread().name) == 3, "small ones are read at once"


def test_a_large_version_is_read_beside_the_batches_and_adopted_between_two() -> None:
    shop = Shop()
    shop.model(version(1))
    assert shop.model(version(2, body=b"slow0.9" + bytes(SMALL))) == 1
    assert shop.foretold() == {"line": [1, 0.5]}, "the one before is there as long as it takes"
    assert shop.model(version(3, body=b"slow0.8" + bytes(SMALL))) == 1
    shop.reading.go_on.set()
    adoption = shop.worker.adoption
    assert adoption is not None
    for _, _, future in adoption._reading:
        future.result(60)
    assert shop.foretold() == {"line": [3, 0.8]}
    assert shop.counts["models_accepted"] == 3


def test_a_small_version_does_not_wait_for_a_large_one_that_is_being_read() -> None:
    shop = Shop()
    shop.model(version(1))
    shop.model(version(2, body=b"slow0.9" + bytes(SMALL)))
    assert shop.model(version(3, "tree", b"0.25", role="challenger")) == 0, "it is adopted behind the large one"
    assert shop.foretold() == {"line": [1, 0.5]}
    shop.reading.go_on.set()
    adoption = shop.worker.adoption
    assert adoption is not None
    for _, _, future in adoption._reading:
        future.result(60)
    assert shop.foretold() == {"line": [2, 0.9], "tree": [3, 0.25]}


@pytest.mark.parametrize("size", [0, SMALL])
def test_thresholds_come_with_their_version(size: int) -> None:
    shop, own = Shop(), OwnThresholds("gender", 0.5, {"f": 0.4})
    shop.model(version(1, body=b"0.5" + bytes(size), thresholds=own), now=size > 0)
    rules = shop.worker.rules
    assert rules is not None and rules.serving is not None
    assert rules.serving.models["churn"].held.versions["line"].thresholds == own


def test_after_a_restart_a_version_is_there_before_the_first_customer() -> None:
    shop = Shop()
    shop.reading.go_on.set()
    shop.model(version(2, body=b"slow0.9" + bytes(SMALL)), now=True)
    assert shop.foretold() == {"line": [2, 0.9]}


def test_what_cannot_be_used_is_refused_and_the_version_before_stays() -> None:
    shop = Shop()
    told = [
        version(1),
        version(2, body=b"none of mine"),
        version(3, digest="digest 2"),
        version(4, "forest"),
        encode_version(version(5))[:-3],
        encode_version(version(6))[:30] + encode_version(version(7))[30:],
        b"nonsense",
    ]
    assert [shop.model(one) for one in told] == [1, 1, 1, 0, 1, 1, 0], "the operator keeps what is held"
    assert shop.foretold() == {"line": [1, 0.5]}
    assert shop.counts["models_refused"] == 6
    assert shop.refusals() == [
        "ValueError in reading it",
        "it was made for another definition of the model",
        "there is no such candidate",
        "behind the header there is no version of a model",
        "the header is that of another version",
    ]
    for word in shop.written(Destination.MODEL_QUALITY):
        assert complaints("model-quality", word) == []


def test_versions_of_models_that_are_not_there_wait_with_the_operator() -> None:
    shop = Shop(with_models(1, {"other.yaml": "digest 1"}))
    assert shop.model(version(1)) == 0
    assert shop.counts["models_refused"] == shop.counts["models_accepted"] == 0


def test_a_version_stays_under_other_rules_unless_its_model_means_something_else() -> None:
    shop = Shop()
    shop.model(version(1))
    shop.rules(with_models(2))
    assert shop.foretold() == {"line": [1, 0.5]}
    shop.rules(with_models(3, {"churn.yaml": "digest 2"}))
    assert shop.foretold() == {}
    shop.rules(payload(4))
    shop.one("c", record(at=START))
    assert len(shop.examples()) == 2
    codes = [read_definitions(value or b"").code for key, value in shop.outputs[Destination.LEARNER] if key]
    assert codes == [3, 5, 7, 9]


def test_models_are_in_force_while_segments_are_warming() -> None:
    shop = Shop()
    shop.model(version(1))
    shop.rules(with_models(2, warming={"vip": None}))
    assert shop.foretold() == {"line": [1, 0.5]}
    shop.rules(with_models(2))
    assert shop.foretold() == {"line": [1, 0.5]}


def test_a_job_without_a_learner_refuses_models_and_says_what_to_do() -> None:
    shop = Shop(payload(), models=False)
    accepted, detail = shop.rules(with_models(2))
    assert not accepted
    assert "submit it again" in detail
    assert shop.outputs[Destination.LEARNER] == []
    accepted, detail = Shop().rules(with_models(2, {"churn.yaml": "wrong"}))
    assert (accepted, detail) == (False, "rule set refused: churn.yaml:1:1: this is wrong")


def test_only_the_first_subtask_counts_what_all_adopt() -> None:
    shop = Shop()
    shop.worker.place = (1, 2)
    shop.model(version(1))
    shop.model(version(2, digest="digest 2"))
    shop.model(b"nonsense")
    assert shop.foretold() == {"line": [1, 0.5]}
    assert shop.counts["models_accepted"] == shop.counts["models_refused"] == 0
    assert shop.refusals() == []


# --- rule sets and records ----------------------------------------------------------------------------------------------


def test_a_rule_set_carries_models_and_without_any_is_as_older_jobs_know_it() -> None:
    rule_set = RuleSet.from_payload(with_models())
    assert rule_set.models == MODELS
    assert RuleSet.from_payload(rule_set.to_payload()) == rule_set
    assert RuleSet.from_payload(with_models(2, warming={"vip": None})).active.models == MODELS
    assert b"models" not in RuleSet.from_payload(payload()).to_payload()
    with pytest.raises(RuleErrors, match="not the name of a model file"):
        RuleSet.from_payload(with_models(1, {"../churn": "x"}))
    with pytest.raises(RuleErrors, match="at most 50 models"):
        RuleSet.from_payload(with_models(1, {f"m{one}.yaml": "" for one in range(51)}))


@given(
    names=st.tuples(*[st.text(st.characters(codec="utf-8"), max_size=300)] * 2),
    number=st.sampled_from([0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**62]),
)
def test_a_record_is_read_as_it_was_written(names: tuple[str, str], number: int) -> None:
    made = msgspec.structs.replace(version(number), model=names[0], candidate=names[1])
    found = read_record(encode_version(made))
    assert found.header == header_of(made)
    assert found.decode() == made


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"\x95" + rest))
def test_whatever_bytes_there_are_it_is_a_record_or_it_is_said_that_it_is_none(data: bytes) -> None:
    try:
        read_record(data).decode()
    except ModelRecordError:
        return
    raise AssertionError("that many bytes hold no version")


def test_a_version_that_the_topic_does_not_take_is_not_written() -> None:
    with pytest.raises(ModelRecordError, match="more than"):
        encode_version(version(body=bytes(LONGEST_VALUE)))


def test_what_a_learner_says_goes_to_its_topic() -> None:
    assert published(version(7)) == (Destination.MODEL_UPDATES, b"churn/line/7", encode_version(version(7)))
    assert published(Retired("churn", "line", 3)) == (Destination.MODEL_UPDATES, b"churn/line/3", None)
    words = [Quality("churn", "d", START, "line", {"line": {"log_loss": 0.3}}, []), ModelEvent("churn", "removed", -1)]
    said = [published(one) for one in words]
    assert {one[:2] for one in said} == {(Destination.MODEL_QUALITY, b"churn")}
    quality, removed = (json.loads(one[2] or b"") for one in said)
    assert complaints("model-quality", quality) == complaints("model-quality", removed) == []
    assert (quality["kind"], quality["at"]) == ("quality", "2026-01-01T00:00:00.000Z")
    assert quality["detail"]["candidates"] == {"line": {"log_loss": 0.3}}
    assert (removed["kind"], removed["at"]) == ("removed", None)


# --- the worker that learns ---------------------------------------------------------------------------------------------


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
