"""Slots that keep a number for each event of a window: what rates, trends, shares and `rfm` are computed from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from profiles.values import each_reader, micros
from rules.slots import PANES, Numbers, State

_MOST = 2**63 - 1

Number = Callable[[Any], int | None]


def bounded(number: int) -> int:
    """The number, as far as 64 bits go: state holds no more.

    >>> bounded(5), bounded(2**70) == 2**63 - 1
    (5, True)
    """
    return number if -_MOST <= number <= _MOST else (_MOST if number > 0 else -_MOST)


def one(event: Any) -> int:
    """Every event counts one."""
    return 1


def numbers_at(path: str) -> Number:
    """A function from an event to the sum of the numbers at the path, in millionths; None where there is none."""
    each = each_reader(path)

    def read(event: Any) -> int | None:
        found = [number for number in map(micros, each(event)) if number is not None]
        return bounded(sum(found)) if found else None

    return read


class Tally(Numbers):
    """The events of a window, each with a number. An event of which `number` makes None is left out.

    Panes are one percent of `inner`, the newest part of the window, and one percent of the rest in what is older than that; no pane lies on
    both sides of where the parts meet.
    """

    __slots__ = ("coarse", "inner", "number")

    def __init__(self, key: int, window: int, number: Number, inner: int | None = None) -> None:
        super().__init__(key, window, lambda one, other: bounded(one + other))
        self.number = number
        self.inner = window if inner is None else inner
        if self.inner < window:
            self.most += PANES
        self.pane = max(1, self.inner // PANES)
        self.coarse = max(1, (window - self.inner) // PANES)

    def add(self, slots: State, time: int, event: Any, clock: int) -> bool:
        number = self.number(event)
        if number is None:
            return False
        self.trim(self.insert(slots, time, number), clock)
        return True

    @property
    def longest_pane(self) -> int:
        return max(self.pane, self.coarse)

    def pane_of(self, time: int, clock: int) -> Any:
        return (True, time // self.coarse) if time <= clock - self.inner else (False, time // self.pane)
