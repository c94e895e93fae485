"""The features of a model in a plan: what it asks to be kept, and the rows that it reads from profiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import log1p
from typing import Any, Final

from online_models.definition import Feature
from online_models.example import Row
from online_models.features.kind import Attached, Column, Read
from online_models.features.vocabulary import KINDS
from profiles.profile import Profile
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
        self._reads: tuple[tuple[Read, bool], ...] | None = None

    def attach(self, compiler: Compiler) -> Watched:
        """Ask for the slots of all features; what they depend on."""
        outer = compiler.segment
        # Events during some hours are meant in the model's zone, as those of a rule are in the rule's.
        compiler.segment = replace(outer, zone=self.zone)
        try:
            found: list[Attached] = [KINDS[one.kind].attach(compiler, one.parameters) for one in self.features]
        finally:
            compiler.segment = outer
        self._reads = tuple((read, one.log) for one in found for read in one.reads)
        return Watched(
            frozenset().union(*(one.slots for one in found)), frozenset().union(*(one.traits for one in found))
        )

    def read(self, profile: Profile, clock: int) -> Row:
        """What is known of a customer at a moment (epoch milliseconds, not before the newest event): a value for each column.

        Depends on nothing but the profile and the clock. RuntimeError if no plan has been compiled with it.
        """
        if self._reads is None:
            raise RuntimeError("compile a plan with the feature set first: compile_plan(segments, watches=[features])")
        row: Row = []
        for read, log in self._reads:
            value: Any = read(profile, clock)
            if log and value:
                value = (
                    round(log1p(value) * _FINEST) / _FINEST if value > 0 else -round(log1p(-value) * _FINEST) / _FINEST
                )
            row.append(value)
        return row
