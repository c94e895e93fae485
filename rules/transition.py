"""What goes into the step and comes out of it: timers and scores, transitions and decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Protocol

import msgspec

from profiles.profile import NEVER
from rules.plan import Plan

Outcome = Literal["applied", "duplicate", "late", "quarantined", "timer"]


Scores = Mapping[str, float | str]
"""The newest outputs of models by their names: a number, or the name of a persona."""

NO_SCORES: Scores = MappingProxyType({})


class Timer(msgspec.Struct, gc=False):
    """A moment that has come without an event: `due` in epoch milliseconds."""

    due: int


class Transition(msgspec.Struct, gc=False):
    """One customer entered or left one segment. `version` is the segment's, `effective_at` in epoch milliseconds."""

    id: str
    customer: str
    segment: str
    kind: Literal["entered", "exited"]
    version: int
    sequence: int
    effective_at: int
    cause: dict[str, Any]
    evidence: list[dict[str, Any]]
    scores: dict[str, float | str]


class Decision(msgspec.Struct, gc=False):
    """What an arrival led to. `next_timer` is the one moment to wake the customer at (NEVER: none).

    `reason` says why an event was not applied; for a late one, `late_by` is by how many milliseconds. `watched`: bit n is set where
    what the plan's n-th watch depends on has changed.
    """

    outcome: Outcome = "applied"
    reason: str = ""
    late_by: int = 0
    transitions: list[Transition] = []
    next_timer: int = NEVER
    examples: list[Any] = []
    watched: int = 0


class Rules(Protocol):
    """What `step` needs of a rule set."""

    @property
    def version(self) -> int: ...

    @property
    def code(self) -> int:
        """Version and stage; see `RuleSet.code`."""

    @property
    def plan(self) -> Plan: ...


def transition_id(customer: str, segment: str, sequence: int, effective_at: int) -> str:
    """The same for every replay. The time keeps apart the lives of a customer who expired and came back."""
    text = f"{customer}\0{segment}\0{sequence}\0{effective_at}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
