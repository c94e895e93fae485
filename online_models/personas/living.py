"""Personas: clusters that are learnt one example at a time, looked through now and then, and published with their identities and names.

Between two reviews nothing that customers see changes: they belong to the published centre that is nearest, and leave the one that they
belong to only for one that is clearly nearer. A review chooses how many clusters there are, tells which of them is which of the last
review, and names those that are new.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any, Final, Literal

import msgspec
import numpy as np
from river.cluster import DBSTREAM, KMeans
from river.preprocessing import StandardScaler

from online_models.definition import PersonaRule
from online_models.personas.components import Components
from online_models.personas.identities import Event, matched
from online_models.personas.mixture import Mixture
from online_models.personas.naming import name_of
from online_models.personas.separation import davies_bouldin, silhouette

FIRST: Final = 100
"""Examples before the first review: fewer say nothing of groups."""

KEPT: Final = 400
"""Examples that a review looks through: the newest."""

BETTER: Final = 0.03
"""By so much must the silhouette of another number of clusters be above that of the present one for the number to change."""

STAYS: Final = 0.15
"""Who belongs to a persona leaves it only for one that is nearer by this share of the distance."""

_TRIES: Final = 5
_MOVES: Final = 10

Point = dict[int, float]


class Persona(msgspec.Struct):
    """One published cluster. `centre` is in the units of the features; `spread` per axis of the scaled space (absent: 1)."""

    id: int
    name: str
    centre: dict[str, float]
    point: dict[int, float]
    spread: dict[int, float]
    share: float


class Personas:
    """`kind` is the estimator; `parameters` are its own. `components`: so many principal components are clustered instead of the features.

    The same examples in the same order give the same personas.
    """

    def __init__(
        self,
        kind: Literal["KMeans", "Mixture", "DBSTREAM"],
        rule: PersonaRule,
        parameters: dict[str, Any] | None = None,
        components: int = 0,
        every: int = 200,
        seed: int = 1,
    ) -> None:
        self.kind = kind
        self.rule = rule
        self.parameters = dict(parameters or {})
        self.every = every
        self.seed = seed
        self.scaler = StandardScaler()
        self.components = Components(components) if components else None
        self.axes: dict[str, int] = {}
        self.newest: deque[dict[str, float]] = deque(maxlen=KEPT)
        self.seen = 0
        self.clusterers: dict[int, Any] = {}
        self.chosen = 0
        self.published: list[Persona] = []
        # How features become places in the space that the published centres lie in: mean and scale of each, by axis.
        self.frame: dict[str, tuple[int, float, float]] = {}
        self.figures: dict[str, Any] = {}
        self.next_id = 1

    def learn_one(self, x: dict[str, float]) -> list[Event]:
        """Take in one example; what a review has found, if it was time for one."""
        self.seen += 1
        self.newest.append(x)
        self.scaler.learn_one(x)
        point = self._scaled(x)
        if self.components is not None:
            self.components.learn_one(point)
            point = self.components.transform_one(point)
        for clusterer in self.clusterers.values():
            clusterer.learn_one(point)
        if self.seen < FIRST or (self.seen - FIRST) % self.every:
            return []
        return self._review()

    def predict_one(self, x: dict[str, float], previous: str | None = None) -> str | None:
        """The name of the persona; `previous` is the one that the customer belongs to so far. None before the first review."""
        if not self.published:
            return None
        distances = self._distances(x)
        nearest = min(distances, key=distances.__getitem__)
        if previous in distances and distances[nearest] > (1 - STAYS) * distances[previous]:
            return previous
        return nearest

    def reasons(self, x: dict[str, float]) -> list[tuple[str, float]]:
        """By feature, how much nearer it puts the customer to their persona than to the next one; largest first."""
        if len(self.published) < 2 or self.components is not None:
            return []
        distances = self._distances(x)
        ours, other = sorted(self.published, key=lambda one: (distances[one.name], one.name))[:2]
        point = self._placed(x)
        found = []
        for name, (axis, _, _) in self.frame.items():
            at = point.get(axis, 0.0)
            gain = (at - other.point.get(axis, 0.0)) ** 2 - (at - ours.point.get(axis, 0.0)) ** 2
            found.append((name, round(gain, 6)))
        return sorted(found, key=lambda one: (-one[1], one[0]))

    def report(self) -> dict[str, Any]:
        """How well the personas are apart, how many there are, and what each looks like against all customers."""
        return {
            **self.figures,
            "personas": {
                one.name: {"id": one.id, "share": one.share, "centre": one.centre, "looks": self._looks(one.centre)}
                for one in self.published
            },
        }

    # --- where a customer stands ------------------------------------------------------------------------------------

    def _scaled(self, x: dict[str, float]) -> Point:
        """The example in the scaled space, by axis. What is not known lies in the middle."""
        scaled = self.scaler.transform_one(x)
        for name in scaled:
            if name not in self.axes:
                self.axes[name] = len(self.axes)
        return {self.axes[name]: scaled[name] for name in scaled}

    def _projected(self, x: dict[str, float]) -> Point:
        point = self._scaled(x)
        return self.components.transform_one(point) if self.components is not None else point

    def _placed(self, x: dict[str, float]) -> Point:
        """The example among the published centres."""
        found = {}
        for name, value in x.items():
            place = self.frame.get(name)
            if place is not None:
                axis, mean, scale = place
                found[axis] = (value - mean) * scale
        return found if self.components is None else self.components.transform_one(found)

    def _distances(self, x: dict[str, float]) -> dict[str, float]:
        """How far the example is from each persona, in the order of their names."""
        point = self._placed(x)
        found = {}
        for one in self.published:
            total, spread = 0.0, one.spread
            for axis, centre in one.point.items():
                apart = point.get(axis, 0.0) - centre
                if spread:
                    apart /= spread.get(axis, 1.0)
                total += apart * apart
            found[one.name] = total**0.5
        return found

    # --- reviews ----------------------------------------------------------------------------------------------------

    def _review(self) -> list[Event]:
        rows = list(self.newest)
        points = [self._projected(row) for row in rows]
        matrix = self._matrix(points)
        before = [self._id_of(row) for row in rows] if self.published else []
        if not self.clusterers:
            self._start(points, matrix)
        labels = self._choose(points, matrix)
        if len(set(labels)) < 2:
            return []  # nobody is told from anybody: what was published stays
        same, events = matched(before, labels) if before else ({}, [])
        if not before:
            events = [{"kind": "birth", "cluster": label} for label in sorted(set(labels))]
        names = {one.id: one.name for one in self.published}
        # Of those that nobody has been like for a while there is no point to tell by.
        events += [{"kind": "death", "cluster": own} for own in names if own not in before]
        self.published = self._published(rows, points, labels, same, names)
        ids = {label: one.id for label, one in zip(sorted(set(labels)), self.published, strict=True)}
        self.published.sort(key=lambda one: one.name)  # of two that are as near, the first by name
        named = {one.id: one.name for one in self.published}
        return [self._told(event, ids, {**names, **named}) for event in events]

    def _told(self, event: Event, ids: dict[int, int], names: dict[int, str]) -> Event:
        """The event with the ids and names of personas in place of clusters."""
        own = event["cluster"] if event["kind"] == "death" else ids[event["cluster"]]
        told = {"kind": f"persona {event['kind']}", "id": own, "name": names[own], "examples": self.seen}
        for key in ("of", "into"):
            if key in event:
                told[key] = names[event[key]]
        return told

    def _id_of(self, row: dict[str, float]) -> int:
        distances = self._distances(row)
        nearest = min(self.published, key=lambda one: (distances[one.name], one.id))
        return nearest.id

    def _matrix(self, points: list[Point]) -> Any:
        width = 1 + max((axis for point in points for axis in point), default=0)
        matrix = np.zeros((len(points), width))
        for at, point in enumerate(points):
            for axis, value in point.items():
                matrix[at, axis] = value
        return matrix

    def _start(self, points: list[Point], matrix: Any) -> None:
        """Make the clusterers, and let them learn what has come so far."""
        if self.kind == "DBSTREAM":
            self.clusterers = {0: DBSTREAM(**self.parameters)}
        else:
            for count in range(self.rule.fewest, self.rule.most + 1):
                centres = _apart(matrix, count, random.Random(f"{self.seed} {count}"))
                clusterer: Any
                if self.kind == "KMeans":
                    clusterer = KMeans(n_clusters=count, seed=self.seed, **{"halflife": 0.02, **self.parameters})
                    for number, centre in enumerate(centres):
                        clusterer.centers[number].update(enumerate(centre))
                else:
                    clusterer = Mixture(count, **self.parameters)
                    clusterer.centers = {number: dict(enumerate(centre)) for number, centre in enumerate(centres)}
                self.clusterers[count] = clusterer
        for point in points:
            for clusterer in self.clusterers.values():
                clusterer.learn_one(point)

    def _choose(self, points: list[Point], matrix: Any) -> list[int]:
        """How many clusters there are: the number with the best silhouette, unless the present one is nearly as good."""
        labels, scores = {}, {}
        for count, clusterer in self.clusterers.items():
            labels[count] = [clusterer.predict_one(point) for point in points]
            scores[count] = silhouette(matrix, np.array(labels[count]))
        best = max(scores, key=lambda count: (scores[count], -count))
        if self.chosen not in scores or scores[best] > scores[self.chosen] + BETTER:
            self.chosen = best
        chosen = np.array(labels[self.chosen])
        self.figures = {
            "silhouette": round(scores[self.chosen], 6),
            "davies_bouldin": round(davies_bouldin(matrix, chosen), 6),
            "clusters": len(set(labels[self.chosen])),
            "silhouettes": {str(count): round(score, 6) for count, score in scores.items()},
        }
        return labels[self.chosen]

    def _published(
        self,
        rows: list[dict[str, float]],
        points: list[Point],
        labels: list[int],
        same: dict[int, int],
        names: dict[int, str],
    ) -> list[Persona]:
        """The personas of this review, in the order of their clusters."""
        found: list[Persona] = []
        taken = {names[old] for old in same.values()}
        clusterer = self.clusterers[self.chosen]
        for label in sorted(set(labels)):
            chosen = [at for at, one in enumerate(labels) if one == label]
            centre = _mean([rows[at] for at in chosen])
            point = _mean([points[at] for at in chosen])
            spread: Point = {}
            if self.kind == "Mixture":
                spread = {axis: value**0.5 for axis, value in clusterer.variances.get(label, {}).items()}
            if label in same:
                own, name = same[label], names[same[label]]
            else:
                own, name = self.next_id, name_of(self._looks(centre), self.rule, taken, self.next_id)
                self.next_id += 1
                taken.add(name)
            found.append(Persona(own, name, centre, point, spread, round(len(chosen) / len(rows), 6)))
        self.frame = self._framed()
        return found

    def _framed(self) -> dict[str, tuple[int, float, float]]:
        """The scaling of this moment: what River's scaler makes of one is one scale above what it makes of nothing."""
        found = {}
        for name, axis in self.axes.items():
            zero, one = (self.scaler.transform_one({name: value})[name] for value in (0.0, 1.0))
            scale = one - zero
            found[name] = (axis, -zero / scale if scale else 0.0, scale)
        return found

    def _looks(self, centre: dict[str, float]) -> dict[str, float]:
        """By feature, how many standard deviations the centre lies above all customers."""
        return {name: round(value, 6) for name, value in sorted(self.scaler.transform_one(centre).items())}


