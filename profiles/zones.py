"""Time zones by their names in the IANA database, as the machine or the `tzdata` package has them."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

UTC: Final = "UTC"


@cache
def _names() -> frozenset[str]:
    """Every name there is."""
    return frozenset(available_timezones())


@lru_cache(1024)
def zone(name: str) -> ZoneInfo | None:
    """The time zone of this name; None if there is none. Names come from events: they are looked up, never opened as paths.

    >>> zone("Europe/Berlin").key, zone("Mars/Olympus"), zone("../etc/passwd")
    ('Europe/Berlin', None, None)
    """
    return ZoneInfo(name) if name in _names() else None


def is_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    return zone(name) is not None
