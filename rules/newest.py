"""The slot that keeps what the newest event says at one path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from profiles.values import reader
from rules.definition import ANY_EVENT, EventRef, Operator, Test
from rules.slots import Slot, State

LONGEST_KEPT: Final = 256
"""Characters of a text that are kept."""

_LARGEST: Final = 2**63


def plain(value: Any) -> Any:
    """The value as it is kept: text up to a length, numbers within 64 bits; None for lists, objects and nothing.

    >>> plain("mobile"), plain(2.5), plain([1]), plain(2**64)
    ('mobile', 2.5, None, 1.8446744073709552e+19)
    """
    kind = type(value)
    if kind is str:
        return value[:LONGEST_KEPT]
    if kind is int and not -_LARGEST <= value < _LARGEST:
        return float(max(-1e308, min(value, 1e308)))
    return value if kind in (int, float, bool) else None


def says(path: str) -> EventRef:
    """The events that say something at a path."""
    return EventRef(ANY_EVENT, (Test(path, Operator.EXISTS, True),))


class Newest(Slot):
    """The newest value at a path: `[event time, value]`. Of equal times the one that came last.

    An event says something if `kept` makes a value of what stands at the path. `every`: that an event is newer matters even if it
    says the same as the one before.
    """

    __slots__ = ("every", "is_plain", "kept", "path", "read")

    def __init__(
        self, key: int, retention: int, path: str, kept: Callable[[Any], Any] = plain, every: bool = True
    ) -> None:
        super().__init__(key, retention)
        self.path = path
        self.read = reader(path)
        self.kept = kept
        self.is_plain = kept is plain
        self.every = every

    def add(self, slots: State, time: int, event: Any, clock: int) -> int:
        value = self.read(event)
        if value is None:
            return 0
        state = slots.get(self.key)
        # Most events say what the one before said, which was kept as it is.
        if state is None or state[1] != value or type(value) is not str or not self.is_plain:
            value = self.kept(value)
            if value is None:
                return 0
        if state is None:
            slots[self.key] = [time, value]
            return 1
        newest, known = state
        if time < newest:
            return 0
        state[0] = time
        if known == value and type(known) is type(value):
            return 1 if self.every else 0
        state[1] = value
        return 1

    def newest(self, state: list[Any]) -> int | None:
        return int(state[0])
