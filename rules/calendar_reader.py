"""Reading `during`: weekdays, hours and dates as people write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Final, TypeVar

from profiles.document import Mapping, Node, Sequence
from rules.definition import During

if TYPE_CHECKING:
    from rules.reader import Reader

DURING_KEYS: Final = ("weekdays", "hours", "dates", "timezone")
DURING_EXAMPLE: Final = 'write `during: {weekdays: mon-fri, hours: "9:00-17:00"}`'

_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_HOURS: Final = re.compile(r"([0-9]{1,2}):([0-9]{2}) *- *([0-9]{1,2}):([0-9]{2})")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOST: Final = 100
_Read = TypeVar("_Read")
_NAMES: Final = "mon, tue, wed, thu, fri, sat or sun"


def read_during(reader: Reader, found: Node) -> During:
    """What stands under `during`."""
    node = reader.mapping(found, "`during`", DURING_EXAMPLE)
    if node is None:
        return During()
    reader.only(node, DURING_KEYS)
    weekdays = {day for days in _each(reader, node, "weekdays", _weekdays) for day in days}
    hours = sorted(set(_each(reader, node, "hours", _hours)))
    dates = sorted(set(_each(reader, node, "dates", _dates)))
    if not any(key in node for key in DURING_KEYS[:3]) and all(key in DURING_KEYS for key in node):
        reader.wrong(node, "`during` says neither weekdays nor hours nor dates", DURING_EXAMPLE)
    if len(weekdays) == 7:
        weekdays = set()  # every day is what goes without saying
        if "hours" not in node and "dates" not in node:
            reader.wrong(
                node["weekdays"], "these weekdays are all there are, so nothing is asked", "leave `during` out"
            )
    zone = reader.zone(node["timezone"], "`timezone`") if "timezone" in node else None
    return During(tuple(sorted(weekdays)), tuple(hours), tuple(dates), zone)


def _each(reader: Reader, node: Mapping, key: str, read: Callable[[Reader, Node, str], _Read | None]) -> list[_Read]:
    """What stands under a key: one entry or a list of them."""
    found = node.get(key)
    if found is None:
        return []
    entries = reader.entries(found, f"`{key}`", _MOST) if isinstance(found, Sequence) else (found,)
    return [one for one in (read(reader, entry, f"`{key}`") for entry in entries) if one is not None]


def _weekday(name: str) -> int:
    """The number of a weekday, Monday being 0; -1 if it is none. Three letters suffice."""
    short = name.strip().casefold()
    return next((day for day, whole in enumerate(_WEEKDAYS) if short in (whole, whole[:3])), -1)


def _weekdays(reader: Reader, node: Node, what: str) -> list[int] | None:
    """One weekday, or all from one to another; past Sunday it goes on with Monday."""
    text = reader.text(node, what)
    if not text:
        return None
    first, dash, last = text.partition("-")
    begin, end = _weekday(first), _weekday(last) if dash else _weekday(first)
    if begin < 0 or end < 0:
        reader.wrong(node, f"{text[:40]!r} is no weekday", f"write {_NAMES}, or two of them such as mon-fri")
        return None
    return [(begin + ahead) % 7 for ahead in range((end - begin) % 7 + 1)]


def _hours(reader: Reader, node: Node, what: str) -> tuple[int, int] | None:
    """From when until when, in minutes of the day."""
    text = reader.text(node, what)
    if not text:
        return None
    found = _HOURS.fullmatch(text.strip())
    hint = 'write `"9:00-17:00"`; `"22:00-6:00"` goes over midnight, `"18:00-24:00"` up to it'
    if found is None:
        reader.wrong(node, f"{text[:40]!r} are no hours", hint)
        return None
    hour, minute, to_hour, to_minute = map(int, found.groups())
    begin, until = hour * 60 + minute, to_hour * 60 + to_minute
    if minute > 59 or to_minute > 59 or begin >= 24 * 60 or until > 24 * 60:
        reader.wrong(node, f"{text[:40]!r} are no hours of a day", hint)
    elif (begin, until) == (0, 24 * 60):
        reader.wrong(node, f"{text[:40]!r} are all there are", "leave `hours` out")
    elif begin == until:
        reader.wrong(node, f"{text[:40]!r} end where they begin", "for the whole day leave `hours` out")
    else:
        return begin, until
    return None


def _dates(reader: Reader, node: Node, what: str) -> tuple[int, int] | None:
    """The first and the last day, as ordinals."""
    text = reader.text(node, what)
    if not text:
        return None
    first, dots, last = text.partition("..")
    days = [_ordinal(one.strip()) for one in ((first, last) if dots else (first, first))]
    if None in days:
        reader.wrong(
            node,
            f"{text[:40]!r} is no date",
            "write 2026-12-24, or 2026-12-01..2026-12-24 for all days from one to another",
        )
        return None
    begin, end = days
    if begin > end:  # type: ignore[operator]
        reader.wrong(node, f"{text[:40]!r} ends before it begins", "write the earlier day first")
        return None
    return begin, end  # type: ignore[return-value]


def _ordinal(text: str) -> int | None:
    """The ordinal of a date; None if it is none."""
    if not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        return None
