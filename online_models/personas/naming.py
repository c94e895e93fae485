"""What personas are called: the names that somebody has declared for such customers, else what sets them apart most."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from online_models.definition import PersonaRule

FITS: Final = 0.4
"""So many standard deviations must the features of a declared name lie to their side, on average and none to the other, for it to fit."""

HOLDS: Final = 0.3
"""By so much worse may it fit the persona that has it: another one must fit better by more, and itself no worse than `FITS - HOLDS`."""

_WORDS: Final = 2
_LONGEST: Final = 64


def declared(looks: Mapping[int, Mapping[str, float]], rule: PersonaRule, holders: Mapping[int, str]) -> dict[int, str]:
    """Which of the clusters is called by which declared name, so that all together fit best.

    `looks`: by cluster and feature, standard deviations from all customers; `holders`: the names that some have so far.

    >>> rule = PersonaRule(names=(("savers", (("promo", 1), ("spend", -1))),))
    >>> looks = {1: {"promo": 0.5, "spend": -0.5}, 2: {"promo": 0.7, "spend": -0.5}}
    >>> declared(looks, rule, {}), declared(looks, rule, {1: "savers"})
    ({2: 'savers'}, {1: 'savers'})
    """
    if not rule.names or not looks:
        return {}
    clusters = sorted(looks)
    fits = np.array(
        [
            [_fit(looks[own], told) + (HOLDS if holders.get(own) == name else 0.0) for name, told in rule.names]
            for own in clusters
        ]
    )
    # What does not fit is worth nothing, so that it is never taken for the sake of another.
    worth = np.where(fits >= FITS, fits, 0.0)
    rows, columns = linear_sum_assignment(-worth)
    return {clusters[row]: rule.names[at][0] for row, at in zip(rows, columns, strict=True) if worth[row, at] > 0}


def described(looks: Mapping[str, float], rule: PersonaRule, taken: set[str], own: int) -> str:
    """A name made of what is most unlike all customers, for the persona whose id is `own`; `taken`: names in use.

    >>> described({"spend": -0.2, "orders": 1.5, "views": -0.9}, PersonaRule(), set(), 4)
    'high-orders-low-views'
    """
    most = sorted(looks, key=lambda feature: (-abs(looks[feature]), feature))[:_WORDS]
    words = [f"{'high' if looks[feature] >= 0 else 'low'}-{_word(feature)}" for feature in most]
    name = "-".join(words)[:_LONGEST].strip("-") or f"persona-{own}"
    return name if name not in taken and name not in dict(rule.names) else f"{name[: _LONGEST - 8]}-{own}"


def _fit(looks: Mapping[str, float], told: tuple[tuple[str, int], ...]) -> float:
    """How far the features lie to their side on average; held down by one that lies to the other. What nobody knows cannot fit."""
    if not told or any(feature not in looks for feature, _ in told):
        return -math.inf
    sides = [side * looks[feature] for feature, side in told]
    return min(sum(sides) / len(sides), min(sides) + FITS)


def _word(feature: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", feature.lower()))
