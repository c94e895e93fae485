"""What reviews look at: examples spread evenly over the newest ones."""

from __future__ import annotations

import random
from collections import deque
from typing import Final

KEPT: Final = 500
"""Examples that are kept: silhouettes take the square of it."""


class Remembered:
    """Of the newest `memory` examples, `KEPT` at most: one, drawn by lot, of every so many that follow each other; at first, all."""

    def __init__(self, memory: int, seed: int = 1) -> None:
        self.seed = seed
        self.every = -(-memory // KEPT)
        self.seen = 0
        self.rows: deque[dict[str, float]] = deque(maxlen=memory // self.every)

    def learn_one(self, x: dict[str, float]) -> None:
        """Take in one example."""
        block, place = divmod(self.seen, self.every)
        self.seen += 1
        full = len(self.rows) == self.rows.maxlen
        if not full or self.every == 1 or place == random.Random(f"{self.seed} {block}").randrange(self.every):
            self.rows.append(x)
