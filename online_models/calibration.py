"""Calibration on a stream: what share of those with this raw probability turn out positive.

Both learn from raw probabilities that were made before their label was learnt, one example at a time, in constant memory, and older
examples count for less and less. Until they have seen something else, they take what they are given for calibrated.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

LEAST: Final = 1e-6
"""No probability is nearer to 0 or 1 than this."""

MEMORY: Final = 20_000.0
"""After so many examples one counts for 1/e."""

MOST_BINS: Final = 200


def clamped(probability: float) -> float:
    """The probability, kept off 0 and 1.

    >>> clamped(0.0), clamped(0.25)
    (1e-06, 0.25)
    """
    return LEAST if probability < LEAST else 1.0 - LEAST if probability > 1.0 - LEAST else probability


def logit(probability: float) -> float:
    """The logarithm of the odds.

    >>> logit(0.5)
    0.0
    """
    p = clamped(probability)
    return math.log(p / (1.0 - p))


def sigmoid(z: float) -> float:
    """The probability whose log odds are `z`.

    >>> sigmoid(0.0), sigmoid(-1000.0)
    (0.5, 0.0)
    """
    return 1.0 / (1.0 + math.exp(-z)) if z > -700.0 else 0.0


class Platt:
    """A logistic curve over the log odds: `sigmoid(slope * logit(raw) + shift)` (Platt, 1999).

    Each example is one step of Newton's method, with the curvature of all examples so far (an online Laplace approximation), beginning
    from a prior that holds to slope 1 and shift 0 like `PRIOR` examples. The slope stays positive: calibration never turns an order round.
    """

    PRIOR: Final = 10.0
    LEAST_SLOPE: Final = 0.01
    MOST: Final = 20.0

    def __init__(self, memory: float = MEMORY) -> None:
        self.decay = math.exp(-1.0 / memory)
        self.slope = 1.0
        self.shift = 0.0
        self.precision = [self.PRIOR, 0.0, self.PRIOR]

    def learn(self, raw: float, label: float, weight: float = 1.0) -> None:
        """Take in that of `weight` such examples, each with this raw probability, the label was `label` (0 or 1)."""
        z = logit(raw)
        p = sigmoid(self.slope * z + self.shift)
        curvature = weight * max(p * (1.0 - p), 1e-4)
        a, b, c = (old * self.decay for old in self.precision)
        a, b, c = a + curvature * z * z, b + curvature * z, c + curvature
        # What is forgotten must not leave the curvature without bottom: a stream of equal rows says nothing of the slope.
        a, c = max(a, 1.0), max(c, 1.0)
        determinant = max(a * c - b * b, 1e-9 * a * c)
        error = weight * (p - label)
        slope = self.slope - error * (c * z - b) / determinant
        shift = self.shift - error * (a - b * z) / determinant
        self.slope = min(max(slope, self.LEAST_SLOPE), self.MOST)
        self.shift = min(max(shift, -self.MOST), self.MOST)
        self.precision = [a, b, c]

    def calibrate(self, raw: float) -> float:
        """The calibrated probability."""
        return clamped(sigmoid(self.slope * logit(raw) + self.shift))

    def state(self) -> list[Any]:
        """What is to be stored."""
        return [self.slope, self.shift, *self.precision]

    def restore(self, state: Sequence[Any]) -> None:
        """Take over what `state` gave."""
        slope, shift, a, b, c = (float(value) for value in state)
        if not all(map(math.isfinite, (slope, shift, a, b, c))):
            raise ValueError("calibration is not finite")
        self.slope, self.shift, self.precision = slope, shift, [a, b, c]


class Isotonic:
    """The best rising curve (isotonic regression, Zadrozny and Elkan, 2002), linear between the means of its pools.

    The examples are kept as at most `MOST_BINS` bins in order of their raw probability; where there are more, the two neighbours that
    together have least weight become one. While every raw probability has a bin of its own the curve is exact. It begins with ten
    made-up examples spread evenly, each of which says that the raw probability is right.
    """

    def __init__(self, memory: float = MEMORY, bins: int = MOST_BINS) -> None:
        self.growth = math.exp(1.0 / memory)
        self.most = bins
        self.scale = 1.0
        self.raws = [(place + 0.5) / 10 for place in range(10)]
        self.weights = [1.0] * 10
        self.positives = list(self.raws)
        self._curve: tuple[list[float], list[float]] | None = None

    def learn(self, raw: float, label: float, weight: float = 1.0) -> None:
        """Take in that of `weight` such examples, each with this raw probability, the label was `label` (0 or 1)."""
        # Instead of making all older ones lighter, newer ones are heavier.
        self.scale *= self.growth
        weight *= self.scale
        self._curve = None
        place = bisect_left(self.raws, raw)
        if place < len(self.raws) and self.raws[place] == raw:
            self.weights[place] += weight
            self.positives[place] += weight * label
        else:
            self.raws.insert(place, raw)
            self.weights.insert(place, weight)
            self.positives.insert(place, weight * label)
            if len(self.raws) > self.most:
                self._merge()
        if self.scale > 1e6:
            self.weights = [one / self.scale for one in self.weights]
            self.positives = [one / self.scale for one in self.positives]
            self.scale = 1.0

    def _merge(self) -> None:
        sums = [one + other for one, other in pairwise(self.weights)]
        place = sums.index(min(sums))
        share = self.weights[place + 1] / sums[place]
        self.raws[place] += share * (self.raws[place + 1] - self.raws[place])
        self.weights[place] = sums[place]
        self.positives[place] += self.positives[place + 1]
        for values in (self.raws, self.weights, self.positives):
            del values[place + 1]

    def calibrate(self, raw: float) -> float:
        """The calibrated probability."""
        if self._curve is None:
            self._curve = pooled(zip(self.raws, self.weights, self.positives, strict=True))
        raws, shares = self._curve
        after = bisect_right(raws, raw)
        if after == 0:
            return clamped(shares[0])
        if after == len(raws):
            return clamped(shares[-1])
        low, high = raws[after - 1], raws[after]
        return clamped(shares[after - 1] + (shares[after] - shares[after - 1]) * (raw - low) / (high - low))

    def state(self) -> list[Any]:
        """What is to be stored."""
        return [self.scale, self.raws, self.weights, self.positives]

    def restore(self, state: Sequence[Any]) -> None:
        """Take over what `state` gave."""
        scale, *columns = state
        raws, weights, positives = ([float(value) for value in column] for column in columns)
        if not 0 < len(raws) == len(weights) == len(positives) <= self.most:
            raise ValueError("bins do not fit")
        if not all(map(math.isfinite, (float(scale), *raws, *weights, *positives))):
            raise ValueError("calibration is not finite")
        if any(one >= other for one, other in pairwise(raws)) or min(weights) <= 0.0:
            raise ValueError("bins are not in order")
        self.scale, self.raws, self.weights, self.positives = float(scale), raws, weights, positives
        self._curve = None


def pooled(bins: Iterable[tuple[float, float, float]]) -> tuple[list[float], list[float]]:
    """Pools neighbouring (raw, weight, weight of positives) until shares rise: the mean raw of each pool, and its share of positives.

    >>> pooled([(0.1, 1.0, 1.0), (0.2, 1.0, 0.0), (0.9, 1.0, 1.0)])
    ([0.15000000000000002, 0.9], [0.5, 1.0])
    """
    pools: list[list[float]] = []
    for raw, weight, positive in bins:
        pools.append([raw * weight, weight, positive])
        while len(pools) > 1 and pools[-2][2] * pools[-1][1] >= pools[-1][2] * pools[-2][1]:
            last = pools.pop()
            for place in range(3):
                pools[-1][place] += last[place]
    return [pool[0] / pool[1] for pool in pools], [pool[2] / pool[1] for pool in pools]


Calibrator = Platt | Isotonic
