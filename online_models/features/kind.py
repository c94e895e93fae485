"""What a kind of feature brings along: how it is written, what it means, how it is read, what it keeps and how it is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from profiles.profile import Profile
from rules.compiler import Compiler
from rules.kinds.kind import Key

if TYPE_CHECKING:
    from online_models.features.reading import Line

Value = float | str | None
"""What a column holds: a finite number, a text of `LONGEST_VALUE` characters at most, or None where nothing is known."""

Read = Callable[[Profile, int], Value]
"""A function from a profile and a clock, in epoch milliseconds and not before the newest event, to the value of a column."""

Encode = Literal["onehot", "hash", "target"]

ENCODINGS: Final[tuple[Encode, ...]] = ("onehot", "hash", "target")

LONGEST_VALUE: Final = 100


@dataclass(frozen=True)
class Column:
    """One column of a row. `encode` says how the values of a category become numbers; of a number it means nothing."""

    name: str
    category: bool = False
    encode: Encode = "onehot"


@dataclass(frozen=True)
class Attached:
    """A feature in a plan: a function for each of its columns, and the slots and traits that they look at.

    `log`: the columns hold the logarithm of one more than what the functions say; of numbers below zero, mirrored.
    """

    reads: tuple[Read, ...]
    slots: frozenset[int] = frozenset()
    traits: frozenset[str] = frozenset()
    log: bool = False


def one_number(name: str, parameters: Any) -> tuple[Column, ...]:
    """The columns of a feature that is one number."""
    return (Column(name),)


def one_category(name: str, parameters: Any) -> tuple[Column, ...]:
    """The columns of a feature that is one category; its parameters say how it is encoded."""
    return (Column(name, True, parameters.encode),)


@dataclass(frozen=True)
class FeatureKind:
    """One kind of feature, found by its name.

    `meaning` is one sentence, `example` a line of `features`, `keys` are what may stand under the name, `state` says what is kept of each
    customer. `read` makes the parameters, a frozen dataclass whose `repr` tells all that it means, and notes what is wrong; `columns` says
    what a feature of that name with those parameters is in a row; `attach` asks a compiler for slots and makes what computes the columns.
    """

    name: str
    meaning: str
    example: str
    keys: tuple[Key, ...]
    state: str
    read: Callable[[Line], Any]
    attach: Callable[[Compiler, Any], Attached]
    columns: Callable[[str, Any], tuple[Column, ...]] = one_number
