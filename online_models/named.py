"""Candidates that look at features by their names: personas, and the model of how often and for how much people buy."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from online_models.definition import Candidate, Model
from online_models.encoding import number_of
from online_models.example import Row
from online_models.features import Column
from online_models.graph import pack, unpack
from online_models.lifetimes import KEPT as KEPT_CUSTOMERS
from online_models.lifetimes import BuyTillYouDie
from online_models.parameter import Parameter, number, whole
from online_models.personas.living import Personas
from online_models.personas.mixture import Mixture
from online_models.pipelines import Problem, digest_of
from online_models.predictor import Output
from online_models.river_predictor import PredictorFailed
from online_models.storage import seal, unseal
from profiles.document import suggestion

CLUSTERERS: Final = ("KMeans", "Mixture", "DBSTREAM")
VALUE: Final = "BuyTillYouDie"

_MOST_VALUES: Final = 20
"""Values of a category that are told apart, the first that came; all others look like none."""


PARAMETERS: Final[dict[str, tuple[Parameter, ...]]] = {
    "KMeans": (number("halflife", 0.0001, 1.0), whole("every", 20, 100_000)),
    "Mixture": (number("alpha", 0.5, 1.0), number("slowest", 0.00001, 0.5), whole("every", 20, 100_000)),
    "DBSTREAM": (
        number("clustering_threshold", 0.01, 100.0),
        number("fading_factor", 0.000001, 1.0),
        whole("cleanup_interval", 1, 100_000),
        number("intersection_factor", 0.01, 1.0),
        number("minimum_weight", 0.01, 1000.0),
        whole("every", 20, 100_000),
    ),
    "Components": (whole("n", 1, 20),),
    VALUE: (
        Parameter("horizon", "number", 0.01, 3650.0, required=True),
        whole("every", 50, 100_000),
        *(Parameter(name, "column") for name in ("frequency", "recency", "age", "value")),
    ),
}
"""By name, what may be written for each parameter: a number within bounds, or the name of a column."""

MEANINGS: Final = {
    "KMeans": "k-means, of as many clusters as are told apart best",
    "Mixture": "a mixture of bell curves, of as many as are told apart best",
    "DBSTREAM": "clusters of any shape, of which those nobody falls into fade",
    "Components": "before clusters: the main directions in which customers differ (incremental PCA)",
    VALUE: "what customers will spend, by how often, how lately and for how much they bought (BG/NBD with Gamma-Gamma)",
}
"""What each is, in a sentence."""


def is_named(model: Model, candidate: Candidate) -> bool:
    """Whether the candidate is one of those of this module."""
    return model.task == "clustering" or bool(candidate.pipeline and candidate.pipeline[-1].name == VALUE)


def check_named(model: Model, candidate: Candidate, columns: Sequence[Column]) -> list[Problem]:
    """Everything that is wrong with such a candidate."""
    found: list[Problem] = []
    numbers = [column.name for column in columns if not column.category]
    *before, last = candidate.pipeline
    finals = CLUSTERERS if model.task == "clustering" else (VALUE,)
    if last.name not in finals:
        hint = suggestion(last.name[:60], finals)
        found.append(
            Problem(last.line, last.column, f"there is no estimator {last.name[:60]!r} for {model.task}", hint)
        )
    if last.name == VALUE and model.task != "regression":
        found.append(Problem(last.line, last.column, f"{VALUE} is for regression"))
    for step in before:
        if model.task != "clustering" or step.name != "Components" or len(before) > 1:
            told = (
                "clusters scale for themselves" if step.name.endswith("Scaler") else "known before clusters: Components"
            )
            found.append(Problem(step.line, step.column, f"{step.name[:60]} does not belong here", told))
    for step in candidate.pipeline:
        known = {one.name: one for one in PARAMETERS.get(step.name, ())}
        for name, value in step.parameters.items():
            if name not in known:
                message = f"{step.name} has no parameter {str(name)[:60]!r} here"
                found.append(Problem(step.line, step.column, message, suggestion(str(name)[:60], known)))
            elif not (value in numbers if known[name].kind == "column" else known[name].takes(value)):
                message = f"`{name}` of {step.name} must be {known[name].expected(numbers)}"
                found.append(Problem(step.line, step.column, message))
    if last.name == VALUE and "horizon" not in last.parameters:
        found.append(
            Problem(last.line, last.column, f"{VALUE} needs `horizon`", "days ahead, as `within` of the target")
        )
    return found


class PersonaPredictor:
    """Personas as a candidate; see `online_models.personas.living`."""

    def __init__(self, model: Model, candidate: Candidate, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.digest = digest_of(model.task, candidate, columns)
        *before, last = candidate.pipeline
        parameters = dict(last.parameters)
        every = int(parameters.pop("every", 200))
        components = int(before[0].parameters.get("n", 2)) if before else 0
        self.personas = Personas(last.name, model.personas, parameters, components, every)  # type: ignore[arg-type]
        self.values: dict[str, list[str]] = {column.name: [] for column in columns if column.category}
        self._events: list[dict[str, Any]] = []

    def predict(self, row: Row, previous: Output | None = None) -> Output | None:
        """The name of the persona; None before there are any."""
        return self.personas.predict_one(self._named(row), previous if isinstance(previous, str) else None)

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        """Take in one example. Its weight does not count: a group is one whoever else is in it."""
        for column, value in zip(self.columns, row, strict=True):
            if column.category and isinstance(value, str):
                known = self.values[column.name]
                if value not in known and len(known) < _MOST_VALUES:
                    known.append(value)
        self._events += self.personas.learn_one(self._named(row))

    def happened(self) -> list[dict[str, Any]]:
        """Births, splits and deaths since this was asked last."""
        found, self._events = self._events, []
        return found

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        """By feature, how much nearer it puts the customer to their persona than to the next one."""
        return self.personas.reasons(self._named(row))

    def _named(self, row: Row) -> dict[str, float]:
        """The features by name: numbers, and one for each value of a category. What is unknown is left out."""
        found: dict[str, float] = {}
        for column, value in zip(self.columns, row, strict=True):
            if column.category:
                for known in self.values[column.name]:
                    found[f"{column.name}={known}"] = float(value == known)
            elif (number := number_of(value)) is not None:
                found[column.name] = number
        return found

    def encode(self) -> bytes:
        """The predictor as bytes, sealed like those of River's estimators."""
        one = self.personas
        clusterer, plain = one.clusterer, [self.values, one.state()]
        river = None if isinstance(clusterer, Mixture) else clusterer
        return seal(self.digest, msgspec.msgpack.encode([plain, pack(river)]))

    def restore(self, data: bytes) -> None:
        """Go on from bytes; `UnreadableModel` where they are none of such a predictor."""
        unseal(self.digest, data, self._take_over)

    def _take_over(self, body: bytes) -> None:
        (values, state), graph = msgspec.msgpack.decode(body, strict=False)
        clusterer = unpack(graph)
        if clusterer is not None and type(clusterer).__name__ != self.personas.kind:
            raise ValueError("another clusterer")
        self.values = msgspec.convert(values, dict[str, list[str]])
        self.personas.restore(state, clusterer)


