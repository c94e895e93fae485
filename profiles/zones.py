"""Time zones by their names in the IANA database, as the machine or the `tzdata` package has them."""

from __future__ import annotations

import re
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")


@lru_cache(1024)
def zone(name: str) -> ZoneInfo | None:
    """The time zone of this name; None if there is none. Names come from events: they are looked up, never opened as paths.

    >>> zone("Europe/Berlin").key, zone("Mars/Olympus"), zone("../etc/passwd")
    ('Europe/Berlin', None, None)
    """
    if len(name) > 64 or not _NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def is_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    return zone(name) is not None
