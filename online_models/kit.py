"""What a learner works with: how candidates are made, written and read, and who keeps their figures and watches for drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from online_models.contest import loss
from online_models.definition import Candidate, Model
from online_models.example import Example, Row
from online_models.predictor import Predictor
from online_models.selection import OwnThresholds


class Figures(Protocol):
    """How good a candidate is, by what it had foretold."""

    def observe(self, example: Example, version: int, output: Any) -> None:
        """Count one example. `output` is what `version` of the candidate had said of it before its outcome was known."""

    def miss(self, example: Example) -> None:
        """Count one of which the candidate had not said anything."""

    def report(self) -> dict[str, Any]:
        """The figures by name: what JSON can say."""

    def state(self) -> Any:
        """All that is kept, as msgpack can hold it. What is restored from it goes on the same."""

    def restore(self, state: Any) -> None:
        """Go on from a `state`."""


class Drift(Protocol):
    """Notices when what a model meets is not what it was."""

    def observe(self, error: float, row: Row, at: int) -> list[dict[str, Any]]:
        """Take in the champion's absolute error of one example labelled at `at`, and its row; what has changed by it."""

    def state(self) -> Any:
        """All that is kept, as msgpack can hold it."""

    def restore(self, state: Any) -> None:
        """Go on from a `state`."""


class MeanLosses:
    """The plainest figures: means of losses, weighted.

    >>> figures = MeanLosses("classification")
    >>> figures.observe(Example("churn", "", "anna", 0, 1, [], 1.0, weight=3.0), 1, 0.5)
    >>> figures.observe(Example("churn", "", "bert", 0, 1, [], 0.0), 1, 0.0)
    >>> figures.report()["brier"]
    0.1875
    """

    def __init__(self, task: str) -> None:
        self.names = ("log_loss", "brier", "mae") if task == "classification" else ("mae",)
        self.sums = [0.0] * len(self.names)
        self.weight = 0.0
        self.observed = 0
        self.missed = 0

    def observe(self, example: Example, version: int, output: Any) -> None:
        """See `Figures`. What is no number, or has no label, does not count."""
        label = example.label
        losses = [loss(name, output, label) for name in self.names] if label is not None else [None]
        if None in losses:
            return
        self.observed += 1
        self.weight += example.weight
        self.sums = [total + example.weight * (one or 0.0) for total, one in zip(self.sums, losses, strict=True)]

    def miss(self, example: Example) -> None:
        """See `Figures`."""
        self.missed += 1

    def report(self) -> dict[str, Any]:
        """See `Figures`."""
        means = {name: total / self.weight for name, total in zip(self.names, self.sums, strict=True) if self.weight}
        return {"observed": self.observed, "missed": self.missed, **means}

    def state(self) -> Any:
        """See `Figures`."""
        return [self.observed, self.missed, self.weight, self.sums]

    def restore(self, state: Any) -> None:
        """See `Figures`."""
        self.observed, self.missed, self.weight, self.sums = state


def _mean_losses(model: Model, candidate: Candidate) -> Figures:
    return MeanLosses(model.task)


def _no_drift(model: Model) -> Drift | None:
    return None


def _nothing(figures: Figures, predictor: Predictor) -> dict[str, Any]:
    return {}


def _no_thresholds(figures: Figures) -> OwnThresholds | None:
    return None


@dataclass(frozen=True)
class Kit:
    """Functions to make, write and read the candidates of a model, and those who judge them.

    `drift` is asked for anew whenever there is another champion: its errors are no continuation of the old one's.
    `describe` says for a report what a candidate looks like inside. `thresholds` are those that a version now published is to have for
    groups of customers; None where that is not asked for, or cannot be told yet.
    `river` and `segue` are the versions that go into the lineage.
    """

    make: Callable[[Model, Candidate], Predictor]
    encode: Callable[[Predictor], bytes]
    decode: Callable[[Model, Candidate, bytes], Predictor]
    figures: Callable[[Model, Candidate], Figures] = _mean_losses
    drift: Callable[[Model], Drift | None] = _no_drift
    describe: Callable[[Figures, Predictor], dict[str, Any]] = _nothing
    thresholds: Callable[[Figures], OwnThresholds | None] = _no_thresholds
    river: str = ""
    segue: str = ""
