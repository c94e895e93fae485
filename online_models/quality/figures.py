"""How good predictions were, over the newest examples of which the outcome is known.

Each figure is exact over its window: nothing is estimated on the way, so a report is the same whoever computes it. Predictions are those
that were logged when they were made, before anybody knew the outcome (delayed progressive validation: Grzenda, Gomes and Bifet 2020,
"Delayed labelling evaluation for data streams").
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final, Literal

import msgspec
import numpy as np

WINDOW: Final = 2_000
"""Examples that figures are computed over: the newest."""

LEAST: Final = 30
"""Fewer examples than this make no figure of a segment."""

MOST_SEGMENTS: Final = 50
"""Segments reported of: those with the most examples."""

BINS: Final = 10
_TINY: Final = 1e-15

Report = dict[str, Any]


class Observed(msgspec.Struct, array_like=True, gc=False):
    """One prediction and what came of it. `at`, `labelled_at` in epoch milliseconds.

    `threshold` is that of the customer's group, where it had one of its own when this was said.
    """

    prediction: float
    label: float
    weight: float
    at: int
    labelled_at: int
    version: int
    segments: list[str]
    group: str
    threshold: float | None = None


class Figures:
    """The newest predictions of one candidate, and what they were worth.

    `seen` counts the examples taken in, `unscored` those for which the candidate had not said anything.

    >>> figures = Figures("classification")
    >>> for prediction, label in ((0.9, 1.0), (0.2, 0.0), (0.6, 1.0), (0.1, 0.0)):
    ...     figures.observe(Observed(prediction, label, 1.0, 0, 1, 1, [], ""))
    >>> figures.report()["roc_auc"], figures.report()["coverage"]
    (1.0, 1.0)
    """

    def __init__(self, task: Literal["classification", "regression"], window: int = WINDOW) -> None:
        self.task = task
        self.newest: deque[Observed] = deque(maxlen=window)
        self.seen = 0
        self.unscored = 0

    def observe(self, one: Observed) -> None:
        """Take in one example with its prediction."""
        self.seen += 1
        self.newest.append(one)

    def miss(self) -> None:
        """An example for which there was no prediction."""
        self.seen += 1
        self.unscored += 1

    def report(self) -> Report:
        """All figures, and those of each segment with enough examples. Figures that cannot be told are left out.

        `foretold` is how many examples they are of.
        """
        ones = list(self.newest)
        columns = (
            np.array([one.prediction for one in ones]),
            np.array([one.label for one in ones]),
            np.array([one.weight for one in ones]),
        )
        found = self._of(columns)
        found["foretold"] = len(ones)
        found["seen"] = self.seen
        if self.seen:
            found["coverage"] = round(1 - self.unscored / self.seen, 6)
        segments = self._segments(ones, columns)
        if segments:
            found["segments"] = segments
        versions = _versions(ones)
        if versions:
            found["versions"] = versions
        return found

    def state(self) -> list[Any]:
        """All that it holds, in plain values."""
        return [self.seen, self.unscored, [msgspec.to_builtins(one) for one in self.newest]]

    def restore(self, state: list[Any]) -> None:
        """Go on from a state."""
        self.seen, self.unscored, newest = state
        self.newest.clear()
        self.newest.extend(msgspec.convert(one, Observed) for one in newest)

    def _segments(self, ones: list[Observed], columns: tuple[Any, Any, Any]) -> dict[str, Report]:
        members: dict[str, list[int]] = {}
        for place, one in enumerate(ones):
            for name in one.segments:
                members.setdefault(name, []).append(place)
        enough = [(name, places) for name, places in members.items() if len(places) >= LEAST]
        enough.sort(key=lambda found: (-len(found[1]), found[0]))
        predictions, labels, weights = columns
        return {
            name: self._of((predictions[places], labels[places], weights[places]))
            for name, places in sorted(enough[:MOST_SEGMENTS])
        }

    def _of(self, columns: tuple[Any, Any, Any]) -> Report:
        """The figures of some examples: their predictions, labels and weights."""
        compute = classification if self.task == "classification" else regression
        count = len(columns[0])
        return {"examples": count, **(compute(*columns) if count else {})}


def _versions(ones: Iterable[Observed]) -> dict[str, int]:
    """How many of the predictions each version made."""
    return {str(version): count for version, count in Counter(one.version for one in ones).items()}


def classification(predictions: Any, labels: Any, weights: Any) -> Report:
    """Figures of probabilities against outcomes of 0 and 1. All arrays have one number for each example."""
    total = float(weights.sum())
    found = {
        "base_rate": float(weights @ labels) / total,
        "log_loss": log_loss(predictions, labels, weights) / total,
        "brier": float(weights @ (predictions - labels) ** 2) / total,
        "calibration_error": calibration_error(predictions, labels, weights),
    }
    auc = roc_auc(predictions, labels, weights)
    if auc is not None:
        found["roc_auc"] = auc
        found["lift"] = lift(predictions, labels, weights)
    return {name: round(value, 6) for name, value in found.items()}


def log_loss(predictions: Any, labels: Any, weights: Any) -> float:
    """The log loss (nats) of all examples together."""
    clipped = np.clip(predictions, _TINY, 1 - _TINY)
    return float(weights @ -(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)))


def regression(predictions: Any, labels: Any, weights: Any) -> Report:
    """Figures of expected numbers against what came. `naive_mae` is the error of always saying the mean of what came."""
    total = float(weights.sum())
    errors = np.abs(predictions - labels)
    mean = float(weights @ labels) / total
    found = {
        "mean": mean,
        "mae": float(weights @ errors) / total,
        "rmse": float(np.sqrt(weights @ errors**2 / total)),
        "naive_mae": float(weights @ np.abs(labels - mean)) / total,
        "bias": float(weights @ (predictions - labels)) / total,
    }
    return {name: round(value, 6) for name, value in found.items()}


def roc_auc(predictions: Any, labels: Any, weights: Any) -> float | None:
    """The share of pairs of one with and one without the outcome in which the first has the higher score; ties count half.

    None where all outcomes are alike. Weighted Mann-Whitney: Hanley and McNeil 1982.
    """
    positive = float(weights @ labels)
    negative = float(weights.sum()) - positive
    if positive <= 0 or negative <= 0:
        return None
    order = np.argsort(predictions, kind="stable")
    values, gains = predictions[order], (weights * (1 - labels))[order]
    wins = (weights * labels)[order]
    at = np.zeros(len(values), dtype=np.intp)
    np.cumsum(values[1:] != values[:-1], out=at[1:])
    of_value = np.bincount(at, gains)
    below = np.zeros(len(of_value))
    np.cumsum(of_value[:-1], out=below[1:])
    return float(wins @ (below + of_value / 2)[at] / (positive * negative))


def bins(predictions: Any, labels: Any, weights: Any, count: int = BINS) -> list[tuple[float, float, float]]:
    """Examples in order of their predictions, cut into parts of nearly the same weight: mean prediction, mean outcome, weight of each."""
    order = np.argsort(predictions, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    part = np.minimum((share * count - 1e-9).astype(int), count - 1)
    # Parts only rise along the order: each is a slice of it.
    edges = np.searchsorted(part, np.arange(count + 1))
    found = []
    for first, last in pairwise(edges.tolist()):
        chosen = order[first:last]
        weight = float(weights[chosen].sum())
        if weight > 0:
            own = weights[chosen] / weight
            found.append((float(own @ predictions[chosen]), float(own @ labels[chosen]), weight))
    return found


def calibration_error(predictions: Any, labels: Any, weights: Any) -> float:
    """The mean distance of what was foretold from what came, over bins of equal weight (ECE: Naeini, Cooper and Hauskrecht 2015)."""
    total = float(weights.sum())
    return sum(abs(said - came) * weight for said, came, weight in bins(predictions, labels, weights)) / total


def lift(predictions: Any, labels: Any, weights: Any, share: float = 0.1) -> float:
    """How many times as often as overall the outcome came among the tenth of examples with the highest scores."""
    order = np.argsort(-predictions, kind="stable")
    before = np.cumsum(weights[order]) - weights[order]
    chosen = order[before < share * weights.sum()]
    own = float(weights[chosen] @ labels[chosen]) / float(weights[chosen].sum())
    return own / (float(weights @ labels) / float(weights.sum()))
