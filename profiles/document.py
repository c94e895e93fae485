"""YAML documents that know where each of their parts stands.

Rule files, field maps and settings are written by people, so every complaint about them has to name a file, a line, a column
and, where a word was mistyped, the word that was probably meant. This module reads one YAML document into a tree of
`Mapping`, `Sequence` and `Scalar` nodes that carry their positions; what the keys mean is the caller's affair.

The dialect is a small one. It is YAML 1.2 in what a plain word means (`yes`, `on` and `9:00` are strings; a date is a string),
and it refuses what makes a file say something else than it seems to: anchors and aliases, tags, merge keys, duplicate keys,
keys that are not strings, several documents in a file. Size and depth are bounded, so a hostile file costs nothing.

>>> document = load("segment: vip\\nwhen: {on: 30m}", "vip.yaml")
>>> document.plain()
{'segment': 'vip', 'when': {'on': '30m'}}
>>> document["when"].line, document["when"].column
(2, 7)
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 40


class DocumentError(Exception):
    """Something in a document is wrong, at `line` and `column` (both from 1) of `file`.

    `message` says what is wrong, `hint` how to mend it (it may be empty).
    """

    def __init__(self, file: str, line: int, column: int, message: str, hint: str = "") -> None:
        super().__init__(file, line, column, message, hint)
        self.file = file
        self.line = line
        self.column = column
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a document that starts at `line` and `column` (both from 1) of `file`."""

    file: str
    line: int
    column: int

    def plain(self) -> Any:
        """The value as Python's own types, without positions."""
        raise NotImplementedError

    @property
    def kind(self) -> str:
        """What the node is, in words for a message: `a mapping`, `a list`, `text`, `a number`..."""
        raise NotImplementedError

    def error(self, message: str, hint: str = "") -> DocumentError:
        """A complaint that points at this node; the caller raises it."""
        return DocumentError(self.file, self.line, self.column, message, hint)


@dataclass(frozen=True, slots=True)
class Scalar(Node):
    """A single value; `text` is how it was written, so that `0.1` can become an exact decimal rather than a float.

    `quoted` tells `"7"` from `7`.
    """

    value: str | int | float | bool | None
    text: str
    quoted: bool = False

    def plain(self) -> str | int | float | bool | None:
        return self.value

    @property
    def kind(self) -> str:
        match self.value:
            case None:
                return "nothing"
            case bool():
                return "true or false"
            case int() | float():
                return "a number"
            case _:
                return "text"


@dataclass(frozen=True, slots=True)
class Sequence(Node):
    """A list of nodes."""

    items: tuple[Node, ...] = ()

    def plain(self) -> list[Any]:
        return [item.plain() for item in self.items]

    @property
    def kind(self) -> str:
        return "a list"

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Node:
        return self.items[index]


@dataclass(frozen=True, slots=True)
class Mapping(Node):
    """Keys (all strings, each once) and their nodes, in the order written; `keys` holds where each key stands."""

    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Scalar] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        return {key: node.plain() for key, node in self.entries.items()}

    @property
    def kind(self) -> str:
        return "a mapping"

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def __getitem__(self, key: str) -> Node:
        return self.entries[key]

    def get(self, key: str) -> Node | None:
        """The node under `key`, None where there is none."""
        return self.entries.get(key)

    def items(self) -> Iterable[tuple[str, Node]]:
        """Keys and their nodes in the order written."""
        return self.entries.items()

    def required(self, key: str) -> Node:
        """The node under `key`; raises `DocumentError` at the mapping where it is missing."""
        node = self.entries.get(key)
        if node is None:
            near = nearest(key, self.entries)
            raise self.error(f"{key!r} is missing here", f"did you mean {key!r} by {near!r}?" if near else "")
        return node

    def only(self, known: Iterable[str]) -> None:
        """Raises `DocumentError` at the first key that is not among `known`, naming the nearest that is."""
        names = list(known)
        for key, at in self.keys.items():
            if key not in names:
                raise at.error(f"unknown key {key!r}", suggestion(key, names))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that was probably meant by `word`, None where nothing is near.

    >>> nearest("properites", ["properties", "event"])
    'properties'
    """
    by_lower = {name.casefold()[:100]: name for name in known}
    found = difflib.get_close_matches(word.casefold()[:100], by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """A hint for a mistyped `word`: the nearest of `known`, or a list of what there is."""
    names = list(known)
    near = nearest(word, names)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"known: {', '.join(sorted(names)[:30])}" if names else ""


def load(text: str, file: str) -> Node:
    """Reads the one YAML document in `text`; `file` is only for messages.

    Raises `DocumentError` where it is not YAML, empty, over `MAX_BYTES` or `MAX_DEPTH`, or uses what this dialect refuses.
    """
    text = text.removeprefix("\ufeff")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        line, column = _position(text, error.start)
        raise DocumentError(file, line, column, "this character is half of a pair and no text") from error
    if size > MAX_BYTES:
        raise DocumentError(file, 1, 1, f"the file has {size:,} bytes, more than {MAX_BYTES:,}", "split it")
    try:
        return _Builder(file).build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError(file, line, column, f"this is not YAML: {what}", _syntax_hint(what)) from error
    except yaml.reader.ReaderError as error:
        # libyaml counts bytes, and a position is in characters.
        before = text.encode()[: int(error.position)].decode(errors="ignore")
        line, column = _position(text, len(before))
        raise DocumentError(file, line, column, f"this is not YAML: {error.reason}", "remove the character") from error


def _position(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def _start(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _syntax_hint(problem: str) -> str:
    if "cannot start any token" in problem:
        return "indent with spaces, not tabs, and quote text that starts with a special character"
    if "mapping values are not allowed" in problem:
        return "quote text that contains ': ', and check the indentation"
    return ""


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not been read yet."""

    line: int
    column: int
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Scalar] = field(default_factory=dict)
    key: Scalar | None = None


