"""Models in the worker of the segments: definitions and versions come in, examples and words go out."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from flink_jobs.adoption import SMALL
from flink_jobs.frames import MODEL
from flink_jobs.model_records import encode_version, read_definitions
from flink_jobs.modelling import Scoring
from flink_jobs.outputs import Destination
from flink_jobs.worker import Worker
from online_models.definition import Model
from online_models.example import Example, Row, decode_example
from online_models.selection import OwnThresholds
from online_models.usage import Usage
from online_models.version import ModelVersion
from profiles import Event, Profile
from rules.step import Decision, Rules, Timer, step
from rules.watch import Watched
from tests.frames import MONTH, START, Operator, payload, record
from tests.unit.test_schemas import complaints
from tests.versions import MODELS, parse, version, with_models

HOUR = 3_600_000


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
        version(4, "forest"),
        encode_version(version(5))[:-3],
        encode_version(version(6))[:30] + encode_version(version(7))[30:],
        b"nonsense",
    ]
    assert [shop.model(one) for one in told] == [1, 1, 0, 1, 1, 0], "the operator keeps what is held"
    assert shop.foretold() == {"line": [1, 0.5]}
    assert shop.counts["models_refused"] == 5
    assert shop.refusals() == [
        "ValueError in reading it",
        "there is no such candidate",
        "behind the header there is no version of a model",
        "the header is that of another version",
    ]
    for word in shop.written(Destination.MODEL_QUALITY):
        assert complaints("model-quality", word) == []


def test_a_version_of_another_definition_is_counted_and_the_version_before_stays() -> None:
    """The learner says it, once; each start and each change of the rules would say it here once more."""
    shop = Shop()
    other = version(3, "forest", digest="digest 2")
    assert [shop.model(one) for one in (version(1), version(2, digest="digest 2"), other, other)] == [1, 1, 0, 0]
    assert shop.foretold() == {"line": [1, 0.5]}
    assert (shop.counts["models_outdated"], shop.counts["models_refused"], shop.refusals()) == (3, 0, [])


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
