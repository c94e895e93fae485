"""Thresholds of their own for groups of customers, and scores that carry them: whoever is above the group's is above the one for all.

Rules know one threshold. So that a group can have another, its scores are mapped: rising, in two straight pieces that meet at the group's
threshold, which becomes the one for all. All is reckoned in millionths, as rules compare, so that it is exact at the boundary.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from online_models.definition import Fairness
from profiles.values import MICROS

MOST_GROUPS: Final = 20
"""Groups that a version has thresholds for, and that figures are told of: the largest."""


class OwnThresholds(msgspec.Struct, frozen=True):
    """The score from which on customers of a group are selected, by group; whoever is in none of them is from `common` on.

    `trait` tells the groups. A threshold is from 0 to 1, or one millionth above: then nobody is selected. Raises ValueError, and msgspec
    what it raises, where it is something else.

    >>> OwnThresholds("gender", 0.5, {"f": 0.4}).of("f"), OwnThresholds("gender", 0.5, {"f": 0.4}).of("")
    (0.4, 0.5)
    """

    trait: str
    common: float
    groups: dict[str, float]

    def __post_init__(self) -> None:
        if len(self.groups) > MOST_GROUPS:
            raise ValueError(f"{len(self.groups)} groups, more than {MOST_GROUPS}")
        if not 0 < self.common <= 1 or not all(0 <= one <= 1 + 1 / MICROS for one in self.groups.values()):
            raise ValueError("a threshold is not between 0 and 1")

    def of(self, group: str) -> float:
        """The threshold of a group."""
        return self.groups.get(group, self.common)

    def are_meant_by(self, rule: Fairness | None) -> bool:
        """Whether a definition asks for thresholds like these: it may have changed since they were found."""
        return rule is not None and rule.constrain and rule.trait == self.trait and rule.threshold == self.common


def in_millionths(threshold: float) -> int:
    """The least score of six decimals, in millionths, that is not below a threshold.

    >>> in_millionths(0.07), in_millionths(0.1234567)
    (70000, 123457)
    """
    nearest = round(threshold * MICROS)
    return nearest if nearest / MICROS >= threshold else nearest + 1


def mapped(score: float, common: float, own: float) -> float:
    """What rules are to see of a score of six decimals: not below `common` exactly where the score is not below `own`.

    It rises with the score (where there is less room, neighbours may become one), 0 stays 0 and 1 stays 1 unless all or nobody is selected;
    the same where both thresholds are the same.

    >>> mapped(0.4, 0.5, 0.4), mapped(0.399999, 0.5, 0.4), mapped(0.7, 0.5, 0.4), mapped(0.7, 0.5, 0.5)
    (0.5, 0.499999, 0.75, 0.7)
    """
    to, at = in_millionths(common), in_millionths(own)
    if to == at:
        return score
    raw = round(score * MICROS)
    if raw >= at:
        return (to + (raw - at) * (MICROS - to) // max(MICROS - at, 1)) / MICROS
    return min(raw * (to - 1) // max(at - 1, 1), to - 1) / MICROS


def decided(said: list[Any]) -> float | None:
    """The threshold of their own that was in force when a prediction was logged: what stands behind version and output, if anything.

    >>> decided([3, 0.7, 0.4]), decided([3, 0.7])
    (0.4, None)
    """
    return said[2] if len(said) > 2 and isinstance(said[2], float) else None
