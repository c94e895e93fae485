"""The space that clusters lie in: every feature on a scale of its own, all of it standing still until customers have moved out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

Point = dict[int, float]

MOVED: Final = 0.5
"""By so many standard deviations must the mean of a feature have moved for the space to be laid out anew,"""

STRETCHED: Final = 1.5
"""or by this factor its standard deviation have grown or shrunk,"""

TURNED: Final = 0.95
"""or the cosine between a direction then and now have fallen below this."""


class Space(msgspec.Struct):
    """`scales`: mean and standard deviation of each feature, in the order of the axes. What is not known of a customer lies in the middle.

    `directions`: vectors of length 1 over these axes; with some, points lie along them instead of along the features.

    >>> space = Space.of([{"spend": 10.0}, {"spend": 30.0}])
    >>> space.place({"spend": 40.0}), space.lift({0: 2.0}), space.place({})
    ({0: 2.0}, {'spend': 40.0}, {0: 0.0})
    """

    scales: dict[str, tuple[float, float]]
    directions: list[list[float]] = []

    @classmethod
    def of(cls, rows: Sequence[dict[str, float]]) -> Space:
        """The space in which these rows lie around the middle, one standard deviation wide."""
        values: dict[str, list[float]] = {}
        for row in rows:
            for name, value in row.items():
                values.setdefault(name, []).append(value)
        return cls({name: (float(np.mean(found)), float(np.std(found))) for name, found in sorted(values.items())})

    def scaled(self, x: dict[str, float]) -> Point:
        """Each feature in standard deviations from the mean, by axis."""
        get = x.get
        return {
            axis: (value - mean) / wide if (value := get(name)) is not None and wide else 0.0
            for axis, (name, (mean, wide)) in enumerate(self.scales.items())
        }

    def place(self, x: dict[str, float]) -> Point:
        """Where a customer lies."""
        return self.along(self.scaled(x)) if self.directions else self.scaled(x)

    def along(self, point: Point) -> Point:
        """What a point of the features is along the directions."""
        return {at: sum(one * point[axis] for axis, one in enumerate(line)) for at, line in enumerate(self.directions)}

    def looks(self, point: Point) -> dict[str, float]:
        """By feature, how many standard deviations a point lies from the mean."""
        full = point
        if self.directions:
            full = {
                axis: sum(line[axis] * point.get(at, 0.0) for at, line in enumerate(self.directions))
                for axis in range(len(self.scales))
            }
        return {name: full.get(axis, 0.0) for axis, name in enumerate(self.scales)}

    def lift(self, point: Point) -> dict[str, float]:
        """A point in the units of the features."""
        looks = self.looks(point)
        return {name: round(mean + wide * looks[name], 9) for name, (mean, wide) in self.scales.items()}

    def matrix(self, rows: Sequence[dict[str, float]]) -> Any:
        """The rows in standard deviations, a line each."""
        return np.array([list(self.scaled(row).values()) for row in rows])

    def placed(self, matrix: Any) -> Any:
        """The lines of such a matrix as places."""
        return matrix @ np.array(self.directions).T if self.directions else matrix

    def left_by(self, now: Space) -> bool:
        """Whether customers, who make `now` their space, have moved out of this one."""
        if now.scales.keys() - self.scales.keys() or _turned(self.directions, now.directions):
            return True
        for name, (mean, wide) in now.scales.items():
            before, width = self.scales[name]
            if not width or not wide:
                if wide != width:
                    return True
            elif abs(mean - before) > MOVED * width or not 1 / STRETCHED < wide / width < STRETCHED:
                return True
        return False

    def stretched(self, lengths: Point, before: Space, otherwise: float) -> Point:
        """Lengths along the features' axes of another space, along those of this one; `otherwise` where a feature is new."""
        known = {name: lengths[axis] for axis, name in enumerate(before.scales) if axis in lengths}
        found = {}
        for axis, (name, (_, wide)) in enumerate(self.scales.items()):
            width = before.scales[name][1] if name in known else 0.0
            found[axis] = known[name] * width / wide if width and wide else known.get(name, otherwise)
        return found


def _turned(before: list[list[float]], now: list[list[float]]) -> bool:
    if len(before) != len(now):
        return True
    pairs = zip(before, now, strict=True)
    # The same direction either way round says the same.
    return any(abs(sum(a * b for a, b in zip(one, other, strict=False))) < TURNED for one, other in pairs)
