"""Journeys: several steps one after the other, and what must not happen around them.

A `Course` is a journey in numbers: each step and each silence has a bit, and an event has the bits of all that it can be in it.
A `Trail` is the slot that keeps a customer's events of a journey, and the completions that follow from them.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from profiles.profile import NEVER
from profiles.values import identity
from rules.predicates import Predicate
from rules.slots import Slot, State

EVENTS = 64
"""Events of one journey remembered at a time: the newest."""

VALUES = 256
"""Property values that the remembered events of one journey have together, each counted once for each event."""

EVENT_VALUES = 64
"""Property values of one event that a journey looks at."""


@dataclass(frozen=True)
class Quiet:
    """A silence: the bit of the events that break it, and for how long it must last (0: as long as the gap that it stands in)."""

    bit: int
    lasting: int


@dataclass(frozen=True)
class Gap:
    """What must hold between two steps: they are at most `within` apart, and no silence is broken."""

    within: int = NEVER
    silences: tuple[Quiet, ...] = ()


class Link(NamedTuple):
    """An event that is a step of an instance: its place, when that instance began at the latest, the place of the step before."""

    at: int
    began: int
    before: int


Chains = list[list[Link]]
"""For each step the events that can be it, given the steps before it; in their order."""


@dataclass(frozen=True)
class Course:
    """A journey in numbers. Step n has the bit `1 << n`; `gaps[n]` lies after it. Durations in milliseconds."""

    steps: int
    gaps: tuple[Gap, ...]
    within: int = NEVER
    before: tuple[Quiet, ...] = ()
    after: tuple[Quiet, ...] = ()

    @cached_property
    def lead(self) -> int:
        """How long before the first step matters."""
        return max((quiet.lasting for quiet in self.before), default=0)

    @cached_property
    def span(self) -> int:
        """How long all steps may take together."""
        return min(self.within, sum(gap.within for gap in self.gaps))

    @cached_property
    def silence(self) -> int:
        """How long after its last step an instance completes."""
        return max((quiet.lasting for quiet in self.after), default=0)

    @cached_property
    def horizon(self) -> int:
        """The longest time that an instance can take, with the silences around it."""
        return self.lead + self.span + self.silence

    def chains(self, times: list[int], marks: list[int], since: int = 0) -> Chains:
        """All instances, as links. `times` ascend, `marks` are the bits of each; what happened before `since` is not known."""
        row = [
            Link(at, times[at], -1)
            for at, mark in enumerate(marks)
            if mark & 1 and times[at] - self.lead >= since and self._is_led(times, marks, at)
        ]
        rows = [row]
        for step in range(1, self.steps):
            row = self._followed(step, row, times, marks) if row else []
            rows.append(row)
        return rows

    def bases(self, times: list[int], marks: list[int], since: int) -> Iterator[int]:
        """The times of the last steps of all instances whose final silence nothing has broken."""
        last = 1 << self.steps - 1
        if not any(mark & last for mark in marks):
            return
        for link in self.chains(times, marks, since)[-1]:
            if is_quiet(self.after, times, marks, link.at):
                yield times[link.at]

    def _is_led(self, times: list[int], marks: list[int], at: int) -> bool:
        """Whether no silence before a first step is broken."""
        for quiet in self.before:
            begins = bisect_right(times, times[at] - quiet.lasting)
            if any(mark & quiet.bit for mark in marks[begins:at]):
                return False
        return True

    def _followed(self, step: int, row: list[Link], times: list[int], marks: list[int]) -> list[Link]:
        """The events that can be this step, each after the one of `row` whose instance began last."""
        gap = self.gaps[step - 1]
        breaks = [(quiet.lasting, _next(marks, quiet.bit)) for quiet in gap.silences]
        latest = list(itertools.accumulate((link.began for link in row), max))
        found: list[Link] = []
        known = 0
        for at, mark in enumerate(marks):
            while known < len(row) and row[known].at < at:
                known += 1
            if not mark >> step & 1:
                continue
            time, began, before = times[at], -1, -1
            for place in range(known - 1, -1, -1):
                link = row[place]
                # None of the links before this one began later than `latest`.
                if time - times[link.at] > gap.within or latest[place] <= began or time - latest[place] > self.within:
                    break
                if link.began > began and time - link.began <= self.within and _kept(breaks, times, link.at, at):
                    began, before = link.began, link.at
            if before >= 0:
                found.append(Link(at, began, before))
        return found


def is_quiet(silences: tuple[Quiet, ...], times: list[int], marks: list[int], at: int) -> bool:
    """Whether nothing that happened so far after an event breaks these silences."""
    for quiet in silences:
        ends = bisect_right(times, times[at] + quiet.lasting) if quiet.lasting else len(times)
        if any(mark & quiet.bit for mark in marks[at + 1 : ends]):
            return False
    return True


def _kept(breaks: list[tuple[int, list[int]]], times: list[int], before: int, at: int) -> bool:
    """Whether the silences between two events are kept: long enough, and nothing in between breaks them."""
    for lasting, following in breaks:
        until = times[before] + lasting
        if times[at] < until or (following[before] < at and (not lasting or times[following[before]] <= until)):
            return False
    return True


def _next(marks: list[int], bit: int) -> list[int]:
    """For each event the place of the next one after it that has the bit; beyond the end where there is none."""
    found = [0] * len(marks)
    following = len(marks)
    for at in range(len(marks) - 1, -1, -1):
        found[at] = following
        if marks[at] & bit:
            following = at
    return found


class Role(NamedTuple):
    """What events of one name can be in a journey: those that `where` holds for (None: all) have `bits`.

    `values` yields what binds them to other events, None in a journey without `per`.
    """

    where: Predicate | None
    bits: int
    values: Callable[[Any], Iterable[Any]] | None


class Trail(Slot):
    """The events of a journey and the times of last steps that completed it: `[[settled, since, times, marks], time, ...]`, ascending.

    Whatever happened within twice the horizon is kept, the newest 64 events of it, and searched anew for instances when one comes that can
    make or break one. `settled` is the newest time of those that no event can unmake any more, or whose events are not
    kept any more (0: none); `since` is up to when events were given up for want of room (0: none). A mark is the bits of an event,
    with `per` those for each of its values.
    """

    __slots__ = ("bound", "course", "decisive", "others", "roles")

    def __init__(
        self, key: int, course: Course, roles: Mapping[str, tuple[Role, ...]], others: tuple[Role, ...], bound: bool
    ) -> None:
        super().__init__(key, course.horizon)
        self.course = course
        self.roles = roles
        self.others = others
        self.bound = bound
        # An event that is none of these, and newer than all others, neither makes nor breaks an instance.
        self.decisive = 1 << course.steps - 1
        for quiet in course.after:
            self.decisive |= quiet.bit

    def add(self, slots: State, time: int, event: Any, clock: int) -> bool:
        mark = self.mark(event)
        if not mark:
            return False
        state = slots.get(self.key)
        if state is None:
            state = slots[self.key] = [[0, 0, [], []]]
        times, marks = state[0][2:]
        at = bisect_right(times, time)
        newest = at == len(times)
        times.insert(at, time)
        marks.insert(at, mark)
        self._trim(state[0], clock)
        bits = mark.values() if self.bound else (mark,)
        if newest and not any(one & self.decisive for one in bits):
            return False
        return self._search(state, clock)

    def newest(self, state: list[Any]) -> int | None:
        times = state[0][2]
        return times[-1] if times else None

    def mark(self, event: Any) -> Any:
        """What the event can be: its bits, with `per` those for each of its values; false if it is nothing."""
        roles = self.roles.get(event.name, self.others)
        if not self.bound:
            bits = 0
            for where, own, _ in roles:
                if where is None or where(event):
                    bits |= own
            return bits
        found: dict[str, int] = {}
        for where, own, values in roles:
            if values is None or not (where is None or where(event)):
                continue
            for value in values(event):
                text = identity(value)
                if text is not None and (text in found or len(found) < EVENT_VALUES):
                    found[text] = found.get(text, 0) | own
        return found

    def of_each_value(self, trail: list[Any]) -> Iterator[tuple[str, list[int], list[int]]]:
        """The times and bits of the events with each value; of all events, without a value, where there is no `per`."""
        _, _, times, marks = trail
        if not self.bound:
            yield "", times, marks
            return
        apart: dict[str, tuple[list[int], list[int]]] = {}
        for time, mark in zip(times, marks, strict=True):
            for value, bits in mark.items():
                own = apart.setdefault(value, ([], []))
                own[0].append(time)
                own[1].append(bits)
        for value, own in apart.items():
            yield value, *own

    def _trim(self, trail: list[Any], clock: int) -> None:
        """Let go of what no instance can need any more, and of the oldest where there are too many."""
        _, _, times, marks = trail
        gone = bisect_right(times, clock - 2 * self.retention)
        surplus = max(gone, len(times) - EVENTS)
        if self.bound:
            room = VALUES
            for at in range(len(marks) - 1, surplus - 1, -1):
                room -= len(marks[at])
                if room < 0:
                    surplus = at + 1
                    break
        if surplus > gone:
            trail[1] = max(trail[1], times[surplus - 1])
        del times[:surplus], marks[:surplus]

    def _search(self, state: list[Any], clock: int) -> bool:
        """Find the completions anew; whether they have changed."""
        course, trail = self.course, state[0]
        # The last step of an instance that no event can touch any more lies here or before.
        fixed = clock - self.retention - course.silence
        known = [time for time in state[1:] if time > fixed]
        for time in state[1:]:
            lost = trail[1] and time - course.span - course.lead <= trail[1]
            if time <= fixed or (lost and time + course.silence <= clock):
                trail[0] = max(trail[0], time)
        found = {
            time
            for _, times, marks in self.of_each_value(trail)
            for time in course.bases(times, marks, trail[1])
            if time > fixed
        }
        if trail[0]:
            found.add(trail[0])
        state[1:] = sorted(found)
        return known != [time for time in state[1:] if time > fixed]
