"""Ways to divide the customers of a review into clusters, and how good each is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from online_models.definition import PersonaRule
from online_models.personas.naming import FITS, declared
from online_models.personas.separation import davies_bouldin, distances, silhouette

_TRIES: Final = 5
_MOVES: Final = 15

_SEEDED_BY: Final = 3
"""Customers, at least, who must look as a declared name says for a cluster to begin among them."""


@dataclass(frozen=True)
class Partition:
    """One way. `labels` has the cluster of each customer, `names` the declared names that fit a cluster each.

    `clusterer` is what made it, and can go on learning.
    """

    labels: Any
    clusterer: Any
    silhouette: float
    davies_bouldin: float
    names: frozenset[str]

    def value(self, margin: float) -> float:
        """What it is worth: a declared name that is found outweighs so much silhouette."""
        return self.silhouette + margin * len(self.names)

    @property
    def smallest(self) -> float:
        """The share of the smallest cluster."""
        counts = np.unique(self.labels, return_counts=True)[1]
        return float(counts.min() / len(self.labels))


class Judge:
    """Judges partitions of the same customers. `scaled`: their features in standard deviations; `points`: where they lie."""

    def __init__(self, scaled: Any, points: Any, features: Sequence[str], rule: PersonaRule) -> None:
        self.scaled, self.points, self.features, self.rule = scaled, points, list(features), rule

    def judged(self, labels: Any, clusterer: Any) -> Partition:
        """A partition with its figures."""
        apart = silhouette(self._distances, labels), davies_bouldin(self.points, labels)
        return Partition(labels, clusterer, *apart, frozenset(self.called(labels).values()))

    @cached_property
    def _distances(self) -> Any:
        """Once for all partitions: it takes most of the time of a review."""
        return distances(self.points)

    def joined(self, labels: Any, least: float) -> Any:
        """The labels with those of clusters too small, or too many, given to the others: to the one whose middle is nearest."""
        names, sizes = np.unique(labels, return_counts=True)
        order = sorted(range(len(names)), key=lambda at: (-sizes[at], at))[: self.rule.most]
        kept = [int(names[at]) for at in order if sizes[at] >= least * len(labels)]
        if not kept:
            return np.zeros(len(labels), dtype=int)
        middles = np.array([self.points[labels == name].mean(axis=0) for name in kept])
        near = np.array(kept)[nearest(self.points, middles)]
        return np.where(np.isin(labels, kept), labels, near)

    def called(self, labels: Any) -> dict[int, str]:
        """The clusters that declared names fit, and these names."""
        looks = {
            int(label): dict(zip(self.features, self.scaled[labels == label].mean(axis=0).tolist(), strict=True))
            for label in np.unique(labels)
        }
        return declared(looks, self.rule, {})

    def beginnings(self, dice: Callable[[int], random.Random]) -> Iterator[tuple[int, Any]]:
        """For each number of clusters centres to begin with: the best from anywhere, and the best from among those whom declared names
        describe."""
        seeds = self._seeds()
        for count in range(self.rule.fewest, min(self.rule.most, len(self.points)) + 1):
            for begin in [[], seeds[:count]] if seeds else [[]]:
                yield count, _apart(self.points, count, begin, dice(count))

    def _seeds(self) -> list[Any]:
        """The middle of those who look as a declared name says in every feature, for each of the names."""
        found = []
        for _, told in self.rule.names:
            if told and all(name in self.features for name, _ in told):
                fits = np.all([side * self.scaled[:, self.features.index(name)] >= FITS for name, side in told], axis=0)
                if fits.sum() >= _SEEDED_BY:
                    found.append(self.points[fits].mean(axis=0))
        return found


def nearest(points: Any, centres: Any) -> Any:
    """For each point the place, in order, of the centre that is nearest."""
    return (-2 * points @ centres.T + (centres**2).sum(axis=1)[None, :]).argmin(axis=1)


def _apart(points: Any, count: int, begin: list[Any], dice: random.Random) -> Any:
    """So many centres, `begin` among those they move from: of a few tries, those that lie nearest to their points."""
    tries = [_settled(points, _drawn(points, count, begin, dice)) for _ in range(_TRIES)]
    return min(tries, key=lambda one: one[1])[0]


def _drawn(points: Any, count: int, begin: list[Any], dice: random.Random) -> Any:
    """So many of the points, drawn so that they lie apart from each other and from the first ones (k-means++: Arthur and Vassilvitskii
    2007)."""
    chosen = list(begin) or [points[dice.randrange(len(points))]]
    squares = np.min([((points - one) ** 2).sum(axis=1) for one in chosen], axis=0)
    while len(chosen) < count:
        reached = np.cumsum(squares)
        at = int(np.searchsorted(reached, dice.random() * reached[-1])) if reached[-1] else dice.randrange(len(points))
        chosen.append(points[min(at, len(points) - 1)])
        squares = np.minimum(squares, ((points - chosen[-1]) ** 2).sum(axis=1))
    return np.array(chosen)


def _settled(points: Any, centres: Any) -> tuple[Any, float]:
    """The centres moved to the middle of their points until they stay (Lloyd 1982), and how far from them the points lie."""
    labels = nearest(points, centres)
    for _ in range(_MOVES):
        belongs = labels[None, :] == np.arange(len(centres))[:, None]
        sizes = belongs.sum(axis=1)
        middles = belongs @ points / np.maximum(sizes, 1)[:, None]
        centres = np.where(sizes[:, None] > 0, middles, centres)
        before, labels = labels, nearest(points, centres)
        if np.array_equal(before, labels):
            break
    return centres, float(((points - centres[labels]) ** 2).sum())
