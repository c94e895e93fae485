"""Slots: the bounded accumulators that a profile keeps, one for each thing that conditions count.

A slot object belongs to the plan and holds no customer's data: `add` changes the slot's state inside a profile's
`slots` map. What a slot knows is a function of the events that it counted, not of the order in which they came (but for
equal times), as long as it stays below its caps.

A slot counts an event only if its time lies after `clock - retention`: for a window that changes nothing, since the event
could not be in it any more.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable
from typing import Any

from profiles.profile import NEVER
from profiles.values import KEY_LENGTH, each_reader, identity, micros, reader

CONTRIBUTIONS = 128
"""Numbers kept one by one in a window; more are merged into panes of one percent of the window."""

PANES = 100
KEYS = 64
"""Different property values remembered at a time by a `per` condition: those seen last."""

SPARE_RETURNS = 8
"""Broken silences remembered beyond those that are counted, for when late events show that some were none."""

ANCHORS = 32
"""Starts of a sequence remembered at a time."""

State = dict[int, Any]


class Slot:
    """Base of all slots. `key` finds the state in a profile; `retention` in milliseconds, NEVER for ever."""

    __slots__ = ("key", "retention")

    def __init__(self, key: int, retention: int) -> None:
        self.key = key
        self.retention = retention

    def add(self, slots: State, time: int, event: Any, clock: int) -> int:
        """Count `event`, which happened at `time`, when the customer's clock stands at `clock` (>= time).

        0 if that changed nothing that a condition could see. Otherwise, of slots that count events: how many are now known
        (of the event's value, where they are kept by value); of others: 1.
        """
        raise NotImplementedError(type(self).__name__)

    def newest(self, state: Any) -> int | None:
        """The time of the newest event that the state still tells of, for explanations; None where it tells of none."""
        return None


class Times(Slot):
    """The newest `keep` event times, ascending: enough for any comparison of a count below `keep`."""

    __slots__ = ("keep",)

    def __init__(self, key: int, retention: int, keep: int) -> None:
        super().__init__(key, retention)
        self.keep = keep

    def add(self, slots: State, time: int, event: Any, clock: int) -> int:
        times = slots.get(self.key)
        if times is None:
            slots[self.key] = [time]
            return 1
        if time >= times[-1]:
            times.append(time)
        else:
            insort(times, time)
        if len(times) > self.keep:
            del times[: len(times) - self.keep]
        oldest = clock - self.retention
        if times[0] <= oldest:
            del times[: bisect_right(times, oldest)]
        return len(times)

    def newest(self, state: list[int]) -> int | None:
        return state[-1] if state else None


class Arrivals(Slot):
    """Every event there is, of which the profile itself knows the newest (`Profile.latest`): nothing is kept."""

    __slots__ = ()

    def add(self, slots: State, time: int, event: Any, clock: int) -> int:
        return 1


class First(Slot):
    """The earliest event time."""

    __slots__ = ()

    def add(self, slots: State, time: int, event: Any, clock: int) -> bool:
        first = slots.get(self.key)
        if first is None or time < first:
            slots[self.key] = time
            return True
        return False

    def newest(self, state: int) -> int | None:
        return state


class Numbers(Slot):
    """Numbers of a window with their times: `[times, numbers, counts]`, numbers in millionths, ascending in time.

    Above `most`, neighbours within one pane are merged (`merge` says how) at the newest time among them, so that a pane
    leaves the window as a whole, late by less than its length. The newest stay exact.
    """

    __slots__ = ("merge", "most", "pane")

    def __init__(self, key: int, window: int, merge: Callable[[int, int], int]) -> None:
        super().__init__(key, window)
        self.merge = merge
        self.most = CONTRIBUTIONS + PANES
        self.pane = max(1, window // PANES)

    def insert(self, slots: State, time: int, number: int) -> list[list[int]]:
        """Keep one number more; the state with it, to be trimmed."""
        state: list[list[int]] | None = slots.get(self.key)
        if state is None:
            state = slots[self.key] = [[], [], []]
        at = bisect_right(state[0], time)
        state[0].insert(at, time)
        state[1].insert(at, number)
        state[2].insert(at, 1)
        return state

    def trim(self, state: list[list[int]], clock: int) -> None:
        """Let go of what has left the window, and merge where there is too much."""
        gone = bisect_right(state[0], clock - self.retention)
        if gone:
            for column in state:
                del column[:gone]
        if len(state[0]) > self.most:
            self._merge_panes(state, clock)

    def pane_of(self, time: int, clock: int) -> Any:
        """What tells the pane that a time lies in from its neighbours."""
        return time // self.pane

    def _merge_panes(self, state: list[list[int]], clock: int) -> None:
        single = len(state[0]) - CONTRIBUTIONS // 2
        merged: list[list[int]] = [[], [], []]
        last: Any = None
        for time, number, count in zip(*(column[:single] for column in state), strict=True):
            pane = self.pane_of(time, clock)
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

    @property
    def longest_pane(self) -> int:
        """The length of a pane in milliseconds: by less than that, what is merged leaves the window late."""
        return self.pane

    def is_merged(self, state: list[list[int]], clock: int) -> bool:
        """Whether what lies in the window at this clock is not kept one by one any more."""
        return any(count > 1 for count in state[2][bisect_right(state[0], clock - self.retention) :])

    def newest(self, state: list[list[int]]) -> int | None:
        return state[0][-1] if state[0] else None


class Contributions(Numbers):
    """Each number at a path of the events of a window, one by one."""

    __slots__ = ("each",)

    def __init__(self, key: int, window: int, path: str, merge: Callable[[int, int], int]) -> None:
        super().__init__(key, window, merge)
        self.each = each_reader(path)

    def add(self, slots: State, time: int, event: Any, clock: int) -> bool:
        state = slots.get(self.key)
        for value in self.each(event):
            number = micros(value)
            if number is not None:
                state = self.insert(slots, time, number)
        if state is None:
            return False
        self.trim(state, clock)
        return True


class Tallied(Slot):
    """How many events there ever were: a number."""

    __slots__ = ()

    def add(self, slots: State, time: int, event: Any, clock: int) -> int:
        slots[self.key] = slots.get(self.key, 0) + 1
        return 1


class Total(Slot):
    """A number over all events ever: `[number, count]`, in millionths."""

    __slots__ = ("each", "merge")

    def __init__(self, key: int, path: str, merge: Callable[[int, int], int]) -> None:
        super().__init__(key, NEVER)
        self.each = each_reader(path)
        self.merge = merge

    def add(self, slots: State, time: int, event: Any, clock: int) -> bool:
        for value in self.each(event):
            number = micros(value)
            if number is None:
                continue
            state = slots.get(self.key)
            if state is None:
                slots[self.key] = [number, 1]
            else:
                state[0] = self.merge(state[0], number)
                state[1] += 1
        return True


class Keyed(Slot):
    """Newest event times by property value: `{value: [times]}`, at most `keys` values (those seen last)."""

    __slots__ = ("each", "keep", "keys", "single")

    def __init__(self, key: int, retention: int, path: str, keep: int, keys: int = KEYS) -> None:
        super().__init__(key, retention)
        self.each = each_reader(path)
        self.single = None if "[]" in path else reader(path)
        self.keep = keep
        self.keys = keys

    def add(self, slots: State, time: int, event: Any, clock: int) -> int:
        if self.single is not None:
            value = self.single(event)
            text = value if type(value) is str and len(value) <= KEY_LENGTH else identity(value)
            return 0 if text is None else self._add(slots, time, text, clock)
        # One event counts once for a value, however often the value stands in it (two lines of one order).
        texts = dict.fromkeys(text for text in map(identity, self.each(event)) if text is not None)
        return max((self._add(slots, time, text, clock) for text in texts), default=0)

    def _add(self, slots: State, time: int, text: str, clock: int) -> int:
        state = slots.get(self.key)
        if state is None:
            slots[self.key] = {text: [time]}
            return 1
        times = state.pop(text, None)
        if times is None:
            state[text] = [time]
            if len(state) > self.keys or not len(state) % 16:
                self._trim(state, clock)
            return 1
        state[text] = times  # the value seen last stands last: conditions look there first
        if time >= times[-1]:
            times.append(time)
        else:
            insort(times, time)
        if len(times) > self.keep:
            del times[: len(times) - self.keep]
        return len(times)

    def _trim(self, state: dict[str, list[int]], clock: int) -> None:
        oldest = clock - self.retention
        for text in [text for text, times in state.items() if times[-1] <= oldest]:
            del state[text]
        while len(state) > self.keys:
            # The oldest goes; equal times go by the value, so that the order of arrival does not matter.
            del state[min(state, key=lambda text: (state[text][-1], text))]

    def newest(self, state: dict[str, list[int]]) -> int | None:
        return max((times[-1] for times in state.values()), default=None)


class Returns(Slot):
    """Events that broke a silence: `[first, last, before, event, before, event, ...]`, the newest `keep` and a few more.

    `before` is the event right before the silence: one that arrives late may fall into the silence and end it.
    """

    __slots__ = ("keep", "silence")

    def __init__(self, key: int, retention: int, silence: int, keep: int) -> None:
        super().__init__(key, retention)
        self.silence = silence
        self.keep = keep

    def add(self, slots: State, time: int, event: Any, clock: int) -> bool:
        state = slots.get(self.key)
        if state is None:
            slots[self.key] = [time, time]
            return False
        last = state[1]
        if last <= time < last + self.silence:
            state[1] = time
            return False
        first, last, *found = state
        if time >= last:
            state[1] = time
            found += (last, time)
        elif time < first:
            state[0] = time
            if first - time >= self.silence:
                found = [time, first, *found]
        else:
            found = self._split(found, time)
        found = found[-2 * (self.keep + SPARE_RETURNS) :]
        # What broke a silence before the window is not counted any more.
        gone = clock - self.retention + self.silence
        while found and found[1] <= gone:
            del found[:2]
        if state[2:] == found:
            return False
        state[2:] = found
        return True

    def _split(self, found: list[int], time: int) -> list[int]:
        for at in range(0, len(found), 2):
            before, after = found[at], found[at + 1]
            if before <= time < after:
                pieces = [piece for piece in ((before, time), (time, after)) if piece[1] - piece[0] >= self.silence]
                return [*found[:at], *(moment for piece in pieces for moment in piece), *found[at + 2 :]]
        return found

    def newest(self, state: list[int]) -> int | None:
        return state[1]


class Anchors(Slot):
    """Starts of a sequence that nothing has cancelled: `[last cancelling time, start, start, ...]`, ascending."""

    __slots__ = ("silence",)

    def __init__(self, key: int, silence: int) -> None:
        super().__init__(key, silence)
        self.silence = silence

    def add(self, slots: State, time: int, event: Any, clock: int) -> bool:
        state = slots.get(self.key)
        if state is None:
            slots[self.key] = [0, time]
            return True
        if state[0] > time:  # cancelled already: the start is younger than `silence`, so the canceller was in time
            return False
        at = bisect_right(state, time, 1)
        state.insert(at, time)
        if len(state) > 3:
            self._trim(state, clock)
        return True

    def _trim(self, state: list[int], clock: int) -> None:
        # Completed starts that a late canceller can no longer reach are of interest only for the newest of them.
        settled = bisect_right(state, clock - 3 * self.silence, 1)
        if settled > 2:
            del state[1 : settled - 1]
        if len(state) > ANCHORS + 1:
            del state[len(state) // 2]  # the first and the last decide when it completes next and was completed last

    def newest(self, state: list[int]) -> int | None:
        return max(state) or None


class Cancel(Slot):
    """The other role in a sequence: ends the wait of the starts within `silence` before it. Shares their state.

    It counts for twice the silence, so that one that is heard of late can still take back a completion that was announced.
    """

    __slots__ = ("silence",)

    def __init__(self, key: int, silence: int) -> None:
        super().__init__(key, 2 * silence)
        self.silence = silence

    def add(self, slots: State, time: int, event: Any, clock: int) -> bool:
        state = slots.get(self.key)
        if state is None:
            slots[self.key] = [time]
            return False
        if time > state[0]:
            state[0] = time
        if state[-1] < time - self.silence or len(state) == 1:
            return False
        # A start at the very same time arrived earlier, and is cancelled too.
        waiting = [start for start in state[1:] if not time - self.silence <= start <= time]
        if len(waiting) == len(state) - 1:
            return False
        state[1:] = waiting
        return True
