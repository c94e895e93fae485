"""Personas: clusters that are learnt one example at a time, reviewed now and then, and published with their identities and names.

Between two reviews nothing that customers see changes: they belong to the published centre that is nearest, and leave the one that they
belong to only for one that is clearly nearer. There are none before enough examples have come, and customers have stood still for some
reviews or twice as many have come; then all are born at once. From then on a review lets each go on from where its customers are. Only
what several reviews in a row have found changes who there is: another number of clusters, or others as many, that tell customers apart
clearly better; a cluster that next to nobody is in; a declared name that fits another. Which is which is told by the customers they share
and by declared names (`online_models.personas.identities`); one that comes back where it has died is that one again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np

from online_models.definition import PersonaRule
from online_models.personas import clusterers
from online_models.personas.clusterers import Kind
from online_models.personas.components import Components, unit
from online_models.personas.identities import MOST_OF, Event, matched
from online_models.personas.mixture import Mixture
from online_models.personas.naming import declared, described
from online_models.personas.partition import Judge, Partition
from online_models.personas.remembered import Remembered
from online_models.personas.space import Point, Space

_LEAST: Final = 20
"""Examples without which there is no review."""

_DENSE: Final = 5
"""By so many times more customers than in an empty one must be in a cluster found by density: crumbs beside the others come and go."""

MOST_GONE: Final = 30
"""Personas that have died and may come back, at most."""


class Persona(msgspec.Struct):
    """One published cluster. `point` is where it lies, `centre` the same in the units of the features.

    `spread` is per axis (absent: 1), `height` what is added to the square of its distance from anybody. `share`: of the newest examples.
    `born` and `died` (0: it has not) are counts of examples. In so many reviews in a row it was `empty`, next to nobody being in it, or
    `unfit`, some declared name being due to it, or no more.
    """

    id: int
    name: str
    centre: dict[str, float]
    point: Point
    spread: Point
    share: float
    height: float = 0.0
    born: int = 0
    died: int = 0
    empty: int = 0
    unfit: int = 0


class _Gaussians(msgspec.Struct):
    n_clusters: int
    alpha: float
    slowest: float
    seen: int
    centers: dict[int, Point]
    variances: dict[int, Point]
    weights: dict[int, float]


class _State(msgspec.Struct, array_like=True):
    rows: list[dict[str, float]]
    seen: int
    space: Space
    published: list[Persona]
    gone: list[Persona]
    better: dict[int, int]
    figures: dict[str, Any]
    next_id: int
    still: int
    components: tuple[int, list[Point]] | None
    mixture: _Gaussians | None


class Personas:
    """`kind` is the estimator; `parameters` are its own. `components`: so many principal components are clustered instead of the features.

    A review comes after every `every` examples. The same examples in the same order give the same personas.
    """

    def __init__(
        self,
        kind: Kind,
        rule: PersonaRule,
        parameters: dict[str, Any] | None = None,
        components: int = 0,
        every: int = 200,
        seed: int = 1,
    ) -> None:
        self.kind: Kind = kind
        self.rule = rule
        self.parameters = dict(parameters or {})
        self.every = every
        self.seed = seed
        self.components = Components(components) if components else None
        self.remembered = Remembered(rule.memory, seed)
        self.space = Space({})
        self.clusterer: Any = None
        self.published: list[Persona] = []
        self.gone: list[Persona] = []
        # By number of clusters, in how many reviews in a row so many were better than those that there are.
        self.better: dict[int, int] = {}
        self.figures: dict[str, Any] = {}
        self.next_id = 1
        # In how many reviews in a row customers were in the same space.
        self.still = 0

    @property
    def seen(self) -> int:
        """Examples so far."""
        return self.remembered.seen

    def learn_one(self, x: dict[str, float]) -> list[Event]:
        """Take in one example; what a review has found, if it was time for one."""
        self.remembered.learn_one(x)
        if self.clusterer is not None:
            self._follow(x)
        if (self.seen - self.rule.first) % self.every or len(self.remembered.rows) < _LEAST:
            return []
        return self._review()

    def _follow(self, x: dict[str, float]) -> None:
        if self.components is not None:
            self.components.learn_one(self.space.scaled(x))
        self.clusterer.learn_one(self.space.place(x))

    def predict_one(self, x: dict[str, float], previous: str | None = None) -> str | None:
        """The name of the persona; `previous` is the one that the customer belongs to so far. None before there are any."""
        if not self.published:
            return None
        distances = self._distances(x)
        best = min(distances, key=distances.__getitem__)
        if previous in distances and distances[best] > (1 - self.rule.stay) * distances[previous]:
            return previous
        return best

    def reasons(self, x: dict[str, float]) -> list[tuple[str, float]]:
        """By feature, how much nearer it puts the customer to their persona than to the next one; largest first."""
        if len(self.published) < 2 or self.components is not None:
            return []
        distances = self._distances(x)
        ours, other = sorted(self.published, key=lambda one: (distances[one.name], one.name))[:2]
        point = self.space.place(x)
        found = []
        for axis, name in enumerate(self.space.scales):
            gain = (point[axis] - other.point[axis]) ** 2 - (point[axis] - ours.point[axis]) ** 2
            found.append((name, round(gain, 6)))
        return sorted(found, key=lambda one: (-one[1], one[0]))

    def report(self) -> dict[str, Any]:
        """How well the personas are apart, how many there are, what each looks like against all customers, and who has died lately."""
        named = dict(self.rule.names)
        return {
            **self.figures,
            "personas": {
                one.name: {
                    "id": one.id,
                    "share": one.share,
                    "declared": one.name in named,
                    "since": one.born,
                    "centre": one.centre,
                    "looks": {name: round(value, 6) for name, value in sorted(self.space.looks(one.point).items())},
                }
                for one in self.published
            },
            "not_found": [name for name in named if all(one.name != name for one in self.published)],
            "gone": [{"id": one.id, "name": one.name, "since": one.born, "until": one.died} for one in self.gone],
        }

    def state(self) -> Any:
        """All that is kept besides a clusterer of River's, as msgpack can hold it."""
        mixture = _Gaussians(**vars(self.clusterer)) if isinstance(self.clusterer, Mixture) else None
        components = (self.components.seen, self.components.directions) if self.components is not None else None
        return msgspec.to_builtins(
            _State(
                list(self.remembered.rows),
                self.seen,
                self.space,
                self.published,
                self.gone,
                self.better,
                self.figures,
                self.next_id,
                self.still,
                components,
                mixture,
            )
        )

    def restore(self, state: Any, clusterer: Any) -> None:
        """Go on from a `state` and the clusterer of River's, if it was one; `msgspec.ValidationError` where it is no such state."""
        kept = msgspec.convert(state, _State, strict=False)
        self.remembered.rows.extend(kept.rows)
        self.remembered.seen = kept.seen
        self.space, self.published, self.gone = kept.space, kept.published, kept.gone
        self.better, self.figures = kept.better, kept.figures
        self.next_id, self.still = kept.next_id, kept.still
        if self.components is not None and kept.components is not None:
            self.components.seen, self.components.directions = kept.components
        self.clusterer = clusterer
        if kept.mixture is not None:
            self.clusterer = Mixture(kept.mixture.n_clusters)
            vars(self.clusterer).update(msgspec.structs.asdict(kept.mixture))

    def _distances(self, x: dict[str, float]) -> dict[str, float]:
        """How far the example is from each persona, in the order of their names."""
        point = self.space.place(x)
        return {one.name: _distance(one, point) for one in self.published}

    # --- reviews ----------------------------------------------------------------------------------------------------

    def _review(self) -> list[Event]:
        rows = list(self.remembered.rows)
        self._settle(rows)
        if not self.published and not self._may_begin():
            return []
        scaled = self.space.matrix(rows)
        points = self.space.placed(scaled)
        judge = Judge(scaled, points, list(self.space.scales), self.rule)
        self.gone = [one for one in self.gone if self.seen - one.died <= self.rule.returns][-MOST_GONE:]
        events = self._by_density(judge) if self.kind == "DBSTREAM" else self._by_number(judge)
        if not self.published:
            return []
        self.published.sort(key=lambda one: one.name)  # of two that are as near, the first by name
        return events

    def _may_begin(self) -> bool:
        first = self.rule.first
        return self.seen >= first and (self.still >= self.rule.reviews or self.seen >= 2 * first)

    def _settle(self, rows: list[dict[str, float]]) -> None:
        """Lay out the space anew if customers have moved out of it, and express in it what there is."""
        before, now = self.space, Space.of(rows)
        directions = self._directed(rows, before, now)
        self.still += 1
        if before.scales and not before.left_by(now):
            return
        self.still = 1
        self.space = now
        if self.components is not None:
            self.components.directions = directions
        for one in (*self.published, *self.gone):
            one.point = now.place(before.lift(one.point))
            one.spread = clusterers.respread(one.spread, before, now)
        if self.clusterer is None:
            return
        if self.kind == "DBSTREAM":
            points = now.placed(now.matrix(rows))
            self.clusterer = clusterers.begun(self.kind, self.parameters, self.seed, points, None)
        else:
            clusterers.move(self.clusterer, before, now)

    def _directed(self, rows: list[dict[str, float]], before: Space, now: Space) -> list[Point]:
        """Give a space the directions that have been learnt in the one before; what they are in it."""
        if self.components is None:
            return []
        if not before.scales:
            for row in rows:
                self.components.learn_one(now.scaled(row))
            directions = self.components.directions
        else:
            directions = [now.stretched(line, before, 0.0) for line in self.components.directions]
        now.directions = [unit(line, len(now.scales)) for line in directions]
        return directions

    def _by_number(self, judge: Judge) -> list[Event]:
        """Review a clusterer that is told how many clusters there are."""
        margin = self.rule.margin
        best: dict[int, Partition] = {}
        for count, one in self._others(judge):
            if count not in best or one.value(margin) > best[count].value(margin):
                best[count] = one
        others = {str(count): round(one.silhouette, 6) for count, one in best.items()}
        if self.clusterer is None:
            ready = best
        else:
            labels = clusterers.labelled(self.clusterer, judge.points)
            now = judge.judged(labels, self.clusterer)
            self.better = {
                count: self.better.get(count, 0) + 1 for count, one in best.items() if _is_better(one, now, margin)
            }
            ready = {count: best[count] for count, times in self.better.items() if times >= self.rule.reviews}
            if not ready:
                self._note(now, others)
                return self._go_on(labels, judge)
        if not ready:
            return []
        chosen = max(ready.values(), key=lambda one: one.value(margin))
        self._note(chosen, others)
        self.clusterer = chosen.clusterer
        return self._change(chosen, judge)

    def _others(self, judge: Judge) -> Iterator[tuple[int, Partition]]:
        """Other ways to divide the customers of this review, by their number of clusters."""
        for count, centres in judge.beginnings(lambda count: random.Random(f"{self.seed} {self.seen} {count}")):
            clusterer = clusterers.begun(self.kind, self.parameters, self.seed, judge.points, centres)
            labels = clusterers.labelled(clusterer, judge.points)
            if len(set(labels.tolist())) == count:
                one = judge.judged(labels, clusterer)
                # What next to nobody is in would die at once.
                if one.smallest >= 2 * self.rule.empty:
                    yield count, one

    def _by_density(self, judge: Judge) -> list[Event]:
        """Review a clusterer that finds for itself how many clusters there are."""
        if self.clusterer is None:
            self.clusterer = clusterers.begun(self.kind, self.parameters, self.seed, judge.points, None)
        labels = judge.joined(clusterers.labelled(self.clusterer, judge.points), _DENSE * self.rule.empty)
        if len(set(labels.tolist())) < 2:
            return []  # nobody is told from anybody: what was published stays
        found = judge.judged(labels, self.clusterer)
        self._note(found, {})
        same, events = self._matched(found, judge)
        self.better = {0: self.better.get(0, 0) + 1 if events else 0}
        if self.published and events and self.better[0] < self.rule.reviews:
            self._place(np.array([same.get(label, 0) for label in labels.tolist()]), judge)
            return self._call(settled=False)
        return self._change(found, judge)

    def _note(self, found: Partition, others: dict[str, float]) -> None:
        self.figures = {
            "silhouette": round(found.silhouette, 6),
            "davies_bouldin": round(found.davies_bouldin, 6),
            "clusters": len(set(found.labels.tolist())),
            **({"silhouettes": others} if others else {}),
        }

    def _go_on(self, labels: Any, judge: Judge) -> list[Event]:
        """The same personas, where their customers are now; those that nobody has been like for some time die."""
        self._place(labels, judge)
        events = []
        for one in list(self.published):
            one.empty = one.empty + 1 if one.share < self.rule.empty else 0
            if one.empty >= self.rule.reviews and len(self.published) > self.rule.fewest:
                clusterers.remove(self.clusterer, one.id)
                self._bury(one)
                events.append(self._told("death", one))
        return events + self._call(settled=False)

    def _matched(self, found: Partition, judge: Judge) -> tuple[dict[int, int], list[Event]]:
        """Which of the published personas the clusters are, and what became of all."""
        before = self._standing(judge.points, self.published)
        ids = {one.name: one.id for one in self.published}
        called = [(ids[name], label) for label, name in judge.called(found.labels).items() if name in ids]
        return matched(before, found.labels.tolist(), ids.values(), called)

    def _change(self, found: Partition, judge: Judge) -> list[Event]:
        """Others than before: tell who is who, who is new and who is no more."""
        self.better = {}
        same, events = self._matched(found, judge)
        back = self._back(found.labels, [one["cluster"] for one in events if one["kind"] != "death"], judge)
        known = {one.id: one for one in (*self.published, *back.values())}
        numbers: dict[int, int] = {}
        for label in sorted(set(found.labels.tolist())):
            numbers[label] = back[label].id if label in back else same.get(label, self.next_id)
            if numbers[label] == self.next_id:
                known[self.next_id] = Persona(self.next_id, "", {}, {}, {}, 0.0, born=self.seen)
                self.next_id += 1
        if self.kind != "DBSTREAM":
            clusterers.renumber(self.clusterer, numbers)
        for one in list(self.published):
            if one.id not in numbers.values():
                self._bury(one)
        self.gone = [one for one in self.gone if one.id not in numbers.values()]
        self.published = [known[own] for own in sorted(numbers.values())]
        for one in back.values():
            one.died, one.empty, one.unfit = 0, 0, 0
        self._place(np.array([numbers[label] for label in found.labels.tolist()]), judge)
        calls = self._call(settled=True)
        told = []
        for event in events:
            own = event["cluster"] if event["kind"] == "death" else numbers[event["cluster"]]
            kind = "return" if event["cluster"] in back and event["kind"] != "death" else event["kind"]
            others = {key: known[event[key]].name for key in ("of", "into") if key in event and kind != "return"}
            told.append(self._told(kind, known[own], **others))
        return told + calls

    def _back(self, labels: Any, new: list[int], judge: Judge) -> dict[int, Persona]:
        """Of the new clusters those that are personas which had died: nearer to these than to all others are most of their customers."""
        if not self.gone or not new:
            return {}
        before = np.array(self._standing(judge.points, [*self.published, *self.gone]))
        found: dict[int, Persona] = {}
        for one in self.gone:
            shares = {label: float((before[labels == label] == one.id).mean()) for label in new if label not in found}
            if shares and (best := max(shares, key=lambda label: shares[label])) and shares[best] > MOST_OF:
                found[best] = one
        return found

    def _bury(self, one: Persona) -> None:
        one.died = self.seen
        self.published.remove(one)
        self.gone.append(one)

    def _standing(self, points: Any, among: list[Persona]) -> list[int]:
        """The id of the persona, of these, that each point is nearest to."""
        if not among:
            return []
        squares = []
        for one in among:
            centre = np.array([one.point.get(axis, 0.0) for axis in range(points.shape[1])])
            spread = np.array([one.spread.get(axis, 1.0) for axis in range(points.shape[1])])
            squares.append((((points - centre) / spread) ** 2).sum(axis=1) + one.height)
        return [among[at].id for at in np.array(squares).argmin(axis=0).tolist()]

    def _place(self, labels: Any, judge: Judge) -> None:
        """Publish where the personas are; `labels` are their ids, those that have none of these stay where they were."""
        for one in self.published:
            belong = labels == one.id
            one.share = round(float(belong.mean()), 6)
            if self.kind != "DBSTREAM":
                one.point = {axis: round(value, 9) for axis, value in sorted(self.clusterer.centers[one.id].items())}
                one.spread = clusterers.spread(self.clusterer, one.id)
                one.height = clusterers.height(self.clusterer, one.id)
            elif belong.any():
                one.point = dict(enumerate(judge.points[belong].mean(axis=0).round(9).tolist()))
            one.centre = self.space.lift(one.point)
        lowest = min((one.height for one in self.published), default=0.0)
        for one in self.published:
            one.height = round(one.height - lowest, 9)

    def _call(self, *, settled: bool) -> list[Event]:
        """Name those that have no name, and pass on declared names. `settled`: what is due now has been for several reviews."""
        names = {name for name, _ in self.rule.names}
        looks = {one.id: self.space.looks(one.point) for one in self.published}
        due = declared(looks, self.rule, {one.id: one.name for one in self.published})
        was = {one.id: one.name for one in self.published}
        for one in self.published:
            right = due.get(one.id, one.name if one.name not in names else "")
            one.unfit = one.unfit + 1 if one.name != right else 0
        changed = [one for one in self.published if one.unfit and (settled or one.unfit >= self.rule.reviews)]
        for one in changed:
            if one.name in names:
                one.name = ""
        for one in [one for one in self.published if not one.name or one in changed]:
            taken = {other.name for other in self.published if other is not one}
            if due.get(one.id, one.name) not in taken:
                one.name = due.get(one.id, one.name)
            if not one.name:
                # One that has died may come back, and is to find its name free.
                one.name = described(looks[one.id], self.rule, taken | {other.name for other in self.gone}, one.id)
        return [
            self._told("renaming", one, was=was[one.id])
            for one in self.published
            if was[one.id] and was[one.id] != one.name
        ]

    def _told(self, kind: str, one: Persona, **others: str) -> Event:
        return {"kind": f"persona {kind}", "id": one.id, "name": one.name, "examples": self.seen, **others}


def _distance(one: Persona, point: Point) -> float:
    total, spread = one.height, one.spread
    for axis, centre in one.point.items():
        apart = point[axis] - centre
        if spread:
            apart /= spread[axis]
        total += apart * apart
    return math.sqrt(total)


def _is_better(one: Partition, now: Partition, margin: float) -> bool:
    """Whether a partition is better than that of now by more than the margin, and not less well apart by the other index either. One that
    would lose a declared name is not: as long as there are such customers, whoever relies on the name finds them."""
    if not one.names >= now.names or one.value(margin) <= now.value(margin) + margin:
        return False
    return one.names > now.names or one.davies_bouldin <= now.davies_bouldin
