"""The kinds of conditions, each in the module of its family. A kind that is listed here is known everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rules.compiled import Compiled
from rules.definition import During, Journey, Leaf
from rules.kinds import members, scores
from rules.kinds.kind import Kind
from rules.predicates import Predicate

if TYPE_CHECKING:
    from rules.plan import Compiler

KINDS: Final[dict[str, Kind]] = {one.key: one for one in (*scores.KINDS, *members.KINDS)}

_COMPILE: Final = {definition: kind.compile for kind in KINDS.values() for definition in kind.definitions}


def compile_kind(compiler: Compiler, condition: Leaf) -> Compiled:
    """The condition as it runs."""
    return _COMPILE[type(condition)](compiler, condition)


def event_during(during: During, zone: str) -> Predicate:
    """A function from an event to whether it happened then, on the clock of where it happened."""
    raise NotImplementedError


def journey_slot(compiler: Compiler, journey: Journey) -> tuple[int, int]:
    """The key of the slot that keeps the completions of a journey, and how long after its last step it completes."""
    raise NotImplementedError
