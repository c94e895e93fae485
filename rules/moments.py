"""Moments as rules and events write them: a date, a date with a time, or epoch milliseconds."""

from __future__ import annotations

import re
from typing import Final

from profiles.event import parse_time

_LATEST: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, and as far before 1970: no calendar here goes beyond."""

_WRITTEN: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def moment_of(value: object) -> int | None:
    """The moment in epoch milliseconds that a value names; None where it names none.

    A date is its first millisecond. What says no offset is read in UTC, and what is finer than a millisecond is cut off.

    >>> moment_of("2026-03-02"), moment_of("2026-03-02T01:00:00.0019+01:00"), moment_of(1_772_409_600_000.9)
    (1772409600000, 1772409600001, 1772409600000)
    >>> moment_of("next week"), moment_of("2026-02-30"), moment_of(True), moment_of(float("nan"))
    (None, None, None, None)
    """
    kind = type(value)
    if kind is str:
        if len(value) > 40 or not _WRITTEN.fullmatch(value):  # type: ignore[arg-type, call-overload]
            return None
        try:
            return parse_time(value)  # type: ignore[arg-type]
        except (ValueError, OverflowError):
            return None
    if (kind is int or kind is float) and -_LATEST <= value <= _LATEST:  # type: ignore[operator]
        return int(value // 1)  # type: ignore[operator]
    return None


def is_within(value: object, window: int, time: int) -> bool:
    """Whether a value names a moment in the window of so many milliseconds that ends with `time`, as events are in windows.

    >>> [is_within(moment, 10, 100) for moment in (90, 91, 100, 101)]
    [False, True, True, False]
    """
    moment = moment_of(value)
    return moment is not None and time - window < moment <= time
