"""How the customers of a shop are spread, as measured: what the quantile scores of `rfm` compare a customer with.

It is measured from history (`rules.measure`), kept as `population.json` beside the rule files, and travels with them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rules.errors import RuleError, RuleErrors

FILE: Final = "population.json"
MOST_BYTES: Final = 1024 * 1024

_MOST_MEASURES: Final = 1000
_LONGEST_KEY: Final = 4000
_LARGEST: Final = 9_000_000_000_000
_BOUNDS: Final = 4
_HINT: Final = "let `segue rules measure` write it"


@dataclass(frozen=True)
class Population:
    """Bounds between the fifths of the population, by what was measured: four ascending numbers each.

    The keys are those of `rules.kinds.rfm.measure_key`. `customers` is how many were measured, `measured_at` the event time (epoch
    milliseconds) up to which.
    """

    bounds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    customers: int = 0
    measured_at: int = 0

    def plain(self) -> dict[str, Any]:
        """The population as it is written, in an order that depends on nothing else."""
        bounds = {key: list(self.bounds[key]) for key in sorted(self.bounds)}
        return {"bounds": bounds, "customers": self.customers, "measured_at": self.measured_at}

    def lines(self) -> list[str]:
        """Each measure with its bounds, a line each."""
        return [f"{json.dumps(key)}: {json.dumps(list(self.bounds[key]))}" for key in sorted(self.bounds)]

    def to_text(self) -> str:
        """The text of `population.json`: one measure a line, so that a change is seen in Git."""
        lines = self.lines()
        bounds = "{\n    " + ",\n    ".join(lines) + "\n  }" if lines else "{}"
        return f'{{\n  "bounds": {bounds},\n  "customers": {self.customers},\n  "measured_at": {self.measured_at}\n}}\n'


def read_population(text: str, file: str) -> Population:
    """The population in the text of a `population.json`; `RuleErrors` with everything that is wrong with it."""
    try:
        found = json.loads(text, parse_constant=float)
    except json.JSONDecodeError as error:
        raise RuleErrors([RuleError(file, error.lineno, error.colno, f"this is no JSON: {error.msg}", _HINT)]) from None
    except (RecursionError, ValueError):
        raise RuleErrors([RuleError(file, 1, 1, "this is no population", _HINT)]) from None
    return population_of(found, file)


def population_of(found: object, file: str) -> Population:
    """The population in what was read from JSON; `RuleErrors` with everything that is wrong with it."""
    wrong = list(_wrong(found))
    if wrong:
        raise RuleErrors([RuleError(file, 1, 1, message, _HINT) for message in wrong[:20]], max(0, len(wrong) - 20))
    assert isinstance(found, dict)
    bounds = {key: tuple(map(float, one)) for key, one in found["bounds"].items()}
    return Population(bounds, found["customers"], found["measured_at"])


def _wrong(found: object) -> list[str]:
    if not isinstance(found, dict) or found.keys() != {"bounds", "customers", "measured_at"}:
        return ["a population holds `bounds`, `customers` and `measured_at`, and nothing else"]
    wrong = [
        f"`{name}` must be a whole number from 0 on"
        for name in ("customers", "measured_at")
        if type(found[name]) is not int or not 0 <= found[name] < 2**53
    ]
    bounds = found["bounds"]
    if not isinstance(bounds, dict):
        return [*wrong, "`bounds` must be a mapping from what was measured to four numbers"]
    if len(bounds) > _MOST_MEASURES:
        return [*wrong, f"`bounds` has {len(bounds):,} entries, more than {_MOST_MEASURES:,}"]
    for key, one in bounds.items():
        if not 0 < len(key) <= _LONGEST_KEY or not key.isprintable():
            wrong.append(f"{key[:80]!r} is nothing that is measured")
        elif not isinstance(one, list) or len(one) != _BOUNDS or not all(map(_is_bound, one)):
            wrong.append(f"the bounds of {key[:200]!r} must be four numbers within {_LARGEST:,}")
        elif sorted(one) != one:
            wrong.append(f"the bounds of {key[:200]!r} must ascend")
    return wrong


def _is_bound(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < _LARGEST  # type: ignore[arg-type]
