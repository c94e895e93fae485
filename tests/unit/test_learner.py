"""The learner, step by step: what waits, what is published when, who is quarantined, adopted, promoted."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
from typing import Any

import msgspec
import pytest

from online_models.definition import Candidate, Model, Promotion
from online_models.example import Example
from online_models.kit import Kit
from online_models.learner import Learner, UnknownState
from online_models.version import KEPT, Lineage, ModelEvent, ModelVersion, Published, Quality, Retired
from tests.learning import KIT, a_model, an_example, candidate, decode, encode, make

MEAN = (candidate("mean", "Mean"),)
SGD = (candidate("sgd", "Sgd"),)


def _versions(said: list[Published]) -> list[ModelVersion]:
    return [one for one in said if isinstance(one, ModelVersion)]


def _events(said: list[Published]) -> list[tuple[str, str]]:
    return [(one.kind, one.candidate) for one in said if isinstance(one, ModelEvent)]


def _taught(learner: Learner, examples: list[Example]) -> list[Published]:
    for one in examples:
        assert learner.offer(one) == "taken"
    return learner.advance(max(one.labelled_at for one in examples))


# --- what is offered --------------------------------------------------------------------------------------------------


def test_an_example_labelled_at_the_watermark_comes_too_late_and_one_a_millisecond_later_does_not() -> None:
    learner = Learner([a_model()], KIT)
    learner.advance(1_000)
    assert learner.offer(an_example(1_000)) == "late"
    assert learner.offer(an_example(1_001)) == "taken"
    learner.advance(1_000)
    assert learner.waiting == 1
    learner.advance(1_001)
    assert (learner.waiting, learner.counts["learnt"]) == (0, 1)


@pytest.mark.parametrize(
    ("changed", "answer"),
    [
        ({"model": "other"}, "unknown"),
        ({"digest": "d0"}, "outdated"),
        ({"label": math.nan}, "invalid"),
        ({"weight": 0.0}, "invalid"),
        ({"weight": math.inf}, "invalid"),
        ({"row": [1.0, math.inf]}, "invalid"),
        ({"labelled_at": 9}, "invalid"),
        ({"row": ["x", None, True, 1.0]}, "taken"),
    ],
)
def test_what_cannot_be_learnt_is_refused_and_counted(changed: dict[str, Any], answer: str) -> None:
    learner = Learner([a_model()], KIT)
    assert learner.offer(msgspec.structs.replace(an_example(10), **changed)) == answer
    assert dict(learner.counts) == {answer: 1}


def test_a_full_learner_says_so_and_takes_the_example_once_time_has_moved_on() -> None:
    learner = Learner([a_model()], KIT, capacity=2)
    assert [learner.offer(an_example(at)) for at in (1, 2, 3)] == ["taken", "taken", "full"]
    assert learner.offer(an_example(2)) == "duplicate"
    learner.advance(1)
    assert learner.offer(an_example(3)) == "taken"
    assert learner.counts == {"taken": 3, "duplicate": 1, "learnt": 1}


def test_a_moment_of_a_customer_is_learnt_once_whatever_its_label_says_of_the_time() -> None:
    learner = Learner([a_model(candidates=MEAN)], KIT)
    assert learner.offer(an_example(5, labelled_at=50)) == "taken"
    assert learner.offer(an_example(5, labelled_at=51)) == "duplicate"


# --- publishing -------------------------------------------------------------------------------------------------------


def test_a_version_is_published_when_its_time_has_come_by_the_millisecond() -> None:
    learner = Learner([a_model(candidates=MEAN, publish=100)], KIT)
    learner.offer(an_example(10))
    assert not learner.advance(109)
    learner.offer(an_example(110, 0.0))
    (version,) = _versions(learner.advance(110))
    assert (version.version, version.created_at, version.role) == (1, 110, "champion")
    assert version.lineage == Lineage(10, 110, 2, 0, "stream", {"Mean": {}}, "0.0", "0.0")


def test_the_first_example_past_the_time_is_not_part_of_the_version() -> None:
    learner = Learner([a_model(candidates=MEAN, publish=100)], KIT)
    learner.offer(an_example(10))
    learner.offer(an_example(111))
    (version,) = _versions(learner.advance(200))
    assert (version.created_at, version.lineage.examples) == (110, 1)


def test_a_version_is_published_after_so_many_examples_and_nothing_while_there_are_none() -> None:
    learner = Learner([a_model(candidates=MEAN, publish_examples=3)], KIT)
    said = _taught(learner, [an_example(at) for at in range(1, 8)])
    assert [(one.created_at, one.lineage.parent) for one in _versions(said)] == [(3, 0), (6, 1)]
    assert len(_versions(learner.advance(10_000))) == 1
    assert not learner.advance(10**12)


def test_the_newest_versions_are_kept_and_older_ones_deleted() -> None:
    learner = Learner([a_model(candidates=MEAN, publish_examples=1)], KIT)
    said = _taught(learner, [an_example(at) for at in range(1, KEPT + 3)])
    assert [one.key for one in said if isinstance(one, Retired)] == ["purchase/mean/1", "purchase/mean/2"]


def test_figures_are_of_what_was_foretold_before_not_of_what_was_learnt_since() -> None:
    learner = Learner([a_model(publish_examples=2)], KIT)
    said = _taught(
        learner,
        [an_example(1, 1.0, predictions={"mean": [1, 0.5]}), an_example(2, 0.0, predictions={"mean": [1, 1.0]})],
    )
    (quality,) = (one for one in said if isinstance(one, Quality))
    assert quality.candidates["mean"]["brier"] == (0.25 + 1.0) / 2
    assert (quality.candidates["sgd"]["observed"], quality.candidates["sgd"]["missed"]) == (0, 2)
    assert quality.champion == "mean" and [one["challenger"] for one in quality.contests] == ["sgd"]
    json.dumps(msgspec.to_builtins(quality))


def test_what_is_left_is_published_at_the_end() -> None:
    learner = Learner([a_model(candidates=MEAN)], KIT)
    assert not _taught(learner, [an_example(1)])
    assert [one.created_at for one in _versions(learner.conclude())] == [1]
    assert not learner.conclude()


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fail", "nan"])
def test_a_candidate_that_breaks_goes_back_to_its_last_good_version(how: str) -> None:
    learner = Learner([a_model(publish_examples=3)], KIT)
    good = _versions(_taught(learner, [an_example(at, row=[1.0, 2.0]) for at in (1, 2, 3)]))
    said = _taught(learner, [an_example(4, row=[1.0, 2.0]), an_example(5, row=[how]), an_example(6, row=[1.0, 2.0])])
    assert _events(said) == [("quarantined", "sgd")]
    assert [one.candidate for one in _versions(said)] == ["mean"], "and the others go on"
    after = _versions(_taught(learner, [an_example(at, row=[1.0, 2.0]) for at in (7, 8, 9)]))
    expected = decode(a_model(), a_model().candidates[1], good[1].body)
    for _ in range(3):
        expected.learn([1.0, 2.0], 1.0, 1.0)
    assert after[1].body == encode(expected)
    assert (after[1].lineage.examples, after[1].lineage.parent) == (6, good[1].version)


def test_a_failure_is_told_without_what_the_row_held() -> None:
    learner = Learner([a_model(candidates=SGD, publish_examples=3)], KIT)
    said = _taught(learner, [an_example(1, row=["fail"]), an_example(2, row=["fail"])])
    (event,) = (one for one in said if isinstance(one, ModelEvent))
    assert "learning raised ValueError (learning.py:" in event.detail["failure"]
    assert "anna" not in str(event)


def test_a_candidate_that_never_worked_has_no_version() -> None:
    learner = Learner([a_model(candidates=SGD, publish_examples=2)], KIT)
    said = _taught(learner, [an_example(at, row=["nan", 1.0]) for at in range(1, 7)])
    assert not _versions(said)
    assert _events(said) == [("quarantined", "sgd")] * 3


def test_a_candidate_whose_last_good_version_was_not_good_begins_anew() -> None:
    """The rows at hand when it was published did not show the number that was none."""
    learner = Learner([a_model(candidates=SGD, publish_examples=2)], KIT)
    assert _versions(_taught(learner, [an_example(at, row=["nan"]) for at in (1, 2)]))
    said = _taught(learner, [an_example(at, row=[1.0, 1.0]) for at in (3, 4)])
    assert (_events(said), _versions(said)) == ([("quarantined", "sgd")], [])
    (version,) = _versions(_taught(learner, [an_example(at, row=[1.0, 1.0]) for at in (5, 6)]))
    assert (version.lineage.examples, version.lineage.parent, version.version) == (2, 0, 2)


# --- versions from elsewhere ------------------------------------------------------------------------------------------


def _trained(last: int = 100, number: int = 7, origin: Any = "history", **changed: Any) -> ModelVersion:
    predictor = make(a_model(), MEAN[0])
    predictor.learn([], 0.25, 8.0)
    lineage = Lineage(1, last, 8, 0, origin)
    version = ModelVersion("purchase", "mean", number, "champion", "d1", last, lineage, {}, encode(predictor))
    return msgspec.structs.replace(version, **changed)


def test_a_trained_version_is_gone_on_from_and_what_it_knows_is_not_learnt_twice() -> None:
    learner = Learner([a_model(candidates=MEAN, publish_examples=3)], KIT)
    assert _events(learner.adopt(_trained())) == [("adopted", "mean")]
    (version,) = _versions(_taught(learner, [an_example(99), an_example(100), an_example(101)]))
    assert (version.version, version.lineage.examples, version.lineage.parent) == (8, 9, 7)
    assert (version.lineage.first, version.lineage.last) == (1, 101)
    assert json.loads(version.body) == [0.0, 9.0, 3.0]
    assert not learner.adopt(_trained()), "and it is adopted once"


def _foretold(at: int, labelled_at: int, predictions: dict[str, list[Any]]) -> Example:
    return msgspec.structs.replace(an_example(labelled_at, predictions=predictions), at=at)


def _judged(learner: Learner, at: int, version: int) -> tuple[int, int]:
    """How many predictions count as observed, and how many as missed, once one of `version` at the moment `at` is known."""
    late = max(learner.watermark, 100) + 1
    said = _taught(learner, [_foretold(at, late, {"mean": [version, 0.5]})]) + learner.conclude()
    figures = [one for one in said if isinstance(one, Quality)][-1].candidates["mean"]
    return figures["observed"], figures["missed"]


@pytest.mark.parametrize(
    ("at", "version", "observed"),
    [(99, 7, 0), (100, 7, 1), (99, 6, 1), (99, 8, 0), (101, 8, 1)],
    ids=["trained on later outcomes", "trained up to the moment", "an older one", "one that came of it", "new"],
)
@pytest.mark.parametrize("restored", [False, True])
def test_what_a_version_says_of_moments_before_outcomes_it_was_trained_on_proves_nothing(
    at: int, version: int, observed: int, restored: bool
) -> None:
    learner = Learner([a_model(candidates=MEAN)], KIT)
    learner.adopt(_trained())
    if restored:
        learner, _ = Learner.restore(learner.snapshot(), [a_model(candidates=MEAN)], KIT)
    assert _judged(learner, at, version) == (observed, 0)


def test_what_a_version_cannot_prove_moves_no_contest_and_no_drift() -> None:
    drift = Jump()
    learner = Learner([a_model()], dataclasses.replace(KIT, drift=lambda model: drift))
    learner.adopt(_trained())
    said = {"mean": [7, 0.5], "sgd": [2, 0.4]}
    found = _taught(learner, [_foretold(99, 101, said), _foretold(100, 102, said)])
    last = [one for one in [*found, *learner.conclude()] if isinstance(one, Quality)][-1]
    assert (drift.seen, last.contests[0]["examples"]) == (1, 1)


def test_going_back_loses_what_was_learnt_since_and_goes_on_with_what_comes() -> None:
    learner = Learner([a_model(candidates=MEAN, publish_examples=2)], KIT)
    _taught(learner, [an_example(at) for at in range(1, 5)])
    said = learner.adopt(_trained(200, 3, "rollback"))
    assert _events(said) == [("adopted", "mean")]
    assert not learner.adopt(_trained(200, 3, "rollback")), "and once"
    (version,) = _versions(_taught(learner, [an_example(5), an_example(6)]))
    assert (version.version, version.lineage.parent, version.lineage.examples) == (4, 3, 10)
    assert json.loads(version.body) == [0.0, 10.0, 4.0]


def test_who_goes_back_sees_it_at_once_with_the_reason() -> None:
    """Until the next publication, days ahead maybe, `segue models list` once named the version and the champion of before."""
    learner = Learner([a_model()], KIT)
    _taught(learner, [an_example(1)])
    lineage = Lineage(1, 1, 8, 2, "rollback", message="m" * 501)
    said = learner.adopt(_trained(number=103, candidate="sgd", body=b"[0.1, {}]", lineage=lineage))
    adopted, report = said
    assert isinstance(adopted, ModelEvent)
    assert adopted.detail == {
        "version": 103,
        "origin": "rollback",
        "of": 2,
        "message": "m" * 500,
        "role": "champion",
    }
    assert isinstance(report, Quality)
    assert (report.champion, report.candidates["sgd"]["version"], report.candidates["sgd"]["examples"]) == (
        "sgd",
        103,
        8,
    )


def test_before_anything_is_learnt_there_is_nothing_to_report() -> None:
    learner = Learner([a_model()], KIT)
    assert not [one for one in learner.adopt(_trained()) if isinstance(one, Quality)]


def test_a_version_of_another_definition_is_refused_once_over_a_learners_life() -> None:
    """It stays on the topic, and comes again with each change of the rules."""
    learner = Learner([a_model()], KIT)
    _taught(learner, [an_example(1)])
    other = _trained(digest="d0", candidate="gone")
    assert _events(learner.adopt(other)) == [("refused", "gone")]
    assert not learner.adopt(other)
    learner, _ = Learner.restore(learner.snapshot(), [a_model()], KIT)
    assert not learner.adopt(other)
    learner.follow([a_model(digest="d2")])
    assert not learner.adopt(other)
    assert _events(learner.adopt(msgspec.structs.replace(other, version=8))) == [("refused", "gone")]


def test_what_was_learnt_under_the_definition_of_before_is_no_news() -> None:
    """All subtasks keep the newest versions, and hand them on when the rules have changed."""
    learner = Learner([a_model(candidates=MEAN, publish_examples=1)], KIT)
    back, stream = _trained(200, 103, "rollback"), _versions(_taught(learner, [an_example(1)]))[0]
    learner.adopt(back)
    learner.follow([a_model(candidates=MEAN, digest="d2")])
    assert not learner.adopt(back)
    assert not _events(learner.adopt(stream))
    learner.follow([a_model(candidates=MEAN)])
    assert _events(learner.adopt(back)) == [("adopted", "mean")], "unless its definition has come back"


@pytest.mark.parametrize(
    "changed",
    [{"digest": "d0"}, {"candidate": "gone"}, {"body": b"\xff"}, {"version": 1, "candidate": "sgd"}],
)
def test_a_version_that_does_not_fit_is_refused_and_nothing_changes(changed: dict[str, Any]) -> None:
    learner = Learner([a_model(publish_examples=2)], KIT)
    _taught(learner, [an_example(1), an_example(2)])
    before = [json.loads(one.body) for one in _versions(_taught(learner, [an_example(3), an_example(4)]))]
    said = learner.adopt(_trained(origin="rollback", **changed))
    assert [kind for kind, _ in _events(said)] == ["refused"]
    after = [json.loads(one.body) for one in _versions(learner.conclude())] or before
    assert after == before


def test_a_learner_without_state_goes_on_from_the_versions_of_the_job_before() -> None:
    learner = Learner([a_model(candidates=MEAN, publish_examples=1)], KIT)
    learner.adopt(_trained(90, 6, "stream"))
    learner.adopt(_trained(100, 7, "stream"))
    said = learner.adopt(_trained(80, 5, "stream", digest="d0"))
    assert [one.key for one in said if isinstance(one, Retired)] == ["purchase/mean/5"]
    learner.offer(an_example(100))
    assert not _versions(learner.advance(100))
    (version,) = _versions(_taught(learner, [an_example(101)]))
    assert (version.version, version.lineage.examples) == (8, 9)
    assert not learner.adopt(_trained(500, 20, "stream")), "once it has learnt, what it says itself is no news"
    assert _versions(_taught(learner, [an_example(102)]))[0].version == 9


def test_the_newest_champion_is_champion_in_whatever_order_versions_are_read() -> None:
    versions = [
        _trained(5, 5, "stream"),
        _trained(8, 8, "stream", candidate="sgd", body=b"[0.1, {}]"),
        _trained(9, 9, "stream", role="challenger"),
    ]
    for order in itertools.permutations(versions):
        learner = Learner([a_model()], KIT)
        for one in order:
            learner.adopt(one)
        assert learner.champion("purchase") == "sgd"


def test_a_changed_definition_begins_anew_and_counts_on() -> None:
    learner = Learner([a_model(candidates=MEAN, publish_examples=2), a_model("gone", MEAN)], KIT)
    _taught(learner, [an_example(1), an_example(2)])
    learner.offer(an_example(3))
    learner.offer(an_example(4, model="gone"))
    changed = [a_model(candidates=MEAN, publish_examples=2, digest="d2")]
    restored, said = Learner.restore(learner.snapshot(), changed, KIT)
    assert said == learner.follow(changed)
    assert _events(said) == [("restarted", ""), ("removed", "")]
    assert [one.key for one in said if isinstance(one, Retired)] == ["purchase/mean/1"]
    for one in (learner, restored):
        assert (one.waiting, one.counts["outdated"]) == (0, 2)
        (version,) = _versions(_taught(one, [an_example(5, digest="d2"), an_example(6, digest="d2")]))
        assert (version.version, version.lineage.examples, version.lineage.parent) == (2, 2, 0)


def test_state_of_a_build_that_did_not_know_versions_of_other_definitions_is_gone_on_from() -> None:
    learner = Learner([a_model(candidates=MEAN, publish_examples=1)], KIT)
    _taught(learner, [an_example(1)])
    state = msgspec.msgpack.decode(learner.snapshot()[1:])
    for course in state[-1]:
        assert course.pop() == [], "what was added last"
    before = learner.snapshot()[:1] + msgspec.msgpack.encode(state)
    restored, _ = Learner.restore(before, [a_model(candidates=MEAN, publish_examples=1)], KIT)
    assert restored.snapshot() == learner.snapshot()


@pytest.mark.parametrize("data", [b"", b"\x02\x90", b"\x01", b"\x01\x93\x00", b"\x01\xc1"])
def test_state_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(UnknownState, match="state"):
        Learner.restore(data, [a_model()], KIT)


# --- champions --------------------------------------------------------------------------------------------------------


class Jump:
    """A detector that fires when an error is 1."""

    def __init__(self) -> None:
        self.seen = 0

    def observe(self, error: float, row: Any, at: int) -> list[dict[str, Any]]:
        self.seen += 1
        return [{"of": "error", "at": at}] if error == 1.0 else []

    def state(self) -> Any:
        return self.seen

    def restore(self, state: Any) -> None:
        self.seen = state


def test_drift_is_told_and_begins_a_new_round() -> None:
    kit = dataclasses.replace(KIT, drift=lambda model: Jump())
    learner = Learner([a_model(publish_examples=151)], kit)
    said = {"mean": [1, 0.5], "sgd": [2, 0.4]}
    learner.adopt(_trained(0, 1, "stream"))
    examples = [an_example(at, 0.0, predictions=said) for at in range(1, 201)]
    examples += [an_example(201, 0.0, predictions={"mean": [1, 1.0], "sgd": [2, 0.9]})]
    examples += [an_example(at, 0.0, predictions=said) for at in range(202, 303)]
    found = _taught(learner, examples)
    assert _events(found) == [("drift", "mean")]
    last = [one for one in found if isinstance(one, Quality)][-1]
    assert (last.contests[0]["round"], last.contests[0]["examples"]) == (2, 101)


def _drifting(promotion: Promotion, seed: int = 5) -> tuple[list[Published], Model]:
    """A mean that never forgets is champion; the base rate falls from 0.8 to 0.2, which one that forgets follows. A third is wrong."""
    candidates = (
        candidate("steady", "Mean"),
        candidate("quick", "Mean", fading=0.01),
        candidate("jumpy", "Mean", fading=0.9),
    )
    model = a_model(candidates=candidates, publish_examples=50, promotion=promotion)
    learner, held, said = Learner([model], KIT), dict[str, tuple[int, Any]](), list[Published]()
    dice = random.Random(seed)
    for at in range(1, 6_001):
        foretold = {name: [version, one.predict([])] for name, (version, one) in held.items()}
        learner.offer(an_example(at, float(dice.random() < (0.8 if at <= 2_000 else 0.2)), predictions=foretold))
        found = learner.advance(at)
        for one in _versions(found):
            owner: Candidate = next(each for each in model.candidates if each.name == one.candidate)
            held[one.candidate] = one.version, decode(model, owner, one.body)
        said += found
    return said, model


def test_after_planted_drift_the_better_challenger_is_promoted_and_the_worse_one_never() -> None:
    said, _ = _drifting(Promotion("log_loss", 0.02, 0.95, 300))
    (promoted,) = (one for one in said if isinstance(one, ModelEvent))
    assert (promoted.kind, promoted.candidate, promoted.detail["champion"]) == ("promoted", "quick", "steady")
    assert 2_000 < promoted.at < 4_500
    assert promoted.detail["bound"] > 0 and promoted.detail["challenger_loss"] < promoted.detail["champion_loss"]
    roles = {one.candidate: one.role for one in _versions(said)}
    assert roles == {"steady": "challenger", "quick": "champion", "jumpy": "challenger"}
    at_once = {one.candidate: one.role for one in _versions(said) if one.created_at == promoted.at}
    assert at_once == roles, "all that changed roles are published together"


def test_a_challenger_that_has_just_failed_is_promoted_no_sooner_than_it_works_again() -> None:
    learner = Learner([a_model(publish_examples=250)], KIT)
    said = {"mean": [1, 0.5], "sgd": [2, 0.9]}
    rows = [[1.0]] * 249 + [["fail"]] + [[1.0]] * 250
    examples = [an_example(at, row=row, predictions=said) for at, row in enumerate(rows, 1)]
    assert _events(_taught(learner, examples[:250])) == [("quarantined", "sgd")]
    assert _events(_taught(learner, examples[250:])) == [("promoted", "sgd")]


def test_a_candidate_that_rests_still_rests_after_a_restart() -> None:
    learner = Learner([a_model(candidates=SGD, publish_examples=3)], KIT)
    _taught(learner, [an_example(1, row=["fail"])])
    learner, _ = Learner.restore(learner.snapshot(), [a_model(candidates=SGD, publish_examples=3)], KIT)
    assert not _versions(_taught(learner, [an_example(2), an_example(3)]))


def test_where_it_is_not_automatic_it_is_said_who_would_be_promoted_and_nobody_is() -> None:
    said, _ = _drifting(Promotion("log_loss", 0.02, 0.95, 300, automatic=False))
    told = _events(said)
    assert set(told) == {("would promote", "quick")} and len(told) <= 2, "once in a round"
    assert {one.role for one in _versions(said) if one.candidate == "steady"} == {"champion"}


def test_kit_is_plain_functions() -> None:
    assert Kit(make, encode, decode).drift(a_model()) is None
