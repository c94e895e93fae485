"""Durations as words: `250ms`, `29m59.999s`, `24h`, `7d`, `2w`. In the core they are integers in milliseconds."""

from __future__ import annotations

import re

_UNITS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PART = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,3}))?(ms|[wdhms])")


def parse_duration(text: str) -> int:
    """Milliseconds in a duration written as words; units from large to small, each at most once. ValueError otherwise.

    >>> parse_duration("1h30m"), parse_duration("29m59.999s"), parse_duration("7d")
    (5400000, 1799999, 604800000)
    """
    total, at, largest = 0, 0, float("inf")
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            break
        whole, fraction, unit = part.groups()
        size = _UNITS[unit]
        if size >= largest or (fraction and unit != "s"):
            break
        total += int(whole) * size + (int(fraction.ljust(3, "0")) if fraction else 0)
        at, largest = part.end(), size
    if at == 0 or at < len(text):
        raise ValueError("must be a duration such as 30m, 24h, 7d or 1h30m")
    return total


def format_duration(milliseconds: int) -> str:
    """The shortest words for a duration; seconds with a fraction where milliseconds remain.

    >>> format_duration(5_400_000), format_duration(1_799_999), format_duration(0)
    ('1h30m', '29m59.999s', '0s')
    """
    if milliseconds < 0:
        return f"-{format_duration(-milliseconds)}"
    words = ""
    for unit in ("d", "h", "m"):
        count, milliseconds = divmod(milliseconds, _UNITS[unit])
        if count:
            words += f"{count}{unit}"
    seconds, rest = divmod(milliseconds, 1000)
    if rest:
        words += f"{seconds}.{rest:03d}".rstrip("0") + "s"
    elif seconds or not words:
        words += f"{seconds}s"
    return words
