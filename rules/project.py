"""What is set for all rules of a folder: the time zone of customers of whom none is known.

It stands as `_project.yaml` beside the rule files and travels with them. No segment can be called so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from profiles.document import DocumentError, load
from rules.definition import During, Segment
from rules.errors import RuleError, RuleErrors
from rules.parse import digest
from rules.reader import Reader

FILE: Final = "_project.yaml"
UTC: Final = "UTC"
LONGEST: Final = 10_000
"""Characters of the file."""

KEYS: Final = ("timezone",)
_EXAMPLE: Final = "write `timezone: Europe/Berlin`"


@dataclass(frozen=True)
class Project:
    """`timezone` is for rules that name none; `text` is that of the file, empty where there is none."""

    timezone: str = UTC
    text: str = ""


def read_project(text: str, file: str) -> Project:
    """What the text of a `_project.yaml` says; `RuleErrors` with everything that is wrong with it.

    >>> read_project("timezone: Europe/Berlin", "_project.yaml").timezone
    'Europe/Berlin'
    """
    if len(text) > LONGEST:
        raise RuleErrors([RuleError(file, 1, 1, f"the file has more than {LONGEST:,} characters", _EXAMPLE)])
    try:
        document = load(text, file)
    except DocumentError as error:
        raise RuleErrors([RuleError(error.file, error.line, error.column, error.message, error.hint)]) from None
    reader = Reader()
    zone = None
    root = reader.mapping(document, "the project's file", _EXAMPLE)
    if root is not None:
        reader.only(root, KEYS)
        if "timezone" in root:
            zone = reader.zone(root["timezone"], "`timezone`")
        elif not reader.errors:
            reader.wrong(root, "'timezone' is missing here", _EXAMPLE)
    if zone is None or reader.errors:
        raise RuleErrors(reader.errors, reader.unlisted)
    return Project(zone, text)


def in_zone(segment: Segment, zone: str) -> Segment:
    """The segment as it is in a project of this zone: with the zone in its meaning, if it asks for local time and names none."""
    if zone == UTC or segment.zone is not None or all(one.zone is not None for one in _calendars(segment)):
        return segment
    found = dataclasses.replace(segment, zone=zone)
    return dataclasses.replace(found, digest=digest(found)) if segment.digest else found


def _calendars(value: Any) -> Iterator[During]:
    """Every weekday, hour or date that a definition asks for, wherever in it."""
    if isinstance(value, During):
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from _calendars(one)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _calendars(getattr(value, field.name))
