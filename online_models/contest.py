"""Champion against challengers: is one of them better, on the same examples, by more than chance and the declared margin?

Each example that the champion and a challenger both had foretold gives one difference: the champion's loss less the margin, less
the challenger's loss, times the example's weight. A challenger is better once the mean of these is above 0 with confidence. It is
looked at again and again, so that the bound has to hold at all looks together: it is the one-sided asymptotic confidence sequence of
Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences" (Annals of
Statistics 52, 2024), which asks for no bound on losses, only for variance. For comparing forecasters so see Choe and Ramdas,
"Comparing sequential forecasters" (Operations Research, 2023).

What is better today need not have been better a year ago, so a comparison goes in rounds: after `ROUND` times `least` examples, or when
the champion has been seen to drift, it begins anew with nothing counted. Round k may be wrong with a share 1 / (k (k + 1)) of what may
be wrong in all, and challengers share that equally: as long as one champion reigns, the chance that any equal challenger is ever
promoted is at most 1 - `confidence`. This counts examples as if each brought something of its own; where one customer gives many with
the same outcome, the chance is higher, and `least` is to be larger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from online_models.definition import Promotion

ROUND: Final = 20
"""How many times `least` examples make a round."""

FEWEST: Final = 100
"""Examples below which nothing is concluded, whatever `least` says: the bound is one for many examples."""

CLIP: Final = 1e-6
"""Probabilities count in the log loss as at least this, and at most 1 less this."""


def loss(metric: str, output: Any, label: float) -> float | None:
    """What a prediction costs: `log_loss` (nats), `brier` or `mae`; None where it is not a finite number.

    >>> round(loss("log_loss", 0.5, 1.0), 4), loss("brier", 0.5, 1.0), loss("mae", 7, 10.0), loss("mae", None, 1.0)
    (0.6931, 0.25, 3.0, None)
    """
    if (type(output) is not float and type(output) is not int) or not math.isfinite(output):
        return None
    if metric == "log_loss":
        likely = min(max(output if label else 1.0 - output, CLIP), 1.0 - CLIP)
        return -math.log(likely)
    error = output - label
    return error * error if metric == "brier" else abs(error)


def base_loss(rate: Any) -> float | None:
    """The log loss (nats) of always saying the base rate: whoever knows anything is below it. None where there is no rate.

    >>> base_loss(0.5), base_loss(0), base_loss(None)
    (0.6931471805599453, 0.0, None)
    """
    if not isinstance(rate, int | float) or not 0 <= rate <= 1:
        return None
    return 0.0 if rate in (0, 1) else -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)


def lower_bound(count: int, mean: float, variance: float, alpha: float, least: int) -> float:
    """Below the true mean at all looks from `least` on, but for a share `alpha` of runs. Tightest around `least` observations.

    >>> 0 < lower_bound(10_000, 0.1, 1.0, 0.05, 1_000) < 0.1
    True
    """
    # The running sum is close to a Brownian motion, whose mixture over a half-normal drift of scale `spread` is a martingale.
    far = -2.0 * math.log(min(2.0 * alpha, 0.999))
    spread = (far + math.log(max(far, 1.0)) + 1.0) / least
    grown = count * spread + 1.0
    return mean - math.sqrt(
        variance * 2.0 * grown / (count * count * spread) * math.log(0.5 + math.sqrt(grown) / (2.0 * alpha))
    )


class Pair(msgspec.Struct, array_like=True):
    """What is known of one challenger in this round. `mean` and `squares` are of the weighted differences (Welford's method).

    `champion` and `challenger` are sums of losses times weights, `weight` is the sum of these. `told`: it has been said in this round
    that this one would be promoted.
    """

    round: int = 1
    examples: int = 0
    mean: float = 0.0
    squares: float = 0.0
    weight: float = 0.0
    champion: float = 0.0
    challenger: float = 0.0
    told: bool = False

    def take(self, champion: float, challenger: float, weight: float, margin: float) -> None:
        """Count one example that both had foretold, by their losses."""
        self.examples += 1
        self.weight += weight
        self.champion += weight * champion
        self.challenger += weight * challenger
        difference = weight * (champion * (1.0 - margin) - challenger)
        off = difference - self.mean
        self.mean += off / self.examples
        self.squares += off * (difference - self.mean)


class Verdict(msgspec.Struct, frozen=True):
    """A challenger against the champion: mean losses, how much better it is beyond the margin, and the bound below that.

    `better` and `bound` are of the weighted difference. `proven`: there are enough examples, and the bound is above 0.
    """

    champion: str
    challenger: str
    metric: str
    examples: int
    round: int
    champion_loss: float
    challenger_loss: float
    margin: float
    better: float
    bound: float | None
    confidence: float
    proven: bool


class Contest:
    """The champion of a model against each of its challengers.

    >>> contest = Contest(Promotion("brier", least=100), "old", ["new"])
    >>> for at in range(200):
    ...     label = float(at % 3 == 0)
    ...     contest.observe({"old": 0.5, "new": 0.9 if label else 0.2}, label, 1.0)
    >>> contest.winner().challenger
    'new'
    """

    def __init__(self, promotion: Promotion, champion: str, challengers: Iterable[str]) -> None:
        self.promotion = promotion
        self.champion = champion
        self.pairs = {name: Pair() for name in challengers}

    def observe(self, outputs: Mapping[str, Any], label: float, weight: float) -> None:
        """Count one example by what the candidates had said of it, each by its name. Of whom nothing is known is left out."""
        if not self.pairs:
            return
        metric, margin = self.promotion.metric, self.promotion.margin
        champion = loss(metric, outputs.get(self.champion), label)
        if champion is None:
            return
        for name, pair in self.pairs.items():
            challenger = loss(metric, outputs.get(name), label)
            if challenger is None:
                continue
            if pair.examples >= ROUND * self.least:
                self.pairs[name] = pair = Pair(pair.round + 1)
            pair.take(champion, challenger, weight, margin)

    def begin_round(self) -> None:
        """Begin anew with all challengers that have been compared over `least` examples: what was before says no more."""
        for name, pair in self.pairs.items():
            if pair.examples >= self.least:
                self.pairs[name] = Pair(pair.round + 1)

    @property
    def least(self) -> int:
        """Examples before anything is concluded."""
        return max(self.promotion.least, FEWEST)

    def verdict(self, challenger: str) -> Verdict:
        """How a challenger stands."""
        pair, promotion = self.pairs[challenger], self.promotion
        bound = None
        if pair.examples >= self.least:
            alpha = (1.0 - promotion.confidence) / len(self.pairs) / (pair.round * (pair.round + 1))
            variance = pair.squares / (pair.examples - 1)
            bound = lower_bound(pair.examples, pair.mean, variance, max(alpha, 1e-12), self.least)
        weight = pair.weight or 1.0
        return Verdict(
            self.champion,
            challenger,
            promotion.metric,
            pair.examples,
            pair.round,
            pair.champion / weight,
            pair.challenger / weight,
            promotion.margin,
            pair.mean,
            bound,
            promotion.confidence,
            bound is not None and bound > 0.0,
        )

    def winner(self) -> Verdict | None:
        """The best challenger that has been proven better than the champion, if there is one."""
        proven = [one for one in map(self.verdict, self.pairs) if one.proven]
        return min(proven, key=lambda one: (-(one.bound or 0.0), one.challenger), default=None)

    def tell(self, challenger: str) -> bool:
        """Whether it has not been said yet in this round that this one would be promoted; it counts as said from now on."""
        told, self.pairs[challenger].told = self.pairs[challenger].told, True
        return not told

    def state(self) -> dict[str, Pair]:
        """What has been counted, by challenger."""
        return self.pairs

    def restore(self, pairs: Mapping[str, Pair]) -> None:
        """Go on from what had been counted; challengers that are not known any more are left out."""
        self.pairs = {name: pairs.get(name, pair) for name, pair in self.pairs.items()}
