"""The learner's kit as jobs, trainings and trials use it: River's pipelines and our own candidates, judged by `online_models.quality`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Literal, cast

import msgspec
import river
import xxhash

from online_models import making
from online_models.definition import Candidate, Model
from online_models.example import Example, Row
from online_models.graph import pack, unpack
from online_models.kit import Kit
from online_models.named import PersonaPredictor
from online_models.predictor import Predictor
from online_models.quality.drift import Drift
from online_models.quality.fairness import fairness_report, own_thresholds
from online_models.quality.figures import Figures, Observed
from online_models.quality.importance import Reservoir, importance
from online_models.river_predictor import RiverPredictor
from online_models.selection import OwnThresholds, decided

EXPLAINED_EVERY: Final = 5_000
"""Most examples between two looks at what a candidate lives on, which takes as long as thousands of predictions. What has learnt little
is looked at again once there are twice as many."""

EXPLAINED_FROM: Final = 30
"""Examples before the first look."""

Judged = Literal["classification", "regression"]


class StandardFigures:
    """The figures of one candidate; of clusters and anomalies, only how many examples there were."""

    def __init__(self, model: Model, candidate: Candidate) -> None:
        self.model = model
        self.name = candidate.name
        self.names = tuple(column.name for column in making.columns_of(model))
        self.judged = Figures(cast(Judged, model.task)) if model.target is not None else None
        self.reservoir = Reservoir(seed=xxhash.xxh32_intdigest(f"{model.name}/{candidate.name}".encode()))
        self.examples = 0
        self.explained_at = 0
        self.explained: dict[str, float] = {}
        self._report: dict[str, Any] | None = None

    def observe(self, example: Example, version: int, output: Any) -> None:
        """Count one example; `output` is what `version` had said of it."""
        self._keep(example)
        if self.judged is None or example.label is None:
            return
        if isinstance(output, str) or output is None:
            self.judged.miss()
            return
        self.judged.observe(
            Observed(
                float(output),
                example.label,
                example.weight,
                example.at,
                example.labelled_at,
                version,
                example.segments,
                example.group,
                decided(example.predictions.get(self.name, [])),
            )
        )

    def miss(self, example: Example) -> None:
        """Count one of which nothing had been said."""
        self._keep(example)
        if self.judged is not None:
            self.judged.miss()

    def _keep(self, example: Example) -> None:
        self._report = None
        self.examples += 1
        if example.label is not None:
            self.reservoir.observe(example.row, example.label, example.weight)

    def report(self) -> dict[str, Any]:
        """The figures by name: a mapping of its own, computed once for all who ask between two examples."""
        if self._report is None:
            self._report = self._figures()
        return dict(self._report)

    def _figures(self) -> dict[str, Any]:
        found: dict[str, Any] = self.judged.report() if self.judged is not None else {"seen": self.examples}
        if self.model.fairness is not None and self.judged is not None:
            found["fairness"] = fairness_report(self.model.fairness, self.judged.newest)
        return found

    def thresholds(self) -> OwnThresholds | None:
        """Those that follow from the newest examples, where fairness is to be kept to; None where that cannot be told yet."""
        if self.model.fairness is None or self.judged is None:
            return None
        return own_thresholds(self.model.fairness, self.judged.newest)

    def describe(self, predictor: Predictor) -> dict[str, Any]:
        """What the candidate itself looks like: what it lives on, the coefficients of a linear one, the personas of clusters."""
        if isinstance(predictor, PersonaPredictor):
            return predictor.personas.report()
        found: dict[str, Any] = {}
        if self.judged is not None and self.reservoir.kept:
            if self.examples >= min(max(2 * self.explained_at, EXPLAINED_FROM), self.explained_at + EXPLAINED_EVERY):
                self.explained_at = self.examples
                self.explained = importance(
                    making.ready(predictor), self.names, self.reservoir, cast(Judged, self.model.task)
                )
            if self.explained:
                found["importance"] = self.explained
        if isinstance(predictor, RiverPredictor):
            weights = getattr(predictor.estimator, "weights", None)
            if isinstance(weights, dict):
                names = predictor.names()
                found["coefficients"] = {names[at]: round(float(one), 6) for at, one in weights.items() if at in names}
        return found

    def state(self) -> Any:
        """All that is kept."""
        judged = self.judged.state() if self.judged is not None else None
        return [judged, self.reservoir.state(), self.examples, self.explained_at, self.explained]

    def restore(self, state: Any) -> None:
        """Go on from a state."""
        self._report = None
        judged, reservoir, self.examples, self.explained_at, self.explained = state
        if self.judged is not None and judged is not None:
            self.judged.restore(judged)
        self.reservoir.restore(reservoir)


class StandardDrift:
    """Drift of the champion's error and of the features of a model, with a state that msgpack can hold."""

    def __init__(self, model: Model) -> None:
        columns = making.columns_of(model)
        self.drift = Drift(tuple(column.name for column in columns))

    def observe(self, error: float, row: Row, at: int) -> list[dict[str, Any]]:
        """Take in the champion's absolute error and the row; what has changed."""
        found = self.drift.observe(error, row, at)
        return [{name: value for name, value in one.items() if name not in ("kind", "at")} for one in found]

    def state(self) -> Any:
        """All that is kept."""
        return self.drift.state(lambda detector: msgspec.msgpack.encode(pack(detector)))

    def restore(self, state: Any) -> None:
        """Go on from a state."""
        self.drift.restore(state, lambda data: unpack(msgspec.msgpack.decode(data)))


def _described(figures: Any, predictor: Predictor) -> dict[str, Any]:
    return figures.describe(predictor) if isinstance(figures, StandardFigures) else {}


def _thresholds(figures: Any) -> OwnThresholds | None:
    return figures.thresholds() if isinstance(figures, StandardFigures) else None


def _drift(model: Model) -> StandardDrift | None:
    return StandardDrift(model) if model.target is not None else None


def _own_version() -> str:
    try:
        return version("segue")
    except PackageNotFoundError:  # run from its folder, without being installed
        return ""


def standard_kit() -> Kit:
    """The kit of jobs, trainings and trials."""
    return Kit(
        make=making.make,
        encode=making.encode,
        decode=making.decode,
        figures=StandardFigures,
        drift=_drift,
        describe=_described,
        thresholds=_thresholds,
        river=river.__version__,
        segue=_own_version(),
    )
