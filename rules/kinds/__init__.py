"""The kinds of conditions, each in the module of its family. A kind that is listed here is known everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rules.compiled import Compiled
from rules.definition import Leaf
from rules.kinds import calendar, context, engagement, journey, members, numbers, rfm, scores, sessions
from rules.kinds.calendar import event_during
from rules.kinds.journey import journey_slot
from rules.kinds.kind import Kind

__all__ = ["KINDS", "compile_kind", "event_during", "journey_slot"]

if TYPE_CHECKING:
    from rules.compiler import Compiler

KINDS: Final[dict[str, Kind]] = {
    one.key: one
    for one in (
        *journey.KINDS,
        *calendar.KINDS,
        *context.KINDS,
        *sessions.KINDS,
        *numbers.KINDS,
        *engagement.KINDS,
        *rfm.KINDS,
        *scores.KINDS,
        *members.KINDS,
    )
}

_COMPILE: Final = {
    **numbers.COMPILE,
    **{definition: kind.compile for kind in KINDS.values() for definition in kind.definitions},
}


def compile_kind(compiler: Compiler, condition: Leaf) -> Compiled:
    """The condition as it runs."""
    return _COMPILE[type(condition)](compiler, condition)
