"""What learns clusters one example at a time, whatever kind it is: begun, asked, and changed by reviews. Clusters are known by numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from river.cluster import DBSTREAM, KMeans

from online_models.personas.mixture import Mixture
from online_models.personas.partition import nearest
from online_models.personas.space import Point, Space

Kind = Literal["KMeans", "Mixture", "DBSTREAM"]


def begun(kind: Kind, parameters: Mapping[str, Any], seed: int, points: Any, centres: Any) -> Any:
    """A clusterer that has learnt these points (a line each), from these centres; of DBSTREAM, which finds its own, in their order."""
    if kind == "DBSTREAM":
        dense = DBSTREAM(**parameters)
        for point in points.tolist():
            dense.learn_one(dict(enumerate(point)))
        return dense
    if kind == "Mixture":
        mixture = Mixture(len(centres), **parameters)
        mixture.fit(points, centres)
        return mixture
    means = KMeans(n_clusters=len(centres), seed=seed, **{"halflife": 0.02, **parameters})
    for number, centre in enumerate(centres.tolist()):
        means.centers[number].update(enumerate(centre))
    return means


def labelled(clusterer: Any, points: Any) -> Any:
    """The number of the cluster of each point."""
    if isinstance(clusterer, DBSTREAM):
        return np.array([clusterer.predict_one(dict(enumerate(point))) for point in points.tolist()])
    numbers = list(clusterer.centers)
    centres = _lines(clusterer.centers, points.shape[1], 0.0)
    if isinstance(clusterer, Mixture):
        variances = _lines(clusterer.variances, points.shape[1], 1.0)
        apart = ((points[:, None, :] - centres[None, :, :]) ** 2 / variances).sum(axis=2)
        heights = np.array([height(clusterer, number) for number in numbers])
        return np.array(numbers)[(apart + heights).argmin(axis=1)]
    return np.array(numbers)[nearest(points, centres)]


def height(clusterer: Any, number: int) -> float:
    """How far a cluster is from everybody, squared, besides the distance to its centre: narrow and frequent ones are nearer."""
    if not isinstance(clusterer, Mixture):
        return 0.0
    weight = max(clusterer.weights[number], 1e-12)
    return float(np.log(list(clusterer.variances[number].values())).sum() - 2 * np.log(weight))


def spread(clusterer: Any, number: int) -> Point:
    """By axis the standard deviation of a cluster; empty where all are as wide."""
    if not isinstance(clusterer, Mixture):
        return {}
    return {axis: variance**0.5 for axis, variance in clusterer.variances[number].items()}


def renumber(clusterer: Any, numbers: Mapping[int, int]) -> None:
    """Know the clusters by other numbers from now on."""
    kept = ("centers", "variances", "weights") if isinstance(clusterer, Mixture) else ("centers",)
    for name in kept:
        old = getattr(clusterer, name)
        setattr(clusterer, name, {numbers[number]: old[number] for number in sorted(numbers, key=numbers.__getitem__)})


def remove(clusterer: Any, number: int) -> None:
    """Go on without a cluster."""
    if isinstance(clusterer, Mixture):
        clusterer.remove(number)
    else:
        del clusterer.centers[number]
        clusterer.n_clusters -= 1


def move(clusterer: Any, before: Space, now: Space) -> None:
    """Express the clusters of one space in another; of DBSTREAM that is not possible."""
    for centre in clusterer.centers.values():
        placed = now.place(before.lift(centre))
        centre.clear()
        centre.update(placed)
    if isinstance(clusterer, Mixture):
        for number, variance in clusterer.variances.items():
            wide = respread({axis: each**0.5 for axis, each in variance.items()}, before, now)
            clusterer.variances[number] = {axis: each**2 for axis, each in wide.items()}


def respread(spread: Point, before: Space, now: Space) -> Point:
    """Standard deviations by axis of one space, by axis of another. Those along directions stay as they are."""
    return now.stretched(spread, before, 1.0) if spread and not now.directions else spread


def _lines(points: Mapping[int, Point], width: int, otherwise: float) -> Any:
    return np.array([[each.get(axis, otherwise) for axis in range(width)] for each in points.values()])
