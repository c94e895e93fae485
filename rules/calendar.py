"""Weekdays, hours and dates on the clock of a place: whether a moment lies in them, and when that changes next.

Local time runs with UTC but for the moments at which a zone changes its offset. So each day of UTC is cut where the offset
changes and where local time passes a midnight or an hour that is asked for; between two cuts nothing can change. What is
found for a zone and a day is kept, as the same few are asked for again and again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import MAXYEAR, UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import Final

from profiles.profile import NEVER
from rules.definition import During

HOUR: Final = 3_600_000
DAY: Final = 86_400_000
MINUTE: Final = 60_000

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = _EPOCH.toordinal()
_LAST: Final = (date(MAXYEAR, 12, 1).toordinal() - _FIRST) * DAY
"""Shortly before calendars end: from then on it holds no more."""

_DAYS_AHEAD: Final = 9
"""A week, and a day for the offsets at either end: what has not changed by then does so for a date, or for an hour left out."""

_KEPT: Final = 2048


def offset(zone: tzinfo, time: int) -> int:
    """How far local time is ahead of UTC at a moment, in milliseconds."""
    shift = (_EPOCH + timedelta(milliseconds=time)).astimezone(zone).utcoffset()
    assert shift is not None
    return round(shift.total_seconds() * 1000)


def _change(zone: tzinfo, low: int, high: int) -> int:
    """The first moment after `low` that has the offset of `high`, which is another one."""
    later = offset(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        if offset(zone, middle) == later:
            high = middle
        else:
            low = middle
    return high


@lru_cache(_KEPT)
def stretches(zone: tzinfo, day: int) -> tuple[tuple[int, int], ...]:
    """The stretches of one offset that a day of UTC (counted from 1970) is made of: when each begins, and its offset.

    Looked at hour by hour: zones do not change twice within one.
    """
    start = day * DAY
    found = [(start, offset(zone, start))]
    for time in range(start + HOUR, start + DAY + 1, HOUR):
        shift = offset(zone, time)
        if shift != found[-1][1]:
            change = _change(zone, time - HOUR, time)
            if change < start + DAY:
                found.append((change, shift))
    return tuple(found)


def local_time(zone: tzinfo, time: int) -> int | None:
    """What the clock of this zone shows at a moment, in milliseconds from its own 1970; None where calendars do not go.

    >>> local_time(UTC, 5), local_time(UTC, -1)
    (5, None)
    """
    if not 0 <= time < _LAST:
        return None
    found = stretches(zone, time // DAY)
    at = len(found) - 1
    while found[at][0] > time:
        at -= 1
    return time + found[at][1]


class Calendar:
    """The moments that a `During` means, in any zone. Times are epoch milliseconds."""

    def __init__(self, during: During) -> None:
        self.during = during
        self.weekdays = frozenset(during.weekdays or range(7))
        self.marks = sorted({0, *(minute * MINUTE for hours in during.hours for minute in hours)})
        """The times of a day, in milliseconds, at which something may change."""
        self.edges = sorted({edge for first, last in during.dates for edge in (first, last + 1)})
        """The days (as ordinals) with which something that depends on dates may change."""
        self.turns = lru_cache(_KEPT)(self._turns)

    def holds(self, zone: tzinfo, time: int) -> bool:
        """Whether the clock of this zone stands in it."""
        if not 0 <= time < _LAST:
            return False
        first, turns = self.turns(zone, time // DAY)
        return first is not bool(bisect_right(turns, time) % 2)

    def now(self, zone: tzinfo, time: int) -> tuple[bool, int]:
        """Whether the clock of this zone stands in it, and a moment before which that does not change.

        Exact if it changes within nine days. A change further off is announced by a moment shortly before.
        """
        if not 0 <= time < _LAST:
            return False, 0 if time < 0 else NEVER
        day = time // DAY
        first, turns = self.turns(zone, day)
        at = bisect_right(turns, time)
        truth = first is not bool(at % 2)
        if at < len(turns):
            return truth, turns[at]
        for later in range(day + 1, day + 1 + _DAYS_AHEAD):
            begins, turns = self.turns(zone, later)
            if begins is not truth:
                return truth, later * DAY
            if turns:
                return truth, turns[0]
        return truth, self._further(day + _DAYS_AHEAD)

    def _further(self, day: int) -> int:
        """A moment up to which nothing changes, if nothing does so up to the end of this day (counted from 1970)."""
        today, ends = day + _FIRST, (day + 1) * DAY
        # Two days aside: one for the offset of the zone, one for hours that go on past midnight.
        near = not self.during.dates or any(first - 2 <= today <= last + 2 for first, last in self.during.dates)
        if near and (self.during.hours or len(self.weekdays) < 7):
            return ends  # an hour that the zone has left out: the next week has it
        ahead = [edge for edge in self.edges if edge > today - 2]
        return max(ends, (ahead[0] - _FIRST - 2) * DAY) if ahead else NEVER

    def _turns(self, zone: tzinfo, day: int) -> tuple[bool, tuple[int, ...]]:
        """Whether it holds when a day of UTC begins, and the moments of that day at which that changes."""
        pieces = list(self._pieces(zone, day))
        turns = [start for (_, before), (start, holds) in pairwise(pieces) if holds is not before]
        return pieces[0][1], tuple(turns)

    def _pieces(self, zone: tzinfo, day: int) -> Iterator[tuple[int, bool]]:
        """The pieces of a day of UTC in which nothing changes: when each begins, and whether it holds then."""
        found = stretches(zone, day)
        ends = [start for start, _ in found[1:]] + [(day + 1) * DAY]
        for (start, shift), end in zip(found, ends, strict=True):
            yield start, self._stands(start + shift)
            for local_day in range((start + shift) // DAY, (end + shift) // DAY + 1):
                for mark in self.marks:
                    time = local_day * DAY + mark - shift
                    if start < time < end:
                        yield time, self._stands(time + shift)

    def _stands(self, local: int) -> bool:
        """Whether a clock that shows this, in milliseconds from its own 1970, stands in it."""
        day, time = divmod(local, DAY)
        if not self.during.hours:
            return self._is_day(day)
        for begin, until in self.during.hours:
            if begin < until:
                if begin * MINUTE <= time < until * MINUTE and self._is_day(day):
                    return True
            # Past midnight, it still belongs to the day on which it began.
            elif (time >= begin * MINUTE and self._is_day(day)) or (time < until * MINUTE and self._is_day(day - 1)):
                return True
        return False

    def _is_day(self, day: int) -> bool:
        """Whether a day, counted from 1970, is one of the weekdays and dates."""
        if (day + 3) % 7 not in self.weekdays:  # 1970 began on a Thursday
            return False
        ordinal = day + _FIRST
        return not self.during.dates or any(first <= ordinal <= last for first, last in self.during.dates)


def shown_during(during: During) -> dict[str, list[str]]:
    """What is asked for, as evidence shows it.

    >>> shown_during(During((0, 4), ((540, 1020),)))
    {'weekdays': ['mon', 'fri'], 'hours': ['9:00-17:00']}
    """
    found = {
        "weekdays": [WEEKDAYS[day] for day in during.weekdays],
        "hours": [f"{_shown_time(begin)}-{_shown_time(until)}" for begin, until in during.hours],
        "dates": [f"{date.fromordinal(first)}..{date.fromordinal(last)}" for first, last in during.dates],
    }
    return {what: among for what, among in found.items() if among}


def _shown_time(minute: int) -> str:
    return f"{minute // 60}:{minute % 60:02d}"
