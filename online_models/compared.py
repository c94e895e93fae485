"""Two candidates over the same examples: what each had said, what it cost, and how far apart they are beyond chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from online_models.contest import FEWEST, loss, lower_bound
from online_models.quality.figures import Report, classification, regression
from online_models.rehearsal import Gathered

SHOWN: Final = {"classification": ("log_loss", "brier", "roc_auc", "calibration_error"), "regression": ("mae", "rmse")}
"""By task, the figures by which two candidates are looked at side by side."""


@dataclass(frozen=True)
class Difference:
    """By how much a candidate is better than another: the difference of their mean losses, above 0 where it is.

    It lies between `low` and `high` (None: too few customers to tell) but for a share of such comparisons. Customers count as one
    each, however many examples they gave, as those of one customer are alike.
    """

    better: float
    low: float | None
    high: float | None
    examples: int
    customers: int


def losses(metric: str, outputs: Sequence[Any], gathered: Gathered, start: int = 0) -> list[float | None]:
    """What each output from place `start` on cost; None where there is none."""
    examples = gathered.examples[start : len(outputs)]
    return [
        loss(metric, output, one.label) if one.label is not None else None
        for output, one in zip(outputs[start:], examples, strict=True)
    ]


def judged(costs: Sequence[float | None], places: Iterable[int]) -> list[int]:
    """Those of the places that something is known of."""
    return [place for place in places if place < len(costs) and costs[place] is not None]


def mean(costs: Sequence[float | None], gathered: Gathered, places: Iterable[int]) -> float:
    """The weighted mean of what it cost at these places; not a number where there are none, or one of them is missing.

    >>> from online_models.example import Example
    >>> of = Gathered.of((Example("m", "", "a", 0, at, [], 0.0, weight=at), 0) for at in (1, 3))
    >>> mean([8.0, 4.0], of, [0, 1]), mean([8.0, None], of, [0, 1])
    (5.0, nan)
    """
    total = weight = 0.0
    for place in places:
        cost = costs[place] if place < len(costs) else None
        if cost is None:
            return math.nan
        one = gathered.examples[place].weight
        total += one * cost
        weight += one
    return total / weight if weight else math.nan


def blocks(places: Sequence[int], count: int) -> list[Sequence[int]]:
    """The places in so many runs of about the same length, in their order; fewer where there are not as many.

    >>> blocks(range(7), 3)
    [range(0, 2), range(2, 4), range(4, 7)]
    """
    ends = [len(places) * number // count for number in range(count + 1)]
    return [places[one:other] for one, other in pairwise(ends) if other > one]


def difference(
    one: Sequence[float | None],
    other: Sequence[float | None],
    gathered: Gathered,
    places: Sequence[int],
    confidence: float,
) -> Difference:
    """By how much `other` is better than `one` at these places, of each of which both had said something.

    The bounds are those of `online_models.contest` at a single look, over the totals of customers.
    """
    sums: dict[str, list[float]] = {}
    for place in places:
        first, second, example = one[place], other[place], gathered.examples[place]
        assert first is not None and second is not None
        of = sums.setdefault(example.customer, [0.0, 0.0])
        of[0] += example.weight * (first - second)
        of[1] += example.weight
    count, weight = len(sums), math.fsum(total for _, total in sums.values())
    if not weight:
        return Difference(math.nan, None, None, 0, 0)
    better = math.fsum(gained for gained, _ in sums.values()) / weight
    if count < FEWEST:
        return Difference(better, None, None, len(places), count)
    # A ratio of two totals, each customer drawn as a whole: its error is that of the mean of these residuals.
    residuals = [(gained - better * total) * count / weight for gained, total in sums.values()]
    variance = math.fsum(each * each for each in residuals) / (count - 1)
    alpha = (1.0 - confidence) / 2
    low = lower_bound(count, better, variance, alpha, count)
    return Difference(better, low, 2 * better - low, len(places), count)


def figures(task: str, outputs: Sequence[Any], gathered: Gathered, places: Sequence[int]) -> Report:
    """The figures of `SHOWN` of what had been said at these places."""
    if not places:
        return {}
    ones = [gathered.examples[place] for place in places]
    said = np.array([float(outputs[place]) for place in places])
    labels, weights = np.array([float(one.label or 0.0) for one in ones]), np.array([one.weight for one in ones])
    found = (classification if task == "classification" else regression)(said, labels, weights)
    return {name: found[name] for name in ("base_rate", "naive_mae", *SHOWN[task]) if name in found}
