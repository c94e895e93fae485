"""What holds for all rules of a folder unless they say otherwise: `_project.yaml` beside them. So far the time zone.

The name begins with an underscore, as no segment's does. The file travels with the rules as its text.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from profiles.document import DocumentError, Mapping, load
from profiles.zones import is_zone
from rules.definition import During, Segment
from rules.errors import RuleError, RuleErrors
from rules.reader import Reader

FILE: Final = "_project.yaml"
UTC: Final = "UTC"

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
    try:
        document = load(text, file)
    except DocumentError as error:
        raise RuleErrors([RuleError(error.file, error.line, error.column, error.message, error.hint)]) from None
    reader = Reader()
    zone = UTC
    root = reader.mapping(document, "the project's file", _EXAMPLE)
    if root is not None:
        reader.only(root, ("timezone",))
        zone = _zone(reader, root)
    if reader.errors:
        raise RuleErrors(reader.errors, reader.unlisted)
    return Project(zone, text)


def _zone(reader: Reader, root: Mapping) -> str:
    if "timezone" not in root:
        reader.wrong(root, "'timezone' is missing here", _EXAMPLE)
        return UTC
    name = reader.text(root["timezone"], "`timezone`", 64)
    if name and not is_zone(name):
        reader.wrong(
            root["timezone"], f"{name!r} is no time zone", "write a name such as Europe/Berlin or America/New_York"
        )
    return name


def in_project(segment: Segment, project: Project) -> Segment:
    """The segment as it is meant in the project: in its zone where the rule names none.

    Its digest is another one only if the rule looks at the calendar somewhere without a zone of its own.
    """
    if segment.zone is not None or project.zone == UTC:
        return segment
    digest = segment.digest
    if digest and _looks_at_calendar(segment):
        canonical = json.dumps([digest, ["zone", project.zone]])
        digest = hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()
    return dataclasses.replace(segment, zone=project.zone, digest=digest)


def _looks_at_calendar(part: Any) -> bool:
    """Whether anything in a definition is read on a calendar whose zone it does not name."""
    if isinstance(part, During):
        return part.zone is None
    if isinstance(part, tuple):
        return any(map(_looks_at_calendar, part))
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return False
    return any(_looks_at_calendar(getattr(part, field.name)) for field in dataclasses.fields(part))
