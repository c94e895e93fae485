"""Which published versions a folder of rule files descends from, and bringing a newer one into it.

A folder notes each version that was applied from it or pulled into it, a line each, in `.segue-version`. The note belongs into
version control beside the rules: whoever has a colleague's files has the colleague's note as well, and where two have applied, joining
both notes (`merge=union` in `.gitattributes`) is right, as the joined files hold the work of both.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from cli.errors import UserError
from rules.rule_set import RuleSet, diff

NOTE: Final = ".segue-version"
_MOST_LINES: Final = 200
"""So many versions are remembered: with the newest alone, a folder that is applied to several clusters in turn knew only one of them."""


@dataclass(frozen=True)
class Seen:
    """A version that a folder descends from. The digest of its texts keeps apart the versions of different clusters.

    >>> Seen.of(RuleSet(3, (), sources={"vip.yaml": "segment: vip"})).digest
    '5009160f571c7851'
    """

    version: int
    digest: str

    @classmethod
    def of(cls, rules: RuleSet) -> Seen:
        return cls(rules.version, texts_digest(rules.files))


def texts_digest(files: Mapping[str, str]) -> str:
    """Stands for the files of a rule set, by their names and texts."""
    found = hashlib.blake2b(digest_size=8)
    for name, text in sorted(files.items()):
        for part in (name, text):
            data = part.encode("utf-8", "surrogatepass")
            found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()


def read_note(folder: Path) -> list[Seen]:
    """The versions that a folder descends from, the newest last; none where it has no note."""
    try:
        lines = (folder / NOTE).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / NOTE} cannot be read ({type(error).__name__})", "mend or remove it") from None
    found = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) != 2 or not words[0].isdecimal():
            message = f"{folder / NOTE}:{number}:1: {line[:60]!r} is no version and digest"
            raise UserError(message, "keep the lines of both sides of a merge, and remove what is no such line")
        found.append(Seen(int(words[0]), words[1]))
    return found


def write_note(folder: Path, rules: RuleSet) -> None:
    """Note that the folder descends from this version. A folder that cannot be written is left so, with a warning."""
    now = Seen.of(rules)
    try:
        seen = [one for one in read_note(folder) if one != now]
        lines = [f"{one.version} {one.digest}\n" for one in [*seen, now][-_MOST_LINES:]]
        _write(
            folder / NOTE, "# Published versions that these rules descend from; keep it beside them.\n" + "".join(lines)
        )
    except (OSError, UserError) as error:
        print(f"warning: {folder / NOTE} was not written: {error}", file=sys.stderr)


def unseen(folder: Path, local: RuleSet, live: RuleSet | None, same: Iterable[int] = ()) -> bool:
    """Whether publishing `local` would undo something that the folder has never seen. `same`: versions that stand for the live one.

    A folder without a note may add segments; to change or remove those of others it has to pull them first.
    """
    if live is None or texts_digest(local.files) == texts_digest(live.files):
        return False
    seen = read_note(folder)
    if not seen:
        return any(change.kind != "added" for change in diff(live, local))
    now = Seen.of(live)
    return not any(Seen(version, now.digest) in seen for version in (live.version, *same))


@dataclass(frozen=True)
class Merge:
    """What a pull does to a folder: files to write, files to delete, and those that both sides have changed."""

    write: dict[str, str]
    delete: list[str]
    conflicts: list[str]


def merge(base: Mapping[str, str], local: Mapping[str, str], live: Mapping[str, str]) -> Merge:
    """Bring `live` into `local`, both of which come from `base`: whatever one side alone has changed stays changed.

    >>> merge({"a": "1", "b": "1"}, {"a": "1", "b": "2"}, {"a": "3", "b": "1", "c": "1"})
    Merge(write={'a': '3', 'c': '1'}, delete=[], conflicts=[])
    >>> merge({"a": "1"}, {"a": "2"}, {"a": "3"}).conflicts
    ['a']
    """
    found = Merge({}, [], [])
    for name in sorted(base.keys() | local.keys() | live.keys()):
        was, ours, theirs = base.get(name), local.get(name), live.get(name)
        if ours == theirs or theirs == was:
            continue
        if ours != was:
            found.conflicts.append(name)
        if theirs is None:
            found.delete.append(name)
        else:
            found.write[name] = theirs
    return found


def carry_out(folder: Path, found: Merge) -> None:
    """Write and delete what a merge says; nothing outside of the folder, whatever the names are."""
    places = {name: _inside(folder, name) for name in (*found.write, *found.delete)}
    try:
        for name, text in found.write.items():
            places[name].parent.mkdir(parents=True, exist_ok=True)
            _write(places[name], text)
        for name in found.delete:
            places[name].unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None


def _inside(folder: Path, name: str) -> Path:
    """Where a published file of this name belongs. The name comes from Kafka: it must not lead out of the folder."""
    inner, place = PurePosixPath(name), folder / name
    hidden = any(part.startswith(".") for part in inner.parts)
    if inner.is_absolute() or hidden or "\\" in name or not place.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"a published file is called {name!r}, which leads out of {folder}", "nothing was written")
    return place


def _write(path: Path, text: str) -> None:
    """Replace a file whole, so that nobody reads half of it."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, "utf-8", newline="")
    os.replace(beside, path)
