"""What holds for all rules of a folder unless they say otherwise: `_project.yaml` beside them. So far the time zone.

The name begins with an underscore, as no segment's does. The file travels with the rules as its text.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from profiles.document import DocumentError, load
from profiles.zones import UTC
from rules.definition import During, Segment
from rules.errors import RuleError, RuleErrors
from rules.parse import digest
from rules.reader import Reader

FILE: Final = "_project.yaml"
LONGEST: Final = 10_000
"""Characters of the file."""

_EXAMPLE: Final = "write `timezone: Europe/Berlin`"


@dataclass(frozen=True)
class Project:
    """`zone` is where customers are of whom that is not known and whose rule names none. `text` is the file's, empty without one."""

    zone: str = UTC
    text: str = ""


NO_PROJECT: Final = Project()


def read_project(text: str, file: str) -> Project:
    """The project in the text of a `_project.yaml`; `RuleErrors` with everything that is wrong with it.

    >>> read_project("timezone: Europe/Berlin", "_project.yaml").zone
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
        reader.only(root, ("timezone",))
        if "timezone" in root:
            zone = reader.zone(root["timezone"], "`timezone`")
        elif not reader.errors:
            reader.wrong(root, "'timezone' is missing here", _EXAMPLE)
    if zone is None or reader.errors:
        raise RuleErrors(reader.errors, reader.unlisted)
    return Project(zone, text)


def in_zone(segment: Segment, zone: str) -> Segment:
    """The segment as it is meant in a project of this zone, if it looks at the calendar and names no zone: as if it named this one."""
    if segment.zone is not None or zone == UTC or not _looks_at_calendar(segment):
        return segment
    found = dataclasses.replace(segment, zone=zone)
    return dataclasses.replace(found, digest=digest(found)) if segment.digest else found


def _looks_at_calendar(part: Any) -> bool:
    """Whether anything in a definition is read on a calendar whose zone it does not name."""
    if isinstance(part, During):
        return part.zone is None
    if isinstance(part, tuple):
        return any(map(_looks_at_calendar, part))
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return False
    return any(_looks_at_calendar(getattr(part, field.name)) for field in dataclasses.fields(part))
