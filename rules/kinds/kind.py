"""What a kind of condition brings along: how it is written, what it means, how it is read and what it is compiled to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from profiles.document import Mapping
from rules.compiled import Compiled
from rules.definition import Condition

if TYPE_CHECKING:
    from rules.compiler import Compiler
    from rules.condition_reader import ConditionReader

Shape = Literal[
    "anything",
    "boolean",
    "condition",
    "conditions",
    "count",
    "duration",
    "durations",
    "during",
    "event",
    "expect",
    "given",
    "integer",
    "mapping",
    "moment",
    "name",
    "number",
    "numbers",
    "offset",
    "path",
    "population",
    "reference",
    "references",
    "share",
    "steps",
    "tests",
    "text",
    "texts",
    "values",
    "weighted",
    "where",
    "window",
]
"""What may stand under a key; `rules.reference` says it in words, `rules.schema` as JSON Schema."""


@dataclass(frozen=True)
class Key:
    """One key of a condition: its name, what may stand there, and its meaning in a sentence."""

    name: str
    shape: Shape
    meaning: str
    required: bool = False
    among: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One kind of condition, found by the key that begins it.

    `meaning` is one sentence. `shape` is what stands under `key` itself: for a mapping, `keys` are what it holds (and `beside` what stands
    beside it); otherwise `beside` alone. `operators` says that comparisons (`gte: 3`) stand among `keys` (or `beside`, if there are no
    keys). `example` is a whole condition in YAML. `read` makes the definition and notes what is wrong; `compile` makes what runs;
    `definitions` are the types that `compile` takes.
    """

    key: str
    meaning: str
    example: str
    shape: Shape
    read: Callable[[ConditionReader, Mapping], Condition]
    compile: Callable[[Compiler, Any], Compiled]
    definitions: tuple[type, ...]
    keys: tuple[Key, ...] = ()
    beside: tuple[Key, ...] = ()
    operators: tuple[str, ...] = ()
