"""How the customers of a shop are spread, as measured: what the quantile scores of `rfm` compare a customer with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Population:
    """Bounds between the fifths of the population, by what was measured: four ascending numbers each.

    The keys are those of `rules.kinds.rfm.measure_key`. `customers` is how many were measured, `measured_at` the event time (epoch
    milliseconds) up to which.
    """

    bounds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    customers: int = 0
    measured_at: int = 0
