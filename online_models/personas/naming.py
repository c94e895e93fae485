"""What a persona is called: a name that somebody has declared for such customers, or what sets them apart most."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from online_models.definition import PersonaRule

FITS: Final = 0.4
"""So many standard deviations must the features of a declared name lie to their side, on average, for it to fit."""

_WORDS: Final = 2
_LONGEST: Final = 64


def name_of(looks: Mapping[str, float], rule: PersonaRule, taken: set[str], own: int) -> str:
    """The name of a new persona, whose id is `own`. `looks`: by feature, standard deviations from all; `taken`: names in use.

    >>> name_of({"spend": -0.2, "orders": 1.5, "views": -0.9}, PersonaRule(), set(), 4)
    'high-orders-low-views'
    """
    fitting = {name: fit for name, told in rule.names if name not in taken and (fit := _fit(looks, told)) >= FITS}
    if fitting:
        return max(fitting, key=lambda name: (fitting[name], name))
    most = sorted(looks, key=lambda feature: (-abs(looks[feature]), feature))[:_WORDS]
    words = [f"{'high' if looks[feature] >= 0 else 'low'}-{_word(feature)}" for feature in most]
    name = "-".join(words)[:_LONGEST].strip("-") or f"persona-{own}"
    return name if name not in taken and name not in dict(rule.names) else f"{name[: _LONGEST - 8]}-{own}"


def _fit(looks: Mapping[str, float], told: tuple[tuple[str, int], ...]) -> float:
    return sum(side * looks.get(feature, 0.0) for feature, side in told) / len(told) if told else 0.0


def _word(feature: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", feature.lower()))
