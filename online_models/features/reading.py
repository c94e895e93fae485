"""Reading one line of `features`: the values under its keys, and what they are unless told."""

from __future__ import annotations

import re
from collections.abc import Sequence as Seq
from typing import Final, TypeVar, cast

from online_models.features.kind import ENCODINGS, Encode
from profiles.document import Mapping, Node, Scalar
from rules.condition_reader import ConditionReader
from rules.definition import ANY_EVENT, EventRef
from rules.duration import format_duration
from rules.kinds.kind import Key
from rules.kinds.numbers import read_references

_NAME: Final = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
_LONGEST_NAME: Final = 64
_Choice = TypeVar("_Choice", bound=str)

AS: Final = Key("as", "text", "what the feature is called in this model; the name of its kind unless told")
WHERE: Final = Key("where", "where", "what must hold of each of these events")
DURING: Final = Key("during", "during", "when each of them must have happened: weekdays, hours, dates")
LOG: Final = Key(
    "log", "boolean", "the logarithm of one more than the number, so that large ones differ less; false unless told"
)
ENCODE: Final = Key(
    "encode",
    "text",
    "how the category becomes numbers: a column for each value, hashed columns, or the mean outcome of its value; `onehot` unless told",
    among=ENCODINGS,
)


def event_keys(default: str) -> tuple[Key, ...]:
    """The keys that say which events are meant."""
    told = "any" if default == ANY_EVENT else default
    return (Key("event", "event", f"the events; {told} unless told"), WHERE, DURING)


def within_key(default: int | None) -> Key:
    """The key that says how far back events count."""
    told = "ever" if default is None else format_duration(default)
    return Key("within", "window", f"how far back they count; {told} unless told")


class Line:
    """What stands under the name of a feature. What is wrong is noted and replaced by some harmless value."""

    def __init__(self, reader: ConditionReader, node: Mapping) -> None:
        self.reader = reader
        self.node = node

    def name(self, default: str) -> str:
        """What the feature is called."""
        found = self.node.get("as")
        if found is None:
            return default
        name = self.reader.text(found, "`as`", _LONGEST_NAME)
        if name and not _NAME.fullmatch(name):
            hint = "write small letters and digits, words joined by _ or -"
            self.reader.wrong(found, f"{name!r} is no name of a feature", hint)
        return name

    def ref(self, default: str) -> EventRef:
        """Which events are meant."""
        found = self.node.get("event")
        name = default if found is None else self.reader.event_name(found, "`event`")
        return EventRef(name, self.reader.where(self.node), self.reader.during(self.node))

    def references(self, key: str, default: Seq[str] = ()) -> tuple[EventRef, ...]:
        """One or more references to events."""
        found = self.node.get(key)
        return tuple(map(EventRef, default)) if found is None else read_references(self.reader, found, f"`{key}`")

    def within(self, default: int | None) -> int | None:
        """A window in milliseconds; None is all that ever happened."""
        found = self.node.get("within")
        if found is None:
            return default
        if isinstance(found, Scalar) and found.value == "ever":
            return None
        return self.reader.duration(found, "`within`")

    def window(self, default: int) -> int:
        """A window that ends somewhere, in milliseconds."""
        return self.duration("within", default)

    def duration(self, key: str, default: int) -> int:
        """A duration in milliseconds."""
        found = self.node.get(key)
        return default if found is None else self.reader.duration(found, f"`{key}`")

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        found = self.node.get(key)
        return default if found is None else self.reader.integer(found, f"`{key}`", low, high)

    def flag(self, key: str) -> bool:
        """True or false; false unless told."""
        found = self.node.get(key)
        if found is None:
            return False
        if isinstance(found, Scalar) and isinstance(found.value, bool):
            return found.value
        self.reader.wrong(found, f"`{key}` must be true or false, not {found.kind}")
        return False

    def choice(self, key: str, among: Seq[_Choice], default: _Choice) -> _Choice:
        """One of several words."""
        found = self.node.get(key)
        if found is None:
            return default
        if isinstance(found, Scalar) and found.value in among:
            return cast(_Choice, found.value)
        self.reader.wrong(found, f"`{key}` is one of {', '.join(among)}")
        return default

    def encode(self) -> Encode:
        """How a category becomes numbers."""
        return self.choice("encode", ENCODINGS, "onehot")

    def path(self, default: str = "", single: bool = False) -> str:
        """The path to a value of an event; `single`: not to several of a list."""
        found = self.node.get("path")
        if found is None:
            return default
        path = self.reader.path(found, "`path`")
        if path == "name":
            self.reader.wrong(found, "the name of an event is no value in it", "begin with properties or context")
        elif single and "[]" in path:
            self.reader.wrong(found, f"{path[:100]!r} is not one value", "name one that is in no list")
        return path

    def text(self, key: str, longest: int) -> str:
        """A text, `` where there is none."""
        found = self.node.get(key)
        return "" if found is None else self.reader.text(found, f"`{key}`", longest)

    def at(self, key: str) -> Node:
        """Where a key's value stands; the line itself if it is not there."""
        return self.node.get(key) or self.node
