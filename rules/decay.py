"""Points that halve with time, kept as whole numbers: exact enough for a millionth, and the same in whatever order they come.

Time is cut into spans of one half-life. What an event adds to its span is its points, grown as if they had been given when the span
began; so the sums of spans are related by powers of two, and all that time does to the total is to divide it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Any, Final

from profiles.profile import NEVER
from profiles.values import MICROS
from rules.slots import Slot, State
from rules.tallies import bounded

SPANS: Final = 32
"""So many spans are remembered, the newest: of points older than that, less than a two-billionth would be left."""

_SCALE: Final = 32
"""Sums of spans are kept in this power of two of a point."""

_DIGITS: Final = 10
_TABLES: Final = 4
_STEPS: Final = _DIGITS * _TABLES
"""Binary digits of the part of a half-life by which a power of two is found, ten at a time."""

_ONE_DIGITS: Final = 62
_ONE: Final = 1 << _ONE_DIGITS

_NEAR: Final = 1_000
"""Milliseconds, many times as much as a logarithm in floating point is off."""

_GONE: Final = 128
"""After so many half-lives not half a millionth is left of the most that a sum can hold."""


def _powers() -> tuple[tuple[int, ...], ...]:
    """For each ten binary digits of a part of one, two to the power of what they stand for, as a fraction of `_ONE`."""
    tables, root = [], _ONE << 1
    for _ in range(_TABLES):
        table = [_ONE]
        for _ in range(_DIGITS):
            root = math.isqrt(root * _ONE)
            table = [one for known in table for one in (known, known * root >> 62)]
        tables.append(tuple(table))
    return tuple(tables)


_POWERS: Final = _powers()
_MASK: Final = (1 << _DIGITS) - 1
_FLOATS: Final = tuple(tuple(one / _ONE for one in table) for table in _POWERS)
_HALVED: Final = tuple(0.5**times for times in range(_GONE + 1))
_POINT: Final = float(1 << _SCALE)


def growth(passed: int, half_life: int) -> int:
    """Two to the power of `passed / half_life`, which is less than one, as a fraction of `1 << 62`.

    In whole numbers, so alike on every machine.

    >>> growth(0, 7) == 1 << 62, round(growth(1, 2) / (1 << 62), 9)
    (True, 1.414213562)
    """
    part = (passed << _STEPS) // half_life
    first, second, third, fourth = _POWERS
    found = first[part >> 30] * second[part >> 20 & _MASK] >> 62
    return (found * third[part >> 10 & _MASK] >> 62) * fourth[part & _MASK] >> 62


class Decay(Slot):
    """Points by span: `[spans, sums]`, ascending. Several kinds of events with points of their own share one state."""

    __slots__ = ("half_life", "points")

    def __init__(self, key: int, half_life: int, points: float) -> None:
        super().__init__(key, SPANS * half_life)
        self.half_life = half_life
        self.points = round(points * MICROS)

    def add(self, slots: State, time: int, event: Any, clock: int) -> bool:
        span, passed = divmod(time, self.half_life)
        given = _rounded(self.points * growth(passed, self.half_life) << _SCALE, MICROS * _ONE)
        state = slots.get(self.key)
        if state is None:
            slots[self.key] = [[span], [given]]
            return True
        spans, sums = state
        if span == spans[-1]:
            sums[-1] = bounded(sums[-1] + given)
            return True
        at = bisect_left(spans, span)
        if at < len(spans) and spans[at] == span:
            sums[at] = bounded(sums[at] + given)
        else:
            spans.insert(at, span)
            sums.insert(at, given)
        gone = bisect_left(spans, spans[-1] - SPANS + 1)
        del spans[:gone], sums[:gone]
        return True


def _rounded(number: int, divisor: int) -> int:
    """The quotient as a whole number, away from zero where it lies half-way: the same for both signs."""
    quotient = (2 * abs(number) + divisor) // (2 * divisor)
    return quotient if number >= 0 else -quotient


def _since(state: list[list[int]] | None, clock: int, half_life: int) -> tuple[int, int] | None:
    """Spans from the newest that has points to that of the clock, and milliseconds into that; None where nothing is left."""
    if state is None:
        return None
    span, passed = divmod(clock, half_life)
    behind = span - state[0][-1]
    return (behind, passed) if behind <= _GONE else None


def left(state: list[list[int]] | None, clock: int, half_life: int) -> int:
    """What is left of the points at the clock, in millionths. It only ever comes nearer to nothing with time."""
    since = _since(state, clock, half_life)
    if state is None or since is None:
        return 0
    spans, sums = state
    behind, passed = since
    total, oldest = 0, spans[-1] - SPANS + 1
    for counted, one in zip(spans, sums):  # noqa: B905  (they are of one length; to look costs as much as to add)
        total += one << counted - oldest
    halved = (SPANS - 1) + _SCALE + behind
    return _rounded(total * MICROS << _ONE_DIGITS, growth(passed, half_life) << halved)


def points_left(state: list[list[int]] | None, clock: int, half_life: int) -> float:
    """What is left of the points at the clock, in points: `left` without its rounding, in floating point.

    Off by less than 1e-14 of itself, and alike on every machine, as nothing but products, sums and a quotient are taken.
    """
    since = _since(state, clock, half_life)
    if state is None or since is None:
        return 0.0
    spans, sums = state
    behind, passed = since
    total, newest = 0.0, spans[-1]
    for counted, one in zip(spans, sums):  # noqa: B905  (as above)
        total += one * _HALVED[newest - counted]
    part = (passed << _STEPS) // half_life
    first, second, third, fourth = _FLOATS
    grown = first[part >> 30] * second[part >> 20 & _MASK] * (third[part >> 10 & _MASK] * fourth[part & _MASK])
    return total * _HALVED[behind] / (grown * _POINT)


def looks_again(state: list[list[int]], clock: int, half_life: int, level: int, now: int) -> int:
    """When to look whether less than `level` is left: not after that moment, and at it if it is near. `now` is what is left, without sign.

    Looking once more shortly before is cheaper than settling the millisecond each time that points are added.
    """
    if now < level:
        return NEVER
    guess = clock + math.floor(half_life * math.log2(now / level))
    return guess - _NEAR if guess - clock > 2 * _NEAR else reaches(state, clock, half_life, level)


def reaches(state: list[list[int]], clock: int, half_life: int, level: int) -> int:
    """The first moment after the clock at which less than `level` is left, in millionths without sign; `level` is above zero.

    NEVER where less is left already. The moment is estimated by logarithm, then settled by looking at the milliseconds around it.
    """
    now = abs(left(state, clock, half_life))
    if now < level:
        return NEVER
    guess = clock + max(1, math.ceil(half_life * math.log2(now / (level - 0.5))))
    high_enough, too_low = clock, guess
    pace = 1
    while abs(left(state, too_low, half_life)) >= level:
        high_enough, too_low, pace = too_low, too_low + pace, pace * 2
    pace, at = 1, too_low - 1
    while at > high_enough:
        if abs(left(state, at, half_life)) >= level:
            high_enough = at
            break
        too_low, at, pace = at, at - pace, pace * 2
    while too_low - high_enough > 1:
        middle = (high_enough + too_low) // 2
        if abs(left(state, middle, half_life)) >= level:
            high_enough = middle
        else:
            too_low = middle
    return too_low
