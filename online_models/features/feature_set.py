"""The features of a model in a plan: what it asks to be kept, and the rows that it reads from profiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from math import log1p
from typing import Any, Final, NamedTuple

from online_models.definition import Feature
from online_models.example import Row
from online_models.features.kind import Attached, Column, Read
from online_models.features.vocabulary import KINDS
from profiles.profile import Profile
from profiles.values import WHOLE
from rules.compiler import Compiler
from rules.watch import Watched

_FINEST: Final = 1e9
"""Logarithms are rounded to its inverse, as the last bit of one is not the same on every machine. All else is divided once, which is."""


class FeatureSet:
    """The features of one model. `zone` is where customers are of whom that is not known; UTC if None.

    It is a watch (`rules.watch`): a plan that is compiled with it keeps what it needs, shared with conditions that count the same. Rows
    are read from profiles that are kept under that plan. One that is attached to another plan asks for the same slots there, but reads
    as the newest plan has it: take one for each plan.
    """

    def __init__(self, features: Iterable[Feature], zone: str | None = None) -> None:
        self.features = tuple(features)
        self.zone = zone
        self.columns: tuple[Column, ...] = tuple(
            column for one in self.features for column in KINDS[one.kind].columns(one.name, one.parameters)
        )
        self.parts: tuple[Part, ...] = ()
        self._read: Reading | None = None

    def attach(self, compiler: Compiler) -> Watched:
        """Ask for the slots of all features; what they depend on."""
        outer = compiler.segment
        # Events during some hours are meant in the model's zone, as those of a rule are in the rule's.
        compiler.segment = replace(outer, zone=self.zone)
        try:
            found: list[Attached] = [KINDS[one.kind].attach(compiler, one.parameters) for one in self.features]
        finally:
            compiler.segment = outer
        self.parts = tuple(
            Part((one.kind, repr(one.parameters), self.zone, at), read, attached.log)
            for one, attached in zip(self.features, found, strict=True)
            for at, read in enumerate(attached.reads)
        )
        self._read = reading(self.parts)
        return Watched(
            frozenset().union(*(one.slots for one in found)), frozenset().union(*(one.traits for one in found))
        )

    def read(self, profile: Profile, clock: int) -> Row:
        """What is known of a customer at a moment (epoch milliseconds, not before the newest event): a value for each column.

        Depends on nothing but the profile and the clock. RuntimeError if no plan has been compiled with it.
        """
        if self._read is None:
            raise RuntimeError("compile a plan with the feature set first: compile_plan(segments, watches=[features])")
        return self._read(profile, clock)


class Part(NamedTuple):
    """One column as it is read under a plan. Those of equal `meaning` read the same. `log`: the logarithm of what `read` says is meant."""

    meaning: Hashable
    read: Read
    log: bool


Reading = Callable[[Profile, int], Row]


def reading(parts: Sequence[Part]) -> Reading:
    """A function that reads these columns."""
    reads = tuple(one.read for one in parts)
    logarithms = tuple(at for at, one in enumerate(parts) if one.log)

    def read(profile: Profile, clock: int) -> Row:
        row: Row = [one(profile, clock) for one in reads]
        for at in logarithms:
            value: Any = row[at]
            if value:
                if value > 0:
                    row[at] = (log1p(value) * _FINEST + WHOLE - WHOLE) / _FINEST
                else:
                    row[at] = (WHOLE - (log1p(-value) * _FINEST + WHOLE)) / _FINEST
        return row

    return read


def joint_reading(sets: Sequence[FeatureSet]) -> Callable[[Profile, int], list[Row]]:
    """A function that reads the rows of several sets under one plan. What they have in common it reads once."""
    distinct: dict[Hashable, int] = {}
    parts: list[Part] = []
    for part in (part for one in sets for part in one.parts):
        if distinct.setdefault(part.meaning, len(parts)) == len(parts):
            parts.append(part)
    places = [[distinct[part.meaning] for part in one.parts] for one in sets]
    read = reading(parts)

    def rows(profile: Profile, clock: int) -> list[Row]:
        values = read(profile, clock)
        return [[values[place] for place in row] for row in places]

    return rows
