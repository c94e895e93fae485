"""One model in the learner: its candidates learn from the same examples, are compared, and become versions.

All that happens here follows from the examples in their order and from event time, so that it is the same for every replay.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from online_models.contender import Contender, ContenderState
from online_models.contest import Contest, Pair, Verdict, loss
from online_models.definition import Model
from online_models.example import Example, Row
from online_models.kit import Kit
from online_models.usage import Recent
from online_models.version import ModelEvent, ModelVersion, Published, Quality, Retired, Role

NEVER: Final = 2**63 - 1

_TRIED: Final = 4
"""Rows, the newest learnt, on which a candidate is tried before it is published."""

_REMEMBERED: Final = 200
"""Versions of other definitions, the newest told of, that nothing more is said of."""

_LONGEST_REASON: Final = 500
"""Characters of somebody's reason that are told on."""


class CourseState(msgspec.Struct, array_like=True):
    """A course as it is kept."""

    name: str
    digest: str
    counter: int
    champion: str
    crowned: int
    since: int
    count: int
    latest: int
    rows: list[Row]
    pairs: dict[str, Pair]
    drift: Any
    contenders: dict[str, ContenderState]
    scores: list[list[Any]] = []
    outdated: list[int] = []


class Course:
    """The candidates of one model. `counter` is the highest version so far, `crowned` the highest of a champion; `out` collects what
    there is to say. `outdated` are versions of other definitions of which all has been said.

    `count` examples have been taken since the last publication, the first of them labelled at `since` (NEVER: there is none).
    """

    def __init__(self, model: Model, kit: Kit, out: list[Published], counter: int = 0) -> None:
        self.model, self.kit, self.out, self.counter = model, kit, out, counter
        self.contenders = {one.name: Contender(model, one, kit) for one in model.candidates}
        self.crowned = 0
        self.since = NEVER
        self.count = 0
        self.latest = 0
        self.rows: list[Row] = []
        self.scores = Recent()
        self.outdated: list[int] = []
        self._crown(model.candidates[0].name)

    def take(self, example: Example) -> None:
        """Take in one example: first how well it was foretold, then whether anything drifts, and last it is learnt."""
        at = example.labelled_at
        self.pass_time(at - 1)
        self.latest = at
        self._judge(example)
        failed = False
        for contender in self.contenders.values():
            if failure := contender.learn(example):
                failed = True
                self._say("quarantined", at, contender.name, {"failure": failure, "example_at": example.at})
            for change in contender.predictor.happened():
                self._say("persona", at, contender.name, change)
        if not failed:
            self.rows = [*self.rows[1 - _TRIED :], example.row]
        self.since = min(self.since, at)
        self.count += 1
        if self.count >= self.model.learning.publish_examples:
            self._publish(at)

    def pass_time(self, until: int) -> None:
        """All examples labelled up to `until` have been taken: publish if it was due by then."""
        due = self.since + self.model.learning.publish
        if due <= until:
            self._publish(due)

    def conclude(self) -> None:
        """Publish what has been learnt since the last publication, at the time of the newest example."""
        if self.count:
            self._publish(self.latest)

    def _judge(self, example: Example) -> None:
        label, at = example.label, example.labelled_at
        self.scores.observe(example, self.champion)
        outputs: dict[str, Any] = {}
        for name, contender in self.contenders.items():
            said = example.predictions.get(name)
            if said is None:
                contender.figures.miss(example)
                continue
            version, output = said[:2]
            if contender.foreknew(example.at, version):
                continue
            outputs[name] = output
            contender.figures.observe(example, version, output)
        if label is None:
            return
        self.contest.observe(outputs, label, example.weight)
        error = loss("mae", outputs.get(self.champion), label)
        if self.drift is not None and error is not None:
            for change in self.drift.observe(error, example.row, at):
                self._say("drift", at, self.champion, change)
                self.contest.begin_round()

    def _publish(self, at: int) -> None:
        self.since, self.count = NEVER, 0
        working = set()
        for contender in self.contenders.values():
            if not contender.failure and (failure := contender.examine(self.rows)):
                self._say("quarantined", at, contender.name, {"failure": failure})
            if not contender.failure:
                working.add(contender.name)
            contender.failure = ""
        self._decide(at, working)
        for contender in self.contenders.values():
            role: Role = "champion" if contender.name == self.champion else "challenger"
            if contender.good is None and contender.lineage.examples < self.model.learning.least:
                continue  # too young: it is sure of the wrong things
            if contender.fresh or (contender.good is not None and contender.role != role):
                self.counter += 1
                self.out.append(contender.publish(self.counter, role, at))
                if role == "champion":
                    self.crowned = self.counter
                self.out += contender.retire()
        self.out.append(self._quality(at))

    def _decide(self, at: int, working: set[str]) -> None:
        """Whether a challenger is champion from now on: not one that has failed since the last publication."""
        verdict = self.contest.winner()
        if verdict is None or verdict.challenger not in working:
            return
        figures = _figures(verdict)
        if self.model.promotion.automatic:
            self._crown(verdict.challenger)
            self._say("promoted", at, verdict.challenger, figures)
        elif self.contest.tell(verdict.challenger):
            self._say("would promote", at, verdict.challenger, figures)

    def _crown(self, champion: str) -> None:
        self.champion = champion
        others = [name for name in self.contenders if name != champion]
        self.contest = Contest(self.model.promotion, champion, others)
        self.drift = self.kit.drift(self.model)

    def _quality(self, at: int) -> Quality:
        candidates = {
            one.name: {
                **one.figures.report(),
                **self.kit.describe(one.figures, one.predictor),
                "version": one.good.version if one.good else 0,
                "role": "champion" if one.name == self.champion else "challenger",
                "examples": one.lineage.examples,
            }
            for one in self.contenders.values()
        }
        contests = [_figures(self.contest.verdict(name)) for name in self.contest.pairs]
        return Quality(
            self.model.name, self.model.digest, at, self.champion, candidates, contests, self.scores.report()
        )

    def _say(self, kind: Any, at: int, candidate: str, detail: dict[str, Any]) -> None:
        self.out.append(ModelEvent(self.model.name, kind, at, candidate, detail))

    def succeed(self, before: CourseState) -> None:
        """Begin anew after another definition of the model: its versions are no news when they come by once more."""
        self._say("restarted", max(before.latest, 0), "", {"digest": self.model.digest, "was": before.digest})
        self.outdated = list(before.outdated)
        for one in retired(before):
            self.out.append(one)
            self._pass_over(one.version)

    def adopt(self, version: ModelVersion) -> None:
        """Go on from a version that was made elsewhere: in a training over history, by who goes back, or by a job before this one.

        A version that is known is left alone. One of a job before counts only as long as nothing has been learnt here. One of another
        definition is refused once, as it may come again whenever the rules change.
        """
        origin, name = version.lineage.origin, version.candidate
        if origin == "stream" and any(one.own for one in self.contenders.values()):
            return
        self.counter = max(self.counter, version.version)
        at = max(version.created_at, self.latest)
        detail: dict[str, Any] = {"version": version.version, "origin": origin}
        if version.digest != self.model.digest:
            self._refuse_outdated(version, at, detail)
            return
        if name in self.contenders and version.version in self.contenders[name].versions:
            return
        if failure := self._go_on_from(version):
            if origin != "stream":
                self._say("refused", at, name, {**detail, "failure": failure})
            elif name not in self.contenders:
                self.out.append(Retired(self.model.name, name, version.version))
            return
        # Versions of several candidates are read in any order: the newest champion is the one.
        crowns = version.role == "champion" and version.version > self.crowned
        if crowns:
            self.crowned = version.version
        if crowns and name != self.champion:
            self._crown(name)
        else:
            self.contest.begin_round()
        if origin == "rollback":
            detail |= {"of": version.lineage.parent, "message": version.lineage.message[:_LONGEST_REASON]}
        self._say("adopted", at, name, {**detail, "role": version.role})
        if self.latest:
            # Until the next publication, which may be days ahead, the newest report would name versions that count no more.
            self.out.append(self._quality(at))

    def _refuse_outdated(self, version: ModelVersion, at: int, detail: dict[str, Any]) -> None:
        if version.lineage.origin == "stream":
            self.out.append(Retired(self.model.name, version.candidate, version.version))
        elif version.version not in self.outdated:
            self._pass_over(version.version)
            failure = "it was made for another definition of the model"
            self._say("refused", at, version.candidate, {**detail, "failure": failure})

    def _pass_over(self, *versions: int) -> None:
        self.outdated = [*self.outdated, *versions][-_REMEMBERED:]

    def _go_on_from(self, version: ModelVersion) -> str:
        contender = self.contenders.get(version.candidate)
        if contender is None:
            return "there is no such candidate"
        if contender.versions and version.version < contender.versions[-1]:
            contender.note(version.version)
            return f"version {contender.versions[-1]} is newer"
        try:
            contender.adopt(version)
        except Exception as error:  # noqa: BLE001  (whatever is in the bytes, the candidate goes on as it was)
            return f"it cannot be read: {type(error).__name__}"
        return ""

    def state(self) -> CourseState:
        """All of it."""
        return CourseState(
            self.model.name,
            self.model.digest,
            self.counter,
            self.champion,
            self.crowned,
            self.since,
            self.count,
            self.latest,
            self.rows,
            self.contest.state(),
            self.drift.state() if self.drift else None,
            {name: one.state() for name, one in self.contenders.items()},
            self.scores.state(),
            self.outdated,
        )

    def restore(self, state: CourseState) -> None:
        """Go on from what was kept, of the same definition."""
        self.counter, self.since, self.count, self.latest = state.counter, state.since, state.count, state.latest
        self.rows = list(state.rows)
        self._crown(state.champion)
        self.crowned = state.crowned
        self.contest.restore(state.pairs)
        self.scores.restore(state.scores)
        self.outdated = list(state.outdated)
        if self.drift and state.drift is not None:
            self.drift.restore(state.drift)
        for name, kept in state.contenders.items():
            if failure := self.contenders[name].restore(kept):
                self._say("quarantined", self.latest, name, {"failure": failure})


def retired(state: CourseState) -> list[Retired]:
    """The versions of a course that is over."""
    return [Retired(state.name, name, one) for name, kept in state.contenders.items() for one in kept.versions]


def _figures(verdict: Verdict) -> dict[str, Any]:
    figures: dict[str, Any] = msgspec.structs.asdict(verdict)
    return figures
