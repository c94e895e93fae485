"""Moments, places and patterns as the oracle reads them: written out, and slow."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rules.definition import During

ELSEWHERE = "UTC"
"""Where customers are of whom nothing is known, in rules that do not say."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMS = [
    f"%Y-%m-%d{time}{zone}"
    for time in ("", "T%H:%M", " %H:%M", "T%H:%M:%S", " %H:%M:%S", "T%H:%M:%S.%f")
    for zone in ("", "%z")
    if time or not zone
]


class Happening(Protocol):
    """An event as far as time and place go."""

    event_time: int
    context: dict[str, Any]


def moment_named(value: Any) -> int | None:
    """The moment that a value names, in epoch milliseconds: a text in one of the forms, in UTC unless it says so, or a number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value)
    for form in _FORMS if isinstance(value, str) else ():
        try:
            found = datetime.strptime(value, form)  # noqa: DTZ007  (what has no offset gets one below)
        except ValueError:
            continue
        return ((found if found.tzinfo else found.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)
    return None


def lately(value: Any, window: int, time: int) -> bool:
    """Whether the value names a moment in the window that ends with this time."""
    named = moment_named(value)
    return named is not None and time - window < named <= time


def has_pattern(value: Any, pattern: str) -> bool:
    return isinstance(value, str) and re.search(pattern, value[:1000]) is not None


def place_named(value: Any) -> ZoneInfo | None:
    """The time zone that a value names."""
    try:
        return ZoneInfo(value) if isinstance(value, str) and value else None
    except (ZoneInfoNotFoundError, ValueError):
        return None


def stands_in(during: During, place: ZoneInfo, time: int) -> bool:
    """Whether a clock on the wall there shows one of the hours, on one of the days."""
    shows = (_EPOCH + timedelta(milliseconds=time)).astimezone(place)
    minute, today, yesterday = shows.hour * 60 + shows.minute, shows.date(), shows.date() - timedelta(days=1)

    def is_day(day: Any) -> bool:
        dated = any(first <= day.toordinal() <= last for first, last in during.dates)
        return (not during.weekdays or day.weekday() in during.weekdays) and (not during.dates or dated)

    if not during.hours:
        return is_day(today)
    for begin, until in during.hours:
        if begin < until and is_day(today) and minute in range(begin, until):
            return True
        if begin > until and is_day(today) and minute >= begin:
            return True
        if begin > until and is_day(yesterday) and minute < until:
            return True
    return False


def happened_during(event: Happening, during: During) -> bool:
    """Whether the event happened then, on the clock of where it happened."""
    place = place_named(event.context.get("timezone")) or ZoneInfo(during.zone or ELSEWHERE)
    return stands_in(during, place, event.event_time)
