"""How a rule set travels: JSON in UTF-8 that holds the text of its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from profiles.zones import is_zone
from rules.errors import RuleError, RuleErrors

MOST_PAYLOAD: Final = 8 * 1024 * 1024
MOST_FILES: Final = 10_000
MOST_MODELS: Final = 50
FORMAT: Final = 1
"""Of the payload. A reader refuses one that it does not know rather than misread it."""

_LONGEST_FILE: Final = 300
_LONGEST_AUTHOR: Final = 300
_LONGEST_MESSAGE: Final = 4000
SET: Final = "rule set"


@dataclass(frozen=True)
class Header:
    """What a payload says about itself; its rules have not been looked at. `segments` maps names to versions.

    `warming` names the segments whose history is still to be counted; see `RuleSet`.
    """

    version: int
    created_at: int
    author: str
    message: str
    segments: dict[str, int]
    warming: tuple[str, ...] = ()

    @property
    def stage(self) -> int:
        """0 while segments are warming, 1 once the rule set is live."""
        return 0 if self.warming else 1


def code_of(version: int, stage: int) -> int:
    """Version and stage as one number, in their order."""
    return 2 * version + stage


def read_header(payload: bytes) -> Header | None:
    """The header of a payload, without validating its rules (which takes a hundred times as long); None if it has none."""
    try:
        found = decode_payload(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    warming = tuple(sorted(found.warming))
    return Header(found.version, found.created_at, found.author, found.message, found.segments, warming)


class Payload(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The fields of the JSON object. `project` is the text of the project's file, empty where there is none."""

    format: int
    version: int
    created_at: int
    author: str
    message: str
    segments: dict[str, int]
    files: dict[str, str]
    warming: dict[str, str | None] = {}
    meant_since: dict[str, int] = {}
    population: Any = None
    project: str = ""
    meant_in: dict[str, str] = {}
    models: dict[str, str] = {}


encode_payload = msgspec.json.Encoder().encode
decode_payload = msgspec.json.Decoder(Payload).decode


def check_payload(found: Payload) -> None:
    """Raises `RuleErrors` where a field holds what it cannot, whatever the rules say."""
    if found.format != FORMAT:
        raise refused(f"the rule set has format {found.format}, this build reads {FORMAT}")
    if not 1 <= found.version < 2**31:
        raise refused("the version of a rule set is a number from 1 on")
    if not 0 <= found.created_at < 2**53:
        raise refused("`created_at` is not a time in epoch milliseconds")
    if len(found.author) > _LONGEST_AUTHOR or len(found.message) > _LONGEST_MESSAGE:
        raise refused("`author` or `message` is too long")
    if not 1 <= len(found.files) <= MOST_FILES:
        raise refused(f"a rule set has from 1 to {MOST_FILES:,} files, not {len(found.files):,}")
    if len(found.models) > MOST_MODELS:
        raise refused(f"a rule set has at most {MOST_MODELS} models, not {len(found.models):,}")
    for file in (*found.files, *found.models):
        if len(file) > _LONGEST_FILE or not file.isprintable() or not file.endswith(".yaml"):
            raise refused(f"{file[:80]!r} is not the name of a {'rule' if file in found.files else 'model'} file")
    for name, version in found.meant_since.items():
        if name not in found.warming or not 1 <= version < found.version:
            raise refused(f"`meant_since` says of {name[:80]!r} what cannot be")
    for name, zone in found.meant_in.items():
        if name not in found.warming or not is_zone(zone):
            raise refused(f"`meant_in` says of {name[:80]!r} what cannot be")


def refused(message: str) -> RuleErrors:
    """The error of a rule set that is refused as a whole."""
    return RuleErrors([RuleError(SET, 1, 1, message)])