def _mean(points: list[Any]) -> Any:
    """The middle of points; what one of them does not know counts as nothing in it."""
    keys = sorted({key for point in points for key in point})
    return {key: round(sum(point.get(key, 0.0) for point in points) / len(points), 9) for key in keys}


def _apart(matrix: Any, count: int, dice: random.Random) -> list[list[float]]:
    """So many centres to begin with: of a few tries, those that lie nearest to their points."""
    tries = [_settled(matrix, _drawn(matrix, count, dice)) for _ in range(_TRIES)]
    centres, _ = min(tries, key=lambda one: one[1])
    return [[float(value) for value in one] for one in centres]


def _drawn(matrix: Any, count: int, dice: random.Random) -> Any:
    """So many of the points, drawn so that they lie apart (k-means++: Arthur and Vassilvitskii 2007)."""
    chosen = [matrix[dice.randrange(len(matrix))]]
    while len(chosen) < count:
        nearest = np.min([((matrix - one) ** 2).sum(axis=1) for one in chosen], axis=0)
        reached = np.cumsum(nearest)
        at = int(np.searchsorted(reached, dice.random() * reached[-1])) if reached[-1] else dice.randrange(len(matrix))
        chosen.append(matrix[min(at, len(matrix) - 1)])
    return np.array(chosen)


def _settled(matrix: Any, centres: Any) -> tuple[Any, float]:
    """The centres moved to the middle of their points a few times (Lloyd 1982), and how far from them the points lie."""
    for _ in range(_MOVES):
        squares = ((matrix[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
        nearest = squares.argmin(axis=1)
        centres = np.array(
            [matrix[nearest == at].mean(axis=0) if (nearest == at).any() else one for at, one in enumerate(centres)]
        )
    squares = ((matrix[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    return centres, float(squares.min(axis=1).sum())