class ValuePredictor:
    """The model of how often and for how much people buy, as a candidate; see `online_models.lifetimes`."""

    def __init__(self, model: Model, candidate: Candidate, columns: Sequence[Column]) -> None:
        self.names = tuple(column.name for column in columns)
        self.digest = digest_of(model.task, candidate, columns)
        self.estimator = BuyTillYouDie(**dict(candidate.pipeline[-1].parameters))

    def predict(self, row: Row, previous: Output | None = None) -> Output | None:
        """What the customer is expected to spend; None before it has been fitted."""
        if not self.estimator.counting:
            return None
        try:
            return self.estimator.predict_one(self._named(row))
        except (ArithmeticError, TypeError, ValueError) as error:
            raise PredictorFailed(f"{VALUE}: {type(error).__name__}") from error

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        """Take in one example."""
        self.estimator.learn_one(self._named(row), label or 0.0, weight)

    def happened(self) -> list[dict[str, Any]]:
        """Nothing ever does."""
        return []

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        """By feature, how much the output falls when it is that of the customers of the last fit on average."""
        said = self.predict(row)
        if said is None:
            return []
        found = []
        values = self._named(row)
        for name in (self.estimator.frequency, self.estimator.recency, self.estimator.value):
            other = self.estimator.predict_one({**values, name: None if name == self.estimator.recency else 0.0})
            found.append((name, float(said) - other))
        return sorted(found, key=lambda one: (-abs(one[1]), one[0]))

    def _named(self, row: Row) -> dict[str, Any]:
        return {name: value for name, value in zip(self.names, row, strict=True) if value is not None}

    def encode(self) -> bytes:
        """The predictor as bytes."""
        one = self.estimator
        return seal(self.digest, msgspec.msgpack.encode([one.seen, list(one.customers), one.counting, one.spending]))

    def restore(self, data: bytes) -> None:
        """Go on from bytes; `UnreadableModel` where they are none of such a predictor."""
        unseal(self.digest, data, self._take_over)

    def _take_over(self, body: bytes) -> None:
        seen, customers, counting, spending = msgspec.msgpack.decode(body)
        one = self.estimator
        one.seen = int(seen)
        one.customers = deque(msgspec.convert(customers, list[list[float]]), maxlen=KEPT_CUSTOMERS)
        one.counting = msgspec.convert(counting, list[float])
        one.spending = msgspec.convert(spending, list[float])
