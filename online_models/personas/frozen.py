"""Personas that tell customers apart in a few microseconds: what does not change between two reviews, worked out once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from online_models.encoding import LARGEST, LOWEST, number_of
from online_models.example import Row
from online_models.predictor import Output

if TYPE_CHECKING:
    from online_models.named import PersonaPredictor

_NOWHERE: Final = -1
"""In place of a column: nothing is known of the feature."""


class FrozenPersonas:
    """Says what the predictor that it is made from says now, to the last bit. That one needs personas, and a space without directions."""

    def __init__(self, predictor: PersonaPredictor) -> None:
        personas = predictor.personas
        self._predictor = predictor
        self._lets_go = 1 - personas.rule.stay
        columns: dict[str, tuple[int, str | None]] = {}
        for index, column in enumerate(predictor.columns):
            if column.category:
                columns.update((f"{column.name}={known}", (index, known)) for known in predictor.values[column.name])
            else:
                columns[column.name] = (index, None)
        self._axes = [
            (*(columns.get(name, (_NOWHERE, None)) if wide else (_NOWHERE, None)), mean, wide)
            for name, (mean, wide) in personas.space.scales.items()
        ]
        self._personas = [
            (
                one.name,
                one.height,
                [(axis, centre, one.spread[axis] if one.spread else 1.0) for axis, centre in one.point.items()],
            )
            for one in personas.published
        ]

    def predict(self, row: Row, previous: Output | None = None) -> Output | None:
        """The name of the persona."""
        point = []
        for index, known, mean, wide in self._axes:
            if index < 0:
                point.append(0.0)
                continue
            value = row[index]
            if known is not None:
                value = 1.0 if value == known else 0.0
            elif type(value) is not float or not LOWEST <= value <= LARGEST:
                value = number_of(value)
                if value is None:
                    point.append(0.0)
                    continue
            point.append((value - mean) / wide)
        best, least, before = None, math.inf, -1.0
        for name, total, terms in self._personas:
            for axis, centre, spread in terms:
                apart = (point[axis] - centre) / spread
                total += apart * apart
            distance = math.sqrt(total)
            if distance < least or best is None:
                best, least = name, distance
            if name == previous:
                before = distance
        return previous if before >= 0.0 and least > self._lets_go * before else best

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        """Refused: `TypeError`."""
        raise TypeError("frozen personas do not learn; let those that they were made from learn, and freeze them anew")

    def happened(self) -> list[dict[str, Any]]:
        """Nothing: it does not learn."""
        return []

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        """By feature, how much nearer it puts the customer to their persona than to the next one."""
        return self._predictor.reasons(row)
