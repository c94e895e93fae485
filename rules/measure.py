"""Measuring the population: what the customers of a history come to, and where its fifths end.

The values of all customers are put in order, so that the bounds are exact: the history holds a profile of each of them
anyway, beside which a number for each measure weighs little.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Iterable
from typing import Final

from profiles.event import Event
from profiles.values import MICROS
from rules.compiler import Compiler
from rules.definition import Rfm, Segment
from rules.history import History
from rules.kinds.rfm import Purchases, measure_key, purchases, scored
from rules.order import leaves
from rules.plan import Limits
from rules.population import Population
from rules.rule_set import RuleSet

_FIFTHS: Final = 5


def uses_scores(segment: Segment) -> bool:
    """Whether the rule compares customers with the population."""
    return any(isinstance(one, Rfm) and scored(one) for one in leaves(segment.when))


def fifths(values: Iterable[float]) -> tuple[float, ...]:
    """The four bounds between the fifths: the smallest values that one fifth, two, three and four of all do not exceed.

    >>> fifths([5, 1, 4, 2, 3]), fifths([1, 1, 1, 1, 9])
    ((1.0, 2.0, 3.0, 4.0), (1.0, 1.0, 1.0, 1.0))
    """
    ordered = sorted(map(float, values))
    return tuple(ordered[-(-part * len(ordered) // _FIFTHS) - 1] for part in range(1, _FIFTHS))


def measure(rules: RuleSet, events: Iterable[tuple[Event, int]]) -> Population:
    """The population of a history, by every measure that a rule compares with it; `events` come with their watermarks.

    Customers are measured at the end of the history. Who has no event in a measure's window is no part of it.
    """
    segments = tuple(one for one in rules.segments if uses_scores(one))
    history = History(dataclasses.replace(rules, segments=segments), keep_transitions=False)
    for event, watermark in events:
        history.take(event, watermark)
    history.finish(history.clock)
    asked = _asked(segments)
    found: dict[str, array[float]] = {key: array("d") for key in asked}
    for profile in history.profiles.values():
        for key, (measured, of) in asked.items():
            values, _ = of.values(profile, history.clock)
            if values.recency is None:
                continue
            known = {
                "recency": values.recency,
                "frequency": values.frequency,
                "monetary": values.monetary / MICROS,
            }
            found[key].append(known[measured])
    bounds = {key: fifths(values) for key, values in found.items() if values}
    return Population(bounds, len(history.profiles), history.clock)


def _asked(segments: Iterable[Segment]) -> dict[str, tuple[str, Purchases]]:
    """Every measure that the rules ask for, with where profiles keep what it is made of."""
    compiler = Compiler(Limits(), Population())
    found: dict[str, tuple[str, Purchases]] = {}
    for segment in segments:
        compiler.segment = segment
        for one in leaves(segment.when):
            if isinstance(one, Rfm):
                for measured in scored(one):
                    found[measure_key(one, measured, compiler.zone())] = measured, purchases(compiler, one)
    return found
