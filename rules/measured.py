"""What the measured population has to do with the meaning of a segment."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping

from profiles.zones import UTC
from rules.definition import Rfm, Segment
from rules.kinds.rfm import measure_key, scored
from rules.order import leaves
from rules.population import Population


def measures(segment: Segment) -> dict[str, str]:
    """What the rule compares with the population: which of the measures of `rfm` it is, by its key in the population."""
    rfms = (one for one in leaves(segment.when) if isinstance(one, Rfm))
    zone = segment.zone or UTC
    return {measure_key(one, measure, zone): measure for one in rfms for measure in scored(one)}


def told_population(segments: Iterable[Segment], told: Mapping[str, tuple[float, ...]]) -> Population:
    """The population in which `recency`, `frequency` and `monetary` are spread as told, whatever events the rules look at."""
    asked = (found for segment in segments for found in measures(segment).items())
    return Population({key: told[measure] for key, measure in asked if measure in told})


def used_bounds(segment: Segment, population: Population) -> dict[str, tuple[float, ...]]:
    """The bounds that decide who is in the segment: none unless its rule compares scores, and they have been measured."""
    return {key: population.bounds[key] for key in sorted(measures(segment)) if key in population.bounds}


def unmeasured(segment: Segment, population: Population) -> list[str]:
    """The keys of what the rule compares with the population and nobody has measured, in order."""
    return sorted(measures(segment).keys() - population.bounds.keys())


def as_measured(segment: Segment, population: Population) -> Segment:
    """The segment with a digest that says what it means for this population: another one only if it uses any of its bounds."""
    used = used_bounds(segment, population)
    if not used or not segment.digest:
        return segment
    canonical = json.dumps([segment.digest, [[key, *bounds] for key, bounds in used.items()]])
    return dataclasses.replace(segment, digest=hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest())
