"""What a customer will spend, by how often, how lately and for how much they bought: BG/NBD with Gamma-Gamma.

How often they still buy: Fader, Hardie and Lee 2005, "Counting Your Customers the Easy Way". For how much: Fader and Hardie 2013,
"The Gamma-Gamma Model of Monetary Value". Fitted by maximum likelihood with SciPy; the libraries made for it are not kept up, or
bring a compiler along.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln, hyp2f1

KEPT: Final = 2_000
"""Customers that a fit looks at: the newest examples."""

LEAST: Final = 50
"""Customers who bought more than once that a fit needs."""

_PENALTY: Final = 0.001
_STEEPEST: Final = 12.0


class BuyTillYouDie:
    """A regressor in River's manner: `learn_one(x, y)`, `predict_one(x)`. It learns from what customers did, not from `y`.

    `frequency`, `recency`, `age`, `value` name the features: orders so far, time since the last one, time since the first, and the mean
    value of an order. `horizon` is how far ahead it looks, in the unit of those times. It is fitted anew every `every` examples.
    """

    def __init__(
        self,
        horizon: float,
        frequency: str = "frequency",
        recency: str = "recency",
        age: str = "age",
        value: str = "value",
        every: int = 500,
    ) -> None:
        self.horizon = horizon
        self.frequency = frequency
        self.recency = recency
        self.age = age
        self.value = value
        self.every = every
        self.seen = 0
        self.customers: deque[list[float]] = deque(maxlen=KEPT)
        self.counting: list[float] = []
        self.spending: list[float] = []

    def learn_one(self, x: dict[str, Any], y: float, w: float = 1.0) -> None:
        """Keep what is known of the customer; fit if it is time to."""
        known = self._summary(x)
        if known is None:
            return
        self.seen += 1
        self.customers.append(list(known))
        if self.seen == LEAST or not self.seen % self.every:
            self._fit()

    def predict_one(self, x: dict[str, Any]) -> float:
        """What the customer is expected to spend within the horizon: 0 for who never bought, and before the first fit."""
        known = self._summary(x)
        if known is None or not self.counting:
            return 0.0
        repeats, last, age, value = known
        orders = expected_orders(self.counting, repeats, last, age, self.horizon)
        return orders * (expected_value(self.spending, repeats, value) if self.spending else value)

    def _summary(self, x: dict[str, Any]) -> tuple[float, float, float, float] | None:
        """Orders after the first, when the last was and how long the first is ago (both from the first on), and their mean value."""
        orders, recency, age = x.get(self.frequency, 0), x.get(self.recency), x.get(self.age)
        if not orders or recency is None or age is None:
            return None
        age = max(float(age), 0.0)
        repeats = max(float(orders) - 1, 0.0)
        last = min(max(age - float(recency), 0.0), age) if repeats else 0.0
        return repeats, last, age, max(float(x.get(self.value) or 0.0), 0.0)

    def _fit(self) -> None:
        known = np.array(self.customers)
        repeated = known[(known[:, 0] > 0) & (known[:, 3] > 0)]
        if len(repeated) < LEAST:
            return
        self.counting = _minimum(
            lambda logs: _counting_loss(logs, known), self.counting or [1.0, max(known[:, 2].mean() / 4, 0.1), 1.0, 2.0]
        )
        self.spending = _minimum(
            lambda logs: _spending_loss(logs, repeated), self.spending or [1.0, 2.0, float(repeated[:, 3].mean())]
        )


def _minimum(loss: Any, start: list[float]) -> list[float]:
    """The positive numbers at which the loss is least; they are sought as logarithms."""
    found = minimize(
        loss, np.log(start), method="Nelder-Mead", options={"maxiter": 2_000, "xatol": 1e-4, "fatol": 1e-6}
    )
    return [round(float(value), 9) for value in np.exp(np.clip(found.x, -_STEEPEST, _STEEPEST))]


def _counting_loss(logs: Any, known: Any) -> float:
    """The mean negative log likelihood of BG/NBD, with a small penalty on extreme parameters."""
    r, alpha, a, b = np.exp(np.clip(logs, -_STEEPEST, _STEEPEST))
    x, last, age = known[:, 0], known[:, 1], known[:, 2]
    common = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    common += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    alive = -(r + x) * np.log(alpha + age)
    gone = np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + last)
    likelihood = common + np.where(x > 0, np.logaddexp(alive, gone), alive)
    return float(-likelihood.mean() + _PENALTY * (logs**2).mean())


def _spending_loss(logs: Any, repeated: Any) -> float:
    """The mean negative log likelihood of Gamma-Gamma, over those who bought more than once."""
    p, q, v = np.exp(np.clip(logs, -_STEEPEST, _STEEPEST))
    x, value = repeated[:, 0], repeated[:, 3]
    likelihood = gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(v)
    likelihood += (p * x - 1) * np.log(value) + p * x * np.log(x) - (p * x + q) * np.log(x * value + v)
    return float(-likelihood.mean() + _PENALTY * (logs**2).mean())


def expected_orders(counting: list[float], repeats: float, last: float, age: float, horizon: float) -> float:
    """How often a customer is expected to buy within the horizon (equation 10 of the paper).

    >>> round(expected_orders([0.243, 4.414, 0.793, 2.426], 2, 30.43, 38.86, 39), 3)  # the example of the authors
    1.226
    """
    r, alpha, a, b = counting
    if abs(a - 1) < 1e-6:
        a += 1e-6
    z = horizon / (alpha + age + horizon)
    series = float(hyp2f1(r + repeats, b + repeats, a + b + repeats - 1, z))
    found = (a + b + repeats - 1) / (a - 1) * (1 - ((alpha + age) / (alpha + age + horizon)) ** (r + repeats) * series)
    if repeats:
        found /= 1 + a / (b + repeats - 1) * math.exp((r + repeats) * math.log((alpha + age) / (alpha + last)))
    return max(found, 0.0) if math.isfinite(found) else 0.0


def expected_value(spending: list[float], repeats: float, value: float) -> float:
    """What an order of the customer is expected to be worth: between what they spent and what all spend."""
    p, q, v = spending
    if p * repeats + q <= 1:
        return value
    return p * (v + repeats * value) / (p * repeats + q - 1)
