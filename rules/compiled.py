"""What a condition is once compiled: truth now, and the next moment at which that may change by itself.

`evaluate(profile, clock) -> (truth, flip)`: until `flip` the truth stays as it is unless an event comes. For
a combination the flip may be a moment at which nothing changes after all, never later than one at which something does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

from profiles.profile import NEVER, Profile

Evaluate = Callable[[Profile, int], tuple[bool, int]]
Evidence = dict[str, Any]

YES = (True, NEVER)
NO = (False, NEVER)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Compiled:
    """A condition ready to run. `text` is how it reads; `slots`, `traits`, `scores` and `members` are what it depends on.

    `scores` are names of models, `members` those of other segments.

    `rising` are those of its slots in which one more event can only make it true, never false, each with the number of
    events (of one value, where they are counted by value) below which it makes no difference.

    `joins` says how its parts decide: `all`, `any`, `not`, `at_least` (`least` of them), `points` (by `weights`); one that looks at
    the customer itself is a `leaf`.
    """

    __slots__ = (
        "evaluate",
        "joins",
        "least",
        "measure",
        "members",
        "parts",
        "rising",
        "scores",
        "slots",
        "text",
        "threshold",
        "traits",
        "weights",
    )

    def __init__(
        self,
        text: str,
        evaluate: Evaluate,
        *,
        slots: frozenset[int] = frozenset(),
        rising: Mapping[int, int] = MappingProxyType({}),
        traits: frozenset[str] = frozenset(),
        scores: frozenset[str] = frozenset(),
        members: frozenset[str] = frozenset(),
        measure: Callable[[Profile, int], Any] | None = None,
        threshold: Any = None,
        parts: tuple[Compiled, ...] = (),
        joins: Literal["leaf", "all", "any", "not", "at_least", "points"] = "leaf",
        least: int = 0,
        weights: tuple[float, ...] = (),
    ) -> None:
        self.text = text
        self.evaluate = evaluate
        self.measure = measure
        self.threshold = threshold
        self.parts = parts
        self.joins = joins
        self.least = least
        self.weights = weights
        needs = dict(rising)
        either: frozenset[int] = frozenset()
        for part in parts:
            slots |= part.slots
            traits |= part.traits
            scores |= part.scores
            members |= part.members
            either |= part.slots - part.rising.keys()
            for key, least in part.rising.items():
                needs[key] = min(least, needs.get(key, least))
        self.slots: frozenset[int] = slots
        self.rising: dict[int, int] = {key: least for key, least in needs.items() if key not in either}
        self.traits: frozenset[str] = traits
        self.scores: frozenset[str] = scores
        self.members: frozenset[str] = members

    def evidence(self, profile: Profile, clock: int) -> list[Evidence]:
        """Each leaf that decides, with its actual value and its threshold, in the order of the rule."""
        truth = self.evaluate(profile, clock)[0]
        if self.measure is not None:
            return [
                {
                    "condition": self.text,
                    "holds": truth,
                    "actual": self.measure(profile, clock),
                    "threshold": self.threshold,
                }
            ]
        found: list[Evidence] = []
        for part in self.parts:
            found += part.evidence(profile, clock)
        return found


@lru_cache(4096)
def moment(time: int) -> str:
    """An epoch-millisecond time as ISO 8601 text in UTC. Remembered, as one step says the same moment several times."""
    return (_EPOCH + timedelta(milliseconds=time)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
