"""Which features a model lives on: how much worse it gets when the values of one are dealt out anew (Breiman 2001)."""

from __future__ import annotations

import random
from typing import Any, Final, Literal

from online_models.contest import loss
from online_models.example import Row
from online_models.predictor import Predictor

KEPT: Final = 300
"""Examples kept to look at: a fair sample of all that came (reservoir: Vitter 1985)."""


class Reservoir:
    """A fair sample of the rows and labels that came, the same for the same rows in the same order."""

    def __init__(self, seed: int, size: int = KEPT) -> None:
        self.size = size
        self.seed = seed
        self.seen = 0
        self.kept: list[tuple[Row, float, float]] = []

    def observe(self, row: Row, label: float, weight: float) -> None:
        """One example may take the place of another."""
        self.seen += 1
        if len(self.kept) < self.size:
            self.kept.append((row, label, weight))
            return
        # A number of its own for each example: a restored reservoir goes on as if it had never stopped.
        at = random.Random(f"{self.seed} {self.seen}").randrange(self.seen)
        if at < self.size:
            self.kept[at] = (row, label, weight)

    def state(self) -> list[Any]:
        """All that it holds, in plain values."""
        return [self.seen, [list(one) for one in self.kept]]

    def restore(self, state: list[Any]) -> None:
        """Go on from a state."""
        self.seen = state[0]
        self.kept = [(row, label, weight) for row, label, weight in state[1]]


def importance(
    predictor: Predictor,
    names: tuple[str, ...],
    reservoir: Reservoir,
    task: Literal["classification", "regression"],
) -> dict[str, float]:
    """By feature, by how much the mean loss (log loss, or absolute error) grows without it, largest first. Empty without examples."""
    examples = reservoir.kept
    if not examples:
        return {}
    plain = _mean_loss(predictor, examples, task)
    found = {}
    for at, name in enumerate(names):
        values = [row[at] for row, _, _ in examples]
        random.Random(f"{reservoir.seed} {name}").shuffle(values)
        dealt = [
            ([*row[:at], value, *row[at + 1 :]], label, weight)
            for (row, label, weight), value in zip(examples, values, strict=True)
        ]
        found[name] = round(_mean_loss(predictor, dealt, task) - plain, 6)
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def _mean_loss(predictor: Predictor, examples: list[tuple[Row, float, float]], task: str) -> float:
    total = weights = 0.0
    for row, label, weight in examples:
        said = predictor.predict(row)
        cost = loss("mae" if task == "regression" else "log_loss", said, label)
        if cost is not None:
            total += weight * cost
            weights += weight
    return total / weights if weights else 0.0
