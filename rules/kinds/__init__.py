"""The kinds of conditions, each in the module of its family. A kind that is listed here is known everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rules.compiled import Compiled
from rules.definition import During, Leaf
from rules.kinds import journey, members, scores
from rules.kinds.journey import journey_slot
from rules.kinds.kind import Kind
from rules.predicates import Predicate

__all__ = ["KINDS", "compile_kind", "event_during", "journey_slot"]

if TYPE_CHECKING:
    from rules.plan import Compiler

KINDS: Final[dict[str, Kind]] = {one.key: one for one in (*journey.KINDS, *scores.KINDS, *members.KINDS)}

_COMPILE: Final = {definition: kind.compile for kind in KINDS.values() for definition in kind.definitions}


def compile_kind(compiler: Compiler, condition: Leaf) -> Compiled:
    """The condition as it runs."""
    return _COMPILE[type(condition)](compiler, condition)


def event_during(during: During, zone: str) -> Predicate:
    """A function from an event to whether it happened then, on the clock of where it happened."""
    raise NotImplementedError
