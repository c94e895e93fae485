"""One candidate of a model as the learner has it: what it has learnt, what it may go back to, and how good it was."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from online_models.definition import Candidate, Model
from online_models.example import Example, Row
from online_models.kit import Kit
from online_models.relearning import Relearning
from online_models.selection import OwnThresholds
from online_models.version import KEPT, Lineage, ModelVersion, Retired, Role


class Good(msgspec.Struct, array_like=True):
    """The newest version that was found to work."""

    version: int
    lineage: Lineage
    body: bytes
    thresholds: OwnThresholds | None = None


class ContenderState(msgspec.Struct, array_like=True):
    """A contender as it is kept. `body` is None where it is that of `good`; `learnt` are the examples to be learnt again after it."""

    body: bytes | None
    lineage: Lineage
    good: Good | None
    versions: list[int]
    role: str
    known: int
    fresh: int
    failure: str
    own: bool
    figures: Any
    taught: int = 0
    learnt: list[bytes] = []


class Contender:
    """A candidate at work in the learner.

    `versions` are the numbers of those kept; `role` is the one it was last published in, "" before. Examples labelled up to `known` were
    learnt elsewhere, in a training over history mostly, and versions from `taught` on come of that; `fresh` have been learnt since the
    last version. `failure` says why it was quarantined: it rests until the next publication. `own`: it has learnt an example here.
    """

    def __init__(self, model: Model, candidate: Candidate, kit: Kit) -> None:
        self.model, self.candidate, self.kit = model, candidate, kit
        self.name = candidate.name
        self.predictor = kit.make(model, candidate)
        self.figures = kit.figures(model, candidate)
        self.lineage = self._unlearnt()
        self.good: Good | None = None
        self.versions: list[int] = []
        self.role = ""
        self.known = -1
        self.taught = 0
        self.fresh = 0
        self.failure = ""
        self.own = False
        self.relearning = Relearning()

    def learn(self, example: Example) -> str:
        """Take in one example; why it failed, or "". One that history has taught it, or that comes while it rests, is left out."""
        at = example.labelled_at
        if self.failure or at <= self.known:
            return ""
        try:
            self.predictor.learn(example.row, example.label, example.weight)
        except Exception as error:  # noqa: BLE001  (whatever a pipeline makes of a row, the others go on, and it is said)
            return self.quarantine(_described("learning", error))
        self.relearning.take(example.row, example.label, example.weight)
        lineage = self.lineage
        if not lineage.examples:
            lineage.first = at
        lineage.last = at
        lineage.examples += 1
        self.fresh += 1
        self.own = True
        return ""

    def foreknew(self, at: int, version: int) -> bool:
        """Whether a version had learnt from outcomes that came after the moment `at`, so that what it said of it proves nothing.

        So it is where a job goes through a history with a version that was trained over it. What is learnt here never comes so early: no
        version is ahead of the customers that it scores.
        """
        return at < self.known and version >= self.taught

    def examine(self, rows: Sequence[Row]) -> str:
        """Look whether it answers these rows, all of which it could learn, as it ought to; why it does not, or ""."""
        if not self.fresh or not (failure := self._fault(rows)):
            return ""
        self.quarantine(failure)
        if self._fault(rows):
            # What it went back to is no better, only that the rows of then did not show it.
            self._begin()
        return failure

    def _fault(self, rows: Sequence[Row]) -> str:
        try:
            for row in rows:
                output = self.predictor.predict(row)
                if not (output is None or isinstance(output, str) or self._plausible(output)):
                    return f"it foretells {output}"
        except Exception as error:  # noqa: BLE001  (as in `learn`)
            return _described("a prediction", error)
        return ""

    def _plausible(self, output: float) -> bool:
        return math.isfinite(output) and (self.model.task != "classification" or 0.0 <= output <= 1.0)

    def quarantine(self, failure: str) -> str:
        """Go back to the last good version, or begin anew, and rest."""
        self.failure = failure
        self.fresh = 0
        if self.good is None:
            self._begin()
        else:
            self.predictor = self.kit.decode(self.model, self.candidate, self.good.body)
            self.lineage = msgspec.structs.replace(self.good.lineage)
            self.relearning.begin(self.good.body)
        return failure

    def _begin(self) -> None:
        self.predictor = self.kit.make(self.model, self.candidate)
        self.lineage = self._unlearnt()
        self.good = None
        self.relearning.begin(None)

    def publish(self, version: int, role: Role, at: int) -> ModelVersion:
        """A version of it as it is now, to which it can go back."""
        body = self._encoded() if self.fresh or self.good is None else self.good.body
        lineage = msgspec.structs.replace(
            self.lineage,
            parent=self.good.version if self.good else 0,
            origin="stream",
            river=self.kit.river,
            segue=self.kit.segue,
            message="",
        )
        self.good = Good(version, lineage, body, self._thresholds())
        self.lineage = msgspec.structs.replace(lineage)
        self.versions.append(version)
        self.role = role
        self.fresh = 0
        figures = self.figures
        return ModelVersion(
            self.model.name,
            self.name,
            version,
            role,
            self.model.digest,
            at,
            lineage,
            figures.report(),
            body,
            self.good.thresholds,
        )

    def _encoded(self) -> bytes:
        """The predictor as bytes, from which it is gone on from now on."""
        known = self.relearning
        body = known.body if known.body is not None and not known.learnt else self.kit.encode(self.predictor)
        known.begin(body)
        return body

    def _thresholds(self) -> OwnThresholds | None:
        """Those for a version now published: as long as too little is known here, those of the version that it goes on from."""
        found = self.kit.thresholds(self.figures)
        known = self.good.thresholds if self.good is not None else None
        if found is None and known is not None and known.are_meant_by(self.model.fairness):
            return known
        return found

    def adopt(self, version: ModelVersion) -> None:
        """Go on from a version. Raises whatever reading it raises; then nothing has changed."""
        self.predictor = self.kit.decode(self.model, self.candidate, version.body)
        self.lineage = msgspec.structs.replace(version.lineage)
        self.good = Good(version.version, version.lineage, version.body, version.thresholds)
        self.relearning.begin(version.body)
        self.fresh = 0
        self.failure = ""
        if version.lineage.origin != "rollback":
            # Who goes back wants what was learnt since to be gone, not learnt again; it would not come again anyway.
            self.known = max(self.known, version.lineage.last)
            self.taught = version.version
        self.role = version.role
        self.note(version.version)

    def note(self, version: int) -> None:
        """There is a record of this version."""
        if version not in self.versions:
            self.versions = sorted([*self.versions, version])

    def retire(self) -> list[Retired]:
        """The versions that are not to be kept any more."""
        old, self.versions = self.versions[:-KEPT], self.versions[-KEPT:]
        return [Retired(self.model.name, self.name, one) for one in old]

    def _unlearnt(self) -> Lineage:
        parameters = {step.name: dict(step.parameters) for step in self.candidate.pipeline}
        # In the order in which a restored learner has them, so that a stop changes no byte of a version's record.
        ordered = msgspec.msgpack.decode(msgspec.msgpack.encode(parameters, order="deterministic"))
        return Lineage(parameters=ordered, river=self.kit.river, segue=self.kit.segue)

    def state(self) -> ContenderState:
        """All of it."""
        body, learnt = self._kept()
        return ContenderState(
            body,
            self.lineage,
            self.good,
            self.versions,
            self.role,
            self.known,
            self.fresh,
            self.failure,
            self.own,
            self.figures.state(),
            self.taught,
            learnt,
        )

    def _kept(self) -> tuple[bytes | None, list[bytes]]:
        """What the predictor is kept as: `body` and `learnt` of the state."""
        if self.good is not None and not self.fresh:
            return None, []
        known = self.relearning
        if known.body is None:
            return self._encoded(), []
        is_of_good = self.good is not None and known.body is self.good.body
        return None if is_of_good else known.body, known.learnt

    def restore(self, state: ContenderState) -> str:
        """Go on from what was kept; why it is in quarantine now, as it could not learn again what it had learnt, or ""."""
        body = state.body if state.body is not None or state.good is None else state.good.body
        if body is not None:
            self.predictor = self.kit.decode(self.model, self.candidate, body)
        self.lineage = state.lineage
        self.good = state.good
        self.versions = list(state.versions)
        self.role, self.known, self.fresh = state.role, state.known, state.fresh
        self.failure, self.own, self.taught = state.failure, state.own, state.taught
        self.figures.restore(state.figures)
        try:
            self.relearning.restore(self.predictor, body, state.learnt)
        except Exception as error:  # noqa: BLE001  (another build may fail where that of before did not: as in `learn`)
            return self.quarantine(_described("learning again", error))
        return ""


def _described(what: str, error: Exception) -> str:
    """What failed and where. The error's own words are left out: they may hold what is known of a customer."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{what} raised {type(error).__name__}{where}"
