"""A mixture of Gaussians learnt one example at a time: stepwise expectation maximisation (Cappé and Moulines 2009). River has none."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

_LEAST_VARIANCE: Final = 0.05
"""Of features on a common scale. Where many have the very same value, as no order at all, a Gaussian that could be as narrow as these
would be nothing else and swallow all the others' weight."""

_ROUNDS: Final = 10
_TINY: Final = 1e-12

Point = dict[int, float]


class Mixture:
    """So many Gaussians with variances along the axes. `centers` may be set before the first example, as for River's `KMeans`.

    Each example moves the sums that the Gaussians are computed from by a step of `(n + 2) ** -alpha`, never less than `slowest`: so it
    follows customers who change. A Gaussian that has next to no weight left stays where it is.
    """

    def __init__(self, n_clusters: int, alpha: float = 0.7, slowest: float = 0.002) -> None:
        self.n_clusters = n_clusters
        self.alpha = alpha
        self.slowest = slowest
        self.seen = 0
        self.centers: dict[int, Point] = {}
        self.variances: dict[int, Point] = {}
        self.weights: dict[int, float] = {}

    def fit(self, points: Any, centres: Any) -> None:
        """Begin with a few rounds of expectation maximisation over many points (a line each) at once, from these centres."""
        squares = ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
        shares = (squares == squares.min(axis=1)[:, None]).astype(float)
        shares /= shares.sum(axis=1)[:, None]
        for at in range(_ROUNDS + 1):
            sizes = np.maximum(shares.sum(axis=0), _TINY)
            centres = shares.T @ points / sizes[:, None]
            apart = (points[:, None, :] - centres[None, :, :]) ** 2
            variances = np.maximum(np.einsum("nk,nkd->kd", shares, apart) / sizes[:, None], _LEAST_VARIANCE)
            weights = sizes / sizes.sum()
            if at < _ROUNDS:
                logs = np.log(weights) - 0.5 * (np.log(variances) + apart / variances).sum(axis=2)
                shares = np.exp(logs - logs.max(axis=1)[:, None])
                shares /= shares.sum(axis=1)[:, None]
        self.seen = len(points)
        self.centers = {number: dict(enumerate(each)) for number, each in enumerate(centres.tolist())}
        self.variances = {number: dict(enumerate(each)) for number, each in enumerate(variances.tolist())}
        self.weights = dict(enumerate(weights.tolist()))

    def remove(self, number: int) -> None:
        """Go on without one of the Gaussians."""
        for kept in (self.centers, self.variances, self.weights):
            del kept[number]
        total = sum(self.weights.values())
        self.weights = {other: weight / total for other, weight in self.weights.items()}
        self.n_clusters -= 1

    def learn_one(self, x: Point) -> None:
        """Move each Gaussian by as much as the example is its own."""
        if not self.weights:
            for number in self.centers:
                self.weights[number] = 1 / len(self.centers)
                self.variances[number] = {}
        step = max(self.slowest, (self.seen + 2) ** -self.alpha)
        self.seen += 1
        for number, share in self.shares(x).items():
            self.weights[number] += step * (share - self.weights[number])
            pull = step * share / max(self.weights[number], _TINY)
            pull = min(pull, 0.5)
            centre, variance = self.centers[number], self.variances[number]
            for axis, value in x.items():
                before = value - centre.get(axis, 0.0)
                centre[axis] = centre.get(axis, 0.0) + pull * before
                spread = variance.get(axis, 1.0)
                variance[axis] = max(_LEAST_VARIANCE, spread + pull * (before * (value - centre[axis]) - spread))

    def predict_one(self, x: Point) -> int:
        """The Gaussian that the example most likely belongs to."""
        shares = self.shares(x)
        return max(shares, key=lambda number: (shares[number], -number))

    def shares(self, x: Point) -> dict[int, float]:
        """How likely each Gaussian is the one that the example comes from."""
        logs = {number: self._log(number, x) for number in self.centers}
        most = max(logs.values())
        grown = {number: math.exp(value - most) for number, value in logs.items()}
        total = sum(grown.values())
        return {number: value / total for number, value in grown.items()}

    def _log(self, number: int, x: Point) -> float:
        centre, variance = self.centers[number], self.variances.get(number, {})
        found = math.log(max(self.weights.get(number, 1.0), _TINY))
        for axis, value in x.items():
            spread = variance.get(axis, 1.0)
            found -= 0.5 * (math.log(spread) + (value - centre.get(axis, 0.0)) ** 2 / spread)
        return found
