"""Watches: whoever wants numbers of a profile kept besides what the segments ask for, and told when they change.

The models are such: what they compute their features from lies in slots of the same plan, shared with the conditions that count the
same. A watch has a bit above those of the segments; `Decision.watched` has the bits of those whose slots or traits an arrival changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rules.compiler import Compiler


@dataclass(frozen=True)
class Watched:
    """What a watch depends on: keys of slots, and names of traits."""

    slots: frozenset[int] = frozenset()
    traits: frozenset[str] = frozenset()


class Watch(Protocol):
    """Asks the compiler of a plan for the slots that it needs."""

    def attach(self, compiler: Compiler) -> Watched:
        """The slots and traits whose changes it wants to be told of. Called once for each plan."""
