"""Principal components learnt one example at a time (CCIPCA: Weng, Zhang and Hwang 2003). River has none."""

from __future__ import annotations

import math
from typing import Final

Point = dict[int, float]

_TINY: Final = 1e-12


class Components:
    """The `n` directions along which centred points differ most; each example turns them a little.

    `amnesia` above zero lets older examples count for less.
    """

    def __init__(self, n: int, amnesia: float = 2.0) -> None:
        self.n = n
        self.amnesia = amnesia
        self.seen = 0
        self.directions: list[Point] = []

    def learn_one(self, x: Point) -> None:
        """Turn the directions towards the example, each with what the ones before have left of it."""
        self.seen += 1
        rest = dict(x)
        for at in range(min(self.n, self.seen)):
            if at == len(self.directions):
                self.directions.append(rest)
                return
            direction = self.directions[at]
            length = _length(direction)
            if length < _TINY:
                self.directions[at] = rest
                return
            amnesia = self.amnesia if self.seen > 2 * self.amnesia else 0.0
            keep, add = (self.seen - 1 - amnesia) / self.seen, (1 + amnesia) / self.seen
            along = _dot(rest, direction) / length
            direction = {
                axis: keep * direction.get(axis, 0.0) + add * along * rest.get(axis, 0.0)
                for axis in sorted({*direction, *rest})
            }
            self.directions[at] = direction
            length = _length(direction)
            if length < _TINY:
                return
            share = _dot(rest, direction) / length**2
            rest = {axis: value - share * direction.get(axis, 0.0) for axis, value in rest.items()}

    def transform_one(self, x: Point) -> Point:
        """Where the point lies along each direction."""
        return {at: _dot(x, direction) / max(_length(direction), _TINY) for at, direction in enumerate(self.directions)}


def unit(direction: Point, width: int) -> list[float]:
    """A direction as a vector of length 1 over so many axes."""
    length = max(_length(direction), _TINY)
    return [direction.get(axis, 0.0) / length for axis in range(width)]


def _dot(one: Point, other: Point) -> float:
    return sum(value * other.get(axis, 0.0) for axis, value in one.items())


def _length(one: Point) -> float:
    return math.sqrt(sum(value * value for value in one.values()))
