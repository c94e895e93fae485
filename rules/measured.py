"""What the measured population has to do with the meaning of a segment."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from rules.definition import Rfm, Segment
from rules.kinds.rfm import measure_key, scored
from rules.order import leaves
from rules.population import Population


def used_bounds(segment: Segment, population: Population) -> dict[str, tuple[float, ...]]:
    """The bounds that decide who is in the segment: none unless its rule compares scores, and they have been measured."""
    keys = {
        measure_key(one, measure) for one in leaves(segment.when) if isinstance(one, Rfm) for measure in scored(one)
    }
    return {key: population.bounds[key] for key in sorted(keys) if key in population.bounds}


def as_measured(segment: Segment, population: Population) -> Segment:
    """The segment with a digest that says what it means for this population: another one only if it uses any of its bounds."""
    used = used_bounds(segment, population)
    if not used or not segment.digest:
        return segment
    canonical = json.dumps([segment.digest, [[key, *bounds] for key, bounds in used.items()]])
    return dataclasses.replace(segment, digest=hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest())
