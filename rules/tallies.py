"""Slots that keep a number for each event of a window: what rates, trends, shares and `rfm` are computed from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from profiles.values import each_reader, micros
from rules.slots import CONTRIBUTIONS, PANES, Contributions, State

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


class Tally(Contributions):
    """The events of a window, each with a number: `[times, numbers, counts]`, ascending in time.

    An event of which `number` makes None is left out. Above the cap, neighbours are merged as by `Contributions`, in panes of one
    percent of `inner`, the newest part of the window; what is older than that, in panes of one percent of the rest.
    """

    __slots__ = ("coarse", "inner", "number")

    def __init__(self, key: int, window: int, number: Number, inner: int | None = None) -> None:
        super().__init__(key, window, "properties.none", lambda one, other: bounded(one + other))
        self.number = number
        self.inner = window if inner is None else inner
        self.pane = max(1, self.inner // PANES)
        self.coarse = max(1, (window - self.inner) // PANES)

    def add(self, slots: State, time: int, event: Any, clock: int) -> bool:
        number = self.number(event)
        if number is None:
            return False
        state = slots.get(self.key)
        if state is None:
            slots[self.key] = [[time], [number], [1]]
            return True
        at = bisect_right(state[0], time)
        for column, value in zip(state, (time, number, 1), strict=True):
            column.insert(at, value)
        gone = bisect_right(state[0], clock - self.retention)
        if gone:
            for column in state:
                del column[:gone]
        if len(state[0]) > CONTRIBUTIONS + (PANES if self.inner == self.retention else 2 * PANES):
            self._merge(state, clock - self.inner)
        return True

    def _merge(self, state: list[list[int]], edge: int) -> None:
        """Merge neighbours of one pane, but for the newest events. No pane lies on both sides of `edge`."""
        single = len(state[0]) - CONTRIBUTIONS // 2
        merged: list[list[int]] = [[], [], []]
        last = None
        for time, number, count in zip(*(column[:single] for column in state), strict=True):
            pane = (True, time // self.coarse) if time <= edge else (False, time // self.pane)
            if pane == last:
                merged[0][-1] = time
                merged[1][-1] = self.merge(merged[1][-1], number)
                merged[2][-1] += count
            else:
                for column, value in zip(merged, (time, number, count), strict=True):
                    column.append(value)
            last = pane
        for column, values in zip(state, merged, strict=True):
            column[:single] = values