class _Builder:
    """Builds the tree from the parser's events.

    Events rather than composed nodes, because an event still tells a tag that was written from one that was guessed, and
    because a loop with a stack of its own cannot be made to overflow Python's.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.stack: list[_Open] = []
        self.root: Node | None = None

    def build(self, text: str) -> Node:
        documents = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        raise self._error(event, "a second document starts here", "write it into a file of its own")
                case yaml.AliasEvent():
                    raise self._error(event, f"aliases (*{event.anchor}) are not allowed", "write the value out")
                case yaml.ScalarEvent():
                    self._refuse_decoration(event)
                    self._add(self._scalar(event))
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._refuse_decoration(event)
                    self._open(event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._add(self._close())
                case _:
                    pass
        if self.root is None:
            raise DocumentError(self.file, 1, 1, "the file is empty")
        return self.root

    def _error(self, event: yaml.Event, message: str, hint: str = "") -> DocumentError:
        return DocumentError(self.file, *_start(event), message, hint)

    def _refuse_decoration(self, event: yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if event.anchor is not None:
            raise self._error(
                event, f"anchors (&{event.anchor}) are not allowed", "write the value out where it is used"
            )
        if event.tag is not None:
            raise self._error(
                event, f"tags ({event.tag}) are not allowed", "remove the tag; quote the value if it is text"
            )

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        top = self.stack[-1] if self.stack else None
        if top is not None and top.is_mapping and top.key is None:
            raise self._error(event, "a key must be text", "if this should be text, quote it")
        if len(self.stack) >= MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels")
        self.stack.append(_Open(*_start(event), isinstance(event, yaml.MappingStartEvent)))

    def _close(self) -> Node:
        top = self.stack.pop()
        if top.is_mapping:
            return Mapping(self.file, top.line, top.column, top.entries, top.keys)
        return Sequence(self.file, top.line, top.column, tuple(top.items))

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if not top.is_mapping:
            top.items.append(node)
        elif top.key is None:
            top.key = self._key(node, top)
        else:
            top.entries[str(top.key.value)] = node
            top.keys[str(top.key.value)] = top.key
            top.key = None

    def _key(self, node: Node, top: _Open) -> Scalar:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            written = node.text if isinstance(node, Scalar) else ""
            raise node.error(
                f"a key must be text, but {written or 'an empty one'} is {node.kind}", f'write "{written}"'
            )
        if node.value == "<<" and not node.quoted:
            raise node.error("merge keys (<<) are not allowed", "write the keys out")
        if node.value in top.keys:
            first = top.keys[node.value]
            raise node.error(f"{node.value!r} is here twice", f"first at line {first.line}, column {first.column}")
        return node

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        line, column = _start(event)
        text: str = event.value
        if event.style:  # plain is '' from the C parser, None from the Python one
            # Literal and folded blocks come here too: they are text, whatever is in them.
            return Scalar(self.file, line, column, text, text, quoted=True)
        if text in _WORDS:
            return Scalar(self.file, line, column, _WORDS[text], text)
        if _INTEGER.fullmatch(text):
            # Nothing downstream holds more than 64 bits, and a longer run of digits is an identifier that wants quotes.
            if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
                raise self._error(event, "this number does not fit into 64 bits", "quote it if it is an identifier")
            return Scalar(self.file, line, column, int(text), text)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                raise self._error(event, "this number is too large")
            return Scalar(self.file, line, column, number, text)
        if _NOT_FINITE.fullmatch(text):
            raise self._error(event, f"{text} is not a number that can be compared", "write a finite number")
        return Scalar(self.file, line, column, text, text)


_WORDS: Final[dict[str, bool | None]] = {
    **{word: True for word in ("true", "True", "TRUE")},
    **{word: False for word in ("false", "False", "FALSE")},
    **{word: None for word in ("", "~", "null", "Null", "NULL")},
}
# A number with leading zeros stays text: `00123` is an article or a telephone number, never a quantity.
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]+|(?<=[0-9])\.|(?<=[0-9])(?=[eE]))([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
