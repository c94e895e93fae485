"""Coverage and age of scores: how often customers who were to be scored were, and how old the score before had become by then.

That is the oldest that rules have seen of it. Nobody is asked in between, and no profiles are gone through: customers of whom nothing is
heard, and whom no refresh is due for, are in no figure until they come back; `max_age` in a rule is what bounds the age of theirs.

`Usage` counts all of it where customers are scored, and is told by the job's counters at once. `Recent` looks at the newest examples in the
learner, once their outcome is known: a sample, but exact, the same for every replay, and a window instead of a sum since the beginning.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from online_models.example import Example

_HOUR: Final = 3_600_000
_DAY: Final = 24 * _HOUR

EDGES: Final = {
    "10m": _HOUR // 6,
    "1h": _HOUR,
    "6h": 6 * _HOUR,
    "1d": _DAY,
    "3d": 3 * _DAY,
    "7d": 7 * _DAY,
    "30d": 30 * _DAY,
}
"""Ages are counted by the first of these that they do not exceed (milliseconds)."""

OLDER: Final = "older"
"""Ages beyond the last of them."""

_NAMES: Final = (*EDGES, OLDER)
_LIMITS: Final = tuple(EDGES.values())

WINDOW: Final = 2_000
"""Examples that `Recent` looks at: the newest."""

HALF: Final = 0.5
MOST: Final = 0.95
"""The shares of customers that ages are told for."""


class Usage:
    """Counts since it was asked last.

    >>> usage = Usage()
    >>> usage.note(None, False); usage.note(None, True); usage.note(3_600_000, True); usage.note(3_600_001, True)
    >>> usage.take()
    {'scores_due': 4, 'scores_given': 3, 'score_age_1h': 1, 'score_age_6h': 1}
    >>> usage.take()
    {}
    """

    __slots__ = ("ages", "due", "given")

    def __init__(self) -> None:
        self.due = self.given = 0
        self.ages = [0] * len(_NAMES)

    def note(self, age: int | None, is_given: bool) -> None:
        """A customer was to be scored, whose score so far was `age` (milliseconds) old; None if there was none."""
        self.due += 1
        self.given += is_given
        if age is not None:
            self.ages[bisect_left(_LIMITS, age)] += 1

    def take(self) -> dict[str, int]:
        """What has been counted, by name; from now on it counts anew."""
        if not self.due:
            return {}
        ages = {f"score_age_{name}": count for name, count in zip(_NAMES, self.ages, strict=True) if count}
        found = {"scores_due": self.due, "scores_given": self.given, **ages}
        self.due = self.given = 0
        self.ages = [0] * len(_NAMES)
        return found


def counter(name: str, model: str) -> str:
    """The job's counter for one of the counts of a model. Without a dot: Flink makes another sign of it.

    >>> counter("scores_due", "purchase")
    'scores_due_purchase'
    """
    return f"{name}_{model}"


def counted(totals: Mapping[str, int], models: Iterable[str]) -> dict[str, Any]:
    """What the job's counters say of these models together: `due`, `coverage`, and which of `EDGES` half and 95% of the scores before did
    not exceed (`half`, `most`). Empty where nobody was to be scored.

    >>> totals = {"scores_due_m": 10, "scores_given_m": 9, "score_age_1h_m": 5, "score_age_1d_m": 4, "score_age_older_m": 1}
    >>> counted(totals, ["m"])
    {'due': 10, 'coverage': 0.9, 'half': '1h', 'most': 'older'}
    """
    names = list(models)

    def total(count: str) -> int:
        return sum(totals.get(counter(count, name), 0) for name in names)

    due = total("scores_due")
    if not due:
        return {}
    found: dict[str, Any] = {"due": due, "coverage": total("scores_given") / due}
    ages = [total(f"score_age_{name}") for name in _NAMES]
    for key, share in (("half", HALF), ("most", MOST)):
        if (at := _place(ages, share)) is not None:
            found[key] = _NAMES[at]
    return found


def _place(weights: list[Any], share: float) -> int | None:
    """The first place up to which this share of the weight lies; None where there is no weight."""
    wanted, reached = share * sum(weights), 0.0
    for at, weight in enumerate(weights):
        reached += weight
        if weight and reached >= wanted - 1e-9:
            return at
    return None


class Recent:
    """The newest examples of a model: whether the champion had given a score, how old the score before was, and for how many each stands.

    >>> recent = Recent()
    >>> for age in (None, 1_000, 2_000, 9_000):
    ...     recent.observe(Example("m", "", "c", 0, 1, [], 1.0, predictions={"line": [1, 0.5]}, score_age=age), "line")
    >>> recent.report()
    {'moments': 4, 'coverage': 1.0, 'age_median': 2000, 'age_p95': 9000}
    """

    def __init__(self) -> None:
        self.newest: deque[list[Any]] = deque(maxlen=WINDOW)

    def observe(self, example: Example, champion: str) -> None:
        """Take in one example."""
        self.newest.append([champion in example.predictions, example.score_age, example.weight])

    def report(self) -> dict[str, Any]:
        """How many there are, the share of them with a score, median and 95th percentile of the ages (milliseconds; nearest rank)."""
        if not self.newest:
            return {}
        total = sum(weight for _, _, weight in self.newest)
        given = sum(weight for is_given, _, weight in self.newest if is_given)
        found: dict[str, Any] = {"moments": len(self.newest), "coverage": round(given / total, 6)}
        ages = sorted((age, weight) for _, age, weight in self.newest if age is not None)
        for key, share in (("age_median", HALF), ("age_p95", MOST)):
            if (at := _place([weight for _, weight in ages], share)) is not None:
                found[key] = ages[at][0]
        return found

    def state(self) -> list[list[Any]]:
        """All that it holds."""
        return list(self.newest)

    def restore(self, state: list[list[Any]]) -> None:
        """Go on from a state."""
        self.newest.clear()
        self.newest.extend(state)
